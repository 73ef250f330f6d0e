"""Keys of options: refuse unknown ones and name the option that was probably meant."""

from collections.abc import Sequence

from dstrun.config.messages import did_you_mean, near
from dstrun.config.options import FREE, GROUPS, OPTIONS
from dstrun.system.errors import InputError

OTHER_NAMES = {
    "learning_rate": "schedule.lr",
    "optimizer": "schedule.optimiser",
    "wd": "schedule.weight_decay",
    "bs": "schedule.batch_size",
    "amp": "schedule.precision",
    "lambda": "reg.alpha",
    "regularizer": "reg",
    "density": "reg.target_density",
    "sparsity": "reg.target_density",
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
    """Raise InputError, with near names, for a dotted key that is no option, nor one of `besides`.

    An option whose last part is the key comes with the value, ready to be typed.
    """
    if key in OPTIONS or key in besides or any(key.startswith(f"{free}.") for free in FREE):
        return
    last = key.rpartition(".")[2].replace("-", "_").lower()
    known = [*GROUPS, *OPTIONS]
    exact = [option for option in known if option.rpartition(".")[2] == last]
    exact += [OTHER_NAMES[last]] if last in OTHER_NAMES and not exact else []
    hint = did_you_mean(exact, value) or near(key, known)
    raise InputError(f"{key}: there is no such option{hint}")
