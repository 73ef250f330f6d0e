"""Record of a run's data, in status.json and checkpoints, compared with the data there are now.

classes, class_names, shape   of the images; shape is (channels, height, width), of text (length,)
train, validation, test       number of images or sequences in each split, limits applied
tree, tree_images             of a tree of images: fingerprint, and number of images in each part
text, bytes                   of a folder of text: SHA-256, and number of bytes
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dstrun.system.errors import InputError

IN_WORDS = {
    "classes": "classes",
    "shape": "pixels an image",
    "all": "images",
    "train": "training images",
    "validation": "validation images",
    "test": "test images",
    "bytes": "bytes of text",
}
OF_THE_NETWORK = ("classes", "class_names", "shape")  # the entries that a network depends on

Facts = Mapping[str, Any]


def differences(recorded: Facts, now: Facts) -> list[str]:
    """Return the differences of two records: '400 training images, and there are 600 now'.

    Entries that only one of them has are not compared.
    """
    is_text = "text" in recorded or "text" in now
    recorded, now = _flatten(recorded), _flatten(now)
    differing = [key for key in recorded if key in now and recorded[key] != now[key]]
    lines, others = [], []
    for key in differing:
        if key in IN_WORDS:
            words = IN_WORDS[key]
            if is_text:
                words = words.replace("images", "sequences").replace(
                    "pixels an image", "bytes a sequence"
                )
            lines.append(f"{recorded[key]} {words}, and there are {now[key]} now")
        else:
            others.append(f"{key} {recorded[key]!r}, and it is {now[key]!r} now")
    if lines:
        return lines
    if "class_names" in differing:
        return [f"other classes ({_first_other_class(recorded, now)})"]
    if "text" in differing:
        return ["as many bytes of text, of which some are others now"]
    if "tree" in differing:
        return ["as many images, of which some have another name or size now"]
    return others


def refuse_other_data(folder: Path, option: str, recorded: Facts, now: Facts) -> None:
    """Raise InputError if the run in `folder` was trained on other data than there are now.

    option: what the data are given by, for the message.
    """
    if lines := differences(recorded, now):
        raise InputError(
            f"{option}: the run in {folder} used {'; '.join(lines)}; "
            "overwrite=true starts over, group=NAME keeps both"
        )


def refuse_other_classes(folder: Path, recorded: Facts, now: Facts) -> None:
    """Raise InputError if the network in `folder` is for other classes or another image shape.

    The number of images may differ: a trained network is tested on all there are.
    """
    known = {key: recorded[key] for key in OF_THE_NETWORK if key in recorded}
    if lines := differences(known, now):
        raise InputError(
            f"the run in {folder} used {'; '.join(lines)}: "
            "expected data with the same classes and shape"
        )


def _flatten(data: Facts) -> dict[str, Any]:
    """Return a record without nesting, with a tree's numbers of images in place of limited ones."""
    flat = dict(data)
    images = flat.pop("tree_images", None)
    if not isinstance(flat.get("class_names", []), list | tuple):
        del flat["class_names"]
    if isinstance(images, dict):
        flat |= images
    if isinstance(flat.get("shape"), list | tuple):
        flat["shape"] = "×".join(map(str, flat["shape"]))
    return flat


def _first_other_class(recorded: Facts, now: Facts) -> str:
    """Return the first class of a record that differs, and the one in its place now."""
    for before, after in zip(recorded["class_names"], now["class_names"], strict=False):
        if before != after:
            return f"{before!r}, and there is {after!r} now"
    return "other names"
