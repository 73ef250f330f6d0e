"""Data of a run from its config: built, checked, limited, and with a validation split held out."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from dstrun import data
from dstrun.config.registry import accepted_options, check_arguments, lookup
from dstrun.config.sections import DataConfig
from dstrun.data import AnySplit, Splits, TextSplit
from dstrun.data.splits import held_out_split, limited_split
from dstrun.system.errors import InputError, user_code_error

# Options of `data` that are passed to every builder with a parameter of that name.
BUILDER_OPTIONS = ("download", "size", "train_limit", "test_limit", "stream")


def load_data(wanted: DataConfig) -> tuple[Splits, AnySplit | None]:
    """Return the splits that `wanted` describes, and a validation split if it asks for one.

    The validation split is taken out of the training split. Raises InputError for data that are
    missing, damaged or unsuitable, and for an error in a user's own builder.
    """
    splits = _limit(_build(wanted), wanted)
    if not isinstance(splits.train, TextSplit):
        _check_channels(wanted, splits.shape[0])
    return _hold_out(splits, wanted.validation) if wanted.validation else (splits, None)


def _check_channels(wanted: DataConfig, channels: int) -> None:
    """Raise InputError if mean or std have neither one value nor one for each channel."""
    for name in ("mean", "std"):
        count = len(getattr(wanted, name))
        if count not in (1, channels):
            several = f" or {channels}, one a channel"
            hint = several if channels > 1 else ", the images have one channel"
            raise InputError(f"data.{name}: got {count} values, expected 1{hint}")


def _hold_out(splits: Splits, fraction: float) -> tuple[Splits, AnySplit]:
    """Return the splits with less to train on, and for validation a fraction of each class, or of
    a text its end.
    """
    rest, held_out = held_out_split(splits.train, fraction)
    if not len(rest) or not len(held_out):
        whole = "each class of {} images"
        if isinstance(splits.train, TextSplit):
            whole = "{} sequences"
        examples = f"{fraction} of {whole.format(len(splits.train))}"
        purpose = "hold out" if len(rest) else "train on"
        raise InputError(f"data.validation: {examples} leaves none to {purpose}")
    return replace(splits, train=rest), held_out


def _build(wanted: DataConfig) -> Splits:
    """Call the builder and check its splits; raise InputError, in one line, for any error."""
    builder = lookup("data.builder", wanted.builder, data.BUILDERS, "dstrun.data")
    is_builtin = builder in data.BUILDERS.values()
    root, options = Path(wanted.root).expanduser(), _options(wanted)
    options = accepted_options(builder, options) | wanted.args
    check_arguments("data.args", wanted.builder, builder, root, **options)
    try:
        return data.check(builder(root, **options))
    except data.DataError as error:
        key = "data.root" if is_builtin else f"data={wanted.name}"
        raise InputError(f"{key}: {error}") from error
    except (Exception, SystemExit) as error:  # a user's own function may raise anything
        if is_builtin and isinstance(error, ValueError):
            raise InputError(f"data.args: {error}") from error
        raise InputError(f"data={wanted.name}: {user_code_error(error)}") from error


def _options(wanted: DataConfig) -> Mapping[str, Any]:
    """Return the options that a builder may take; raise InputError for one in data.args."""
    for key in BUILDER_OPTIONS:
        if key in wanted.args:
            option = f"data.{key}={wanted.args[key]}"
            raise InputError(f"data.args.{key}: expected {option}, which is an option of its own")
    return {key: getattr(wanted, key) for key in BUILDER_OPTIONS}


def _limit(splits: Splits, wanted: DataConfig) -> Splits:
    """Return the splits with at most as many images as the limits; note limits without effect."""
    limited: dict[str, Any] = {}
    notes = []
    examples = "sequences" if isinstance(splits.train, TextSplit) else "images"
    for name, limit in {"train": wanted.train_limit, "test": wanted.test_limit}.items():
        split: AnySplit = getattr(splits, name)
        count = len(split)
        if limit > count:
            notes.append(
                f"data.{name}_limit={limit} is more than there are: {count:,} {name} {examples}"
            )
        limited[name] = limited_split(split, limit)
    return data.note_missing_classes(replace(splits, **limited, notes=(*splits.notes, *notes)))
