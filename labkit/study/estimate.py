"""How long a study will take, from a measurement of each kind of training in it."""

import heapq
from dataclasses import dataclass, field

from labkit.study.tasks import Cost

_SOON = 10.0  # seconds of a study in which another layout would not win back what its start and measurement take


@dataclass(frozen=True)
class Layout:
    """How many runs are under way at a time, and with how many threads each."""

    processes: int
    threads: int

    def __str__(self):
        return "one run after another" if self.processes == 1 else f"{self.processes} runs side by side"


@dataclass(frozen=True)
class Plan:
    """How the pending runs are done: their layout, their order (longest first), and the seconds that is expected to take.

    work: {key: seconds of the run}. epoch: {key: seconds of an epoch of it}. seconds: {layout: seconds for all}, for every
    layout that was measured. smaller: {name: seconds}, of the smaller grids.
    """

    layout: Layout
    order: list
    work: dict
    epoch: dict
    seconds: dict
    smaller: dict = field(default_factory=dict)

    def __str__(self):
        others = [f"{layout}: {duration(seconds)}" for layout, seconds in self.seconds.items() if layout != self.layout]
        text = f"{duration(self.seconds[self.layout])}, {self.layout}" + (f" ({'; '.join(others)})" if others else "")
        early = ["less if runs stop early"] if any(e.patience for e in self.order) else []
        return "; ".join([text, *early, *(f"the {name} size: {duration(seconds)}" for name, seconds in self.smaller.items())])


def make_plan(executor, pending, smaller):
    """The `Plan` for `pending`, {experiment: epochs to go}; smaller: {name: {experiment: epochs}} is only estimated.

    The layouts that the executor offers are measured on every kind of training, and the fastest is taken; a study that
    is soon done with the first one takes that.
    """
    every = [e for group in (pending, *smaller.values()) for e in group]
    costs = _without_failures(_measured(executor, every, pending))
    seconds = {layout: _seconds(pending, known, layout) for layout, known in costs.items()}
    layout = min(seconds, key=seconds.get)
    known = costs[layout]
    work = _work(pending, known)
    return Plan(
        layout, sorted(pending, key=lambda e: work[e.key], reverse=True), work,
        {e.key: known[kind(e)].epoch(e) if known[kind(e)] else 0.0 for e in pending}, seconds,
        {name: _seconds(group, known, layout) for name, group in smaller.items()},
    )  # fmt: skip


def _measured(executor, experiments, pending):
    """{layout: costs of all kinds in it}, of as many layouts as it is worth measuring."""
    costs = {}
    for layout in executor.layouts(len(pending)):
        costs[layout] = _costs(executor, experiments, layout)
        if _seconds(pending, costs[layout], layout) < _SOON:
            break
    return costs


def _seconds(experiments, costs, layout):
    """How long {experiment: epochs to go} take in a layout."""
    return makespan(_work(experiments, costs).values(), layout.processes)


def kind(experiment):
    """What decides the cost of an update and of an evaluation: equal for all experiments that are probed as one."""
    e = experiment
    # What a teacher says to images that never change is asked once.
    teacher = kind(e.teacher) if e.teacher and e.augmentation else None
    return e.data, e.model, e.stem, e.batch_size, e.optimizer, e.views, e.precision, teacher


def _costs(executor, experiments, layout) -> dict[tuple, Cost | None]:
    """{kind: `Cost`}; None where the probe failed, as the runs themselves will."""
    # The one with most images is the least likely to be refused for its batch size.
    largest = {kind(e): e for e in sorted(experiments, key=lambda e: e.fraction)}
    return {name: executor.measure(e, layout) for name, e in largest.items()}


def _without_failures(costs):
    """The layouts that manage whatever the first one manages: several runs may want more memory than there is."""
    first = next(iter(costs.values()))
    return {layout: known for layout, known in costs.items() if all(known[name] or not first[name] for name in first)}


def _work(pending, costs):
    """{key: seconds} for {experiment: epochs to go}; a run whose cost is unknown counts zero."""
    return {e.key: costs[kind(e)].seconds(e, epochs) if costs[kind(e)] else 0.0 for e, epochs in pending.items()}


def makespan(works, processes):
    """Seconds until the last of the works is done, if whoever is free takes the longest one left.

    Longest processing time first: R. L. Graham, Bounds on Multiprocessing Timing Anomalies (1969).
    """
    free = [0.0] * processes
    for work in sorted(works, reverse=True):
        heapq.heapreplace(free, free[0] + work)
    return max(free)


def duration(seconds):
    """A time in words, as exact as an estimate is: about 8 s, about 2 min, about 3.5 h."""
    if seconds < 90:
        return f"about {max(seconds, 1):.0f} s"
    return f"about {seconds / 60:.0f} min" if seconds < 5400 else f"about {seconds / 3600:.1f} h"
