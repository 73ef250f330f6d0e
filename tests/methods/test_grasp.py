"""GraSP against the Hessian of a small network, computed whole."""

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from dstrun.methods.grasp import Grasp
from dstrun.methods.layer_weights import all_weights

IMAGES, LABELS = torch.linspace(-1, 1, 15, dtype=torch.float64).view(5, 3), torch.arange(5) % 2
TEMPERATURE = 2.0


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.Tanh(), nn.Linear(2, 2)).double()


def loss_of(model: nn.Module, theta: Tensor) -> Tensor:
    """Return the loss by all 6 + 4 weights in one vector."""
    weights = {"0.weight": theta[:6].view(2, 3), "2.weight": theta[6:].view(2, 2)}
    return F.cross_entropy(functional_call(model, weights, (IMAGES,)) / TEMPERATURE, LABELS)


def test_scores_are_weights_times_the_hessian_times_the_gradient() -> None:
    """In two pieces, of 3 and 2 images, and again in a second round; the highest W ⊙ H G stay."""
    model = network()
    theta = torch.cat([model[0].weight.flatten(), model[2].weight.flatten()]).detach()
    hessian = torch.autograd.functional.hessian(lambda one: loss_of(model, one), theta)
    gradient = torch.autograd.functional.jacobian(lambda one: loss_of(model, one), theta)
    expected = theta * (hessian @ gradient)

    method = Grasp(0.5, images=5, temperature=TEMPERATURE)
    method.prepare(model, past=[])
    method.begin(1, torch.optim.SGD(model.parameters(), lr=0.1))
    copy = method.network(method.plain(model))
    method.see(copy, zip(IMAGES.split(3), LABELS.split(3), strict=True))
    for _ in range(2):
        scores = method.scores(copy, list(all_weights(copy).values()))
        found = torch.cat([score.flatten() for score in scores])
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-15)

    method.initialise(model, zip(IMAGES.split(3), LABELS.split(3), strict=True))
    keep = torch.cat([layer.mask.keep.flatten() for layer in method.layers])
    assert keep.nonzero().flatten().tolist() == sorted(expected.topk(5).indices.tolist())


def test_a_network_without_second_derivatives_is_told() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, value):  # type: ignore[no-untyped-def]
            return value * 2

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, grad):  # type: ignore[no-untyped-def]
            return grad * 2

    class Kernel(nn.Module):
        def forward(self, value: Tensor) -> Tensor:
            return Once.apply(value)

    model = nn.Sequential(nn.Linear(3, 2), Kernel(), nn.Linear(2, 2)).double()
    method = Grasp(0.5, images=5)
    method.prepare(model, past=[])
    method.begin(1, torch.optim.SGD(model.parameters(), lr=0.1))
    with pytest.raises(RuntimeError, match=r"^grasp needs second derivatives: "):
        method.initialise(model, iter([(IMAGES, LABELS)]))
