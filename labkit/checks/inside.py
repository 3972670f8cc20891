"""`python -m labkit.checks.inside`: what runs in the sandbox. It probes the answers of the notebooks in its working folder.

Each exercise is probed in a process of its own. This one executes nothing of the student's, gathers what the others
send, and writes it to the descriptor in LABKIT_RESULT_FD, a JSON object a line: first {"missing": exercises that no
notebook checks, "unreadable": notebooks}, then {"todo": name, "observations": …} or {"todo": name, "outcome": kind,
"detail": text} for each exercise. labkit/course/observe.py reads it.
"""

import builtins
import ctypes
import json
import os
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

from labkit import checks
from labkit.checks import guard
from labkit.checks.guard import MAX_TEXT, run_scene
from labkit.checks.notebook import answers, code
from labkit.checks.status import beside, observe

SECONDS = 90  # on the clock, for one exercise
SCENE_SECONDS, PATIENCE = 6.0, 5  # as in guard.py, but long: many submissions at once make a machine slow, and no student waits
MAX_BYTES = 4 * 2**20  # of what is observed of one exercise
_PR_SET_DUMPABLE = 4


def main(arguments):
    """Probe everything; arguments: [seconds for one exercise]."""
    seconds = float(arguments[0]) if arguments else SECONDS
    result = int(os.environ.pop("LABKIT_RESULT_FD"))
    _protect(True)
    found, unreadable = _find(Path.cwd())
    _write(result, {"missing": [todo for todo in checks.names() if todo not in found], "unreadable": unreadable})
    guard.SECONDS, guard.PATIENCE = SCENE_SECONDS, PATIENCE
    run_scene(lambda: None)  # what torch imports at the first scene is then there for all
    for todo, answer in found.items():
        _write(result, {"todo": todo} | _probed_apart(answer, seconds, result))


def _find(folder):
    """({exercise: `Answer`}, names of notebooks that cannot be read)."""
    found, unreadable = {}, []
    for path in sorted(folder.glob("*.ipynb")):
        try:
            here = answers(path, _cells(path))
        except Exception:  # besides its own error: RecursionError and MemoryError, from Python's parser
            unreadable.append(path.name[:MAX_TEXT])
            continue
        found |= {todo: answer for todo, answer in here.items() if todo in checks.names() and todo not in found}
    return found, unreadable


def _cells(path):
    """The sources of its cells, in plain Python. It was written by labkit, and nbformat takes longer to import than most answers run."""
    cells = json.loads(path.read_bytes())["cells"]
    return [code(SimpleNamespace(cell_type=cell["cell_type"], source="".join(cell["source"]))) for cell in cells]


def _write(descriptor, line):
    rest = json.dumps(line).encode() + b"\n"
    while rest:
        rest = rest[os.write(descriptor, rest) :]


# --- this process and the one of an exercise ------------------------------------------------------


def _probed_apart(answer, seconds, result):
    """What a process of its own observed, or how that one ended."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        os.close(result)
        _probe(answer, write)
    os.close(write)
    try:
        line, ended = _first_line(read, time.monotonic() + seconds)
    finally:
        os.close(read)
    status = _end(child)
    if ended is not None:
        return {"outcome": ended, "detail": f"{seconds:g}" if ended == "deadline" else str(MAX_BYTES)}
    return _parsed(line) if line else {"outcome": "died", "detail": _words(status)}


def _first_line(descriptor, deadline):
    """(the first line that is sent, None), or (None, how else it ended). Nothing that is sent later counts."""
    data = b""
    while b"\n" not in data:
        if not select.select([descriptor], [], [], max(deadline - time.monotonic(), 0))[0]:
            return None, "deadline"
        chunk = os.read(descriptor, 65536)
        if not chunk:
            return None, None
        data += chunk
        if len(data) > MAX_BYTES:
            return None, "output"
    return data.split(b"\n")[0], None


def _end(child):
    """End the process and all that it has started; returns its wait status."""
    status = 0
    while True:
        with suppress(ProcessLookupError, PermissionError):
            # The first process of the sandbox has nothing beside itself but the exercise; outside it only a group can be told.
            os.kill(-1, signal.SIGKILL) if os.getpid() == 1 else os.killpg(child, signal.SIGKILL)
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        try:
            ended, code = os.waitpid(-1, 0)
        except ChildProcessError:
            return status
        status = code if ended == child else status


def _words(status):
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit status {os.WEXITSTATUS(status)}"


def _parsed(line):
    """What the exercise's process sent, if it is what an honest one sends."""
    try:
        sent = json.loads(line)
    except (ValueError, RecursionError):
        sent = None
    match sent:
        case {"observations": dict(observations), **rest} if not rest:
            return {"observations": observations}
        case {"changed": str(name), **rest} if not rest:
            return {"outcome": "tampered", "detail": name[:MAX_TEXT]}
    return {"outcome": "garbled", "detail": ""}


def _protect(on):
    """Whether other processes of the same user may look into this one, its memory and its descriptors."""
    with suppress(AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, int(not on), 0, 0, 0)


# --- in the process of an exercise ----------------------------------------------------------------


def _probe(answer, write):
    """Probe the answer, send what was seen, and end this process. What is needed afterwards is held here, out of a module's reach."""
    leave, send, encode, state = os._exit, _write, json.dumps, _machinery()
    look, compare, write_bytes = observe, _changed, os.write
    try:
        _stand_alone()
        with beside(answer.notebook):
            observations = look(answer)
            changed = compare(state)
        if changed:
            write_bytes(write, encode({"changed": changed}).encode() + b"\n")
        else:
            send(write, {"observations": observations})
    finally:
        leave(0)


def _stand_alone():
    os.setsid()
    _protect(False)  # PyTorch reads facts of its own process
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)


def _machinery():
    """{name: object} of what the probe consists of, to see whether an answer has changed it."""
    modules = [module for name, module in sys.modules.items() if name.startswith("labkit.checks")]
    return dict(part for module in (*modules, builtins, json) for part in _parts(module))


def _parts(module):
    for name, value in vars(module).items():
        yield f"{module.__name__}.{name}", value
        yield from ((f"{module.__name__}.{name}.{key}", part) for key, part in _inner(value))


def _inner(value):
    """What can be exchanged inside a thing while it stays the same one."""
    if isinstance(value, type) and value.__module__ in ("labkit.checks.todo", "labkit.checks.guard"):
        return list(vars(value).items())  # others are networks and optimizers, which torch itself changes
    if isinstance(value, dict):
        return list(value.items())
    return [("__code__", value.__code__)] if hasattr(value, "__code__") else []


def _changed(before):
    """The name of a part that is another one than before, "" if there is none."""
    now = _machinery()
    return next((name for name, part in before.items() if now.get(name, part) is not part), "")


if __name__ == "__main__":
    main(sys.argv[1:])
