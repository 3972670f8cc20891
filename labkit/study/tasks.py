"""What a worker does for a study: look at the data, measure how long a training takes, train. Here, in a process, or on a cluster."""

import copy
import io
import itertools
import json
import math
import time
import traceback
from dataclasses import dataclass, replace

import torch
from torch import nn

from labkit import data, engine
from labkit.device import resolve
from labkit.distill import Distiller
from labkit.errors import LabkitError
from labkit.loops import NonFiniteLossError, test, train
from labkit.runs import RunStore, run

# The states of a run; FAILED is followed by why.
FINISHED, DIVERGED, FAILED, HALF_FINISHED, NOT_BEGUN = "finished", "diverged", "failed", "half-finished", "not begun"
_PROBE_SECONDS, _PROBE_UPDATES = 0.5, 50  # whichever is reached first ends a probe
_DIVERGED_FILE = "diverged.json"


@dataclass(frozen=True)
class Cost:
    """Seconds that trainings of one kind take: to set up, for an update, for the evaluation of an image, to keep an epoch.

    train_images and test_images: the size of the whole dataset.
    """

    setup: float
    update: float
    evaluation: float
    keeping: float
    train_images: int
    test_images: int

    def epoch(self, experiment):
        """Seconds for one epoch of `experiment`."""
        images = experiment.fraction * self.train_images
        held_out = experiment.valid * images
        updates = math.ceil((images - held_out) / experiment.batch_size)
        return updates * self.update + (held_out or self.test_images) * self.evaluation + self.keeping

    def seconds(self, experiment, epochs):
        """Seconds for `epochs` more epochs of `experiment` and its test."""
        return self.setup + epochs * self.epoch(experiment) + self.test_images * self.evaluation


def load(experiment):
    """Have the data of `experiment` in this process: what is probed together then starts together."""
    data.load(experiment.data)


def probe(experiment, device, threads):
    """The `Cost` of trainings like `experiment` on `device`, measured on a few updates that leave no trace."""
    torch.set_num_threads(threads)
    splits, start = data.load(experiment.data), time.perf_counter()
    # Neither a rate that diverges nor weights that have to be fetched change what an update costs.
    experiment = replace(experiment, lr=1e-6, init="random")
    loader, loss_fn = experiment.loaders(resolve(device))[0]["train"], nn.CrossEntropyLoss()
    if experiment.teacher and loader.augments:
        distiller = Distiller(experiment.teacher.build_model(len(splits.classes), untrained=True).to(loader.device))
        loader, loss_fn = distiller.loader(loader), distiller.loss
    model = experiment.build_model(len(splits.classes)).to(loader.device)
    optimizer = experiment.build_optimizer(model)
    setup, batches = time.perf_counter() - start, _endless(loader)

    def updates(count):
        return _seconds(train, itertools.islice(batches, count), model, loss_fn, optimizer)

    with engine.choose(loader.device, experiment.precision).running(model, optimizer):
        updates(1)  # the first one also starts thread pools, and chooses and loads kernels
        once = updates(1)
        count = min(_PROBE_UPDATES, int(_PROBE_SECONDS / once))
        update = updates(count) / count if count > 1 else once
        evaluation = _seconds(test, [next(batches)], model, nn.CrossEntropyLoss()) / loader.batch_size
    return Cost(setup, update, evaluation, _seconds(_keep, model, optimizer), len(splits.train), len(splits.test))


def _endless(loader):
    while True:
        yield from loader


def _keep(model, optimizer):
    """What an epoch costs besides: a copy to fall back on, a copy of the best weights, the state to go on from."""
    for _ in range(2):
        copy.deepcopy(model.state_dict())
    torch.save((model.state_dict(), optimizer.state_dict()), io.BytesIO())


def _seconds(function, *args):
    start = time.perf_counter()
    function(*args)
    return time.perf_counter() - start


def train_run(experiment, root, device, threads):
    """Train `experiment` in the store below `root`; returns its state: "finished", "diverged" or "failed: " and why."""
    torch.set_num_threads(threads)
    store = RunStore(root)
    try:
        run(experiment, store, device, verbose=False)
        return FINISHED
    except NonFiniteLossError as error:
        _note_divergence(store, experiment, str(error))
        return DIVERGED
    except Exception as error:  # one bad cell must not cost the others
        traceback.print_exc()
        return failure(error)


def release_card():
    """Give back the memory that torch holds on the GPU for later: other processes share the card."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def failure(error):
    """The state of a run that raised `error`."""
    first_line = str(error).partition("\n")[0]
    return f"{FAILED}: {first_line if isinstance(error, LabkitError) else f'{type(error).__name__}: {first_line}'}"


def _note_divergence(store, experiment, said):
    """That a training diverges is a result: it is kept, so that the study does not find it out again."""
    path = store.path(experiment) / _DIVERGED_FILE
    path.parent.mkdir(parents=True, exist_ok=True)  # where the teacher has diverged, there is none yet
    part = path.with_suffix(".part")
    part.write_text(json.dumps({"said": said, "origin": _origin(experiment)}))
    part.replace(path)


def _origin(experiment):
    """What can change under a name that the experiment holds: images, initial weights and code, the teacher's as well."""
    own = {"images": data.fingerprint(experiment.data), "weights": experiment.init_digest, "code": experiment.code_digest}
    return own | ({"teacher": _origin(experiment.teacher)} if experiment.teacher else {})


def has_diverged(store, experiment):
    """Whether a training of `experiment` has diverged, on the images and from the weights and code that its names stand for now."""
    try:
        note = json.loads((store.path(experiment) / _DIVERGED_FILE).read_text())
        return note["origin"] == _origin(experiment)
    except (OSError, ValueError, KeyError, TypeError, LabkitError):
        return False
