"""What a submitted notebook shows of its own execution, and whether it can be so. Nothing is executed."""

import re

from labkit.course.rebuild import changes, number_of_figures
from labkit.course.untrusted import shown
from labkit.runs import cited
from labkit.submit import faults

_EPOCH = re.compile(r"^epoch +(\d+)/\d+  lr (\S+)  train loss (\S+) acc (\S+)  (valid|test) loss (\S+) acc (\S+)", re.M)
_CITED = re.compile(r"^kept as run ([0-9a-f]{16})$", re.M)
_VERDICT = re.compile(r"^(\w+): (passed|not yet), [\d.]+ of [\d.]+ points", re.M)
_MOST = 5  # sentences of one kind


def examine(notebook, lessons, runs, findings):
    """[(kind, sentence)] of what a notebook (format 4) shows that is not as after one execution from top to bottom.

    lessons: those of `rebuild` that it holds; runs: {key: `RunFacts`}; findings: {exercise: `Finding`}, as judged now. kind: "open",
    "unanswered", "order", "error" (see `labkit.submit.faults`), "edited", "removed" (see `rebuild.changes`), "output" (too few figures),
    "uncited" (a run that was not handed in), "printed" (numbers that the run's record does not hold) or "verdict" (of a check, that is
    another one now). The last two are no slips: an output was edited, or the code after it.
    """
    found = [*faults(notebook), *changes(notebook, lessons), *_figures(notebook, lessons), *_verdicts(notebook, findings)]
    found += [("uncited", f"it cites run {key}, which was not handed in") for key in cited_runs(notebook) if key not in runs]
    for number, cell in enumerate(notebook.cells, 1):
        found += [("printed", f"cell {number} {fault}") for fault in _contradicted(_printed(cell), runs)]
    return _few(found)


def cited_runs(notebook):
    """The keys of the runs that a notebook says it shows."""
    return cited("\n".join(map(_printed, notebook.cells)))


def _few(found):
    """At most some sentences of each kind, and how many there are more."""
    kept = []
    for kind in dict.fromkeys(kind for kind, _ in found):
        sentences = [shown(sentence, 300) for other, sentence in found if other == kind]
        more = [f"and {len(sentences) - _MOST} more of this kind"] if len(sentences) > _MOST else []
        kept += [(kind, sentence) for sentence in sentences[:_MOST] + more]
    return kept


def _printed(cell):
    return "".join(output.get("text", "") for output in cell.get("outputs", []))


def _figures(notebook, lessons):
    """Students may draw less than the course does, but not hardly anything."""
    drawn, expected = sum(map(number_of_figures, notebook.cells)), sum(lesson.figures for lesson in lessons)
    if drawn < expected / 2:
        yield "output", f"it shows {drawn} figures, the course's own has {expected}"


def _verdicts(notebook, findings):
    """What `check` said when the notebook was executed, against what is found now."""
    for cell in notebook.cells:
        for todo, verdict in _VERDICT.findall(_printed(cell)):
            if verdict == "passed" and todo in findings and not findings[todo].passed:
                yield "verdict", f"it shows `{todo}` as passed, found now: {findings[todo].name}"


def _contradicted(text, runs):
    """Where the printed epochs of a training are not those of the run that it was kept as."""
    start = 0
    for citation in _CITED.finditer(text):
        epochs, start, key = _last_training(text[start : citation.start()]), citation.end(), citation[1]
        rows = {row.get("epoch"): row for row in runs[key].history} if key in runs else {}
        for epoch, *numbers in epochs:
            if rows and not _same(numbers, rows.get(int(epoch), {})):
                yield f"prints an epoch {int(epoch)} of run {key} that its history.jsonl does not have"
                break


def _last_training(text):
    """The printed epochs of the training that ended last: before it others may have printed theirs."""
    epochs = _EPOCH.findall(text)
    first = max((place for place, epoch in enumerate(epochs) if int(epoch[0]) <= int(epochs[place - 1][0])), default=0)
    return epochs[first:]


def _same(numbers, row):
    lr, train_loss, train_acc, part, loss, acc = numbers
    printed = {"train_loss": train_loss, "train_acc": train_acc, f"{part}_loss": loss, f"{part}_acc": acc}
    kept = {name: row.get(name) for name in printed}
    return None not in kept.values() and all(f"{kept[name]:.4f}" == text for name, text in printed.items()) and f"{row.get('lr', 0):.2e}" == lr
