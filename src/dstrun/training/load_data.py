"""Config → splits: what `data` asks for, checked, limited, and with a validation split held out.

Knows config, errors, data and registry. Writes nothing.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dstrun import data
from dstrun.config.registry import accepted_options, check_arguments, lookup
from dstrun.config.sections import DataConfig
from dstrun.data import Split, Splits
from dstrun.data.splits import chosen, stratified
from dstrun.system.errors import InputError, user_code_error

OWN_OPTIONS = (
    "download",
    "size",
    "train_limit",
    "test_limit",
)  # of `data`, given to every builder that takes them


def load_data(wanted: DataConfig) -> tuple[Splits, Split | None]:
    """Return the splits that `data` asks for, and the part of the training split that is held out
    for validation.

    Raises InputError for data that are missing, damaged or of no use, and for a mistake in a user's
    own builder."""
    splits = _limited(_build(wanted), wanted)
    channels = splits.shape[0]
    for name in ("mean", "std"):
        if len(values := getattr(wanted, name)) not in (1, channels):
            several = (
                f" or {channels}, one a channel"
                if channels > 1
                else ", the images have one channel"
            )
            raise InputError(f"data.{name}: got {len(values)} values, expected 1{several}")
    if not wanted.validation:
        return splits, None
    rest, held_out = stratified(splits.train.labels, wanted.validation)
    if not len(rest) or not len(held_out):
        images = f"{wanted.validation} of each class of {len(splits.train)} images"
        raise InputError(
            f"data.validation: {images} leaves none to {'hold out' if len(rest) else 'train on'}"
        )
    return replace(splits, train=splits.train.subset(rest)), splits.train.subset(held_out)


def _build(wanted: DataConfig) -> Splits:
    """Call the builder; whatever it raises is told in one line."""
    builder = lookup("data.builder", wanted.builder, data.BUILDERS, "dstrun.data")
    own = builder in data.BUILDERS.values()
    root, options = Path(wanted.root).expanduser(), _options(wanted)
    options = accepted_options(builder, options) | wanted.args
    check_arguments("data.args", wanted.builder, builder, root, **options)
    try:
        return data.check(builder(root, **options))
    except data.DataError as error:
        raise InputError(f"{'data.root' if own else f'data={wanted.name}'}: {error}") from error
    except (Exception, SystemExit) as error:  # a user's own function may raise anything
        if own and isinstance(error, ValueError):
            raise InputError(f"data.args: {error}") from error
        raise InputError(f"data={wanted.name}: {user_code_error(error)}") from error


def _options(wanted: DataConfig) -> Mapping[str, Any]:
    """Return the options that a builder may have parameters for; InputError where data.args has one
    of them."""
    for key in OWN_OPTIONS:
        if key in wanted.args:
            raise InputError(
                f"data.args.{key}: expected data.{key}={wanted.args[key]}, which is an option of its own"
            )
    return {key: getattr(wanted, key) for key in OWN_OPTIONS}


def _limited(splits: Splits, wanted: DataConfig) -> Splits:
    """Return the splits with no more images than the limits allow; notes limits that nothing
    reaches."""
    limits = {"train": wanted.train_limit, "test": wanted.test_limit}
    parts = {name: getattr(splits, name) for name in limits}
    notes = [
        f"data.{name}_limit={limit} is more than there are: {len(parts[name]):,} {name} images"
        for name, limit in limits.items()
        if limit > len(parts[name])
    ]
    limited = {
        name: part.subset(chosen(len(part), limits[name])) if 0 < limits[name] < len(part) else part
        for name, part in parts.items()
    }
    return data.note_missing_classes(replace(splits, **limited, notes=(*splits.notes, *notes)))
