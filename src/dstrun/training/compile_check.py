"""Comparison of a compiled step with an uncompiled one, before a compiled run trains.

    optimiser without moments  →  one step of a batch by objects of their own, not compiled
                               →  the same step compiled  →  gradients compared  →  all restored

A compiler that loses a gradient trains to a wrong result without an error: torch 2.11 loses that
of all masked weights for one form of the same formula. The comparison costs two steps.
"""

import copy
from dataclasses import replace
from math import inf, isnan
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dstrun.config.options import Config
from dstrun.methods.weight_mask import is_of_mask
from dstrun.runs import checkpoint
from dstrun.system.machine import is_out_of_memory
from dstrun.training.prepare import Prepared
from dstrun.training.trainer import Trainer

# What may differ by rounding. In fp32 it is the relative difference of gradients. bf16 keeps three
# digits, and its rounding adds up over layers: at the start of VGG-16, 16 images a batch, gradients
# differ by 0.4 from those in fp32, so that their directions are compared. A gradient that is lost
# differs by 1 in both measures.
TOLERANCE = {"fp32": 0.1, "bf16": 0.5}
MEASURE = {"fp32": "relative difference", "bf16": "1 − cosine"}
TRIES = 2  # batches, before a difference counts: a mask's reset can depend on a single weight
AS_RANDOM = 4  # times what another seed changes: no more than that is other random numbers
LONG_STEP = 1024.0  # learning rate
GROUPS = ("weights", "thresholds", "other parameters")

Gradients = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]


class CompiledStepError(RuntimeError):
    """A compiled step with other gradients than the uncompiled one. The message names them."""


def compare_with_eager(config: Config, prepared: Prepared, trainer: Trainer) -> str:
    """Return, in words, how near the gradients of a compiled step are to those of an eager one.

    Leaves the trainer as it was, bit for bit, with its step compiled. Raises CompiledStepError
    where they differ by more than TOLERANCE, unless another seed changes them as much: compiled
    code draws random numbers, such as those of dropout, in another way.
    """
    schedule, precision = config.schedule, config.schedule.precision
    eager = replace(config, schedule=replace(schedule, compile="off"))
    snapshot = _Snapshot(trainer)
    batches = trainer.batches.shuffled(0)
    found: dict[str, float] = {}
    try:
        for batch in [next(batches) for _ in range(min(TRIES, len(trainer.batches)))]:
            theirs = _eager_gradients(eager, prepared, trainer, batch)
            if not all(gradient.isfinite().all() for gradient in theirs.values()):
                return "not compared with an uncompiled step, whose gradients are NaN or infinite"
            found = differences(_step_gradients(trainer, batch), theirs, precision)
            if (worst := max(found.values())) <= TOLERANCE[precision]:
                within = f"within {worst:.1g} ({MEASURE[precision]})"
                return f"gradients equal to those of an uncompiled step {within}"
            snapshot.restore()
            again = _eager_gradients(eager, prepared, trainer, batch, seed=config.seed + 1)
            if worst <= AS_RANDOM * max(differences(again, theirs, precision).values()):
                return "not compared with an uncompiled step: this network draws random numbers"
    except Exception as error:
        if is_out_of_memory(error):
            return "not compared with an uncompiled step, for which memory is too short"
        raise
    finally:
        snapshot.restore()
    raise CompiledStepError(_message(config, found))


def differences(ours: Gradients, theirs: Gradients, precision: str) -> dict[str, float]:
    """Return by how much gradients differ in each of GROUPS that there is, by MEASURE.

    fp32: ‖ours − theirs‖ / ‖theirs‖; bf16: 1 − ours · theirs / (‖ours‖ ‖theirs‖). A group is
    compared as a whole: the gradient of a bias in front of batch norm is rounding alone. NaN counts
    as infinite, since the largest of several numbers may pass over it.
    """
    found = {}
    for group in GROUPS:
        names = [name for name in theirs if _group(name, theirs) == group]
        if names:
            our, their = (torch.cat([side[n].flatten() for n in names]) for side in (ours, theirs))
            share = _apart(our, their, precision)
            found[group] = inf if isnan(share) else share
    return found


def _apart(ours: Tensor, theirs: Tensor, precision: str) -> float:
    if torch.equal(ours, theirs):
        return 0.0
    if precision == "fp32":
        return float((ours - theirs).norm() / theirs.norm())
    return float(1 - (ours @ theirs) / (ours.norm() * theirs.norm()).clamp_min(1e-30))


def _group(name: str, gradients: Gradients) -> str:
    if is_of_mask(name, gradients):
        return "thresholds"
    return "weights" if gradients[name].dim() > 1 else "other parameters"


def _message(config: Config, found: dict[str, float]) -> str:
    """Return the error in one line: how far which gradients are off, and what to do."""
    group = max(found, key=lambda name: found[name])
    schedule = config.schedule
    measure, allowed = MEASURE[schedule.precision], TOLERANCE[schedule.precision]
    return (
        f"schedule.compile={schedule.compile}: the compiled step has other gradients of {group} "
        f"than the uncompiled one, with torch {torch.__version__}: {measure} {found[group]:.2g}, "
        f"at most {allowed} is rounding; schedule.compile=off trains as it should"
    )


def _eager_gradients(
    config: Config, prepared: Prepared, trainer: Trainer, batch: Batch, seed: int | None = None
) -> Gradients:
    """Return the gradients of a step by objects of their own, which share the optimiser's moments.

    `seed` replaces the state of the generators.
    """
    alike = Trainer(config, prepared, trainer.state_dict(), trainer.data, trainer.ranks)
    if seed is not None:
        torch.manual_seed(seed)
    return _step_gradients(alike, batch)


def _step_gradients(trainer: Trainer, batch: Batch) -> Gradients:
    """Make a step without moments; return the gradients by parameter, weight decay included."""
    model, optimiser = trainer.model, trainer.update.optimiser
    _zero(optimiser)
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    model.train()
    # without moments a parameter's movement is compared: far above the rounding of its value
    trainer.update(*batch, lr=1.0 if _has_moments(optimiser) else LONG_STEP)
    return {
        name: _gradient(optimiser, one, before[name])
        for name, one in model.named_parameters()
        if one.requires_grad
    }


def _gradient(optimiser: Optimizer, parameter: nn.Parameter, before: Tensor) -> Tensor:
    """Return the gradient of a first step, up to a factor: the first moment, or the movement."""
    if not _has_moments(optimiser):
        return before - parameter.detach()
    state = optimiser.state.get(parameter, {})
    moment = state.get("exp_avg", state.get("momentum_buffer"))
    return torch.zeros_like(before) if moment is None else moment.clone()


def _has_moments(optimiser: Optimizer) -> bool:
    return optimiser.param_groups[0].get("momentum") != 0


def _zero(optimiser: Optimizer) -> None:
    for tensor in _state_tensors(optimiser):
        tensor.zero_()


def _state_tensors(optimiser: Optimizer) -> list[Tensor]:
    found = []
    for state in optimiser.state.values():
        found += [value for value in state.values() if isinstance(value, Tensor)]
    return found


class _Snapshot:
    """What a step changes of a trainer.

    It is restored in place, since CUDA graphs use the addresses that they were recorded with.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._state = copy.deepcopy(self._of_others())
        self._tensors = self._live_tensors()
        self._values = [tensor.detach().clone() for tensor in self._tensors]

    def _of_others(self) -> dict[str, Any]:
        device = self._trainer.prepared.device
        return {
            "method": self._trainer.state_dict()["method"],
            "generators": checkpoint.generators(device),  # of this rank
        }

    def _live_tensors(self) -> list[Tensor]:
        model = self._trainer.model
        moments = _state_tensors(self._trainer.update.optimiser)
        return [*model.parameters(), *model.buffers(), *moments]

    @torch.no_grad()
    def restore(self) -> None:
        """Restore parameters, buffers, the optimiser's state, the method's, the generators'."""
        optimiser = self._trainer.update.optimiser
        optimiser.zero_grad()  # of which layers.csv has norms
        _zero(optimiser)  # those that the step has made: 0 is as good as none
        for tensor, value in zip(self._tensors, self._values, strict=True):
            tensor.copy_(value)
        self._trainer.method.load_state_dict(self._state["method"])
        checkpoint.set_generators(self._state["generators"], self._values[0].device)
