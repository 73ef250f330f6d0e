"""NaN and infinity in a model, and the search for the step at which they began."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dstrun.config.options import Config
from dstrun.training.build import Prepared
from dstrun.training.loop import Progress
from dstrun.training.ranks import ALONE, Ranks
from dstrun.training.trainer import Data, Trainer


def not_finite(model: nn.Module) -> list[str]:
    """Return the parameters and buffers that hold NaN or infinity; waits for the device once."""
    named = [*model.named_parameters(), *model.named_buffers()]
    finite = torch.stack([tensor.detach().isfinite().all() for _, tensor in named]).tolist()
    return [name for (name, _), is_finite in zip(named, finite, strict=True) if not is_finite]


def find_first_nonfinite(
    config: Config,
    prepared: Prepared,
    state: dict[str, Any] | None,
    last: int,
    give_up: Callable[[], bool],
    data: Data | None = None,
    ranks: Ranks = ALONE,
) -> tuple[int, list[str]]:
    """Return (step, names) of the first parameters or buffers to hold NaN or infinity.

    Trains again from `state`, or from the start, to the step `last`, and looks at everything after
    every step, which waits for the device each time. (0, []) where nothing is found, since a GPU
    need not repeat itself bit for bit, or where `give_up()` says so. `data`: that of the run's own
    trainer, so that a GPU need not hold the images twice. All ranks search together.
    """
    trainer = Trainer(config, prepared, state, data, ranks)
    found: list[str] = []

    def check_step(progress: Progress) -> bool:
        found.extend(not_finite(trainer.model))
        return bool(ranks.highest(bool(found) or progress.step >= last or give_up())[0])

    for record in trainer.records(check_step, evaluates=False):
        if record.kind == "pause":
            break
    return (trainer.progress.step, found) if found else (0, [])
