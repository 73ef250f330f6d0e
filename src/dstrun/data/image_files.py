"""Image files, decoded to RGB: the centre square of a whole image, or a crop of it.

Images are rotated as their EXIF orientation says, as viewers show them; alpha is dropped, and of an
animation or a file of several pages the first is read. Pillow decodes, and JPEGs torchcodec where
it is installed: the same bytes, some per cent sooner.
"""

import io
import math
import random
import warnings
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

if TYPE_CHECKING:
    from PIL import Image

Box = tuple[int, int, int, int]  # left, top, right, bottom, in pixels
BoxOf = Callable[[int, int], Box]  # of width and height

AREA = 0.08, 1.0  # of a random crop, as a share of the image
RATIO = 3 / 4, 4 / 3  # of its width to its height
TRIES = 10
CENTRE = 224 / 256  # side of the crop for evaluation, as a share of the shorter side
REDUCTIONS = 8, 4, 2  # at which a JPEG can be decoded, in a fraction of the time
ORIENTATION = 0x0112  # of EXIF


class Undecodable(Exception):
    """An image file that cannot be decoded; the message, one line, says which and why."""


@cache
def jpeg_decoder() -> Any:
    """Return torchcodec's decoder of JPEGs, bytes → uint8 (3, height, width); None without it."""
    if not find_spec("torchcodec"):
        return None
    try:
        from torchcodec.decoders import decode_jpeg
    except Exception:  # a version for another torch
        return None
    return decode_jpeg


def decoder() -> str:
    """Return the package that decodes JPEGs, with its version: 'torchcodec 0.17.0'."""
    package = "torchcodec" if jpeg_decoder() else "pillow"
    return f"{package} {version(package)}"


def read_square(path: Path, size: int) -> Tensor:
    """Return the centre square of an image scaled to a size, uint8 (3, size, size).

    Raises Undecodable.
    """
    from PIL import Image, ImageOps
    from torchvision.transforms.functional import pil_to_tensor

    try:
        with Image.open(path) as image:
            _refuse_deep(image)
            return pil_to_tensor(ImageOps.fit(_rotated(image).convert("RGB"), (size, size)))
    except Exception as error:  # Pillow raises a dozen kinds for damaged files
        raise _undecodable(path, error) from error


def read_crop(path: str, size: int, box_of: BoxOf) -> Tensor:
    """Return a crop of an image scaled to a size, uint8 (size, size, 3).

    Its place is `box_of(width, height)` of the rotated image. Raises Undecodable.
    """
    from PIL import Image

    try:
        content = Path(path).read_bytes()
        with warnings.catch_warnings(), Image.open(io.BytesIO(content)) as image:
            warnings.simplefilter("ignore")  # Pillow's, of odd files that it can read
            _refuse_deep(image)
            return _scaled(_crop(image, content, size, box_of), size)
    except Exception as error:
        raise _undecodable(path, error) from error


def random_box(draws: random.Random, width: int, height: int) -> Box:
    """Return a random part of an image, of RandomResizedCrop (Szegedy et al., 2015).

    Its area is 8 to 100 % of the image, its ratio 3/4 to 4/3; where ten draws do not fit, the
    largest part in the centre with a ratio in these bounds.
    """
    for _ in range(TRIES):
        area = width * height * draws.uniform(*AREA)
        ratio = math.exp(draws.uniform(*map(math.log, RATIO)))
        wide, high = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < wide <= width and 0 < high <= height:
            left, top = draws.randint(0, width - wide), draws.randint(0, height - high)
            return left, top, left + wide, top + high
    wide = min(width, max(1, round(height * RATIO[1])))
    high = min(height, max(1, round(width / RATIO[0])))
    return _centred(width, height, wide, high)


def centre_box(width: int, height: int) -> Box:
    """Return the square in the centre that remains where the shorter side is scaled to 256 pixels,
    and 224×224 are cut out.
    """
    side = max(1, round(min(width, height) * CENTRE))
    return _centred(width, height, side, side)


def _centred(width: int, height: int, wide: int, high: int) -> Box:
    left, top = (width - wide) // 2, (height - high) // 2
    return left, top, left + wide, top + high


def _crop(image: "Image.Image", content: bytes, size: int, box_of: BoxOf) -> Tensor:
    """Return a part of an image, uint8 (height, width, 3), perhaps at half its size or less.

    A JPEG is decoded at a half, quarter or eighth where the part still has `size` pixels then: at
    8/1, 1600×1200 pixels take 2/5 of the time.
    """
    if image.format == "JPEG" and _is_upright(image):
        box = left, top, right, bottom = box_of(*image.size)
        least = min(right - left, bottom - top) // size
        by = next((one for one in REDUCTIONS if one <= least), 1)
        if by > 1:
            image.draft(None, (image.width // by, image.height // by))
            box = left // by, top // by, right // by, bottom // by
        elif decode := jpeg_decoder():
            with suppress(Exception):  # Pillow says what is wrong, or reads it
                return decode(content)[:, top:bottom, left:right].permute(1, 2, 0)
    else:
        image = _rotated(image)
        box = box_of(*image.size)
    return torch.from_numpy(np.array(image.crop(box).convert("RGB")))


def _scaled(pixels: Tensor, size: int) -> Tensor:
    """Return an image (height, width, 3) scaled to (size, size, 3), as Pillow's BILINEAR does.

    torch takes a third of Pillow's time.
    """
    batch = pixels.permute(2, 0, 1)[None].contiguous(memory_format=torch.channels_last)
    return F.interpolate(batch, (size, size), mode="bilinear", antialias=True)[0].permute(1, 2, 0)


def _refuse_deep(image: "Image.Image") -> None:
    """Raise ValueError for pixels above 255, which Pillow would clip, and NaN, which it makes 0."""
    if image.mode.startswith(("F", "I")):
        raise ValueError("has floating-point or 16-bit pixels, expected 8 bits per channel")


def _undecodable(path: str | Path, error: Exception) -> Undecodable:
    reason = " ".join(str(error).split()) or type(error).__name__
    return Undecodable(f"{path}: {reason}")


def _is_upright(image: "Image.Image") -> bool:
    """Return whether an image is not to be rotated; damaged EXIF data says nothing."""
    try:
        return image.getexif().get(ORIENTATION, 1) == 1
    except Exception:  # struct.error, TypeError and others
        return False


def _rotated(image: "Image.Image") -> "Image.Image":
    """Return the image in its EXIF orientation, or unchanged where the EXIF data is damaged."""
    from PIL import ImageOps

    image.load()
    with suppress(Exception):  # struct.error, TypeError and others, for damaged EXIF data
        ImageOps.exif_transpose(image, in_place=True)
    return image
