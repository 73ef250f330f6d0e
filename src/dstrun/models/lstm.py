"""The paper's LSTM: two layers read an image as a sequence of its rows.

    i, f, o = σ(x Wxᵀ + h Whᵀ + b)    u = tanh(x Wxᵀ + h Whᵀ + b)    c ← f c + i u    h ← o tanh c

Each layer is two linear maps of 4·H rows, so a threshold per row is one per gate and hidden neuron.
Every image starts from a zero state.
"""

import torch
from torch import Tensor, nn

from dstrun.models.recurrent import RecurrentLinear


class LSTMLayer(nn.Module):
    """One LSTM layer: (B, T, inputs) → (B, T, hidden).

    Rows of both weights: input gate, forget gate, update, output gate.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.hidden = hidden
        self.input_to_hidden = nn.Linear(inputs, 4 * hidden)
        self.hidden_to_hidden = RecurrentLinear(hidden, 4 * hidden, bias=False)
        for weight in (self.input_to_hidden.weight, self.hidden_to_hidden.weight):
            nn.init.uniform_(weight, -(hidden**-0.5), hidden**-0.5)
        nn.init.zeros_(self.input_to_hidden.bias)

    def forward(self, sequence: Tensor) -> Tensor:
        weight = self.hidden_to_hidden.step_weight()
        state = cell = sequence.new_zeros(sequence.shape[0], self.hidden)
        outputs = []
        for from_input in self.input_to_hidden(sequence).unbind(1):
            gates = from_input + self.hidden_to_hidden(state, weight)
            i, f, u, o = gates.chunk(4, dim=1)
            cell = f.sigmoid() * cell + i.sigmoid() * u.tanh()
            state = o.sigmoid() * cell.tanh()
            outputs.append(state)
        return torch.stack(outputs, dim=1)


class LSTMClassifier(nn.Module):
    """Two LSTM layers and a linear one: (B, C, H, W) → H steps of C·W pixels → classes.

    The classes are computed from the state after the last step.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int, hidden: int = 128) -> None:
        super().__init__()
        if hidden < 1:
            raise ValueError(f"hidden is {hidden}, expected at least 1")
        channels, _, width = shape
        self.lstm1 = LSTMLayer(channels * width, hidden)
        self.lstm2 = LSTMLayer(hidden, hidden)
        self.classifier = nn.Linear(hidden, classes)
        nn.init.uniform_(self.classifier.weight, -0.1, 0.1)
        nn.init.zeros_(self.classifier.bias)

    def forward(self, images: Tensor) -> Tensor:
        rows = images.permute(0, 2, 1, 3).flatten(2)
        return self.classifier(self.lstm2(self.lstm1(rows))[:, -1])
