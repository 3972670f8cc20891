"""Have the answers of a submission probed in a sandbox, and read what comes out of it as what it is: data from an opponent."""

import json
from dataclasses import dataclass

from labkit import checks
from labkit.course.sandbox import Outcome

SECONDS = 90  # on the clock, for one exercise
MAX_LINE = 5 * 2**20  # bytes; an honest answer needs a tenth of a megabyte
MAX_LINES = 200
MAX_ENTRIES = 500_000  # of all lists and dicts of an exercise
MAX_DEPTH = 16
MAX_TEXT = 20_000  # characters of one text
MAX_NUMBER = 2**200
_OUTCOMES = ("deadline", "output", "died", "garbled", "tampered")


@dataclass(frozen=True)
class Observed:
    """What was seen of a submission.

    observations: {exercise: what `checks.judge` takes}, also for those that came to no end; missing: the exercises that no
    notebook checks; notes: sentences for the grader; outcome: how the run ended.
    """

    observations: dict
    missing: tuple
    notes: tuple
    outcome: Outcome


def observe(files, sandbox, seconds=SECONDS):
    """Probe the notebooks in `files` {relative path: bytes} in `sandbox`, each exercise for at most `seconds`; returns `Observed`.

    Raises `LabkitError` where the sandbox does not work, and for nothing that the submission does.
    """
    # -P: a submission may hold a labkit.py or a json.py, which must not take the place of the real one.
    return read(sandbox.run([sandbox.python, "-P", "-m", "labkit.checks.inside", str(seconds)], files))


def read(outcome):
    """The `Observed` in the result of a run, whatever that holds."""
    lines, notes = _lines(outcome.result)
    missing, unreadable = _heading(lines)
    notes += [f"the notebook {name!r} cannot be read" for name in unreadable]
    found = {}
    for line in lines:
        todo = line.get("todo")
        seen = _seen(line)
        if not isinstance(todo, str) or todo not in checks.names() or seen is None:
            notes.append(f"a line of the result is none of the probe's ({_quoted(todo)})")
        else:
            found.setdefault(todo, []).append(seen)
            notes += [f"`{todo}` changed {_quoted(line['detail'])}, with which it is checked"] if line.get("outcome") == "tampered" else []
    notes += _ending(outcome)
    # The probe writes one line an exercise. Of two, at least one is forged, and nothing tells which: neither counts.
    notes += [f"there are {len(seen)} results of `{todo}`, so that some are forged: none counts" for todo, seen in found.items() if len(seen) > 1]
    observations = {todo: seen[0] if len(seen) == 1 else _ended("died", "more than one result") for todo, seen in found.items()}
    lost = [todo for todo in checks.names() if todo not in observations and todo not in missing]
    observations |= {todo: _ended("died", f"the whole run ended before ({outcome.ended})") for todo in lost}
    return Observed(observations, tuple(todo for todo in missing if todo not in observations), tuple(notes[:MAX_LINES]), outcome)


def _lines(result):
    """(the objects in the lines, notes on those that are none). The last line is left out if it was cut off."""
    lines, notes = result.split(b"\n", MAX_LINES)[:-1], []
    if result.count(b"\n") > MAX_LINES:
        notes.append(f"the result has more than {MAX_LINES} lines; the rest was not read")
    parsed = [_parsed(line) for line in lines]
    if None in parsed:
        notes.append(f"{parsed.count(None)} lines of the result cannot be read")
    return [line for line in parsed if line is not None], notes


def _parsed(line):
    """The object in a line; None if it is none, or too large or too deep."""
    if len(line) > MAX_LINE:
        return None
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return _clean(value) if isinstance(value, dict) and _bounded(value) else None


def _bounded(value):
    """Whether nested data is small enough to be judged; looks without recursion."""
    waiting, entries = [(value, 1)], 0
    while waiting:
        value, depth = waiting.pop()
        entries += 1
        if entries > MAX_ENTRIES or depth > MAX_DEPTH:
            return False
        match value:
            case dict():
                if any(len(key) > MAX_TEXT for key in value):
                    return False
                waiting += [(item, depth + 1) for item in value.values()]
            case list():
                waiting += [(item, depth + 1) for item in value]
            case str() if len(value) > MAX_TEXT:
                return False
            case int() if abs(value) > MAX_NUMBER:
                return False
    return True


def _clean(value):
    """The same with texts that can be written: halves of characters are replaced."""
    match value:
        case dict():
            return {_clean(key): _clean(item) for key, item in value.items()}
        case list():
            return [_clean(item) for item in value]
        case str():
            return value.encode(errors="replace").decode()
    return value


def _heading(lines):
    """(the exercises that are in no notebook, the notebooks that cannot be read) from the first line, which is taken off."""
    match lines[:1]:
        case [{"missing": list(missing), "unreadable": list(unreadable)}]:
            lines.pop(0)
            return [todo for todo in checks.names() if todo in missing], [name for name in unreadable if isinstance(name, str)]
    return [], []


def _seen(line):
    """The observations in a line, of an exercise that came to no end those that say so; None if it is no line of the probe's."""
    match line:
        case {"todo": _, "observations": dict(observations), **rest} if not rest:
            return observations
        case {"todo": _, "outcome": str(kind), "detail": str(detail), **rest} if kind in _OUTCOMES and not rest:
            return _ended(kind, detail)
    return None


def _ended(kind, detail):
    """Observations that `checks.judge` has a finding for."""
    match kind:
        case "deadline":
            return {"look": {"timeout": float(detail) if detail.isdecimal() else SECONDS}}
        case "output":
            return {"look": {"flood": MAX_LINE}}
    words = {"tampered": f"it changed {detail}, with which it is checked", "garbled": "what it sent cannot be read", "died": f"its process ended: {detail}"}
    return {"look": {"raised": "ProcessEnded", "message": words[kind], "line": "", "own": False}}


def _ending(outcome):
    if outcome.ended == "finished" and outcome.status == 0:
        return []
    how = f"status {outcome.status}" if outcome.status is not None else "ended from outside"
    return [f"the run did not come to its end: {outcome.ended}, {how}"]


def _quoted(value):
    return repr(value)[:60]
