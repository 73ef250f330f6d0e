"""Exponential moving average of a model's weights: what is then evaluated, saved and exported.

    after step k = 0, 1, …   a ← d a + (1 − d) w,   d = min(decay, (1 + k) / (10 + k))

w are all parameters, thresholds among them, and the statistics of batch norm. Masks are not
averaged. What is evaluated is pruned by the rule by which the model itself is:

    masks of thresholds (dst, str)   by the averages of W and t
    given masks, frozen ones (dst)   the M of now, times the average of W

The average of W ⊙ M would keep whatever a mask has kept lately, more than the density asked for.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from dstrun.training.step import STATISTICS


class Average:
    """The average of a model's weights with a decay in [0, 1), begun at them or at `state`.

    A decay of 0 is no average: all calls do nothing. It takes the memory of the weights once more.
    """

    def __init__(
        self, model: nn.Module, decay: float, state: Mapping[str, Any] | None = None
    ) -> None:
        self._decay, self._steps = decay, 0
        live = dict(_averaged(model)) if decay else {}
        pairs = {id(one): (one, one.detach().clone()) for one in live.values()}
        self._live = [one for one, _ in pairs.values()]
        self._averages = [average for _, average in pairs.values()]
        self._by_name = {name: pairs[id(one)][1] for name, one in live.items()}
        if decay and state:
            self._steps = state["steps"]
            for name, average in self._by_name.items():
                average.copy_(state["weights"][name])

    def update(self) -> None:
        """Take in the weights after a step."""
        if self._live:
            decay = min(self._decay, (1 + self._steps) / (10 + self._steps))
            get_ema_multi_avg_fn(decay)(self._averages, self._live, self._steps)
            self._steps += 1

    @torch.no_grad()
    def restart(self) -> None:
        """Begin again at the weights of now, which a round of training may have rewound."""
        self._steps = 0
        for live, average in zip(self._live, self._averages, strict=True):
            average.copy_(live)

    @contextmanager
    def in_model(self) -> Iterator[None]:
        """Give the model the averages for a time.

        Storages are exchanged, so nothing is copied, compiled steps find theirs where it was, and
        masks that wait for the next step (`CompiledMasks`) stay those of its weights.
        """
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for live, average in zip(self._live, self._averages, strict=True):
            live.data, average.data = average.data, live.data

    @torch.no_grad()
    def keep(self) -> None:
        """Give the model the averages for good."""
        for live, average in zip(self._live, self._averages, strict=True):
            live.copy_(average)

    def state_dict(self) -> dict[str, Any]:
        """Return steps and averages, by the names of the model's own state; {} for no average."""
        return {"steps": self._steps, "weights": self._by_name} if self._live else {}


NO_AVERAGE = Average(nn.Module(), 0.0)


def _averaged(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield parameters and statistics of batch norm by name, shared ones under each of theirs."""
    yield from model.named_parameters(remove_duplicate=False)
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if name.rpartition(".")[2] in STATISTICS:
            yield name, buffer
