"""Answers to `cyclic`."""

import math

import numpy as np
import torch

from corpus import catalogue

right, wrong = catalogue("cyclic")

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(step, base_lr, max_lr, step_size):
    position = step / step_size % 2
    return base_lr + (max_lr - base_lr) * min(position, 2 - position)


@right
def as_smith_writes_it(iteration, base_lr, max_lr, stepsize):
    cycle = np.floor(1 + iteration / (2 * stepsize))
    x = np.abs(iteration / stepsize - 2 * cycle + 1)
    return base_lr + (max_lr - base_lr) * np.maximum(0, (1 - x))


@right
def up_or_down(step, base_lr, max_lr, step_size):
    step = step % (2 * step_size)
    print("step", step)
    if step <= step_size:
        return base_lr + step * (max_lr - base_lr) / step_size
    return max_lr - (step - step_size) * (max_lr - base_lr) / step_size


@right
def step_by_step(step, low, high, size):
    lr, change = low, (high - low) / size
    for past in range(step):
        lr += change if past // size % 2 == 0 else -change
    return lr


@right
def interpolated(step, base_lr, max_lr, step_size):
    return np.interp(step % (2 * step_size), [0, step_size, 2 * step_size], [base_lr, max_lr, base_lr])


@right
def arc_sine_of_a_cosine(step, base_lr, max_lr, step_size):
    share = math.acos(math.cos(math.pi * step / step_size)) / math.pi
    return base_lr * (1 - share) + max_lr * share


@right
def tensors(step, base_lr, max_lr, step_size):
    x = torch.as_tensor(step / step_size)
    return torch.lerp(torch.tensor(base_lr), torch.tensor(max_lr), 1 - (torch.remainder(x, 2) - 1).abs().float())


@right
def torchs_scheduler(step, base_lr, max_lr, step_size):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=base_lr)
    scheduler = torch.optim.lr_scheduler.CyclicLR(optimizer, base_lr, max_lr, step_size_up=step_size, cycle_momentum=False)
    for _ in range(step):
        optimizer.step()
        scheduler.step()
    return scheduler.get_last_lr()[0]


# --- wrong -------------------------------------------------------------------------------------


def share(step, step_size):
    """The share of the way up, from 0 to 1 and back."""
    return 1 - abs(step / step_size % 2 - 1)


@wrong("sawtooth")
def sawtooth(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * (step % step_size) / step_size


@wrong("two_step_sawtooth")
def sawtooth_of_two_steps(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * (step % (2 * step_size)) / (2 * step_size)


@wrong("jumps_to_base")
def no_way_down(step, base_lr, max_lr, step_size):
    position = step % (2 * step_size)
    return base_lr + (max_lr - base_lr) * position / step_size if position <= step_size else base_lr


@wrong("starts_at_max")
def starts_at_the_top(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * abs(1 - step / step_size % 2)


@wrong("starts_at_max")
def rates_swapped(step, base_lr, max_lr, step_size):
    return max_lr + (base_lr - max_lr) * share(step, step_size)


@wrong("never_comes_down")
def climbs_for_ever(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * step / step_size


@wrong("stays_at_max")
def warmup_only(step, base_lr, max_lr, step_size):
    return min(max_lr, base_lr + (max_lr - base_lr) * step / step_size)


@wrong("only_the_first_cycle")
def one_cycle_only(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * max(0, 1 - abs(step / step_size - 1))


@wrong("falls_for_ever")
def modulo_forgotten(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * (1 - abs(step / step_size - 1))


@wrong("period_too_short")
def whole_cycle_in_one_step_size(step, base_lr, max_lr, step_size):
    position = step % step_size / step_size
    return base_lr + (max_lr - base_lr) * 2 * min(position, 1 - position)


@wrong("period_too_long")
def top_at_two_step_sizes(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * share(step, 2 * step_size)


@wrong("cosine")
def cosine_waves(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * (1 - math.cos(math.pi * step / step_size)) / 2


@wrong("sine")
def sine_arcs(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * abs(math.sin(math.pi * step / (2 * step_size)))


@wrong("amplitude_halves")
def triangular2(step, base_lr, max_lr, step_size):
    cycle = math.floor(1 + step / (2 * step_size))
    return base_lr + (max_lr - base_lr) * share(step, step_size) / 2 ** (cycle - 1)


@wrong("base_lr_not_added")
def base_forgotten(step, base_lr, max_lr, step_size):
    return (max_lr - base_lr) * share(step, step_size)


@wrong("max_lr_on_top")
def difference_forgotten(step, base_lr, max_lr, step_size):
    return base_lr + max_lr * share(step, step_size)


@wrong("from_zero")
def base_ignored(step, base_lr, max_lr, step_size):
    return max_lr * share(step, step_size)


@wrong("downwards")
def below_the_base(step, base_lr, max_lr, step_size):
    return base_lr + (base_lr - max_lr) * share(step, step_size)


@wrong("whole_steps_only")
def integer_division(step, base_lr, max_lr, step_size):
    position = step // step_size % 2
    return base_lr + (max_lr - base_lr) * min(position, 2 - position)


@wrong("one_step_ahead")
def counted_from_one(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * share(step + 1, step_size)


@wrong("one_step_too_long")
def linspace_with_one_more(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * share(step, step_size + 1)


@wrong("height_alone")
def only_the_share(step, base_lr, max_lr, step_size):
    return share(step, step_size)


@wrong("goes_twice_as_high")
def twice_the_height(step, base_lr, max_lr, step_size):
    position = step / step_size % 2
    return base_lr + 2 * (max_lr - base_lr) * min(position, 2 - position)


@wrong("step_size_ignored")
def own_step_size(step, base_lr, max_lr, step_size):
    return base_lr + (max_lr - base_lr) * share(step, 10)


@wrong("max_lr_ignored")
def own_maximum(step, base_lr, max_lr, step_size):
    return base_lr + (0.1 - base_lr) * share(step, step_size)


@wrong("rounded")
def rounded_to_two_places(step, base_lr, max_lr, step_size):
    return round(base_lr + (max_lr - base_lr) * share(step, step_size), 2)


_state = {"lr": 0.0, "up": True}


@wrong("remembers")
def moves_on_with_each_call(step, base_lr, max_lr, step_size):
    change = (max_lr - base_lr) / step_size
    if step == 0:
        _state.update(lr=base_lr, up=True)
        return base_lr
    _state["lr"] += change if _state["up"] else -change
    if _state["lr"] >= max_lr - 1e-12:
        _state["up"] = False
    if _state["lr"] <= base_lr + 1e-12:
        _state["up"] = True
    return _state["lr"]


@wrong("not_a_number")
def the_whole_course(step, base_lr, max_lr, step_size):
    return np.array([base_lr + (max_lr - base_lr) * share(s, step_size) for s in range(step + 1)] * 2)


@wrong("not_a_number")
def return_forgotten(step, base_lr, max_lr, step_size):
    if step % (2 * step_size) > step_size:
        return max_lr - (max_lr - base_lr) * (step % step_size) / step_size


@wrong("wrong_rate")
def bottom_skipped(step, base_lr, max_lr, step_size):
    position = step % (2 * step_size - 1)
    return base_lr + (max_lr - base_lr) * share(position, step_size)
