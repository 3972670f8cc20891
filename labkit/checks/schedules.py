"""Checks of notebooks 08 and 09: `step_decay`, `cyclic`, `updates_per_epoch`.

The answer is asked for a whole course of values under a few settings. The judge computes the same values, once as they
should be and once for each well-known mistake, and looks which of these the answer's agree with.
"""

import inspect
import itertools
import math

from labkit import schedules
from labkit.checks.guard import as_number
from labkit.checks.todo import Todo, call_with_default

TOLERANCE = 1e-5  # relative: a rate may come as a float32
_FIXED = range(1, 61)  # step sizes that an answer may have written down instead of using its argument


def _kind(value):
    """What was returned, in words."""
    match value:
        case None:
            return "None"
        case list():
            return f"{len(value)} values"
        case {"shape": [_, *_]}:
            return f"a {value.get('type')} of shape {value['shape']}"
        case {"type": kind}:
            return f"an object of type {kind}"
    return f"an object of type {type(value).__name__}"


def _agree(ours, theirs):
    return len(ours) == len(theirs) and all(abs(a - b) <= TOLERANCE * max(abs(b), 1e-9) for a, b in zip(ours, theirs))


# --- the rate of an epoch or step ---------------------------------------------------------------


def _rates_scenes(calls):
    """Scenes that ask for the rate at all `calls`, first in order and then backwards."""

    def scenes(answer):
        return {
            "forwards": lambda: [answer(*arguments) for arguments in calls],
            "backwards": lambda: [answer(*arguments) for arguments in reversed(calls)][::-1],
        }

    return scenes


def _calls(settings, courses):
    """(time, *setting) for each of the `settings`, from 0 to just after that many `courses` of its step size."""
    return [(time, *setting) for setting in settings for time in range(courses * _step_size(setting) + 2)]


def _step_size(setting):
    return next(value for value in setting if isinstance(value, int))


def _rates_findings(name, right, calls, mistakes):
    """The judge for a function `right` of (time, *setting): from `seen` to a finding, by comparison with the `mistakes`."""

    def findings(seen):
        forwards, backwards = seen["forwards"], seen["backwards"]
        if found := _not_numbers(name, forwards + backwards):
            return found
        forwards, backwards = ([as_number(value) for value in values] for values in (forwards, backwards))
        wanted = [right(*arguments) for arguments in calls]
        if _agree(forwards, wanted) and _agree(backwards, wanted):
            return None
        return _remembers(name, forwards, backwards, calls) or _wrong_rates(name, right, calls, mistakes, forwards)

    return findings


def _not_numbers(name, values):
    for value in values:
        number = as_number(value)
        if number is None:
            return "not_a_number", f"`{name}` returned {_kind(value)}, expected one number, the learning rate at the time that was asked for", 0.2
        if not math.isfinite(number):
            return "not_finite", f"`{name}` returned {number}, expected a finite learning rate: look at what is divided by what", 0.2
    return None


def _remembers(name, forwards, backwards, calls):
    for arguments, first, second in zip(calls, forwards, backwards):
        if not _agree([second], [first]):
            message = f"`{_written(name, arguments)}` was {first:.6g} at the first call and {second:.6g} at a later one: compute the rate from the arguments"
            return "remembers", message + " alone, and keep nothing between calls", 0.4
    return None


def _wrong_rates(name, right, calls, mistakes, seen):
    for finding, (wrong, message, share) in mistakes.items():
        if _agree(seen, [wrong(*arguments) for arguments in calls]):
            return finding, message, share
    if found := _rounded(right, calls, seen) or _ignored_parameter(right, calls, seen):
        return found
    arguments, number = next((arguments, value) for arguments, value in zip(calls, seen) if not _agree([value], [right(*arguments)]))
    return "wrong_rate", f"`{_written(name, arguments)}` is {number:.6g}, expected {right(*arguments):.6g}: draw the first few values by hand", 0.2


def _written(name, arguments):
    return f"{name}({', '.join(f'{value:g}' for value in arguments)})"


def _ignored_parameter(right, calls, seen):
    """One of the parameters has a value of its own instead of the one that is handed over."""
    for index, parameter in list(enumerate(inspect.signature(right).parameters))[1:]:
        for value in _FIXED if parameter == "step_size" else _candidates(seen, calls):
            fixed = [(*arguments[:index], value, *arguments[index + 1 :]) for arguments in calls]
            if _agree(seen, [right(*arguments) for arguments in fixed]):
                return f"{parameter}_ignored", f"the rates are those of `{parameter}` = {value:.6g}, whatever is asked for: use the argument", 0.4
    return None


def _candidates(seen, calls):
    """Values that a fixed rate or factor may have: the first rates of the first setting, and the ratios of each to the one before."""
    rates = [value for arguments, value in zip(calls, seen) if arguments[1:] == calls[0][1:]]
    return {*rates, *(after / before for before, after in itertools.pairwise(rates) if before)}


def _rounded(right, calls, seen):
    if not any(seen):
        return "cut_to_zero", "every rate is 0: do `int`, `round` or `//` cut off the fraction? Look at which operation is done first", 0.3
    for digits in range(1, 7):
        if _agree(seen, [round(right(*arguments), digits) for arguments in calls]):
            return "rounded", f"the rates are rounded to {digits} decimal places: return them as they are, and round where they are printed", 0.6
    return None


# --- step_decay --------------------------------------------------------------------------------

_DECAYS = _calls([(0.1, 10, 0.5), (0.2, 3, 0.1), (0.03, 4, 0.7)], courses=6)  # (base_lr, step_size, gamma)
_OFF_BY_ONE = "the rate changes one epoch too {}: the first epoch is epoch 0, so `step_size` epochs are over when epoch `step_size` begins"
_DECAY_MISTAKES = {
    "one_epoch_early": (lambda epoch, lr, size, gamma: lr * gamma ** ((epoch + 1) // size), _OFF_BY_ONE.format("early"), 0.5),
    "one_epoch_late": (lambda epoch, lr, size, gamma: lr * gamma ** (max(epoch - 1, 0) // size), _OFF_BY_ONE.format("late"), 0.5),
    "counted_from_one": (
        lambda epoch, lr, size, gamma: lr * gamma ** ((epoch - 1) // size),
        "the rates are those of epochs counted from 1, and that of epoch 0 is above `base_lr`: here the first epoch is epoch 0",
        0.5,
    ),
    "one_step_ahead": (
        lambda epoch, lr, size, gamma: lr * gamma ** (epoch // size + 1),
        "epoch 0 is already multiplied by `gamma`: the first `step_size` epochs run with `base_lr` itself",
        0.5,
    ),
    "no_floor": (
        lambda epoch, lr, size, gamma: lr * gamma ** (epoch / size),
        "the rate falls a little in every epoch: it stays as it is for `step_size` epochs, so count only the steps that are complete",
        0.4,
    ),
    "to_the_nearest_step": (
        lambda epoch, lr, size, gamma: lr * gamma ** round(epoch / size),
        "the rate changes half-way through the steps: count only those that are complete, without rounding to the nearest",
        0.4,
    ),
    "rounded_up": (
        lambda epoch, lr, size, gamma: lr * gamma ** math.ceil(epoch / size),
        "the rate is multiplied at the beginning of a step, in epoch 1: expected once `step_size` epochs are over",
        0.4,
    ),
    "factor_added_up": (
        lambda epoch, lr, size, gamma: lr * gamma * (epoch // size),
        "the rate is `gamma` times the number of steps: multiplying by `gamma` again and again is another thing (look at epoch 0 and at the second step)",
        0.3,
    ),
    "factor_added_up_after_the_first": (
        lambda epoch, lr, size, gamma: lr * (gamma * (epoch // size) if epoch >= size else 1),
        "after two steps the rate is twice `gamma`, expected the rate of the first step multiplied by `gamma` once more",
        0.3,
    ),
    "only_once": (
        lambda epoch, lr, size, gamma: lr * gamma ** min(epoch // size, 1),
        "the rate changes only once, after the first `step_size` epochs: expected again after every further `step_size`",
        0.4,
    ),
    "only_at_the_step": (
        lambda epoch, lr, size, gamma: lr * gamma if epoch and epoch % size == 0 else lr,
        "the rate is smaller only in the epochs at which a step ends, and `base_lr` again after it: every later epoch keeps the factor",
        0.3,
    ),
    "smaller_at_multiples": (
        lambda epoch, lr, size, gamma: lr * gamma if epoch % size == 0 else lr,
        "the rate is smaller only in every `step_size`-th epoch, 0 among them, and `base_lr` in between: every later epoch keeps the factor",
        0.3,
    ),
    "divided": (
        lambda epoch, lr, size, gamma: lr / gamma ** (epoch // size),
        "the rate grows from step to step, as it is divided by `gamma`: it is to be multiplied",
        0.4,
    ),
    "every_epoch": (
        lambda epoch, lr, size, gamma: lr * gamma**epoch,
        "the rate is multiplied by `gamma` in every epoch, expected once after every `step_size` epochs",
        0.3,
    ),
    "modulo": (
        lambda epoch, lr, size, gamma: lr * gamma ** (epoch % size),
        "the rate falls within a step and jumps back to `base_lr` at its end: count the complete steps, not the epochs since the last one",
        0.3,
    ),
    "size_over_epoch": (
        lambda epoch, lr, size, gamma: lr * gamma ** (size // max(epoch, 1)),
        "the number of steps is computed upside down: how often does `step_size` go into `epoch`?",
        0.3,
    ),
    "base_lr_forgotten": (
        lambda epoch, lr, size, gamma: gamma ** (epoch // size),
        "what was returned is the factor alone, 1 at epoch 0: multiply `base_lr` by it",
        0.5,
    ),
    "base_lr_raised": (
        lambda epoch, lr, size, gamma: (lr * gamma) ** (epoch // size),
        "`base_lr` is raised to the power as well (epoch 0 gives 1): only `gamma` is applied again and again",
        0.4,
    ),
    "never_changes": (lambda epoch, lr, size, gamma: lr, "the rate is `base_lr` in every epoch: it is to fall after every `step_size` epochs", 0.1),
    "one_minus_gamma": (
        lambda epoch, lr, size, gamma: lr * (1 - gamma) ** (epoch // size),
        "each step takes `gamma` away instead of keeping it: the rate after a step is `gamma` times the one before",
        0.4,
    ),
    "in_a_straight_line": (
        lambda epoch, lr, size, gamma: lr * (1 - gamma * (epoch // size)),
        "each step takes away the same amount, until the rate is negative: multiply the rate by `gamma` again",
        0.3,
    ),
    "gamma_subtracted": (
        lambda epoch, lr, size, gamma: lr - gamma * (epoch // size),
        "each step subtracts `gamma`, until the rate is negative: multiply the rate by `gamma`",
        0.3,
    ),
    "divided_by_steps": (
        lambda epoch, lr, size, gamma: lr / (1 + gamma * (epoch // size)),
        "the rate is divided by 1 + `gamma` × steps: that is another schedule; multiply by `gamma` after every step",
        0.3,
    ),
    "exponential": (
        lambda epoch, lr, size, gamma: lr * math.exp(-gamma * (epoch // size)),
        "each step multiplies the rate by exp(−`gamma`), expected by `gamma` itself",
        0.4,
    ),
    "factor_of_powers": (
        lambda epoch, lr, size, gamma: lr * (epoch // size) ** gamma,
        "base and exponent are swapped: `gamma` is what is multiplied again and again",
        0.4,
    ),
}
STEP_DECAY = Todo(
    "step_decay", 3, ("epoch", "base_lr", "step_size", "gamma"), _rates_scenes(_DECAYS),
    _rates_findings("step_decay", schedules.step_decay, _DECAYS, _DECAY_MISTAKES), (schedules.step_decay,), distinctive=False,
)  # fmt: skip


# --- cyclic ------------------------------------------------------------------------------------

_CYCLES = _calls([(0.01, 0.1, 5), (0.001, 0.006, 8), (0.2, 0.5, 3)], courses=6)  # (base_lr, max_lr, step_size)


def _triangle(position):
    """The height of a triangle that starts at 0, is 1 at position 1 and 0 again at 2, and so on."""
    return 1 - abs(position % 2 - 1)


def _cycle(height):
    """The rates of a cyclic schedule whose share of the way from base to maximum is `height(step, step_size)`."""
    return lambda step, base, top, size: base + (top - base) * height(step, size)


_CYCLIC_MISTAKES = {
    "sawtooth": (
        _cycle(lambda step, size: step % size / size),
        "the rate climbs and then jumps back to `base_lr` after `step_size` steps: it is to come down as slowly as it went up",
        0.4,
    ),
    "jumps_to_base": (
        _cycle(lambda step, size: step / size % 2 if step / size % 2 <= 1 else 0),
        "the way up is right, then the rate jumps to `base_lr`: it is to come down in a straight line, as slowly as it went up",
        0.5,
    ),
    "jumps_on_the_way_up": (
        _cycle(lambda step, size: 2 - step / size % 2 if step / size % 2 > 1 else 1),
        "the way down is right, but before it the rate stays at `max_lr`: it is to climb from `base_lr` in a straight line",
        0.5,
    ),
    "two_step_sawtooth": (
        _cycle(lambda step, size: step / size % 2 / 2),
        "the rate climbs for all of 2·`step_size` steps and then jumps back: the top belongs to step `step_size`",
        0.4,
    ),
    "starts_at_max": (
        _cycle(lambda step, size: 1 - _triangle(step / size)),
        "the rate is `max_lr` at step 0 and falls: the cycle starts at `base_lr`, and the top belongs to step `step_size`",
        0.4,
    ),
    "never_comes_down": (
        _cycle(lambda step, size: step / size),
        "the rate climbs past `max_lr` and never comes down: after step `step_size` it falls again",
        0.3,
    ),
    "stays_at_max": (
        _cycle(lambda step, size: min(step / size, 1)),
        "the rate stays at `max_lr` once it is there: after step `step_size` it falls again",
        0.3,
    ),
    "only_the_first_cycle": (
        _cycle(lambda step, size: max(0, 1 - abs(step / size - 1))),
        "the first cycle is right, then the rate stays at `base_lr`: after step 2·`step_size` everything begins again",
        0.5,
    ),
    "falls_for_ever": (
        _cycle(lambda step, size: 1 - abs(step / size - 1)),
        "the rate goes on falling after step 2·`step_size`, below `base_lr` and zero: there everything begins again",
        0.5,
    ),
    "stays_at_base": (_cycle(lambda step, size: 0), "the rate is always `base_lr`: it is to climb to `max_lr` and come down again", 0.1),
    "period_too_short": (
        _cycle(lambda step, size: _triangle(2 * step / size)),
        "the top is at step `step_size` / 2 and a cycle takes `step_size` steps: `step_size` is the way up alone",
        0.5,
    ),
    "period_too_long": (
        _cycle(lambda step, size: _triangle(step / size / 2)),
        "the top is at step 2·`step_size`: the way up takes `step_size` steps, the whole cycle twice as many",
        0.5,
    ),
    "half_as_high": (
        _cycle(lambda step, size: _triangle(step / size) / 2),
        "the top is half-way between `base_lr` and `max_lr`, expected `max_lr`",
        0.5,
    ),
    "goes_twice_as_high": (
        _cycle(lambda step, size: 2 * _triangle(step / size)),
        "the top is twice as far above `base_lr` as `max_lr` is, expected `max_lr` at step `step_size`",
        0.5,
    ),
    "cosine": (
        _cycle(lambda step, size: (1 - math.cos(math.pi * step / size)) / 2),
        "the rate follows a cosine: low and high points are right, but the way between them is to be a straight line",
        0.5,
    ),
    "sine": (
        _cycle(lambda step, size: abs(math.sin(math.pi * step / size / 2))),
        "the rate follows the arc of a sine: low and high points are right, but the way between them is to be a straight line",
        0.5,
    ),
    "parabola": (
        _cycle(lambda step, size: 1 - (step / size % 2 - 1) ** 2),
        "the rate follows a parabola: low and high points are right, but the way between them is to be a straight line",
        0.5,
    ),
    "amplitude_halves": (
        _cycle(lambda step, size: _triangle(step / size) / 2 ** (step // (2 * size))),
        "every cycle is half as high as the one before: that is Smith's `triangular2`; here all cycles reach `max_lr`",
        0.5,
    ),
    "whole_steps_only": (
        _cycle(lambda step, size: _triangle(step // size)),
        "the rate knows only two values, as a division cuts off the fraction: divide with `/`",
        0.4,
    ),
    "base_lr_not_added": (
        lambda step, base, top, size: (top - base) * _triangle(step / size),
        "the rate starts from 0: the triangle stands on `base_lr`",
        0.5,
    ),
    "from_zero": (
        lambda step, base, top, size: top * _triangle(step / size),
        "the rate starts from 0 and climbs to `max_lr`: it is to start from `base_lr`",
        0.5,
    ),
    "max_lr_on_top": (
        lambda step, base, top, size: base + top * _triangle(step / size),
        "the top is `base_lr` + `max_lr`: it is to be `max_lr`, so the climb is the difference of the two",
        0.5,
    ),
    "never_below_base": (
        lambda step, base, top, size: max(base, top * _triangle(step / size)),
        "the rate lies at `base_lr` for a while and then follows a line from 0: it is to climb from `base_lr` at once",
        0.4,
    ),
    "downwards": (
        lambda step, base, top, size: base - (top - base) * _triangle(step / size),
        "the rate falls below `base_lr`, by as much as it should rise: look at the sign of the difference",
        0.4,
    ),
    "difference_the_wrong_way_round": (
        lambda step, base, top, size: top - base * _triangle(step / size),
        "the rate starts at `max_lr` and falls by `base_lr`: it starts at `base_lr` and climbs by the difference of the two",
        0.4,
    ),
    "height_alone": (
        lambda step, base, top, size: _triangle(step / size),
        "what was returned is the share of the way, from 0 to 1: stretch it to reach from `base_lr` to `max_lr`",
        0.5,
    ),
    "one_step_ahead": (
        _cycle(lambda step, size: _triangle((step + 1) / size)),
        "everything comes one step too early: step 0 has the rate `base_lr`",
        0.5,
    ),
    "one_step_behind": (
        _cycle(lambda step, size: _triangle((step - 1) / size)),
        "everything comes one step too late: step 0 has the rate `base_lr`, and step `step_size` the rate `max_lr`",
        0.5,
    ),
    "one_step_too_long": (
        _cycle(lambda step, size: _triangle(step / (size + 1))),
        "the way up takes `step_size` + 1 steps, expected `step_size`",
        0.5,
    ),
    "one_step_too_short": (
        _cycle(lambda step, size: _triangle(step / (size - 1))),
        "the way up takes `step_size` − 1 steps, expected `step_size`",
        0.5,
    ),
}
CYCLIC = Todo(
    "cyclic", 4, ("step", "base_lr", "max_lr", "step_size"), _rates_scenes(_CYCLES),
    _rates_findings("cyclic", schedules.cyclic, _CYCLES, _CYCLIC_MISTAKES), (schedules.cyclic,), distinctive=False,
)  # fmt: skip


# --- updates_per_epoch -------------------------------------------------------------------------

# (num_examples, batch_size): with and without a short last batch, exactly one batch, less than one, one image, batches of one.
_EPOCHS = [(50_000, 256), (3_125, 256), (50_000, 100), (600, 64), (256, 256), (257, 256), (255, 256), (10, 16), (1, 1), (7, 1)]
_LARGE = (20_000_001, 1_000)  # more than a float32 can count


def _updates_scenes(answer):
    def count(num_examples, batch_size):
        default = answer(num_examples, batch_size)
        return [default, *(call_with_default(answer, num_examples, batch_size, drop_last=drop) for drop in (False, True))]

    return {"small": lambda: [count(*pair) for pair in _EPOCHS], "large": lambda: [count(*_LARGE)]}


def _updates_findings(seen):
    returned = [value for scene in ("small", "large") for values in seen[scene] for value in values]
    if found := next(filter(None, map(_not_a_count, returned)), None):
        return found
    small, large = ([as_number(value) for values in seen[scene] for value in values] for scene in ("small", "large"))
    if small != _counts(_updates, _EPOCHS):
        return _wrong_counts(small)
    if large != _counts(_updates, [_LARGE]):
        return _imprecise(large)
    return next(filter(None, map(_a_float, returned)), None)


def _not_a_count(value):
    number = as_number(value)
    if number is None:
        return "not_a_number", f"`updates_per_epoch` returned {_kind(value)}, expected one whole number", 0.2
    if not math.isfinite(number):
        return "not_finite", f"`updates_per_epoch` returned {number}, expected a whole number: look at what is divided by what", 0.2
    if number != int(number):
        return "fraction_of_an_update", f"`updates_per_epoch` returned {number:.6g}: a short batch is one update as well, so the number is a whole one", 0.3
    return None


def _a_float(value):
    """A count is an int, of Python, numpy or torch."""
    if isinstance(value, float) or (isinstance(value, dict) and "float" in f"{value.get('type')} {value.get('dtype')}"):
        return "not_an_int", f"`updates_per_epoch` returned the float {as_number(value)!r}: it is a count, return an `int`", 0.7
    return None


def _updates(num_examples, batch_size, drop_last):
    full, rest = divmod(num_examples, batch_size)
    return full + (rest > 0 and not drop_last)


def _counts(rule, pairs):
    """What `rule` gives for the calls that the scenes make: by default, without and with drop_last."""
    return [rule(*pair, drop) for pair in pairs for drop in (False, False, True)]


def _imprecise(large):
    examples, size = _LARGE
    message = f"of {examples:,} examples in batches of {size:,} it makes {large[0]:,.0f} and {large[2]:,.0f} updates (without and with `drop_last`), expected"
    return "imprecise", f"{message} {_updates(*_LARGE, False):,} and {_updates(*_LARGE, True):,}: a float32 cannot count that far, use whole numbers", 0.8


_UPDATES_MISTAKES = {
    "short_batch_forgotten": (
        lambda n, size, drop: n // size,
        "the short last batch is never counted: without `drop_last` it is an update like the others",
        0.4,
    ),
    "drop_last_ignored": (
        lambda n, size, drop: -(-n // size),
        "the short last batch is counted with `drop_last=True`, too: there it is left out",
        0.5,
    ),
    "drop_last_reversed": (
        lambda n, size, drop: _updates(n, size, not drop),
        "`drop_last` works the wrong way round: with it the short last batch is left out, without it it counts",
        0.4,
    ),
    "one_too_many_when_even": (
        lambda n, size, drop: n // size + (not drop),
        "one update is always added for a short batch: where `batch_size` divides `num_examples` there is none",
        0.5,
    ),
    "always_one_more": (
        lambda n, size, drop: n // size + 1,
        "one update is always added: there is a short batch only where `batch_size` does not divide `num_examples`, and not with `drop_last`",
        0.4,
    ),
    "drop_last_takes_a_full_batch": (
        lambda n, size, drop: -(-n // size) - drop,
        "with `drop_last` a batch is always taken away, even where the last one is full: only a short one is left out",
        0.5,
    ),
    "drop_last_takes_one_more": (
        lambda n, size, drop: n // size - 1 if drop else -(-n // size),
        "with `drop_last` one of the full batches is left out as well: only the short one is",
        0.5,
    ),
    "to_the_nearest": (
        lambda n, size, drop: n // size if drop else round(n / size),
        "the number of batches is rounded to the nearest whole number: a short batch counts, however short it is",
        0.5,
    ),
    "always_to_the_nearest": (
        lambda n, size, drop: round(n / size),
        "the number of batches is rounded to the nearest whole number, with and without `drop_last`: a short batch counts or does not",
        0.4,
    ),
    "at_least_one": (
        lambda n, size, drop: max(1, _updates(n, size, drop)),
        "fewer examples than a batch holds, with `drop_last`: no batch is left, so there are 0 updates, not 1",
        0.7,
    ),
    "none_below_a_batch": (
        lambda n, size, drop: _updates(n, size, drop) if n >= size else 0,
        "fewer examples than a batch holds: they are one short batch, 1 update, unless `drop_last` leaves it out",
        0.7,
    ),
    "rest_added": (
        lambda n, size, drop: n // size + (0 if drop else n % size),
        "the examples of the short last batch are counted one by one: together they are one update",
        0.4,
    ),
    "rest_returned": (
        lambda n, size, drop: n % size,
        "what was returned is the number of examples in the short last batch, expected the number of batches",
        0.2,
    ),
    "num_examples_returned": (
        lambda n, size, drop: n,
        "what was returned is the number of examples: an update is made for a whole batch of them",
        0.1,
    ),
}


def _wrong_counts(small):
    for finding, (wrong, message, share) in _UPDATES_MISTAKES.items():
        if small == _counts(wrong, _EPOCHS):
            return finding, message, share
    return _ignored_argument(small) or _wrong_count(small, _counts(_updates, _EPOCHS))


def _ignored_argument(small):
    for index, name in enumerate(("num_examples", "batch_size")):
        values = {pair[index] for pair in _EPOCHS} | {32, 60_000, 128}
        if any(small == _counts(_updates, [(*pair[:index], value, *pair[index + 1 :]) for pair in _EPOCHS]) for value in values):
            return f"{name}_ignored", f"the counts do not depend on `{name}`: use the argument", 0.4
    return None


def _wrong_count(small, wanted):
    if small[1::3] == wanted[1::3] and small[2::3] == wanted[2::3]:
        return "wrong_default", "with `drop_last` given the counts are right, without it they are not: its default is False", 0.6
    place = next(place for place in range(len(small)) if small[place] != wanted[place])
    (examples, size), option = _EPOCHS[place // 3], ("", ", drop_last=False", ", drop_last=True")[place % 3]
    return "wrong_count", f"`updates_per_epoch({examples}, {size}{option})` is {small[place]:g}, expected {wanted[place]}: lay the batches out by hand", 0.3


UPDATES_PER_EPOCH = Todo("updates_per_epoch", 2, ("num_examples", "batch_size"), _updates_scenes, _updates_findings, defaulted=("drop_last",))
