"""Ours against the paper's masked layers, written here in their simplest form: the same to the last
bit.

The reference builds the mask by autograd out of |W| − t, a step with its estimator, and a product,
looks at the density inside its forward pass and resets there, as section 3 of the paper reads and
as the authors do.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dstrun.methods.dst.method import DynamicSparseTraining
from dstrun.methods.layer_selection import maskable
from dstrun.models.lstm import LSTMLayer
from dstrun.training.optim import make_optimiser


class Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return (x > 0).float()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        far = x.abs()
        return grad * torch.where(far > 1, 0.0, torch.where(far > 0.4, 0.4, 2 - 4 * far))


class Reference(nn.Module):
    """One masked layer; `apply` is the linear map or the convolution."""

    resets = 0

    def __init__(
        self, layer: nn.Linear | nn.Conv2d, apply: Callable[[Tensor, Tensor, Tensor | None], Tensor]
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(layer.weight.detach().clone())
        self.bias = None if layer.bias is None else nn.Parameter(layer.bias.detach().clone())
        self.threshold = nn.Parameter(torch.zeros(len(self.weight)))
        self.map = apply

    def mask(self) -> Tensor:
        distance = self.weight.abs().view(len(self.weight), -1) - self.threshold.view(-1, 1)
        return Step.apply(distance).view(self.weight.shape)

    def forward(self, x: Tensor) -> Tensor:
        mask = self.mask()
        if mask.sum() / mask.numel() <= 0.01:
            self.threshold.data.fill_(0.0)
            Reference.resets += 1
            mask = self.mask()
        return self.map(x, self.weight * mask, self.bias)


def conv(layer: nn.Conv2d) -> Callable[[Tensor, Tensor, Tensor | None], Tensor]:
    return lambda x, w, b: F.conv2d(
        x, w, b, layer.stride, layer.padding, layer.dilation, layer.groups
    )


def two_layers(kind: str) -> nn.Sequential:
    torch.manual_seed(3)
    first: nn.Module
    if kind == "linear":
        first = nn.Sequential(nn.Flatten(), nn.Linear(64, 50))
    else:
        options = (
            {"groups": 2, "dilation": 2, "stride": 1} if kind == "dilated groups" else {"stride": 2}
        )
        first = nn.Sequential(
            nn.Conv2d(4, 50, 2, **options), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()
        )
    return nn.Sequential(first, nn.ReLU(), nn.Linear(50, 5))


@pytest.mark.parametrize("kind", ["linear", "convolution", "dilated groups"])
def test_fifty_steps_are_the_same_bit_for_bit_while_the_guard_fires(kind: str) -> None:
    alpha = 0.05
    ours, theirs = two_layers(kind), two_layers(kind)
    for name, weight in maskable(theirs).layers.items():
        parent, _, child = name.rpartition(".")
        layer = weight.module
        apply = conv(layer) if isinstance(layer, nn.Conv2d) else F.linear
        setattr(theirs.get_submodule(parent), child, Reference(layer, apply))
    references = [module for module in theirs.modules() if isinstance(module, Reference)]
    method = DynamicSparseTraining(alpha)
    method.prepare(ours)
    our_sgd = make_optimiser("sgd", ours, method.groups(), lr=0.1)
    their_sgd = torch.optim.SGD(theirs.parameters(), lr=0.1, momentum=0.9, fused=True)
    Reference.resets = 0
    for step in range(50):
        torch.manual_seed(step)
        x, y = torch.randn(16, 4, 4, 4), torch.randint(5, (16,))
        our_loss = F.cross_entropy(ours(x), y) + alpha * method.penalty()
        their_loss = F.cross_entropy(theirs(x), y)  # resets in here, before the penalty is taken
        thresholds = torch.cat([reference.threshold for reference in references])
        their_loss = their_loss + alpha * torch.exp(-thresholds).sum()
        assert our_loss.item() == their_loss.item(), f"loss at step {step}"
        for sgd, loss in ((our_sgd, our_loss), (their_sgd, their_loss)):
            sgd.zero_grad()
            loss.backward()
            sgd.step()
        method.after_step()
    theirs(x)  # the reference resets at its next look
    assert Reference.resets >= 2, "the guard must have fired for this test to mean anything"
    for layer, reference in zip(maskable_weights(ours), references, strict=True):
        assert torch.equal(layer.weight, reference.weight)
        assert torch.equal(layer.mask.threshold.flatten(), reference.threshold)


def maskable_weights(model: nn.Module) -> list[Any]:
    return [module for module in model.modules() if hasattr(module, "mask")]


def test_a_method_that_is_not_ready_or_has_no_sense_says_so() -> None:
    with pytest.raises(ValueError, match="alpha is -1, expected a number ≥ 0"):
        DynamicSparseTraining(-1)
    with pytest.raises(ValueError, match="target_density is 5, expected 0 ≤ number < 1"):
        DynamicSparseTraining(1, target_density=5)
    with pytest.raises(RuntimeError, match="call prepare"):
        DynamicSparseTraining(1).penalty()


def test_lstm_follows_the_cell_with_eight_masked_matrices() -> None:
    """The authors' cell: a weight (inputs, hidden) and a threshold (hidden) for each gate and each
    of x and h.
    """
    torch.manual_seed(0)
    inputs, hidden, batch, steps = 5, 4, 3, 6
    layer = LSTMLayer(inputs, hidden)
    method = DynamicSparseTraining(0.01, floor=0)
    method.prepare(layer)
    with torch.no_grad():
        for threshold in method.added_parameters():
            threshold.uniform_(0, 0.3)
    parts: dict[str, list[Tensor]] = {}
    for name, child in (("x", layer.input_to_hidden), ("h", layer.hidden_to_hidden)):
        parts[f"W{name}"] = [w.detach().T.clone().requires_grad_() for w in child.weight.chunk(4)]
        parts[f"t{name}"] = [
            t.detach().flatten().clone().requires_grad_() for t in child.mask.threshold.chunk(4)
        ]

    def masked(name: str, gate: int) -> Tensor:
        weight, threshold = parts[f"W{name}"][gate], parts[f"t{name}"][gate]
        return weight * Step.apply(weight.T.abs() - threshold.view(-1, 1)).T

    x = torch.randn(batch, steps, inputs)
    h = c = torch.zeros(batch, hidden)
    outputs = []
    for step in range(steps):
        i, f, u, o = (x[:, step] @ masked("x", gate) + h @ masked("h", gate) for gate in range(4))
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(u)
        h = torch.sigmoid(o) * torch.tanh(c)
        outputs.append(h)
    theirs, ours = torch.stack(outputs, 1), layer(x)
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    for y in (ours, theirs):
        y.square().sum().backward()
    for name, child in (("x", layer.input_to_hidden), ("h", layer.hidden_to_hidden)):
        weights = torch.cat([w.grad.T for w in parts[f"W{name}"] if w.grad is not None])
        thresholds = torch.cat([t.grad for t in parts[f"t{name}"] if t.grad is not None])
        torch.testing.assert_close(child.weight.grad, weights, rtol=0, atol=1e-6)
        torch.testing.assert_close(
            child.mask.threshold.grad.flatten(), thresholds, rtol=0, atol=1e-6
        )
