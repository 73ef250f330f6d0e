"""Crops of image files: their place, their pixels, and what no decoder reads."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from dstrun.data import image_files
from dstrun.data.image_files import (
    Undecodable,
    centre_box,
    decoder,
    random_box,
    read_crop,
)

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


def saved(path: Path, mode: str = "RGB", pixels: Any = PIXELS, **options: Any) -> str:
    Image.fromarray(pixels).convert(mode).save(path, **options)
    return str(path)


def test_a_random_box_is_a_function_of_its_seed_within_the_image() -> None:
    boxes = [random_box(random.Random(seed), 50, 40) for seed in range(500)]
    assert boxes[0] == random_box(random.Random(0), 50, 40)
    shares = []
    for left, top, right, bottom in boxes:
        assert 0 <= left < right <= 50
        assert 0 <= top < bottom <= 40
        shares.append((right - left) * (bottom - top) / 2000)
        assert 0.7 < (right - left) / (bottom - top) < 1.43  # 3/4 to 4/3, to whole pixels
    assert 0.06 < min(shares) < 0.12
    assert max(shares) > 0.9


def test_where_no_random_box_fits_the_centre_is_taken() -> None:
    assert random_box(random.Random(0), 1000, 30) == (480, 0, 520, 30)
    assert random_box(random.Random(0), 30, 1000) == (0, 480, 30, 520)


def test_evaluation_is_on_the_centre_of_the_image_scaled_to_256() -> None:
    assert centre_box(512, 256) == (144, 16, 368, 240)  # 224×224 of the middle 256×256
    assert centre_box(100, 400) == (6, 156, 94, 244)


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P"])
def test_a_crop_of_its_own_size_has_the_pixels_of_the_file(tmp_path: Path, mode: str) -> None:
    path = saved(tmp_path / "image.png", mode)
    whole = np.asarray(Image.open(path).convert("RGB"))
    found = read_crop(
        path, 8, lambda width, height: (width - 9, height - 10, width - 1, height - 2)
    )
    assert np.array_equal(found, whole[20:28, 31:39])


@pytest.mark.parametrize("turn", range(1, 9))
def test_a_crop_is_of_the_rotated_image(tmp_path: Path, turn: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    path = saved(tmp_path / "image.jpg", exif=exif, quality=95)
    whole = image_files.read_square(Path(path), 30)
    sizes = []

    def centre(width: int, height: int) -> tuple[int, int, int, int]:
        sizes.append((width, height))
        return (5, 0, 35, 30) if width == 40 else (0, 5, 30, 35)

    assert torch.equal(read_crop(path, 30, centre).permute(2, 0, 1), whole)
    assert sizes == [(40, 30) if turn < 5 else (30, 40)]


def test_a_crop_is_scaled_as_pillow_scales(tmp_path: Path) -> None:
    path = saved(tmp_path / "image.png")
    box = (3, 2, 33, 26)
    expected = Image.open(path).crop(box).resize((9, 9), Image.Resampling.BILINEAR)
    found = read_crop(path, 9, lambda *_: box).int() - torch.from_numpy(np.array(expected)).int()
    assert found.abs().max() <= 1


@pytest.mark.parametrize(("side", "by"), [(15, 1), (16, 2), (31, 2), (32, 4), (64, 8)])
def test_a_large_crop_of_a_jpeg_is_decoded_at_a_fraction(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, side: int, by: int
) -> None:
    """Brightness of a column is its number: the mean of a crop says where it lies."""
    columns = np.broadcast_to(np.arange(0, 160, 2, np.uint8)[None, :, None], (70, 80, 3))
    path = saved(tmp_path / "image.jpg", pixels=columns, quality=100, subsampling=0)
    drafts = []
    real = JpegImageFile.draft

    def noted(self: Any, mode: Any, size: Any) -> Any:
        found = real(self, mode, size)
        drafts.append(self.size)
        return found

    monkeypatch.setattr(JpegImageFile, "draft", noted)
    found = read_crop(path, 8, lambda *_: (8, 0, 8 + side, side))
    assert drafts == ([] if by == 1 else [(80 // by, -(-70 // by))])
    assert float(found.float().mean()) == pytest.approx(2 * (8 + side / 2) - 1, abs=2)


def test_torchcodec_decodes_jpegs_where_it_can(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path, other = saved(tmp_path / "image.jpg"), saved(tmp_path / "image.png")
    grey = torch.full((3, 30, 40), 77, dtype=torch.uint8)

    def whole(*_: int) -> tuple[int, int, int, int]:
        return 0, 0, 8, 8

    by_pillow = read_crop(path, 8, whole)
    monkeypatch.setattr(image_files, "jpeg_decoder", lambda: lambda content: grey)
    assert read_crop(path, 8, whole).unique().tolist() == [77]
    assert len(read_crop(other, 8, whole).unique()) > 99
    monkeypatch.setattr(image_files, "jpeg_decoder", lambda: lambda content: 1 / 0)
    assert torch.equal(read_crop(path, 8, whole), by_pillow)


def test_both_decoders_give_the_same_crops(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    if not image_files.jpeg_decoder():
        pytest.skip("torchcodec is not installed")
    assert decoder().startswith("torchcodec ")
    for mode in ("RGB", "L", "CMYK"):
        path = saved(tmp_path / f"{mode}.jpg", mode)
        one = read_crop(path, 20, centre_box).int()
        with monkeypatch.context() as patched:
            patched.setattr(image_files, "jpeg_decoder", lambda: None)
            assert decoder().startswith("pillow ")
            assert (read_crop(path, 20, centre_box).int() - one).abs().max() <= 2


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "cannot identify image file"),
        (b"\xff\xd8\xff\xe0text", "Truncated File Read|cannot identify"),
        (None, "No such file"),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "image.jpg"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(Undecodable, match=reason) as found:
        read_crop(str(path), 8, centre_box)
    assert str(found.value).startswith(f"{path}: ")
    assert "\n" not in str(found.value)


def test_a_cut_file_and_one_of_16_bits_are_refused(tmp_path: Path) -> None:
    path = Path(saved(tmp_path / "image.jpg"))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(Undecodable, match="truncated"):
        read_crop(str(path), 8, centre_box)
    Image.fromarray(np.full((9, 9), 999, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(Undecodable, match="16-bit pixels"):
        read_crop(str(tmp_path / "deep.png"), 8, centre_box)
