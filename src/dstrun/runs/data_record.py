"""What a run was trained on, as status.json and checkpoints record it, compared with what there is
now. Knows errors.

classes, class_names, shape    of the images, (channels, height, width)
train, validation, test        images in each split, limits applied
tree, tree_images              of a tree of images: its fingerprint, and the images in each part
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
}
OF_THE_NETWORK = ("classes", "class_names", "shape")  # what a network is made for

Facts = Mapping[str, Any]


def differences(recorded: Facts, now: Facts) -> list[str]:
    """Return in words where two records differ: '400 training images, and there are 600 now'.

    What only one of them has is not compared.
    """
    recorded, now = _spread(recorded), _spread(now)
    differing = [key for key in recorded if key in now and recorded[key] != now[key]]
    told = [
        f"{recorded[key]} {IN_WORDS[key]}, and there are {now[key]} now"
        for key in differing
        if key in IN_WORDS
    ]
    if not told and "class_names" in differing:
        told = [f"other classes ({_first_other(recorded, now)})"]
    if not told and "tree" in differing:
        told = ["as many images, of which some have another name or size now"]
    return told or [f"{key} {recorded[key]!r}, and it is {now[key]!r} now" for key in differing]


def refuse_other_data(folder: Path, option: str, recorded: Facts, now: Facts) -> None:
    """Raise InputError where the run of a folder was trained on other data than there are now."""
    if told := differences(recorded, now):
        raise InputError(
            f"{option}: {folder} was trained on {'; '.join(told)}; overwrite=true starts over, group=NAME keeps both"
        )


def refuse_other_classes(folder: Path, recorded: Facts, now: Facts) -> None:
    """Raise InputError for a network that was made for other classes or another shape of images
    than there are now.

    How many images there are may differ: a trained network is tested on whatever there is.
    """
    known = {key: recorded[key] for key in OF_THE_NETWORK if key in recorded}
    if told := differences(known, now):
        raise InputError(
            f"{folder} was trained on {'; '.join(told)}: expected data with the same classes and shape"
        )


def _spread(data: Facts) -> dict[str, Any]:
    """Return the facts without nesting; of a tree all images are counted, whatever limits there
    are."""
    data = dict(data)
    images, shape = data.pop("tree_images", None), data.get("shape")
    words = {"shape": "×".join(map(str, shape))} if isinstance(shape, list | tuple) else {}
    known = {
        key: value
        for key, value in data.items()
        if key != "class_names" or isinstance(value, list | tuple)
    }
    return {**known, **(images if isinstance(images, dict) else {}), **words}


def _first_other(recorded: Facts, now: Facts) -> str:
    """Return the first class of a record that differs, and what there is in its place."""
    pairs = zip(recorded["class_names"], now["class_names"], strict=False)
    return next(
        (f"{there!r}, and there is {here!r} now" for there, here in pairs if there != here),
        "other names",
    )
