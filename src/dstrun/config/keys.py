"""Check of option keys, with a suggestion for an unknown one."""

from collections.abc import Sequence

from dstrun.config.messages import did_you_mean, near
from dstrun.config.options import FREE, GROUPS, OPTIONS
from dstrun.system.errors import InputError

OTHER_NAMES = {  # names that other programs use: the option here
    "learning_rate": "schedule.lr",
    "optimizer": "schedule.optimiser",
    "wd": "schedule.weight_decay",
    "bs": "schedule.batch_size",
    "amp": "schedule.precision",
    "lambda": "reg.alpha",
    "regularizer": "reg",
    "density": "reg.density",
    "sparsity": "reg.density",
    "network": "model",
    "arch": "model",
    "dataset": "data",
    "data_dir": "data.root",
    "gpu": "device",
    "gpus": "device",
    "workers": "n_jobs",
    "jobs": "n_jobs",
    "output": "outputs",
    "output_dir": "outputs",
    "out": "outputs",
    "resume": "init",
    "pretrained": "init",
    "config": "experiment",
}


def check_key(key: str, value: str = "", besides: Sequence[str] = ()) -> None:
    """Raise InputError, with near names, for a dotted key that is no option and not in `besides`.

    If the last part of an option is the key, the message shows that option with `value`.
    """
    if key in OPTIONS or key in besides or any(key.startswith(f"{free}.") for free in FREE):
        return
    last = key.rpartition(".")[2].replace("-", "_").lower()
    known = [*GROUPS, *OPTIONS]
    exact = [option for option in known if option.rpartition(".")[2] == last]
    exact += [OTHER_NAMES[last]] if last in OTHER_NAMES and not exact else []
    if last == "sparsity":
        value = _complement(value)
    hint = did_you_mean(exact, value) or near(key, known)
    raise InputError(f"{key}: there is no such option{hint}")


def _complement(value: str) -> str:
    """Return 1 − value, the density of a sparsity; '' for what is no number."""
    try:
        return f"{1 - float(value):.6g}"
    except ValueError:
        return ""
