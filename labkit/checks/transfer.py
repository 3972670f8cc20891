"""Check of notebook 05: `pretrained_runs`, the plan of `six_runs` from another start."""

from labkit.checks.study import observed_plan, wanted_plan, wrong_plan
from labkit.checks.todo import Todo

_CALLS = {
    "imagenet": {"dataset": "cifar10", "batch_size": 256, "epochs": {"sixteenth": 5, "half": 3, "full": 2}, "init": "IMAGENET1K_V1"},
    "file": {"dataset": "shapes:100/50", "batch_size": 32, "epochs": {"sixteenth": 7, "half": 4, "full": 6}, "init": "start.pt"},
}


def _scenes(answer):
    return {name: (lambda call=call: observed_plan(answer, **call)) for name, call in _CALLS.items()}


def _findings(seen):
    for name, call in _CALLS.items():
        found = wrong_plan("pretrained_runs", seen[name], wanted_plan(**call))
        if found and found[0] == "wrong_init":
            return _wrong_start(seen[name]["planned"], call["init"])
        if found:
            return found
    return None


def _wrong_start(planned, init):
    """Which of the runs start from something else than `init`, in words."""
    others = [run for run in planned if run["init"] != init]
    names = {field: sorted({str(run[field]) for run in others}) for field in ("init", "model", "fraction")}
    if len(others) == len(planned):
        if names["init"] == ["random"]:
            return "start_forgotten", "all runs start from random weights: pass `init` on to every `Experiment`", 0.3
        return "init_ignored", f"`init` is {names['init'][0]!r} where {init!r} was handed over: use the parameter, the start may be a file, too", 0.5
    if len(names["model"]) == 1:
        return "start_of_one_model", f"the runs of {names['model'][0]} start from {names['init'][0]!r}, expected {init!r} as for the other network", 0.4
    return "start_of_some_sizes", f"{len(others)} of the {len(planned)} runs start from {names['init'][0]!r}, expected {init!r} at every size", 0.4


PRETRAINED_RUNS = Todo("pretrained_runs", 4, ("dataset",), _scenes, _findings, keywords=("batch_size", "epochs", "init"))
