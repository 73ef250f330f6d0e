"""One update of the weights: a batch in, loss and number right out, the model changed.

    forward → cross-entropy + α · penalty → backward → optimiser → method.after_step()

`Update` does it operation by operation; `CompiledUpdate` has torch.compile make one call of it.
Neither waits for the device. Knows the Method protocol and the optimisers; it knows no epoch, no
file and no config."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer

from dstrun.methods.dst.method import Method
from dstrun.training.evaluate import Autocast, correct
from dstrun.training.optim import TracedSGD

Gradients = Sequence[Tensor | None]


class Update:
    """`update(images, labels, lr)` → (mean cross-entropy in nats, images classified right), both
    before the update.

    `accumulate` is the number of pieces a batch is computed in; `clip` > 0 bounds the norm of the
    gradient, and before that `threshold_clip` > 0 the size of each threshold's own."""

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimiser: Optimizer,
        *,
        autocast: Autocast = nullcontext,
        accumulate: int = 1,
        clip: float = 0.0,
        threshold_clip: float = 0.0,
    ) -> None:
        self.model, self.method, self.optimiser = model, method, optimiser
        self.autocast, self._accumulate, self._clip = autocast, accumulate, clip
        self._parameters = [
            parameter for parameter in model.parameters() if parameter.requires_grad
        ]
        thresholds = (
            {id(threshold) for threshold in method.thresholds()} if threshold_clip else set()
        )
        self._bounded = [
            place for place, parameter in enumerate(self._parameters) if id(parameter) in thresholds
        ]
        self._bound = threshold_clip

    def __call__(self, images: Tensor, labels: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.optimiser.zero_grad()
        loss, right = self._backward(images, labels)
        if self._bounded:
            self._bind([parameter.grad for parameter in self._parameters])
        if self._clip > 0:
            nn.utils.clip_grad_norm_(self._parameters, self._clip)
        self.optimiser.step()
        self.method.after_step()
        return loss, right

    def _backward(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Give every parameter its gradient, computed in `accumulate` pieces."""
        pieces = min(
            self._accumulate, max(1, len(images) // 2)
        )  # batch norm cannot train on a piece of one image
        if pieces == 1:
            return self._pass(images, labels, 1.0, True)
        losses: list[Tensor] = []
        rights: list[Tensor] = []
        for piece, piece_labels in zip(
            images.tensor_split(pieces), labels.tensor_split(pieces), strict=True
        ):
            share = len(piece) / len(images)
            loss, right = self._pass(piece, piece_labels, share, not losses)
            losses.append(loss * share)
            rights.append(right)
        return torch.stack(losses).sum(), torch.stack(rights).sum()

    def _pass(
        self, images: Tensor, labels: Tensor, share: float, penalised: bool
    ) -> tuple[Tensor, Tensor]:
        """Add the gradients of `share` of the loss and, where asked, of α · penalty; return loss
        and number right."""
        total, loss, right = self._forward(images, labels, share, penalised)
        total.backward()
        return loss, right

    def _forward(
        self, images: Tensor, labels: Tensor, share: float, penalised: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return what is to be differentiated, the mean loss, and the number of images classified
        right."""
        with self.autocast():
            self.method.before_pass()
            logits = self.model(images)
        loss = F.cross_entropy(logits.float(), labels)
        total = loss * share if share < 1 else loss
        if penalised:
            total = self.method.regularised(total)
        return total, loss.detach(), correct(logits.detach(), labels)

    def _bind(self, grads: Gradients) -> None:
        """Clamp each threshold's gradient to ±threshold_clip, in place."""
        ours = [grads[place] for place in self._bounded]
        bounded = [grad for grad in ours if grad is not None]
        if bounded:  # else masks are frozen
            torch._foreach_clamp_min_(bounded, -self._bound)
            torch._foreach_clamp_max_(bounded, self._bound)


class CompiledUpdate(Update):
    """An Update that is one compiled call, for batches of `batch_size` images.

    An epoch's last batch is smaller than the others and is computed as by Update: compiling again
    for it would cost more than it saves. The optimiser's part is in the call for plain SGD; with
    another optimiser, with `accumulate` or `clip`, the call is forward and backward pass. On a GPU
    its kernels are replayed as one CUDA graph, but for `accumulate`, since a replay writes its
    results over those of the one before."""

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimiser: Optimizer,
        batch_size: int,
        **options: object,
    ) -> None:
        super().__init__(model, method, optimiser, **options)  # type: ignore[arg-type]
        torch._dynamo.config.trace_autograd_ops = (
            True  # lets torch.autograd.grad be part of what is compiled
        )
        device = self._parameters[0].device
        replay = device.type == "cuda" and self._accumulate == 1
        compiled = torch.compile(
            dynamic=False, fullgraph=True, mode="reduce-overhead" if replay else None
        )
        self._smallest = batch_size // self._accumulate
        self._compiled = compiled(self._gradients)
        self._descent: TracedSGD | None = None
        if isinstance(optimiser, torch.optim.SGD) and self._accumulate == 1 and self._clip == 0:
            self._descent = TracedSGD(optimiser, self._parameters)
            self._lr = torch.zeros((), device=device)
            self._whole: Callable = compiled(self._update)

    def __call__(self, images: Tensor, labels: Tensor, lr: float) -> tuple[Tensor, Tensor]:
        if self._descent is None or len(images) < self._smallest:
            return super().__call__(images, labels, lr)
        self._lr.fill_(lr)
        return self._whole(images, labels, self._lr, self._descent.momenta)

    def _update(
        self, images: Tensor, labels: Tensor, lr: Tensor, momenta: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        loss, right, grads = self._gradients(images, labels, 1.0, True)
        assert self._descent is not None
        if self._bounded:
            self._bind(grads)
        self._descent(grads, lr, momenta)
        self.method.after_step()
        return loss, right

    def _pass(
        self, images: Tensor, labels: Tensor, share: float, penalised: bool
    ) -> tuple[Tensor, Tensor]:
        if len(images) < self._smallest:
            return super()._pass(images, labels, share, penalised)
        loss, right, grads = self._compiled(images, labels, share, penalised)
        self._add(grads)
        return loss, right

    def _gradients(
        self, images: Tensor, labels: Tensor, share: float, penalised: bool
    ) -> tuple[Tensor, Tensor, Gradients]:
        """Return loss, number right, and gradients as values, since compiled code cannot leave them
        in `.grad`."""
        total, loss, right = self._forward(images, labels, share, penalised)
        return loss, right, torch.autograd.grad(total, self._parameters, allow_unused=True)

    def _add(self, grads: Gradients) -> None:
        """Do with gradients what `backward()` does."""
        seen: set[int] = set()
        for parameter, grad in zip(self._parameters, grads, strict=True):
            if grad is not None and parameter.grad is not None:
                parameter.grad.add_(grad)
            elif grad is not None:
                # a + b's gradient is one tensor for both, and torch's fused optimisers take no
                # notice of strides
                alien = grad.data_ptr() in seen or grad.stride() != parameter.stride()
                seen.add(grad.data_ptr())
                parameter.grad = torch.empty_like(parameter).copy_(grad) if alien else grad
