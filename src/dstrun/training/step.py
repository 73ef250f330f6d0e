"""One training step: a batch in, loss and number right out, the model changed.

    forward → cross-entropy + penalty → backward → mean over ranks → method.on_gradients →
    optimiser → after_step

Nothing here waits for the device. `compiled_step` has the same step as one compiled call.
"""

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from dstrun.data.batches import is_divided
from dstrun.methods.base import Method
from dstrun.training.evaluate import Autocast
from dstrun.training.loss import mean_loss
from dstrun.training.optim import LR_FACTOR
from dstrun.training.ranks import ALONE, Ranks

STATISTICS = ("running_mean", "running_var")  # buffers of batch norm


class Update:
    """`update(images, labels, lr)` → (mean cross-entropy in nats, images classified right).

    Both are those before the step. Of sequences (B, L) the loss is that of a prediction, and each
    counts as the share of its L predictions that are right. `accumulate` is the number of pieces a
    batch is computed in; `clip` > 0 bounds the norm of the gradient. `label_smoothing` is the share
    of a label that is spread over all classes. ranks: the processes that train together, each on
    its part of a batch.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimiser: Optimizer,
        *,
        autocast: Autocast = nullcontext,
        accumulate: int = 1,
        clip: float = 0.0,
        label_smoothing: float = 0.0,
        ranks: Ranks = ALONE,
    ) -> None:
        self.model, self.method, self.optimiser = model, method, optimiser
        self.autocast, self._accumulate, self._clip = autocast, accumulate, clip
        self._label_smoothing, self.ranks = label_smoothing, ranks
        named = model.named_buffers()
        self._statistics = [one for name, one in named if name.rpartition(".")[2] in STATISTICS]
        self._parameters = [one for one in model.parameters() if one.requires_grad]

    def __call__(
        self, images: Tensor, labels: Tensor, lr: float, of: int = 0
    ) -> tuple[Tensor, Tensor]:
        """Make one step at the learning rate `lr`; `of`: images of the batch on all ranks."""
        parts = self.ranks.size if is_divided(of, self.ranks.size) else 1
        weight = parts * len(images) / max(of, len(images))  # of this part in the mean over ranks
        for group in self.optimiser.param_groups:
            group["lr"] = lr * group.get(LR_FACTOR, 1.0)
        self.optimiser.zero_grad()
        losses: list[Tensor] = []
        rights: list[Tensor] = []
        for piece, piece_labels, share in self._pieces(images, labels):
            share *= weight
            loss, right = self._backward(piece, piece_labels, share, penalised=not losses)
            if not len(piece):  # all images of the part are damaged: the mean of none is NaN
                loss = torch.zeros_like(loss)
            losses.append(loss if share == 1 else loss * share)
            rights.append(right)
        if len(losses) == 1:
            loss, right = losses[0], rights[0]
        else:
            loss, right = torch.stack(losses).sum(), torch.stack(rights).sum()
        if self.ranks.size > 1:
            right = right.float() * parts
            self._average([loss, right])
        if self._finish_gradients():
            self.optimiser.step()
        self.method.after_step()
        return loss, right

    def _pieces(self, images: Tensor, labels: Tensor) -> Sequence[tuple[Tensor, Tensor, float]]:
        """Return (images, labels, share of the batch) of each piece a batch is computed in."""
        # batch norm cannot train on a piece of one image
        count = min(self._accumulate, max(1, len(images) // 2))
        if count == 1:
            return [(images, labels, 1.0)]
        parts = zip(images.tensor_split(count), labels.tensor_split(count), strict=True)
        return [(part, own, len(part) / len(images)) for part, own in parts]

    def _backward(
        self, images: Tensor, labels: Tensor, share: float, penalised: bool
    ) -> tuple[Tensor, Tensor]:
        """Add the gradients of `share` of the loss and, if asked, of the penalty, to `.grad`."""
        total, loss, right = self._forward(images, labels, share, penalised)
        total.backward()
        return loss, right

    def _forward(
        self, images: Tensor, labels: Tensor, share: float, penalised: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the scalar to differentiate, the mean loss, and the number classified right."""
        with self.autocast():
            logits = self.model(images)
        logits = logits if logits.dtype == torch.float64 else logits.float()
        loss, right = mean_loss(logits, labels, self._label_smoothing)
        total = loss * share if share != 1 else loss
        if penalised:
            total = self.method.regularised(total)
        return total, loss.detach(), right

    def _average(self, figures: Sequence[Tensor]) -> None:
        """Set gradients, statistics of batch norm, and figures to their means over the ranks."""
        gradients = [one.grad for one in self._parameters if one.grad is not None]
        self.ranks.average_([*gradients, *self._statistics, *figures])

    def _finish_gradients(self) -> bool:
        """Show complete gradients to the method and clip them; return if a step is to follow."""
        follows = True
        if self.method.reads_gradients:
            gradients = [parameter.grad for parameter in self._parameters]
            follows = self.method.on_gradients(gradients)
        if self._clip > 0:
            nn.utils.clip_grad_norm_(self._parameters, self._clip)
        return follows
