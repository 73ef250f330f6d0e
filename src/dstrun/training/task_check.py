"""Check that network, method and schedule are for text, where the data are text."""

from dstrun import models
from dstrun.config.options import Config
from dstrun.data import Splits
from dstrun.runs.identity import applies
from dstrun.runs.tasks import NEXT_TOKEN
from dstrun.system.errors import InputError

EACH_CLASS = "ten images of each class"


def check_task(config: Config, splits: Splits) -> None:
    """Raise InputError for text and a network, or a method, that is for images."""
    model, data = config.model.name, data_option(config)
    if splits.task != NEXT_TOKEN.name:
        return
    if _takes_images(config.model.builder):
        raise InputError(
            f"model={model}: takes images, and {data} has sequences of {splits.shape[0]} "
            "bytes; model=gpt takes them"
        )
    if config.schedule.mixup:
        raise InputError(
            f"schedule.mixup: got {config.schedule.mixup:g}, and the bytes of {data} cannot be "
            "mixed; expected 0"
        )
    if config.reg.method == "synflow":
        raise InputError(
            f"reg.method: synflow feeds the network an image of ones, and {data} has bytes "
            "of text; expected another method, such as snip"
        )
    if applies(config, "reg.images") and not config.reg.images:
        raise InputError(
            f"reg.images: got 0, {EACH_CLASS}, and {data} has text without classes; expected "
            "a number of sequences, such as reg.images=128"
        )


def data_option(config: Config) -> str:
    """Return what the user typed for the data: a folder's name is no choice of data."""
    data = config.data
    return f"data.root={data.root}" if data.builder == "text" else f"data={data.name}"


def _takes_images(builder: str) -> bool:
    """Return whether a network is known to take images: a user's may take either."""
    if builder in models.BUILDERS:
        return builder not in models.OF_SEQUENCES
    return builder.partition(":")[0] in models.PACKAGES
