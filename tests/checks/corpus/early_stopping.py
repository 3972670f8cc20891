"""Answers to `EarlyStopping`."""

import math
from dataclasses import dataclass

import numpy as np
import torch

from corpus import catalogue

right, wrong = catalogue("EarlyStopping")

# --- right -------------------------------------------------------------------------------------


@right
class TheLesson:
    def __init__(self, patience):
        self.patience = patience
        self.best = float("inf")
        self.bad_epochs = 0

    def step(self, value):
        if value < self.best:
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


@right
class NoneBeforeTheFirstLossAndPrints:
    def __init__(self, patience=5, verbose=True):
        self.patience, self.verbose = patience, verbose
        self.best = None
        self.counter = 0

    def step(self, val_loss):
        if not math.isnan(val_loss) and (self.best is None or val_loss < self.best):
            self.best = val_loss
            self.counter = 0
            return False
        self.counter += 1
        if self.verbose:
            print(f"EarlyStopping counter: {self.counter} out of {self.patience}")
        if self.counter >= self.patience:
            print("stop")
            return True
        return False


@right
class WholeHistory:
    """`best` is worked out when it is asked for."""

    def __init__(self, patience):
        self.p, self.history = patience, []

    @property
    def best(self):
        return min((v for v in self.history if v == v), default=math.inf)

    def step(self, value):
        self.history.append(value)
        before, last = self.history[: -self.p], self.history[-self.p :]
        return len(before) > 0 and all(not v < min((v for v in before if v == v), default=math.inf) for v in last)


@right
@dataclass
class AsDataclass:
    patience: int = 5
    best: float = math.inf
    epoch: int = 0
    best_epoch: int = 0

    def step(self, value):
        self.epoch += 1
        if value < self.best:
            self.best, self.best_epoch = value, self.epoch
        return self.epoch - self.best_epoch >= self.patience


@right
class CountsDown:
    best = torch.inf  # of the class, until an object has its own

    def __init__(self, patience):
        self.left = self.patience = patience

    def step(self, loss):
        improved = loss < self.best
        self.best = loss if improved else self.best
        self.left = self.patience if improved else self.left - 1
        return int(self.left <= 0)


@right
class NumpyAndTensors:
    def __init__(self, patience):
        self.patience, self.best, self.bad = patience, torch.tensor(float("inf"), dtype=torch.float64), np.int64(0)

    def step(self, value):
        value = torch.tensor(value, dtype=torch.float64)
        if value.item() < self.best.item():
            self.best = value
            self.bad = np.int64(0)
        else:
            self.bad += 1
        return self.bad >= np.int64(self.patience)


@right
def closure(patience):
    state = {"best": math.inf, "bad": 0}

    class Stopper:
        best = property(lambda self: state["best"])

        def step(self, value, *_):
            state["bad"] = 0 if value < state["best"] else state["bad"] + 1
            state["best"] = value if value < state["best"] else state["best"]
            return torch.tensor(state["bad"] >= patience)

    return Stopper()


@right
class BestFirst(TheLesson):
    """The new best is entered before anything is compared."""

    def step(self, value):
        previous = self.best
        self.best = min(self.best, value)
        self.bad_epochs = 0 if self.best < previous else self.bad_epochs + 1
        return not self.bad_epochs < self.patience


@right
class MinDeltaOfZero:
    def __init__(self, patience, min_delta=0.0):
        self.patience, self.min_delta, self.wait, self.best = patience, min_delta, 0, np.inf

    def step(self, current):
        self.wait += 1
        if np.less(current, self.best - self.min_delta):
            self.best, self.wait = current, 0
        return np.bool_(self.wait >= self.patience)


# --- wrong -------------------------------------------------------------------------------------


@wrong("never_reset")
class CountsInTotal(TheLesson):
    def step(self, value):
        if value < self.best:
            self.best = value
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


@wrong("compares_with_previous")
class LowerThanThePrevious(TheLesson):
    previous = math.inf

    def step(self, value):
        self.bad_epochs = 0 if value < self.previous else self.bad_epochs + 1
        self.previous = value
        self.best = min(self.best, value)
        return self.bad_epochs >= self.patience


@wrong("compares_with_first")
class LowerThanTheFirst(TheLesson):
    def step(self, value):
        if self.best == math.inf:
            self.best = value
        elif value < self.best:
            self.bad_epochs = 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


@wrong("best_always_updated")
class BestIsTheLast(TheLesson):
    def step(self, value):
        self.bad_epochs = 0 if value < self.best else self.bad_epochs + 1
        self.best = value
        return self.bad_epochs >= self.patience


@wrong("one_epoch_late")
class GreaterThanPatience(TheLesson):
    def step(self, value):
        super().step(value)
        return self.bad_epochs > self.patience


@wrong("one_epoch_late")
class LooksBeforeItCounts(TheLesson):
    def step(self, value):
        if self.bad_epochs >= self.patience:
            return True
        super().step(value)
        return False


@wrong("one_epoch_early")
class OneLess(TheLesson):
    def step(self, value):
        super().step(value)
        return self.bad_epochs >= self.patience - 1


@wrong("higher_is_better")
class AsForAccuracy(TheLesson):
    def __init__(self, patience):
        super().__init__(patience)
        self.best = -math.inf

    def step(self, value):
        if value > self.best:
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


@wrong("counts_all_epochs")
class GreaterThanInfinity(TheLesson):
    def step(self, value):
        if value > self.best:
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


@wrong("best_start")
class StartsAtZero(TheLesson):
    def __init__(self, patience):
        super().__init__(patience)
        self.best = 0


@wrong("best_start")
class StartsAtOne(TheLesson):
    def __init__(self, patience):
        super().__init__(patience)
        self.best = 1.0


@wrong("best_start")
class StartsAtAMillion(TheLesson):
    def __init__(self, patience):
        super().__init__(patience)
        self.best = 1e6


@wrong("equal_improves")
class LessOrEqual(TheLesson):
    def step(self, value):
        if value <= self.best:
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


@wrong("equal_not_counted")
class EqualIsNeither(TheLesson):
    def step(self, value):
        if value > self.best:
            self.bad_epochs += 1
        elif value < self.best:
            self.best, self.bad_epochs = value, 0
        return self.bad_epochs >= self.patience


@wrong("first_counted")
class FirstIsBad:
    def __init__(self, patience):
        self.patience, self.best, self.count = patience, None, 0

    def step(self, value):
        if self.best is not None and value < self.best:
            self.count = 0
        else:
            self.count += 1
        self.best = value if self.best is None else min(self.best, value)
        return self.count >= self.patience


@wrong("patience_ignored")
class FiveWritten(TheLesson):
    def step(self, value):
        super().step(value)
        return self.bad_epochs >= 5


@wrong("patience_ignored")
class AtTheFirstBadOne(TheLesson):
    def step(self, value):
        super().step(value)
        return self.bad_epochs > 0


@wrong("best_not_updated")
class BestForgotten(TheLesson):
    def step(self, value):
        if value < self.best:
            self.bad_epochs = 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


@wrong("best_not_updated")
class BestKeptElsewhere(TheLesson):
    lowest = math.inf

    def step(self, value):
        self.bad_epochs = 0 if value < self.lowest else self.bad_epochs + 1
        self.lowest = min(self.lowest, value)
        return self.bad_epochs >= self.patience


@wrong("never_stops")
class CountThrownAway(TheLesson):
    def step(self, value):
        bad = 0
        if value < self.best:
            self.best = value
        else:
            bad += 1
        return bad >= self.patience + 1


@wrong("always_stops")
class AlwaysTrue(TheLesson):
    def step(self, value):
        super().step(value)
        return True


@wrong("returns_nothing")
class PrintsOnly(TheLesson):
    def step(self, value):
        if super().step(value):
            print("Early stopping!")


@wrong("returns_nothing")
class NoneInsteadOfFalse(TheLesson):
    def step(self, value):
        if super().step(value):
            return True


@wrong("returns_the_count")
class CountReturned(TheLesson):
    def step(self, value):
        super().step(value)
        return self.bad_epochs


@wrong("not_a_bool")
class BothReturned(TheLesson):
    def step(self, value):
        return super().step(value), self.best


@wrong("not_a_bool")
class WordReturned(TheLesson):
    def step(self, value):
        return "stop" if super().step(value) else "go on"


@wrong("raises_to_stop")
class RaisesStopIteration(TheLesson):
    def step(self, value):
        if super().step(value):
            raise StopIteration("patience is used up")
        return False


@wrong("inverted")
class TrueToGoOn(TheLesson):
    def step(self, value):
        return not super().step(value)


@wrong("says_improved")
class TrueIfImproved(TheLesson):
    def step(self, value):
        super().step(value)
        return self.bad_epochs == 0


@wrong("shared_between_objects")
class AttributesOfTheClass:
    best, bad = math.inf, 0

    def __init__(self, patience):
        self.patience = patience

    def step(self, value):
        cls = type(self)
        if value < cls.best:
            cls.best, cls.bad = value, 0
        else:
            cls.bad += 1
        return cls.bad >= self.patience


@wrong("shared_between_objects")
class ListOfTheClass:
    values = []  # noqa: RUF012

    def __init__(self, patience):
        self.patience = patience

    @property
    def best(self):
        return min(self.values, default=math.inf)

    def step(self, value):
        self.values.append(value)
        return len(self.values) - 1 - self.values.index(min(self.values)) >= self.patience


@wrong("shared_between_objects")
class GlobalPatience(TheLesson):
    def __init__(self, patience):
        super().__init__(patience)
        GlobalPatience.limit = patience

    def step(self, value):
        super().step(value)
        return self.bad_epochs >= GlobalPatience.limit


@wrong("nan_improves")
class NotWorseIsBetter(TheLesson):
    def step(self, value):
        if value >= self.best:
            self.bad_epochs += 1
        else:
            self.best, self.bad_epochs = value, 0
        return self.bad_epochs >= self.patience


@wrong("nan_improves")
class NumpyMinimum(TheLesson):
    def step(self, value):
        self.bad_epochs = 0 if value < self.best else self.bad_epochs + 1
        self.best = np.minimum(self.best, value)
        return self.bad_epochs >= self.patience


@wrong("stays_stopped")
class StoppedForEver(TheLesson):
    stopped = False

    def step(self, value):
        self.stopped = super().step(value) or self.stopped
        return self.stopped


@wrong("forgets_the_stop")
class StartsAgain(TheLesson):
    def step(self, value):
        stop = super().step(value)
        if stop:
            self.bad_epochs = 0
        return stop


@wrong("forgets_the_stop")
class ExactlyPatience(TheLesson):
    def step(self, value):
        super().step(value)
        return self.bad_epochs == self.patience


@wrong("wrong_best")
class AllForgottenAtTheStop(TheLesson):
    def step(self, value):
        stop = super().step(value)
        if stop:
            self.__init__(self.patience)
        return stop


@wrong("small_improvements_ignored")
class MinDelta(TheLesson):
    def step(self, value):
        if value < self.best - 1e-3:
            self.best, self.bad_epochs = value, 0
        else:
            self.bad_epochs += 1
        return self.bad_epochs >= self.patience


@wrong("no_best")
class BestUnderAnotherName:
    def __init__(self, patience):
        self.patience, self.best_loss, self.counter = patience, math.inf, 0

    def step(self, value):
        if value < self.best_loss:
            self.best_loss, self.counter = value, 0
        else:
            self.counter += 1
        return self.counter >= self.patience


@wrong("best_negated")
class ScoreKept:
    def __init__(self, patience):
        self.patience, self.best, self.counter = patience, None, 0

    def step(self, val_loss):
        score = -val_loss
        if self.best is None or score > self.best:
            self.best, self.counter = score, 0
        else:
            self.counter += 1
        return self.counter >= self.patience


@wrong("best_not_a_number")
class BestIsAMethod(BestUnderAnotherName):
    def best(self):
        return self.best_loss


@wrong("best_stays_first")
class BestIsTheFirst(BestUnderAnotherName):
    best = math.inf

    def step(self, value):
        self.best = value if self.best == math.inf else self.best
        return super().step(value)


@wrong("wrong_epoch")
class MeanOfTheLast:
    """Compares the mean of the last values with the best."""

    def __init__(self, patience):
        self.patience, self.values, self.best = patience, [], math.inf

    def step(self, value):
        self.values.append(value)
        self.best = min(self.best, value)
        last = self.values[-self.patience :]
        return len(self.values) > self.patience and sum(last) / len(last) > self.values[-self.patience - 1]


@wrong("no_step_method")
class OnlyCallable:
    best = math.inf

    def __init__(self, patience):
        self.patience = patience

    def __call__(self, value):
        return False


@wrong("signature")
class PatienceForgotten:
    def __init__(self):
        self.best = math.inf

    def step(self, value):
        return False


@wrong("raises")
class StepWithoutSelf:
    def __init__(self, patience):
        self.patience = patience

    def step(value):
        return False


@wrong("nan_improves")
class NoneBeforeTheFirstAndPrints:
    """Nothing is lower than a NaN that came first."""

    def __init__(self, patience=5, verbose=True):
        self.patience, self.verbose = patience, verbose
        self.best = None
        self.counter = 0

    def step(self, val_loss):
        if self.best is None or val_loss < self.best:
            self.best = val_loss
            self.counter = 0
            return False
        self.counter += 1
        if self.verbose:
            print(f"EarlyStopping counter: {self.counter} out of {self.patience}")
        if self.counter >= self.patience:
            print("stop")
            return True
        return False
