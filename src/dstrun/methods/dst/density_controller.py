"""PI controller that adjusts α after every step so that density follows a schedule to its target.

    schedule  d*(s) = D + (1 − D) · (1 − s/e)³ up to s = e, D after it    (Zhu & Gupta, 2017)
    error     ε = log d − log d*                      d: kept / total after the step
    control   log α = log α₀ + p · min(ε, b) + i · ∫ ε ds     more penalty where too much is kept
    release   t ← t · (1 + r · ε) where ε < 0         no α > 0 is small enough where too little is

s is the share done of the steps until masks are frozen, so the schedule ends at 0.75 · 0.8 of the
run. Logarithms, since the α that suit one network are a thousand times those that suit another. The
integral corrects α₀. b limits how fast α rises when density jumps: filters that come back behind a
batch norm would otherwise raise α until all the others are pruned.

p = 10 and r = 0.01, except in a run of few steps n, where thresholds have to move far in each:
p = n / 20 where that is less and ε > 0, else α pushes thresholds past the weights; r = 20 / n where
that is more, else weights come back too late. All of it stays on the device.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from dstrun.methods.compiler import keep_address

SCHEDULE_END = 0.75  # e; the rest of the steps hold the target
PROPORTIONAL = 10.0  # p
MAX_ERROR = 0.5  # b: α is at most 150 times what the integral says; healthy runs stay below
INTEGRAL = 200.0
MAX_INTEGRAL_GAIN = 0.1  # of i / steps: thresholds follow α within ten steps in any run
RELEASE = 0.01  # r
SHORT = 20  # in n / 20 and 20 / n: p changes below 200 steps, r below 2,000
MAX_RELEASE = 0.5  # bound on r, reached at 40 steps
MIN_LOG_ALPHA, MAX_LOG_ALPHA = -35.0, 5.0  # α from 6e-16 to 150


class DensityController:
    """α as a 0-dim tensor, adjusted after every one of `steps` steps.

    target: density in (0, 1]; alpha: initial α, > 0; total: weights that can be kept. `release`, in
    (0, 1], is what thresholds are to be multiplied by after the next step.
    """

    def __init__(
        self, target: float, alpha: float, total: int, steps: int, device: torch.device
    ) -> None:
        self._target, self._total, self._steps = target, total, max(steps, 1)
        self._proportional = min(PROPORTIONAL, self._steps / SHORT)
        self._release = min(max(RELEASE, SHORT / self._steps), MAX_RELEASE)
        self.alpha = torch.tensor(float(alpha), device=device)
        self.release = torch.ones((), device=device)
        self._integral = self.alpha.log()
        self._step = torch.zeros((), device=device)
        for tensor in self.state_dict().values():
            keep_address(tensor)

    @torch.no_grad()
    def adjust(self, kept: Sequence[Tensor]) -> None:
        """Adjust α and `release` to the weights each layer keeps after a step, 0-dim tensors."""
        self._step.add_(1)
        left = (1 - self._step / (self._steps * SCHEDULE_END)).clamp_min_(0)
        scheduled = left.pow(3).mul_(1 - self._target).add_(self._target)
        density = torch.stack(list(kept)).sum().clamp_min(1) / self._total
        error = density.log_().sub_(scheduled.log())
        self.release.copy_(error.clamp(-1, 0).mul_(self._release).add_(1))
        gain = min(INTEGRAL / self._steps, MAX_INTEGRAL_GAIN)
        self._integral.add_(error, alpha=gain).clamp_(MIN_LOG_ALPHA, MAX_LOG_ALPHA)
        above = error.clamp(0, MAX_ERROR).mul_(self._proportional)
        log_alpha = above.add_(error.clamp_max_(0), alpha=PROPORTIONAL).add_(self._integral)
        self.alpha.copy_(log_alpha.clamp_(MIN_LOG_ALPHA, MAX_LOG_ALPHA).exp_())

    def state_dict(self) -> dict[str, Tensor]:
        """Return the four tensors that change."""
        return {
            "alpha": self.alpha,
            "release": self.release,
            "centre": self._integral,
            "step": self._step,
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore the tensors, in place."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])
