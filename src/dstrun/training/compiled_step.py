"""A training step as one compiled call: what `schedule.compile=step` asks for."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.sgd import sgd

from dstrun.data.batches import part_of
from dstrun.methods.base import Method
from dstrun.methods.compiler import compile_for, keep_address
from dstrun.methods.weight_mask import MASK, WeightMask
from dstrun.training.optim import LR_FACTOR
from dstrun.training.step import Update

Gradients = Sequence[Tensor | None]


class CompiledUpdate(Update):
    """An Update that is one compiled call, for batches of `batch_size` images.

    An epoch's last batch is smaller than the others and is computed as by Update: compiling again
    for it would cost more than it saves. The optimiser's part is in the call for plain SGD; with
    another optimiser, with `accumulate` or `clip`, and on several ranks, the call is forward and
    backward pass. A step in which the method moves masks is computed as by Update, too. On a GPU
    its kernels are replayed as one CUDA graph, but for `accumulate`, since a replay writes its
    results over those of the one before.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimiser: Optimizer,
        batch_size: int,
        **options: Any,
    ) -> None:
        super().__init__(model, method, optimiser, **options)
        torch._dynamo.config.trace_autograd_ops = True  # compiles torch.autograd.grad
        device = self._parameters[0].device
        compiled = partial(
            compile_for,
            device=device,
            is_replayed=self._accumulate == 1,
            orders_loops=not _has_threshold_per_weight(model),  # on which torch 2.11 fails
        )
        own = part_of(batch_size, self.ranks.rank, self.ranks.size)
        self._smallest = len(own) // self._accumulate
        self._compiled = compiled(self._gradients)
        self._descent: TracedSGD | None = None
        is_plain = self._accumulate == 1 and self._clip == 0 and self.ranks.size == 1
        if isinstance(optimiser, torch.optim.SGD) and is_plain:
            self._descent = TracedSGD(optimiser, self._parameters)
            self._lr = torch.zeros((), device=device)
            keep_address(self._lr)
            self._whole: Callable = compiled(self._update)

    def __call__(
        self, images: Tensor, labels: Tensor, lr: float, of: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Make one step at the learning rate `lr`; `of`: images of the batch on all ranks."""
        is_small = len(images) < self._smallest
        if self._descent is None or is_small or self.method.is_update_step:
            return super().__call__(images, labels, lr, of)
        if self._parameters[0].grad is not None:
            self.optimiser.zero_grad()  # gradients that a step computed as by Update has left
        self._lr.fill_(lr)
        return self._whole(images, labels, self._lr, self._descent.momenta)

    def _update(
        self, images: Tensor, labels: Tensor, lr: Tensor, momenta: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        loss, right, grads = self._gradients(images, labels, 1.0, True)
        assert self._descent is not None
        if self.method.reads_gradients:
            self.method.on_gradients(grads)
        self._descent(grads, lr, momenta)
        self.method.after_step()
        return loss, right

    def _backward(
        self, images: Tensor, labels: Tensor, share: float, penalised: bool
    ) -> tuple[Tensor, Tensor]:
        if self._descent is not None or len(images) < self._smallest:
            return super()._backward(images, labels, share, penalised)
        loss, right, grads = self._compiled(images, labels, share, penalised)
        self._add(grads)
        return loss, right

    def _gradients(
        self, images: Tensor, labels: Tensor, share: float, penalised: bool
    ) -> tuple[Tensor, Tensor, Gradients]:
        """Return loss, number right and gradients, which compiled code cannot leave in `.grad`."""
        total, loss, right = self._forward(images, labels, share, penalised)
        return loss, right, torch.autograd.grad(total, self._parameters, allow_unused=True)

    def _add(self, grads: Gradients) -> None:
        """Add gradients to `.grad` as `backward()` does."""
        seen: set[int] = set()
        for parameter, grad in zip(self._parameters, grads, strict=True):
            if grad is not None and parameter.grad is not None:
                parameter.grad.add_(grad)
            elif grad is not None:
                # a + b has one gradient tensor for both; fused optimisers ignore strides
                copies = grad.data_ptr() in seen or grad.stride() != parameter.stride()
                seen.add(grad.data_ptr())
                parameter.grad = torch.empty_like(parameter).copy_(grad) if copies else grad


def _has_threshold_per_weight(model: nn.Module) -> bool:
    """Return whether a mask has a parameter of its weight's shape."""
    for layer in model.modules():
        mask = getattr(layer, MASK, None)
        if isinstance(mask, WeightMask):
            shape = cast(Tensor, layer.weight).shape
            if any(parameter.shape == shape for parameter in mask.parameters()):
                return True
    return False


class TracedSGD:
    """The step of a torch.optim.SGD, on its own state, in a form that torch.compile can trace."""

    def __init__(self, optimiser: torch.optim.SGD, parameters: Sequence[nn.Parameter]) -> None:
        self._optimiser, self._parameters = optimiser, parameters
        places = {id(parameter): place for place, parameter in enumerate(parameters)}
        self._groups: list[tuple[list[int], dict[str, Any]]] = []
        for group in optimiser.param_groups:
            own = [places[id(p)] for p in group["params"] if id(p) in places]
            self._groups.append((own, {**group}))

    @cached_property
    def momenta(self) -> list[Tensor]:
        """The momentum of every parameter, as the optimiser holds it: zeros where it has none."""
        state = self._optimiser.state
        for parameter in self._parameters:
            if state[parameter].get("momentum_buffer") is None:
                state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        momenta = [state[parameter]["momentum_buffer"] for parameter in self._parameters]
        for momentum in momenta:
            keep_address(momentum)
        return momenta

    @torch.no_grad()
    def __call__(self, grads: Gradients, lr: Any, momenta: Sequence[Tensor]) -> None:
        """Move every parameter that has a gradient.

        `lr` is a 0-dim tensor, so that its value is not compiled in.
        """
        names = ("weight_decay", "momentum", "dampening", "nesterov", "maximize")
        for places, group in self._groups:
            moved: list[Tensor] = []
            by: list[Tensor] = []
            own: list[Tensor | None] = []
            for place in places:
                grad = grads[place]
                if grad is not None:
                    moved.append(self._parameters[place])
                    by.append(grad)
                    own.append(momenta[place] if group["momentum"] else None)
            sgd(
                moved,
                by,
                own,
                foreach=True,
                lr=lr * group[LR_FACTOR] if LR_FACTOR in group else lr,
                **{name: group[name] for name in names},
            )
