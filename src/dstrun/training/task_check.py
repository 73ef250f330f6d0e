"""Check that network, method and schedule are for text, where the data are text."""

from dstrun import models
from dstrun.config.options import Config
from dstrun.data import Splits
from dstrun.runs.identity import applies
from dstrun.runs.tasks import NEXT_TOKEN
from dstrun.system.errors import InputError

EACH_CLASS = "ten images of each class"


def check_task(config: Config, splits: Splits) -> None:
    """Raise InputError for text and a network of dstrun's, or a method, that is for images."""
    model, data, builder = config.model.name, config.data.name, config.model.builder
    if splits.task != NEXT_TOKEN.name:
        return
    if builder in models.BUILDERS and builder not in models.OF_SEQUENCES:
        raise InputError(
            f"model={model}: takes images, and data={data} has sequences of {splits.shape[0]} "
            "bytes; model=gpt takes them"
        )
    if config.schedule.mixup:
        raise InputError(
            f"schedule.mixup: got {config.schedule.mixup:g}, and bytes of text cannot be mixed; "
            f"data={data} needs 0"
        )
    if config.reg.method == "synflow":
        raise InputError(
            f"reg.method: synflow feeds the network an image of ones, and data={data} has bytes "
            "of text; expected another method, such as snip"
        )
    if applies(config, "reg.images") and not config.reg.images:
        raise InputError(
            f"reg.images: got 0, {EACH_CLASS}, and data={data} has text without classes; expected "
            "a number of sequences, such as reg.images=128"
        )
