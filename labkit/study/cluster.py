"""Runs as tasks of a Ray cluster. A task whose worker dies is given to another one, which goes on from the last epoch in the run store."""

import logging
import os
import re
import socket
import uuid
from contextlib import contextmanager, redirect_stdout, suppress
from pathlib import Path

from labkit.errors import LabkitError
from labkit.study.estimate import Layout
from labkit.study.tasks import failure, probe, release_card, train_run

_RETRIES = 3  # a run that kills its worker again and again, for want of memory, has to end
_SHARE_OF_A_GPU = 0.25  # four small networks on a card
_ANSWER = 10  # seconds to wait for a cluster
_TICK = 0.5  # seconds between looks at a progress bar


class NotSharedError(LabkitError):
    """A worker does not see the run folder."""


class Cluster:
    """Trains on the Ray cluster that RAY_ADDRESS names or the program is connected to, else on a local one of its own.

    The run folder `root` must be on a file system that all workers share. gpus_per_run: the share of a GPU that a run takes,
    default 0.25 where the cluster has GPUs. What Ray has to say while it trains goes to the file `log`.
    A context manager: what was started here is shut down, nothing else.
    Raises `LabkitError` if Ray is missing or does not answer, or if a worker does not see `root`.
    """

    def __init__(self, root, log, device=None, gpus_per_run=None):
        self.ray = _import_ray()
        self.root, self.log, self.gpus_per_run = root.absolute(), log, gpus_per_run
        self.device = device or os.environ.get("LABKIT_DEVICE")
        self.token = self.root / f".shared-{uuid.uuid4().hex}"
        self.tasks = []

    def __enter__(self):
        self.connected_here = not self.ray.is_initialized()
        if self.connected_here:
            _connect(self.ray)
        try:
            self.token.touch()
            self.gpus = self._gpus()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self._end_tasks()
        self.token.unlink(missing_ok=True)
        if self.connected_here:
            self.ray.shutdown()

    def _end_tasks(self):
        """Cancel what has not ended; by force only what does not mind: Ray aborts the program where a forced task answers just then."""
        for task in self._under_way(timeout=0):
            self.ray.cancel(task)
        for task in self._under_way(timeout=_ANSWER):
            self.ray.cancel(task, force=True)

    def _under_way(self, timeout):
        return self.ray.wait(self.tasks, num_returns=len(self.tasks), timeout=timeout)[1] if self.tasks else []

    def _gpus(self):
        """The share of a GPU for each run; 0 trains on the CPU."""
        available = self.ray.cluster_resources().get("GPU", 0)
        default = _SHARE_OF_A_GPU if available and self.device != "cpu" else 0
        wanted = default if self.gpus_per_run is None else self.gpus_per_run
        if wanted > 1 and wanted % 1:
            raise LabkitError(f"gpus_per_run={wanted:g} is neither a share of one GPU nor a whole number of them; use at most 1")
        if wanted > available:
            raise LabkitError(f"gpus_per_run={wanted:g} asks for more than the {available:g} GPUs of the Ray cluster; use a smaller share")
        return wanted

    @property
    def place(self):
        """The cluster in words."""
        nodes = [node for node in self.ray.nodes() if node["Alive"]]
        return f"a Ray cluster ({len(nodes)} nodes)" if len(nodes) > 1 else "a Ray cluster (1 node)"

    def layouts(self, num_runs):
        """The one way to do `num_runs` runs: as many at a time as the cluster has room for."""
        resources = self.ray.cluster_resources()
        room = int(resources.get("CPU", 1))
        if self.gpus:
            room = min(room, int(resources["GPU"] / self.gpus))
        return [Layout(max(1, min(room, num_runs)), 1)]

    def measure(self, experiment, layout):
        """The `Cost` of trainings like `experiment` on a worker; None where the probe fails."""
        with suppress(self.ray.exceptions.RayError):
            return self._result(self._submit(probe, experiment, self._worker_device(), layout.threads))

    def train(self, experiments, layout):
        """Train all; yield (experiment, state) as they end, and None now and then while nothing does."""
        under_way = {self._submit(train_run, e, str(self.root), self._worker_device(), layout.threads): e for e in experiments}
        with self.log.open("a") as log, redirect_stdout(log):  # a thread of Ray's prints what becomes of its workers
            while under_way:
                for task in self.ray.wait(list(under_way), timeout=_TICK)[0]:
                    yield under_way.pop(task), self._state(task)
                yield None

    def _worker_device(self):
        return self.device or ("cuda" if self.gpus else "cpu")

    def _submit(self, function, *args):
        remote = self.ray.remote(_on_worker).options(num_cpus=1, num_gpus=self.gpus, max_retries=_RETRIES, name=function.__name__)
        self.tasks.append(remote.remote(str(self.token), _surroundings(), function, args))
        return self.tasks[-1]

    def _result(self, task):
        """What a task returned; raises `NotSharedError` and Ray's errors."""
        result = self.ray.get(task)
        if isinstance(result, NotSharedError):
            raise result
        return result

    def _state(self, task):
        try:
            return self._result(task)
        except self.ray.exceptions.RayError as error:  # its workers died, or could not import labkit
            return failure(error)


def _import_ray():
    try:
        import ray
    except ImportError as error:
        raise LabkitError('on="ray" needs Ray; install it with: pip install ray') from error
    return ray


def _connect(ray):
    """Connect to the cluster that RAY_ADDRESS names, else start a local one; keep Ray's messages out of the notebook."""
    address = os.environ.get("RAY_ADDRESS")
    _need_answer(address)
    with _environment(RAY_USAGE_STATS_ENABLED="0", RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0"):
        try:
            ray.init(address=address or "local", include_dashboard=None if address else False, log_to_driver=False, logging_level=logging.ERROR)
        except Exception as error:  # ConnectionError, ValueError, RuntimeError, by what is wrong
            raise _no_cluster(address or "this machine", error) from error


def _need_answer(address):
    """Raises `LabkitError` if nobody listens at HOST:PORT or ray://HOST:PORT: Ray itself tries for minutes, and may end the program."""
    if address in (None, "", "auto", "local"):
        return
    match = re.fullmatch(r"(?:ray://)?\[?([^/]+?)\]?:(\d+)", address)
    try:
        if match is None:
            raise ValueError("this is not HOST:PORT")
        socket.create_connection((match[1], int(match[2])), timeout=_ANSWER).close()
    except (OSError, OverflowError, ValueError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address, error):
    reason = str(error).partition("\n")[0]
    return LabkitError(f"no Ray cluster answers at {address} ({reason}); start one there, or unset RAY_ADDRESS to use a local one")


@contextmanager
def _environment(**settings):
    """Environment variables for the processes that are started in the block, where the user has not set them."""
    new = {name: value for name, value in settings.items() if name not in os.environ}
    os.environ.update(new)
    try:
        yield
    finally:
        for name in new:
            del os.environ[name]


def _surroundings():
    """What a worker on another node has to know of this process: its working folder and labkit's settings."""
    return os.getcwd(), {name: value for name, value in os.environ.items() if name.startswith("LABKIT_")}


def _on_worker(token, surroundings, function, args):
    """Call `function` as if in the driver's surroundings; returns a `NotSharedError` where that cannot be."""
    folder, settings = surroundings
    if not Path(token).exists():
        root, host = Path(token).parent, socket.gethostname()
        return NotSharedError(f"the Ray worker on {host} does not see the run folder {root}; name a folder that all nodes share with LABKIT_RUNS")
    with suppress(OSError):
        os.chdir(folder)  # relative paths of images and of weights
    os.environ.update(settings)
    try:
        return function(*args)
    finally:
        release_card()
