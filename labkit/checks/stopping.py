"""Check of notebook 10: `EarlyStopping`.

The answer is fed short series of losses. The judge feeds them to a right one and to each well-known wrong one, and
looks which of them stop at the same epochs as the answer.
"""

import math
import operator

from labkit import loops
from labkit.checks.guard import as_number
from labkit.checks.todo import Todo

# (patience, losses): together they tell all known mistakes apart by the epochs at which they stop (a test looks).
SERIES = {
    "patience 3": (3, [3.0, 2.0, 2.5, 2.0, 1.5, 1.6, 1.55, 1.5, 1.8, 1.7, 1.9, 1.8]),
    "patience 2": (2, [2.0, 2.2, 1.0, 1.1, 0.9, 1.3, 1.2, 1.4, 1.5, 1.3]),
    "patience 1": (1, [2.5, 2.4, 1.9, 0.7, 0.7, 0.8, 0.9, 0.8]),
    "patience 4": (4, [0.6, 0.9, 0.5, 0.9, 0.8, 0.7, 0.4, 0.3, 0.9, 0.2, 0.6, 0.5, 0.4, 0.3, 0.6, 0.7, 0.9]),
    "no improvement": (6, [1.0 + 0.1 * epoch for epoch in range(24)]),
    "all improve": (7, [4.0 - 0.25 * epoch for epoch in range(12)]),
}
_AGAIN, _SMALL, _AFTER, _PAIR = "patience 3 again", "small steps", "after the stop", "side by side"
_NAN, _NAN_FIRST = "not a number", "not a number first"
_SPECIAL = {
    _AGAIN: SERIES["patience 3"],
    _SMALL: (2, [0.5 - 1e-5 * epoch for epoch in range(6)]),
    _AFTER: (2, [1.0, 2.0, 2.0, 2.0, 2.0, 0.5, 0.6, 0.7]),
    _NAN: (3, [2.0, 1.0, math.nan, math.nan, 1.5]),
    _NAN_FIRST: (3, [math.nan, 1.0, 0.9, 0.8, 0.7]),
}
_TWO_TRAININGS = ((2, [1.0, 1.2, 1.1]), (4, [7.0, 8.0, 6.0, 6.5, 6.6, 6.7, 6.8]))
_ENDINGS = (StopIteration, SystemExit)  # of those who end the program themselves


def _scenes(answer):
    def feed(patience, values):
        stopper = answer(patience)
        return {"has step": _has_step(stopper), "before": _best(stopper), "steps": [_step(stopper, value) for value in values]}

    def side_by_side():
        stoppers, seen = [answer(patience) for patience, _ in _TWO_TRAININGS], [[], []]
        for epoch in range(max(len(values) for _, values in _TWO_TRAININGS)):
            for stopper, (_, values), steps in zip(stoppers, _TWO_TRAININGS, seen):
                steps.extend(_step(stopper, value) for value in values[epoch : epoch + 1])
        return [{"steps": steps} for steps in seen]

    scenes = {name: (lambda series=series: feed(*series)) for name, series in (SERIES | _SPECIAL).items()}
    return scenes | {_PAIR: side_by_side}


def _has_step(stopper):
    return callable(getattr(stopper, "step", None))


def _best(stopper):
    return getattr(stopper, "best", "missing")


def _step(stopper, value):
    """What `step` returned for one value, and the best one after it."""
    if not _has_step(stopper):
        return None
    try:
        return {"returned": stopper.step(value), "best": _best(stopper)}
    except _ENDINGS as error:
        return {"ended": type(error).__name__}


# --- when a right answer stops, and when each wrong one ----------------------------------------


def _always(value, other):
    return True


def _replay(patience, values, *, better=operator.lt, worse=_always, start=math.inf, compare="best", reset=True, late=0, first=0):
    """[(whether to stop, best so far), …], one an epoch, with at most one mistake built in.

    worse: what a value that is not better must be to count. start: `best` before the first value. compare: what a
    value is compared with. reset: an improvement ends the count. late: how many epochs too late. first: what the first
    value counts.
    """
    best = previous = start
    bad, seen = 0, []
    for value in values:
        other = {"best": best, "previous": previous, "first": values[0] if seen else math.inf}[compare]
        if better(value, other):
            best, bad = value, 0 if reset else bad
            bad += 0 if seen else first
        elif worse(value, other):
            bad += 1
        previous = value
        seen.append((bad >= patience + late, best))
    return seen


_MISTAKES = {
    "never_reset": ({"reset": False}, "the bad epochs of the whole training are counted: only those in a row since the best value count"),
    "compares_with_previous": ({"compare": "previous"}, "each value is compared with the one before it, expected with the best one so far"),
    "compares_with_first": ({"compare": "first"}, "each value is compared with the first one, expected with the best one so far"),
    "one_epoch_early": ({"late": -1}, "it says stop one epoch too early: look at what the count is compared with, and when"),
    "one_epoch_late": ({"late": 1}, "it says stop one epoch too late: look at what the count is compared with, and when"),
    "higher_is_better": ({"better": operator.gt, "start": -math.inf}, "higher values count as improvements: these are losses, lower is better"),
    "counts_all_epochs": (
        {"better": operator.gt},
        "every epoch counts as a bad one, also where the value was lower: look at the comparison, and at what `best` starts from",
    ),
    "equal_improves": ({"better": operator.le}, "a value equal to the best one counts as an improvement: it is not lower"),
    "equal_not_counted": ({"worse": operator.gt}, "a value equal to the best one does not count as a bad epoch: it is not lower"),
    "first_counted": ({"first": 1}, "the first value counts as a bad epoch: there is nothing yet that it could be worse than"),
    "never_reset_and_first_counted": ({"first": 1, "reset": False}, "the first value counts as a bad epoch, and improvements do not end the count"),
}
_PATIENCES = range(1, 24)


def _expected(patience, values):
    return [stop for stop, _ in _replay(patience, values)]


def _epochs(patience_of=lambda patience: patience, **mistake):
    """The epochs at which each of the series is stopped."""
    return [_stop_epoch([stop for stop, _ in _replay(patience_of(patience), values, **mistake)]) for patience, values in SERIES.values()]


def _stop_epoch(stops):
    """The first epoch, from 1, after which a loop would stop; None if never."""
    return stops.index(True) + 1 if True in stops else None


# --- the judge ---------------------------------------------------------------------------------


def _findings(seen):
    scenes = [seen[name] for name in SERIES]
    return _wrong_form(scenes) or _shared(seen, scenes) or _wrong_epochs(scenes) or _wrong_best(scenes) or _wrong_in_special(seen)


def _wrong_form(scenes):
    """What comes back from `step` is no decision."""
    if not all(scene["has step"] for scene in scenes):
        return "no_step_method", "what `EarlyStopping(patience)` makes has no method `step`; define `def step(self, value)` in the class", 0.0
    steps = [step for scene in scenes for step in scene["steps"]]
    endings = [step["ended"] for step in steps if "ended" in step]
    if endings:
        return "raises_to_stop", f"`step` raised {endings[0]}, expected it to return True when it is time to stop: the loop decides what to do then", 0.4
    return _wrong_type([step["returned"] for step in steps])


def _wrong_type(returned):
    if all(value is None for value in returned):
        return "returns_nothing", "`step` returned None for every value, expected True or False: a stop that is only printed or stored ends no loop", 0.3
    odd = [value for value in returned if value is not None and _truth(value) is None]
    if odd and all(_is_number(value) for value in returned):
        return "returns_the_count", f"`step` returned the number {odd[0]:g}, expected True or False: compare the count with the patience", 0.4
    if odd:
        return "not_a_bool", f"`step` returned {_word(odd[0])}, expected True or False", 0.2
    if None in returned:
        return "returns_nothing", "`step` returned None for some of the values, expected True or False each time: every way through it needs a `return`", 0.6
    return None


def _word(value):
    if isinstance(value, (str, int, float)):
        return f"{value!r}"[:40]
    if isinstance(value, list):
        return f"{len(value)} values"
    return f"an object of type {value.get('type', 'dict') if isinstance(value, dict) else type(value).__name__}"


def _is_number(value):
    return isinstance(value, (int, float))


def _truth(value):
    number = value if isinstance(value, bool) else as_number(value)
    return bool(number) if number in (0, 1) else None


def _stops(scene):
    return [_truth(step["returned"]) for step in scene["steps"]]


def _shared(seen, scenes):
    """Objects that know of one another."""
    first, again = seen["patience 3"], seen[_AGAIN]
    same = _stops(first) == _stops(again) and repr(first["before"]) == repr(again["before"])
    alone = [_stop_epoch(_stops(scene)) for scene in scenes] == _epochs()
    together = [_stop_epoch(_stops(scene)) for scene in seen[_PAIR]] == [_stop_epoch(_expected(*series)) for series in _TWO_TRAININGS]
    if same and (together or not alone):
        return None
    message = "two `EarlyStopping` objects share a memory: what one of them was told changes the decisions or the `best` of the other"
    return "shared_between_objects", f"{message}; keep what belongs to one training on `self`", 0.4


def _wrong_epochs(scenes):
    decisions = [_stops(scene) for scene in scenes]
    epochs, expected = [_stop_epoch(stops) for stops in decisions], _epochs()
    if epochs == expected:
        return None
    return _constant(scenes, decisions) or _other_meaning(decisions) or _known_mistake(scenes, epochs) or _unknown_mistake(epochs, expected)


def _constant(scenes, decisions):
    """The same decision for every value."""
    flat = [stop for stops in decisions for stop in stops]
    if all(flat):
        return "always_stops", "`step` returned True for every value, also for those that were lower than all before", 0.1
    if any(flat):
        return None
    if all(as_number(step["best"]) == math.inf for scene in scenes for step in scene["steps"]):
        return "best_not_updated", "`step` never returned True: `best` stays at infinity, so that every value seems to be an improvement", 0.3
    return "never_stops", "`step` never returned True, though the values did not improve for as many epochs as `patience` says: is anything counted?", 0.2


def _other_meaning(decisions):
    """True for something else than the time to stop."""
    expected = [_expected(*series)[: epoch or None] for series, epoch in zip(SERIES.values(), _epochs())]
    if all([not stop for stop in theirs[: len(ours)]] == ours for ours, theirs in zip(expected, decisions)):
        return "inverted", "`step` returned True as long as the training should go on, expected True when it is time to stop", 0.5
    if decisions == [[value < min(values[:i], default=math.inf) for i, value in enumerate(values)] for _, values in SERIES.values()]:
        return "says_improved", "`step` returned True for each value that was an improvement, expected True when it is time to stop", 0.3
    return None


def _known_mistake(scenes, epochs):
    start = as_number(scenes[0]["before"])
    if start is not None and math.isfinite(start) and epochs == _epochs(start=start):
        return "best_start", f"`best` is {start:g} before the first value, so that losses above it are no improvements: start from infinity", 0.5
    for patience in _PATIENCES:
        if epochs == _epochs(lambda _, fixed=patience: fixed):
            row = "the first bad epoch" if patience == 1 else f"{patience} bad epochs in a row"
            return "patience_ignored", f"it stops after {row}, whatever `patience` says", 0.4
    if epochs == _epochs(compare="previous") and _bests(scenes) == _told():
        return "best_always_updated", "`best` is set to every value, also to one that is higher: it is the lowest value so far", 0.4
    for name, (mistake, message) in _MISTAKES.items():
        if epochs == _epochs(**mistake):
            return name, message, 0.4
    return None


def _unknown_mistake(epochs, expected):
    """Show the first of the series that is stopped at the wrong epoch."""
    (patience, values), seen, wanted = next(case for case in zip(SERIES.values(), epochs, expected) if case[1] != case[2])
    series = ", ".join(f"{value:g}" for value in values)
    says = f"says stop after value {seen}" if seen else "never says stop"
    return "wrong_epoch", f"with patience={patience} and the values {series} it {says}, expected {f'after value {wanted}' if wanted else 'never'}", 0.3


# --- best --------------------------------------------------------------------------------------


def _bests(scenes, until=False):
    """`best` after each value; until: only as far as a right answer goes on."""
    return [as_number(step["best"]) for scene, epoch in zip(scenes, _epochs()) for step in scene["steps"][: epoch if until else None]]


def _told():
    """All values of the series."""
    return [value for _, values in SERIES.values() for value in values]


def _wrong_best(scenes):
    return _wrong_kind(scenes) or _wrong_values(_bests(scenes, until=True)) or _wrong_before(scenes[0]["before"])


def _wrong_kind(scenes):
    bests = [step["best"] for scene in scenes for step in scene["steps"]]
    if all(best == "missing" for best in bests):
        return "no_best", "the object has no attribute `best`; keep the lowest value so far in `self.best`", 0.7
    if all(best is None for best in bests):
        return "best_not_updated", "`best` is None after the first value, expected the lowest value so far", 0.7
    odd = [best for best in bests if as_number(best) is None]
    if odd:
        return "best_not_a_number", f"`best` is {_word(odd[0])}, expected a number, the lowest value so far", 0.7
    return None


def _wrong_values(bests):
    wanted = _so_far(min)
    if _near(bests, wanted):
        return None
    for name, (values, message) in _best_candidates(wanted).items():
        if _near(bests, values):
            return name, f"it stops at the right epochs, but `best` {message}", 0.7
    best, value = next(pair for pair in zip(bests, wanted) if not _near(pair[:1], pair[1:]))
    return "wrong_best", f"it stops at the right epochs, but `best` is {best:g} where the lowest value so far is {value:g}", 0.7


def _so_far(of):
    """`of` the values so far (min, max, …), after each value of the series."""
    return [of(values[: i + 1]) for (_, values), epoch in zip(SERIES.values(), _epochs()) for i in range(epoch or len(values))]


def _best_candidates(wanted):
    """{finding: (what `best` would be, message)}."""
    return {
        "best_always_updated": (_so_far(lambda values: values[-1]), "is the last value, expected the lowest so far"),
        "best_stays_first": (_so_far(lambda values: values[0]), "stays at the first value: it must follow when a value is lower"),
        "best_is_the_highest": (_so_far(max), "is the highest value so far, expected the lowest"),
        "best_negated": ([-value for value in wanted], "has the wrong sign: it is the loss itself"),
        "best_not_updated": ([math.inf] * len(wanted), "stays at infinity: it must follow when a value is lower"),
    }


def _near(bests, wanted):
    return len(bests) == len(wanted) and all(math.isclose(best, value, rel_tol=1e-6) for best, value in zip(bests, wanted))


def _wrong_before(before):
    """Infinity before the first value; None says as much."""
    if before is None or as_number(before) == math.inf:
        return None
    shown = "missing" if before == "missing" else _word(before) if as_number(before) is None else f"{as_number(before):g}"
    return "best_start", f"`best` is {shown} before the first value, expected infinity: any loss is lower than that", 0.8


# --- series in which only careless answers go wrong --------------------------------------------


def _wrong_in_special(seen):
    with_nan = _wrong_with_nan(seen[_NAN]) or _wrong_with_nan_first(seen[_NAN_FIRST])
    return _wrong_in_small_steps(_stops(seen[_SMALL])) or with_nan or _wrong_afterwards(_stops(seen[_AFTER]))


def _wrong_in_small_steps(stops):
    if any(stops):
        return "small_improvements_ignored", "a value that is lower by 0.00001 does not count as an improvement: every lower value is one", 0.7
    return None


def _wrong_with_nan(scene):
    bests = [as_number(step["best"]) for step in scene["steps"]]
    if any(best is None or math.isnan(best) for best in bests):
        return "nan_improves", "a loss that is not a number (NaN) became the `best`: it is not lower, so it is no improvement", 0.8
    if _stops(scene) != _expected(*_SPECIAL[_NAN]):
        return "nan_improves", "losses that are not a number (NaN) do not count as bad epochs: they are not lower than the best one", 0.8
    return None


def _wrong_with_nan_first(scene):
    patience, values = _SPECIAL[_NAN_FIRST]
    if _stops(scene) != _expected(patience, values) or as_number(scene["steps"][-1]["best"]) != values[-1]:
        return "nan_improves", "a loss that is not a number (NaN) in the first epoch became the `best`, and no loss is lower: start from infinity", 0.8
    return None


def _wrong_afterwards(stops):
    expected = _expected(*_SPECIAL[_AFTER])
    if stops == expected:
        return None
    if all(stops[expected.index(True) :]):
        return "stays_stopped", "once it has said stop it says so for ever: a lower value must end the row of bad epochs then, too", 0.8
    return "forgets_the_stop", "asked again after it has said stop, it decides otherwise: only a lower value ends the row of bad epochs", 0.8


EARLY_STOPPING = Todo("EarlyStopping", 5, ("patience",), _scenes, _findings, (loops.EarlyStopping,))
