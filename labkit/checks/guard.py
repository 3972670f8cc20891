"""Run a student's code on a leash: bounded in time and output, and whatever it does comes back as plain data."""

import ctypes
import dis
import inspect
import io
import itertools
import os
import random
import sys
import threading
import time
import traceback
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

import numpy as np
import torch

SECONDS = 2.0  # processor time after which a scene is given up
PATIENCE = 3  # times as long on the clock, for one that sleeps or runs on a busy machine
MAX_OUTPUT = 1_000_000  # characters printed in one scene
MAX_TEXT = 300  # characters of a text that is quoted in a finding
MAX_ITEMS = 10_000  # entries of a tensor, list or text that are kept
MAX_TOTAL = 50_000  # entries of all lists together
MAX_DEPTH = 8
_LABKIT = str(Path(__file__).parents[1]) + os.sep


class _Stop(BaseException):
    """Ends a scene from outside; not an Exception, so that `except Exception` in an answer does not catch it."""


class _Sink:
    """Takes what an answer prints, shows nothing, and ends the scene when it is too much."""

    encoding = "utf-8"

    def __init__(self):
        self.written = 0

    def write(self, text):
        self.written += len(text)
        if self.written > MAX_OUTPUT:
            raise _Stop
        return len(text)

    def flush(self):
        pass

    def isatty(self):
        return False


def run_scene(scene, reference=(), seconds=None, distinctive=True):
    """Run `scene()` and return what became of it, a dict of plain values.

    {"value": …} what it returned; {"raised": type, "message": …, "line": source line, "own": whether that line
    raised it} an exception; {"timeout": seconds}; {"flood": characters}. `reference`: functions of labkit that
    the answer may not call; {"reference": name} says that it did or, where they are `distinctive`, runs a copy of one.
    """
    _warm_up()
    seconds = SECONDS if seconds is None else seconds
    sink, outcome, called, stopping = _Sink(), {}, [], threading.Event()
    thread = threading.Thread(target=_run, args=(scene, outcome, _watch(_known(reference, distinctive), called, stopping)), daemon=True)
    with _surroundings_kept(), _silence(sink):
        thread.start()
        try:
            _wait(thread, seconds)
        finally:  # also where the student presses Ctrl-C
            _interrupt(thread, stopping)
    if called:
        return {"reference": called[0]}
    if sink.written > MAX_OUTPUT:
        return {"flood": sink.written}
    return dict(outcome) or {"timeout": seconds}


@cache
def _warm_up():
    """torch imports much of itself at the first update; that must neither use up an answer's time nor be cut off half-way."""
    parameter = torch.zeros(1, requires_grad=True)
    parameter.sum().backward()
    torch.optim.Adam([parameter]).step()


def _run(scene, outcome, watch):
    with suppress(_Stop):  # one that comes late
        try:
            sys.setprofile(watch)
            outcome["value"] = plain(scene())
        except _Stop:
            pass
        except BaseException as error:  # SystemExit and KeyboardInterrupt of an answer must not end the notebook
            sys.setprofile(None)
            outcome.update(_describe(error))
        finally:
            sys.setprofile(None)  # first: it may switch tracing on
            sys.settrace(None)


def _wait(thread, seconds):
    """Until the thread ends or has used up its time."""
    give_up = time.monotonic() + PATIENCE * seconds
    while thread.is_alive() and time.monotonic() < give_up and _processor_time(thread) < seconds:
        thread.join(0.02)


def _processor_time(thread):
    with suppress(AttributeError, OSError):  # not on Windows; not for a thread that has just ended
        return time.clock_gettime(time.pthread_getcpuclockid(thread.ident))
    return 0.0


def _interrupt(thread, stopping):
    """Raise `_Stop` in the thread until it ends; one that hangs inside a C function is left behind as a daemon."""
    stopping.set()  # for loops that call something
    for attempt in range(12):
        if not thread.is_alive():
            return
        if attempt % 3 == 2:  # for those that do not
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread.ident), ctypes.py_object(_Stop))
        thread.join(0.05)


@contextmanager
def _silence(sink):
    """Nothing of an answer's output reaches the notebook, progress bars and widgets included."""
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = io.StringIO(), sink, sink
    os.environ["LABKIT_PROGRESS"] = "off"
    try:
        with _no_display():
            yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before


@contextmanager
def _surroundings_kept():
    """Random numbers, environment variables, folder and default dtype are afterwards what they were."""
    environment, folder, dtype = dict(os.environ), Path.cwd(), torch.get_default_dtype()
    python, array = random.getstate(), np.random.get_state()
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)
        torch.set_default_dtype(dtype)
        os.chdir(folder)
        if environment != dict(os.environ):
            os.environ.clear()
            os.environ.update(environment)


@contextmanager
def _no_display():
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython else None
    if shell is None:
        yield
        return
    from IPython.core.displaypub import CapturingDisplayPublisher

    publisher, shell.display_pub = shell.display_pub, CapturingDisplayPublisher()
    try:
        yield
    finally:
        shell.display_pub = publisher


# --- was it the reference? ---------------------------------------------------------------------


def _watch(reference, called, stopping):
    """A profile function that notes calls of the reference and of copies of its code, and ends the scene on demand."""
    known, copies = reference
    names, seen = {names for names, _ in copies}, {}

    def watch(frame, event, argument):
        if stopping.is_set():
            _stop_at_next_line(frame)
        code = frame.f_code
        if event == "call" and not called and id(code) not in seen:
            seen[id(code)] = code  # kept, so that its id stays its own
            name = known.get(id(code)) or (copies.get(_identity(code)) if code.co_names in names else None)
            called.extend([name] if name else [])

    return watch


def _stop_at_next_line(frame):
    """For `while True: try: … except: pass`, where an exception raised in a call is caught: raise one between the lines."""

    def at_line(frame, event, argument):
        if event == "line":
            raise _Stop
        return at_line

    sys.settrace(at_line)
    while frame is not None and frame.f_code is not _run.__code__:
        frame.f_trace, frame = at_line, frame.f_back


def _known(reference, distinctive):
    """({id of a code object: its name}, {what a copy of it looks like: its name}), the latter only where copies can be told."""
    known, copies = {}, {}
    for thing in reference:
        name = f"{thing.__module__}.{thing.__qualname__}"
        known |= {id(function.__code__): name for function in _functions(thing)}
        # Of a class only what it is made of is its own: `forward` is much the same in every right answer.
        first = vars(thing).get("__init__") if inspect.isclass(thing) else thing
        if distinctive:
            copies[_identity(inspect.unwrap(first).__code__)] = name
    return known, copies


def _functions(thing):
    if inspect.isclass(thing):
        return [value for value in vars(thing).values() if inspect.isfunction(value)]
    return [inspect.unwrap(thing)]


_TELLING = ("LOAD_GLOBAL", "LOAD_ATTR", "STORE_ATTR", "COMPARE_OP", "BINARY_OP", "UNPACK_SEQUENCE", "CALL")


def _identity(code):
    """What stays the same when a function is copied and its variables and comments are changed."""
    steps = []
    for step in dis.get_instructions(code):
        # Where a module is imported in the same file, its functions are loaded in another way.
        name = step.opname.replace("LOAD_METHOD", "LOAD_ATTR")
        if name not in ("PUSH_NULL", "PRECALL", "NOP"):
            steps.append((name, step.argval if name in _TELLING else None))
    return code.co_names, str(steps)


# --- plain data --------------------------------------------------------------------------------


def plain(value, depth=0, left=None):
    """`value` as exact builtin numbers, texts, lists and dicts, of bounded size; anything else becomes {"type": its name}.

    A subclass of float may compare as equal to everything: it is taken for the float that it holds.
    left: [how many entries of lists and dicts may still be kept].
    """
    left = [MAX_TOTAL] if left is None else left
    left[0] -= 1
    match value:
        case None | bool():
            return value
        case int():
            return number if abs(number := int.__add__(value, 0)) < 2**200 else {"type": "int"}
        case float():
            return float.__add__(value, 0.0)
        case str():
            return str.__str__(value)[:MAX_ITEMS]
        case torch.Tensor():
            return _plain_tensor(value)
        case np.generic() | np.ndarray():
            return _plain_array(value)
        case dict() if depth < MAX_DEPTH and left[0] > 0:
            return {str(key): plain(item, depth + 1, left) for key, item in itertools.islice(dict.items(value), MAX_ITEMS)}
        case tuple() | list() if depth < MAX_DEPTH and left[0] > 0:
            return [plain(item, depth + 1, left) for item in itertools.islice(value, MAX_ITEMS)]
        case _:
            return {"type": type(value).__name__}


def _plain_tensor(tensor):
    tensor = torch.Tensor.as_subclass(tensor, torch.Tensor)
    facts = {"type": "Tensor", "shape": list(tensor.shape), "dtype": str(tensor.dtype), "requires_grad": tensor.requires_grad}
    if tensor.is_meta or tensor.is_complex() or tensor.layout != torch.strided:
        return facts | {"device": tensor.device.type, "values": []}
    return facts | {"device": tensor.device.type, "values": tensor.detach().flatten()[:MAX_ITEMS].cpu().double().tolist()}


def _plain_array(array):
    array = np.asarray(array)
    facts = {"type": "array" if array.ndim else array.dtype.name, "shape": list(array.shape)}
    real = array.dtype.kind in "biuf"
    return facts | {"values": array.ravel()[:MAX_ITEMS].astype(float).tolist() if real else []}


def as_number(value):
    """The number in an observation, a plain one, an array's or a tensor's with one entry; None if it is none."""
    if isinstance(value, dict):
        values = value.get("values")
        value = values[0] if isinstance(values, list) and len(values) == 1 else None
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


# --- exceptions --------------------------------------------------------------------------------


def _describe(error):
    frames = traceback.extract_tb(error.__traceback__)
    theirs = [frame for frame in frames if not _installed(frame.filename)]
    own = bool(frames) and not _installed(frames[-1].filename)
    line = (theirs[-1].line or "")[:MAX_TEXT] if theirs else ""
    return {"raised": type(error).__name__, "message": _short(error), "line": line, "own": own}


def _installed(filename):
    return "site-packages" in filename or filename.startswith((_LABKIT, "<frozen"))


def _short(error):
    try:
        return str(error).strip().split("\n")[0][:MAX_TEXT]
    except BaseException:  # the answer's own exception class may not know how to write itself
        return ""
