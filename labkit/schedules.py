"""Learning-rate schedules as pure functions: from the number of updates done to the rate of the next one.

A function of the step alone has no state to save, so a resumed training takes up its schedule by itself.
Tests hold each against `torch.optim.lr_scheduler`.
"""

import math
from dataclasses import dataclass

from labkit.errors import LabkitError, accepted

SCHEDULES = ("constant", "step", "cyclic", "cosine", "one_cycle")


def step_decay(epoch, base_lr, step_size, gamma):
    """The rate of `epoch` (from 0): `base_lr`, multiplied by `gamma` after every `step_size` epochs."""
    return base_lr * gamma ** (epoch // step_size)


def cyclic(step, base_lr, max_lr, step_size):
    """The rate of update `step` (from 0): up from `base_lr` to `max_lr` in `step_size` updates, and down again.

    The triangular policy of L. N. Smith, "Cyclical Learning Rates for Training Neural Networks", 2015.
    """
    position = step / step_size % 2
    return base_lr + (max_lr - base_lr) * min(position, 2 - position)


def cosine(step, base_lr, num_steps):
    """The rate of update `step` of `num_steps`: half a cosine from `base_lr` to 0 (Loshchilov and Hutter, 2016)."""
    return base_lr * (1 + math.cos(math.pi * step / num_steps)) / 2


def one_cycle(step, max_lr, num_steps, warmup=0.3):
    """The rate of update `step`: half a cosine from max_lr/25 up over the `warmup` share of the steps, then down to almost 0.

    L. N. Smith and N. Topin, "Super-Convergence", 2017, with the defaults of `torch.optim.lr_scheduler.OneCycleLR`;
    the momentum is left alone.
    """
    start, end = max_lr / 25, max_lr / 25 / 1e4
    peak, last = warmup * num_steps - 1, num_steps - 1
    if step <= peak:
        return _anneal(start, max_lr, step / peak)
    return _anneal(max_lr, end, (step - peak) / (last - peak))


def _anneal(start, end, share):
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@dataclass(frozen=True)
class Schedule:
    """A schedule for one training: `lr(step)` with the numbers that its function needs.

    name: one of `SCHEDULES`. base_lr: the rate it starts from (for cyclic the lowest is a tenth of it, for
    one_cycle it is the peak). step_size: in epochs, for step and cyclic. gamma: for step.
    """

    name: str
    base_lr: float
    epochs: int
    steps_per_epoch: int
    step_size: int = 10
    gamma: float = 0.5

    def __post_init__(self):
        accepted("schedule", self.name, SCHEDULES)
        if self.base_lr <= 0 or self.step_size < 1 or self.epochs < 1:
            raise LabkitError(f"a schedule needs a learning rate above 0, step_size ≥ 1 and epochs ≥ 1, not {self}")

    def lr(self, step):
        """Learning rate of update `step` (from 0)."""
        num_steps = self.epochs * self.steps_per_epoch
        match self.name:
            case "constant":
                return self.base_lr
            case "step":
                return step_decay(step // self.steps_per_epoch, self.base_lr, self.step_size, self.gamma)
            case "cyclic":
                return cyclic(step, self.base_lr / 10, self.base_lr, self.step_size * self.steps_per_epoch)
            case "cosine":
                return cosine(step, self.base_lr, num_steps)
            case "one_cycle":
                return one_cycle(step, self.base_lr, num_steps)
