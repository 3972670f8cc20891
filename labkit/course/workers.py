"""Submissions measured side by side, each process replaced when a submission ends it or takes too long."""

import multiprocessing
import os
import queue
import signal
import threading
from contextlib import redirect_stdout, suppress

import torch

from labkit import data, startup
from labkit.course.facts import Facts
from labkit.course.inbox import student_of
from labkit.course.measure import digest, measure
from labkit.course.untrusted import shown
from labkit.errors import LabkitError

_SHARE = 0.9  # of its time, in which weights may be measured: what is known by then is worth more than the rest


def measured(paths, setting, jobs, seconds, report_of):
    """Yield (path, `Facts`) of the zips at `paths`, as they are done, `jobs` at a time; what takes longer than `seconds` has failed.

    setting: see `measure.Setting`; report_of: from the path of a zip to that of its report. Raises the first `LabkitError` for
    trouble that is not a submission's.
    """
    waiting, done = queue.SimpleQueue(), queue.SimpleQueue()
    for path in paths:
        waiting.put(path)
    for _ in range(min(jobs, len(paths))):
        threading.Thread(target=_serve, args=(setting, seconds, report_of, waiting, done), daemon=True).start()
    for _ in paths:
        path, facts = done.get()
        if isinstance(facts, BaseException):
            raise facts
        yield path, facts


def _serve(setting, seconds, report_of, waiting, done):
    """Have what is waiting measured, one after the other."""
    path = worker = None
    try:
        while True:
            path = waiting.get_nowait()
            worker = worker or _Worker(setting)
            facts = worker.measure(path, report_of(path), seconds)
            if facts is None:
                facts, worker = _failed(path, worker.end(seconds)), None
            done.put((path, facts))
    except queue.Empty:
        pass
    except BaseException as error:  # whoever waits has to hear of it
        done.put((path, error))
    if worker:
        worker.end(0)


def _failed(path, reason):
    return Facts(student_of(path), shown(path.name), digest(path), failed=reason)


class _Worker:
    """A process that measures one submission after another."""

    def __init__(self, setting):
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = startup.process(__name__, "_work", theirs)
        self.process.start()
        theirs.close()
        with suppress(EOFError, OSError):
            self.pipe.send(setting)
            self.pipe.recv()  # it is ready: its start costs no submission any time

    def measure(self, path, report, seconds):
        """The `Facts`, or the `LabkitError` that ends all; None if the process has ended or takes longer."""
        try:
            self.pipe.send((path, report, _SHARE * seconds))
            return self.pipe.recv() if self.pipe.poll(seconds) else None
        except (EOFError, OSError):
            return None

    def end(self, seconds):
        """End the process; returns why it came to no answer."""
        self.process.join(0.2)  # where it is ending by itself
        code = self.process.exitcode
        self.process.kill()
        self.process.join()
        self.pipe.close()
        if code is None:
            return f"it took longer than {seconds:g} seconds"
        return f"the process that graded it ended ({signal.Signals(-code).name if code < 0 else f'status {code}'})"


def _work(pipe):
    """In the process: measure what comes through the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that waits for this one
    torch.set_num_threads(1)  # there are as many of these as processors
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere), suppress(EOFError):
        setting = pipe.recv()
        data.load(setting.data)
        pipe.send("ready")
        while True:
            path, report, seconds = pipe.recv()
            try:
                pipe.send(measure(path, setting, report, seconds))
            except LabkitError as error:
                pipe.send(LabkitError(str(error)))
            except Exception as error:  # a fault of labkit's own that this submission brought to light
                pipe.send(_failed(path, f"{type(error).__name__}: {shown(error, 300)}"))
