"""Masks of all layers in one compiled call: what `schedule.compile=mask` asks for.

    after a step          W, t of every layer  →  threshold reset; W ⊙ M of every layer; L_s
    in the backward pass  G of every layer     →  dL/dW, dL/dt of every layer, with the penalty's

One call for all layers, since a call into compiled code costs more than the mask of a small one.
The arithmetic is that of `masking`; the compiler may order a sum differently, which changes the
last bit. torch keeps compiled code on disk, so only the first run of a network waits for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from dstrun.methods.compiler import compiled
from dstrun.methods.dst import masking
from dstrun.methods.dst.masking import ThresholdMask
from dstrun.methods.layer_weights import LayerWeight
from dstrun.methods.weight_mask import compute_dtype


@dataclass
class _Graph:
    """The part of the autograd graph in which one call has computed all masks."""

    is_used: bool = False  # a backward pass has been through it and has freed it


class CompiledMasks:
    """W ⊙ M of all layers and L_s, computed together and handed out one by one.

    factor: of the threshold reset. In training each `CompiledMask` takes its layer's W ⊙ M from
    here, once a pass; the first layer of a pass computes for all where nothing is waiting. What a
    pass leaves, such as the mask of a layer that it did not call, is dropped after its backward
    pass. Weights must not change in between: autograd refuses the backward pass if they do.
    """

    def __init__(self, factor: float) -> None:
        self._factor = factor
        self._layers: list[LayerWeight] = []  # in the order of the masks
        self._parameters: list[nn.Parameter] = []  # theirs
        self._masks: list[CompiledMask] = []
        self._waiting: dict[int, Tensor] = {}  # W ⊙ M by the place of its layer
        self._first: int | None = None  # the layer that a forward pass asks for first
        self.penalty: Tensor | None = None  # L_s, computed with the masks
        self._dtypes: dict[int, torch.dtype] = {}  # that layers last asked for, by place
        self._graph = _Graph()

    def __getstate__(self) -> dict[str, Any]:
        """Leave out tensors of an autograd graph, which cannot be copied."""
        return self.__dict__ | {"_waiting": {}, "penalty": None}

    def add(self, mask: "CompiledMask") -> int:
        """Add a mask and return its place, which is that of its layer."""
        self._masks.append(mask)
        return len(self._masks) - 1

    def take_layers(self, layers: Sequence[LayerWeight]) -> None:
        """Take the layers, whose parameters stay the same objects in all of a run."""
        self._layers = list(layers)
        self._parameters = [layer.parameter for layer in layers]

    def compute(self, floor: float, counts: bool) -> Tensor:
        """Reset thresholds of layers at their floor, then compute every W ⊙ M and L_s.

        Returns how many weights were kept before the reset, if `counts` asks for it.
        """
        thresholds = [mask.threshold for mask in self._masks]
        self._graph = _Graph()
        dtypes = tuple(self._dtypes.get(place, torch.float32) for place in range(len(self._masks)))
        settings = self._graph, floor, self._factor, counts, dtypes
        with torch.enable_grad():  # a pass without gradients may leave masks to one with them
            pairs = zip(self._layers, self._parameters, strict=True)
            weights = [layer.of(parameter) for layer, parameter in pairs]
            results = _ResetAndMask.apply(*settings, *weights, *thresholds)
        *products, penalty, kept = results
        self._waiting = dict(enumerate(products))
        self.penalty = penalty
        return kept.detach()

    def take(self, place: int, weight: Tensor) -> Tensor | None:
        """Return W ⊙ M of a layer, once a pass; None for a layer that is called again.

        None too for another weight than the layer's own, as functional_call passes, and for another
        dtype than in the pass before.
        """
        if not self._parameters:
            return None
        own = self._parameters[place]
        if weight is not own and weight._base is not own:
            return None
        self._drop_used()
        dtype = compute_dtype(weight)
        if not self._waiting and self._first in (None, place):  # a new forward pass
            unknown = set(range(len(self._masks))) - self._dtypes.keys()
            self._dtypes |= dict.fromkeys(unknown, dtype)
            self.compute(floor=0.0, counts=False)  # thresholds were reset after the last step
        if len(self._waiting) == len(self._masks):
            self._first = place
        self._dtypes[place] = dtype
        product = self._waiting.pop(place, None)
        return product if product is None or product.dtype == dtype else None

    def take_penalty(self) -> Tensor | None:
        """Return `penalty` once; then None, since a graph is differentiated once."""
        self._drop_used()
        penalty, self.penalty = self.penalty, None
        return penalty

    def unread(self) -> set[int]:
        """Return the places of the layers that no forward pass has asked for their mask."""
        return set(self._waiting)

    def _drop_used(self) -> None:
        """Drop what belongs to a graph that is freed."""
        if self._graph.is_used:
            self.clear()

    def clear(self) -> None:
        """Drop everything that is waiting."""
        self._waiting, self._first, self.penalty = {}, None, None
        self._graph = _Graph()


class CompiledMask(ThresholdMask):
    """A ThresholdMask whose W ⊙ M comes, in training, from one call for all layers."""

    def __init__(self, weight: Tensor, granularity: str, group: CompiledMasks) -> None:
        super().__init__(weight, granularity)
        self._group, self._place = group, group.add(self)

    def forward(self, weight: Tensor) -> Tensor:
        """Return W ⊙ M, computed with the other layers' in training."""
        if self.training and self.frozen is None:
            product = self._group.take(self._place, weight)
            if product is not None:
                return product
        return super().forward(weight)


class _ResetAndMask(torch.autograd.Function):
    """Autograd function (W, …, t, …) → (W ⊙ M, …, L_s, kept); resets t in place."""

    @staticmethod
    def forward(
        ctx: Any,
        graph: _Graph,
        floor: float,
        factor: float,
        counts: bool,
        dtypes: Sequence[torch.dtype],
        *weights_and_thresholds: Tensor,
    ) -> tuple[Tensor, ...]:
        half = len(weights_and_thresholds) // 2
        weights, thresholds = weights_and_thresholds[:half], weights_and_thresholds[half:]
        # detached: the reset is no part of the graph
        detached = [threshold.detach() for threshold in thresholds]
        call = compiled(_reset_and_mask, weights[0].device)
        results = call(weights, detached, floor, factor, counts, dtypes)
        ctx.graph = graph
        ctx.mark_non_differentiable(results[-1])
        ctx.save_for_backward(*weights_and_thresholds)
        return results

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        ctx.graph.is_used = True
        *grads_masked, grad_penalty, _ = grads
        saved, half = ctx.saved_tensors, len(grads_masked)
        call = compiled(_gradients, saved[0].device)
        found = call(grads_masked, grad_penalty, saved[:half], saved[half:])
        return None, None, None, None, None, *found


def _reset_and_mask(
    weights: Sequence[Tensor],
    thresholds: Sequence[Tensor],
    floor: float,
    factor: float,
    counts: bool,
    dtypes: Sequence[torch.dtype],
) -> tuple[Tensor, ...]:
    kept = thresholds[0].new_zeros(())
    if floor > 0 or counts:
        kept = torch.stack(masking.reset_at_floor(weights, thresholds, floor, factor)).sum()
    triples = zip(weights, thresholds, dtypes, strict=True)
    products = [masking.masked(*triple) for triple in triples]
    return *products, masking.penalty(thresholds), kept


def _gradients(
    grads: Sequence[Tensor],
    grad_penalty: Tensor,
    weights: Sequence[Tensor],
    thresholds: Sequence[Tensor],
) -> tuple[Tensor, ...]:
    to_weights, to_thresholds = [], []
    pushes = masking.penalty_gradients(grad_penalty, thresholds)
    for grad, weight, threshold, push in zip(grads, weights, thresholds, pushes, strict=True):
        to_weight, to_threshold = masking.gradients(grad, weight, threshold)
        to_weights.append(to_weight)
        to_thresholds.append(to_threshold + push)
    return *to_weights, *to_thresholds
