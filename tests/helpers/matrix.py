"""A method on a network that is one 4×4 matrix, worked on by hand."""

import torch
from torch import Tensor, nn

from dstrun.methods.base import Method

# magnitudes 1 to 16, the signs mixed, in no order
WEIGHTS = torch.tensor([[-16.0, 2, 3, -13], [5, -11, 10, 8], [9, 7, -6, 12], [-4, 14, 15, -1]])


class Matrix:
    """W of WEIGHTS with a method, by SGD with momentum 0.5 in a run of `steps`, 2 an epoch."""

    def __init__(self, method: Method, steps: int, lr: float = 0.0) -> None:
        self.method, self.model = method, nn.Sequential(nn.Linear(4, 4, bias=False))
        self.layer = self.model[0]
        self.weight = self.layer.weight
        self.weight.data.copy_(WEIGHTS)
        method.prepare(self.model, past=[])
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=lr, momentum=0.5)
        method.begin(steps, self.optimiser, 2)

    @property
    def momentum(self) -> Tensor:
        """The momentum of every weight."""
        return self.optimiser.state[self.weight]["momentum_buffer"]

    def kept(self) -> list[int]:
        """Return the magnitudes, in WEIGHTS, of the weights that are kept."""
        keep = self.layer.mask.keep
        return sorted(int(value) for value in WEIGHTS[keep].abs())

    def step(self, number: int, gradient: Tensor | None = None) -> None:
        """Make a step by that gradient of W ⊙ M, ones at first."""
        self.method.before_step(number)
        self.optimiser.zero_grad()
        out = self.layer.mask(self.weight)
        out.backward(torch.ones(4, 4) if gradient is None else gradient)
        if self.method.on_gradients([self.weight.grad]):
            self.optimiser.step()
        self.method.after_step()
        layers = getattr(self.method, "layers", [])
        assert all(layer.kept == int(layer.mask.keep.sum()) for layer in layers)
