"""Runs in processes of this machine: one after another with all threads, or several side by side.

Each worker is a process that does one task after another and ends with its parent, however that ends.
What it prints goes to a log file: lines of several processes in one notebook cell would tear each other.
"""

import multiprocessing
import os
import signal
import sys
import threading
import traceback
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from statistics import fmean

import torch
from tqdm import tqdm

from labkit import startup
from labkit.device import describe
from labkit.errors import LabkitError
from labkit.study.estimate import Layout
from labkit.study.tasks import Cost, failure, load, probe, release_card, train_run

_MOST_PROCESSES = 8  # each has torch and the images in memory
_SHARING_A_CARD = (1, 2, 4)
_TICK = 0.3  # seconds between looks at a progress bar


class DiedError(LabkitError):
    """A worker ended in the middle of a task, or could not do it."""


class Local:
    """Trains in processes of this machine, on `device`; a context manager that leaves no process behind.

    processes: how many runs side by side; None leaves it to the measurement.
    """

    def __init__(self, root, log, device, processes=None):
        self.root, self.device, self.processes = str(root.absolute()), str(device), processes
        self.workers = _Workers(log)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.workers.kill()

    @property
    def place(self):
        """The device in words."""
        return describe(self.device, threads=False)

    def layouts(self, num_runs):
        """The ways to do `num_runs` runs among which the measurement decides."""
        cores, threads = _num_cores(), torch.get_num_threads()
        if self.processes:
            counts = (self.processes,)
        elif self.device.startswith("cpu"):
            counts = (1, min(cores, _MOST_PROCESSES))
        else:
            counts = [count for count in _SHARING_A_CARD if count <= cores] if self.device.startswith("cuda") else (1,)
        counts = sorted({min(count, num_runs) for count in counts})
        return [Layout(count, threads if count == 1 else max(1, cores // count)) for count in counts]

    def measure(self, experiment, layout):
        """The mean `Cost` of trainings like `experiment` while all of `layout` are at work; None where the probe fails."""
        # Where all have loaded the data, all are probed at the same time.
        for task in ((load, experiment), (probe, experiment, self.device, layout.threads)):
            results = [result for _, result in filter(None, self.workers.do([task] * layout.processes, layout.processes))]
        if not all(isinstance(result, Cost) for result in results):
            return None
        return Cost(**{name: fmean(getattr(cost, name) for cost in results) for name in Cost.__dataclass_fields__})

    def train(self, experiments, layout):
        """Train all; yield (experiment, state) as they end, and None now and then while nothing does."""
        self.workers.keep_idle(layout.processes)
        tasks = [(train_run, experiment, self.root, self.device, layout.threads) for experiment in experiments]
        for ended in self.workers.do(tasks, layout.processes):
            yield ended and (experiments[ended[0]], _state(ended[1]))


def _state(result):
    return failure(result) if isinstance(result, DiedError) else result


def _num_cores():
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Workers:
    """Processes that are started when they are needed and take one task, (function, *arguments), after another."""

    def __init__(self, log):
        self.log, self.idle, self.busy = log, [], {}

    def do(self, tasks, processes):
        """Do the tasks, `processes` at a time; yield (index, result or exception) as they end, and None while they do not."""
        waiting = list(enumerate(tasks))
        self._have_idle(min(processes, len(tasks)))
        while waiting or self.busy:
            while waiting and len(self.busy) < processes:
                self._give(*waiting.pop(0))
            for connection in wait(list(self.busy), _TICK):
                worker, index = self.busy.pop(connection)
                yield index, self._result(worker)
            yield None

    def _have_idle(self, count):
        """All are started at once, then waited for: starting is mostly importing."""
        started = [_Worker.start(self.log) for _ in range(count - len(self.idle))]
        self.idle += started
        for worker in started:
            worker.await_ready()

    def keep_idle(self, count):
        """End those that only the measurement needed, and free their memory."""
        self.idle, surplus = self.idle[:count], self.idle[count:]
        _end(surplus)

    def _give(self, index, task):
        if not self.idle:  # one has died
            self._have_idle(1)
        worker = self.idle.pop()
        self.busy[worker.connection] = worker, index
        with suppress(OSError):  # it has died just now, which the look at its pipe will find
            worker.connection.send(task)

    def _result(self, worker):
        try:
            result = worker.connection.recv()
        except (EOFError, OSError):
            return DiedError(worker.last_words(self.log))
        self.idle.append(worker)
        return result

    def kill(self):
        _end(self.idle + [worker for worker, _ in self.busy.values()])
        self.idle, self.busy = [], {}


def _end(workers):
    """Kill: the run store is made for it, and each run keeps its finished epochs."""
    for worker in workers:
        worker.process.kill()
    for worker in workers:
        worker.process.join()
        worker.connection.close()


@dataclass
class _Worker:
    """A process, and the parent's end of its pipe."""

    process: multiprocessing.Process
    connection: multiprocessing.connection.Connection

    @classmethod
    def start(cls, log):
        ours, theirs = multiprocessing.Pipe()
        process = startup.process(__name__, "_serve", theirs, str(log))
        with _ctrl_c_held_back():
            process.start()
        theirs.close()
        return cls(process, ours)

    def await_ready(self):
        try:
            self.connection.recv()
        except EOFError:
            raise LabkitError('a worker process did not start; a script has to run its study below `if __name__ == "__main__":`') from None

    def last_words(self, log):
        self.process.join()
        code = self.process.exitcode
        return f"its process was ended by signal {-code}" if code < 0 else f"its process ended with exit code {code}; see {log}"


@contextmanager
def _ctrl_c_held_back():
    """A process that is started here never sees Ctrl-C, which is its parent's business; the parent sees it a moment later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection, log):
    """What a worker does: say that it is ready, then one task after another until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where there is no signal mask to inherit
    _print_to(log)
    tqdm.set_lock(threading.RLock())  # its own lock is a semaphore, which a killed process leaves behind
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send("ready")
    while True:
        try:
            function, *args = connection.recv()
        except EOFError:
            return
        connection.send(_outcome(function, args))
        release_card()


def _outcome(function, args):
    try:
        return function(*args)
    except Exception as error:  # a probe of a bad cell
        traceback.print_exc()
        return DiedError(failure(error))


def _print_to(path):
    """Send stdout and stderr, those of libraries too, to the end of the file `path`, in whole lines."""
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(log, 1)
    os.dup2(log, 2)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True)


def _end_with_parent():
    """A worker that is training does not look at its pipe, and would train on when its parent is killed."""
    multiprocessing.parent_process().join()
    os._exit(1)
