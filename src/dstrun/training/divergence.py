"""NaN and infinity in a model, and the search for the step at which they began."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from dstrun.system.errors import DivergedError
from dstrun.training.loop import Progress
from dstrun.training.trainer import Trainer

State = dict[str, Any] | None  # a checkpoint's content; None: there is none


def not_finite(model: nn.Module) -> list[str]:
    """Return the parameters and buffers that hold NaN or infinity; waits for the device once."""
    named = [*model.named_parameters(), *model.named_buffers()]
    finite = torch.stack([tensor.detach().isfinite().all() for _, tensor in named]).tolist()
    return [name for (name, _), is_finite in zip(named, finite, strict=True) if not is_finite]


def check_finite(
    trainer: Trainer,
    load_state: Callable[[], State] = lambda: None,
    say: Callable[[str], None] = lambda line: None,
    give_up: Callable[[], bool] = lambda: False,
) -> None:
    """Raise DivergedError for a parameter that is not finite, on all ranks.

    Finding the first step takes training again from the last checkpoint, at most
    `checkpoint.every` and an epoch old, which the first rank loads.
    """
    broken, step = not_finite(trainer.model), trainer.progress.step
    if not broken:
        return
    state = trainer.ranks.tell(load_state())
    kept = "there is no checkpoint yet"
    if state:
        kept = f"the checkpoint of step {state['progress']['step']} is kept"
    say(
        f"NaN or infinite by step {step}; {kept}; "
        "repeating the steps since then to find the first bad one"
    )
    first, names = find_first_nonfinite(trainer, state, step, give_up)
    when = f"by step {step}"
    if names:
        when = f"from step {first}, in epoch {(first - 1) // len(trainer.batches) + 1}"
    else:
        names = broken
    where = f"{names[0]} and {len(names) - 1} more" if len(names) > 1 else names[0]
    advice = "a lower schedule.lr may help"
    raise DivergedError(f"NaN or infinite {when}: {where}; {kept}; {advice}")


def find_first_nonfinite(
    run: Trainer, state: State, last: int, give_up: Callable[[], bool]
) -> tuple[int, list[str]]:
    """Return (step, names) of the first parameters or buffers to hold NaN or infinity.

    Trains the run again from `state`, or from the start, to the step `last`, and looks at
    everything after every step, which waits for the device each time. (0, []) where nothing is
    found, since a GPU need not repeat itself bit for bit, or where `give_up()` says so. The batches
    are the run's own, so that a GPU need not hold the images twice. All ranks search together.
    """
    trainer = Trainer(run.config, run.prepared, state, run.data, run.ranks)
    found: list[str] = []

    def check_step(progress: Progress) -> bool:
        found.extend(not_finite(trainer.model))
        return bool(run.ranks.highest(bool(found) or progress.step >= last or give_up())[0])

    for record in trainer.records(check_step, evaluates=False):
        if record.kind == "pause":
            break
    return (trainer.progress.step, found) if found else (0, [])
