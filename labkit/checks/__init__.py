"""What each TODO must do. `probe` drives an answer on small inputs and writes down plain observations, `judge`
compares them with what must be and names the mistake; `check` does both and tells the student.

The two halves are apart so that, at grading, the probe can run in a sandbox and the judge outside it.
"""

from labkit.errors import accepted
from labkit.startup import fast_imports

with fast_imports():
    from labkit.checks import best, distillation, images, loops, models, reset, schedules, scores, search, statistics, stopping, study, transfer
    from labkit.checks.todo import Finding

__all__ = ["Finding", "check", "judge", "names", "points", "probe"]

_LESSON = (
    models.REPLACE_HEAD,
    loops.TRAIN,
    loops.TEST,
    reset.RESET,
    models.SIMPLE_CNN,
    models.BASIC_BLOCK,
    models.MAKE_LAYER,
    study.SIX_RUNS,
    study.DRAW_SCALING,
    transfer.PRETRAINED_RUNS,
    statistics.GET_MEAN_STD,
    images.AUGMENT,
    schedules.STEP_DECAY,
    schedules.CYCLIC,
    schedules.UPDATES_PER_EPOCH,
    stopping.EARLY_STOPPING,
    scores.TOP_K,
    scores.PER_CLASS,
    distillation.DISTILLATION,
    search.OBJECTIVE,
    best.BEST_MODEL,
)
_TODOS = {todo.name: todo for todo in _LESSON}


def names():
    """The names of all exercises that can be checked."""
    return list(_TODOS)


def points(todo):
    """How many points an exercise has."""
    return _find(todo).points


def probe(todo, answer):
    """Drive `answer` on small inputs; return {scene: what happened}, plain values that JSON can hold."""
    return _find(todo).probe(answer)


def judge(todo, observations):
    """The `Finding` for observations that `probe` made."""
    return _find(todo).judge(observations)


def check(todo, answer):
    """Probe and judge `answer` and print the finding. Returns None: nbgrader would read a number as points."""
    finding = judge(todo, probe(todo, answer))
    if finding.passed:
        print(f"{todo}: passed, {finding.points:g} of {finding.of:g} points")
    else:
        print(f"{todo}: not yet, {finding.points:g} of {finding.of:g} points [{finding.name}]\n{finding.message}")


def _find(todo):
    return _TODOS[accepted("exercise", todo, _TODOS)]
