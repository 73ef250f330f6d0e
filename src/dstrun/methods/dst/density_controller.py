"""α as what it takes: steered at every update so that density follows a course that ends at a
target.

    course   d*(s) = D + (1 − D) · (1 − s/e)³ up to s = e, D after it    (Zhu & Gupta, 2017)
    error    ε = log d − log d*                      d: kept / total after the update
    steered  log α = log α₀ + p · min(ε, b) + i · ∫ ε ds     more penalty where too much is kept
    released t ← t · (1 + r · ε) where ε < 0         no penalty is small enough where too little is kept

s is the share done of the updates until masks are frozen, so that the course arrives at 0.75 · 0.8
of the run. In logarithms, since α that fit one network are a thousand times those that fit another.
The integral takes up what α₀ is wrong by. b keeps α from leaping where density does: filters that
come back from the dead before a batch norm would make it kill all the others.

p = 10 and r = 0.01, but in a run of few updates, n, thresholds have to move far in each: p = n / 20
where that is less and ε > 0, else α throws them past the weights; r = 20 / n where that is more,
else they come back after the end.

All of it stays on the device: nothing here waits for it. Knows torch alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

ARRIVAL = 0.75  # e; the rest goes to holding the target
PROPORTIONAL = 10.0  # p
SHARPEST = (
    0.5  # b: α is at most 150 times what the integral says, which healthy runs do not come to
)
INTEGRAL = 200.0
SWIFTEST = (
    0.1  # of i / steps: thresholds follow α within some ten updates, however short the run is
)
RELEASE = 0.01  # r
SHORT = 20  # in n / 20 and 20 / n: p changes below 200 updates, r below 2,000
RELEASE_BOUND = 0.5  # on r: reached at 40 updates
SMALLEST, LARGEST = -35.0, 5.0  # bounds on log α: 6e-16 and 150


class Steering:
    """Holds α, a 0-dim tensor, and moves it by `steer` after every update of a run of `steps`
    updates.

    `release`, in (0, 1], is what thresholds are to be multiplied by after the next one.
    target: density in (0, 1]; alpha: what to start from, > 0; total: weights that can be kept.
    """

    def __init__(
        self, target: float, alpha: float, total: int, steps: int, device: torch.device
    ) -> None:
        self._target, self._total, self._steps = target, total, max(steps, 1)
        self._raise = min(PROPORTIONAL, self._steps / SHORT)
        self._release = min(max(RELEASE, SHORT / self._steps), RELEASE_BOUND)
        self.alpha = torch.tensor(float(alpha), device=device)
        self.release = torch.ones((), device=device)
        self._centre = self.alpha.log()
        self._step = torch.zeros((), device=device)
        for tensor in self.state_dict().values():
            torch._dynamo.mark_static_address(
                tensor
            )  # else a CUDA graph may not change it in place

    @torch.no_grad()
    def steer(self, kept: Sequence[Tensor]) -> None:
        """Moves α by how many weights are kept after an update, all layers' together: 0-dim
        tensors."""
        self._step.add_(1)
        left = (1 - self._step / (self._steps * ARRIVAL)).clamp_min_(0)
        course = left.pow(3).mul_(1 - self._target).add_(self._target)
        density = torch.stack(list(kept)).sum().clamp_min(1) / self._total
        error = density.log_().sub_(course.log())
        self.release.copy_(error.clamp(-1, 0).mul_(self._release).add_(1))
        self._centre.add_(error, alpha=min(INTEGRAL / self._steps, SWIFTEST)).clamp_(
            SMALLEST, LARGEST
        )
        steered = (
            error.clamp(0, SHARPEST).mul_(self._raise).add_(error.clamp_max_(0), alpha=PROPORTIONAL)
        )
        self.alpha.copy_(steered.add_(self._centre).clamp_(SMALLEST, LARGEST).exp_())

    def state_dict(self) -> dict[str, Tensor]:
        return {
            "alpha": self.alpha,
            "release": self.release,
            "centre": self._centre,
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
