"""Measuring a network of the student's own: the student's class answers in the sandbox, and only logits come out.

labkit/forward.py is what runs there. It has the weights and the test images, in an order that nobody can know, and
no labels. What it sends is read here as what it is: data from an opponent.
"""

import json
import math
import time
from contextlib import contextmanager
from copy import copy
from dataclasses import replace
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory

import numpy as np
import torch

from labkit import models
from labkit.course.sandbox import MIB, Unsafe
from labkit.course.untrusted import in_bytes, shown
from labkit.course.weights import weights_file
from labkit.errors import LabkitError, Refused
from labkit.forward import IMAGES, TASK
from labkit.limits import LARGEST

GIVEN = "/given"  # the folder of weights and images inside
# Seconds on the clock: to start, and for each image. A resnet50 that keeps 32×32 takes 0.04 on a core of its own, 0.09 on a busy machine.
START, PER_IMAGE = 60, 0.15
_PRINTED = MIB  # bytes of the log


def in_sandbox(sandbox, sources, seconds=None, deadline=math.inf):
    """The `own_model` of `labkit.course.weights.evaluate` for a submission: runs its network in `sandbox`, once for all images.

    sandbox: a runner of `labkit.course.sandbox`; its limits hold, but for those on time and output. sources: the modules of
    the submission, {name.py: text}. seconds: on the clock; None allows `START` and `PER_IMAGE` for each image. deadline: a time of
    `time.monotonic` at which every network has to have answered.

    Whatever the network, its weights and its code do, the function returns finite logits or raises `Refused`. It raises
    `LabkitError` where the sandbox does not work.
    """
    files = {name: text.encode() for name, text in sources.items()}

    def own_model(experiment, folder, images, num_classes):
        task = _task(experiment, sources, num_classes)
        allowed = min(seconds or START + PER_IMAGE * len(images), deadline - time.monotonic())
        if allowed <= 0:
            raise Refused("the time for one submission is used up")
        box = _limited(sandbox, allowed, 4 * len(images) * num_classes)
        with _laid_out(task, weights_file(folder), images) as paths:
            inside = str(paths[0].parent) if isinstance(box, Unsafe) else GIVEN  # without a sandbox there is no other place
            command = [box.python, "-P", "-m", "labkit.forward", inside]
            outcome = box.run(command, files, {f"{inside}/{path.name}": path for path in paths})
        return _read(outcome, box.limits, (len(images), num_classes))

    return own_model


def _task(experiment, sources, num_classes):
    """What is to be built. The file is looked for among the modules that were handed in, whatever folder the record names."""
    file, name = models.own_file(experiment.model).name, experiment.model.rpartition(":")[2]
    if file not in sources:
        raise Refused(f"its network {shown(experiment.model)} is in no file that was handed in")
    return {"model": f"{file}:{name}", "num_classes": num_classes, "stem": experiment.stem, "dropout": experiment.dropout, "views": experiment.views}


def _limited(sandbox, seconds, size):
    """The same sandbox for a result of `size` bytes. Its deadline is on the clock: threads may use up more time of the processor."""
    box = copy(sandbox)
    box.limits = replace(sandbox.limits, seconds=seconds, cpu_seconds=math.ceil(2 * seconds), output=size + _PRINTED)
    return box


@contextmanager
def _laid_out(task, weights, images):
    """The paths of files for the sandbox, in a folder that goes away.

    As files they take no memory, neither here nor inside. Each of them is shown by itself, readable for everyone: the user
    inside is nobody here. To their folder nobody else has access.
    """
    if (size := weights.stat().st_size) > LARGEST["weights"]:
        raise Refused(f"{weights.name} is larger than {in_bytes(LARGEST['weights'])} ({in_bytes(size)})")
    with TemporaryDirectory(prefix="labkit-own-") as folder:
        paths = [Path(folder) / name for name in (TASK, IMAGES, weights.name)]
        try:
            paths[0].write_text(json.dumps(task | {"weights": weights.name}))
            np.save(paths[1], images.numpy())
            copyfile(weights, paths[2])
        except OSError as error:
            raise LabkitError(f"cannot write into {folder} ({error.strerror}); free some disk space, or name another folder in TMPDIR") from error
        for path in paths:
            path.chmod(0o444)
        yield paths


# --- what comes out -----------------------------------------------------------------------------


def _read(outcome, limits, shape):
    """The logits in the result of a run, a float32 tensor of this shape; raises `Refused` for anything else."""
    kind, _, content = outcome.result.partition(b"\n")
    if outcome.ended != "finished":
        raise Refused(f"its network {_ended(outcome, limits)}")
    if kind == b"problem":
        raise Refused(f"its network cannot be used: {shown(content.decode(errors='replace'), 300)}")
    if outcome.status != 0 or not outcome.result:
        raise Refused(f"its network ended the program before there were logits (exit status {outcome.status})")
    if kind != b"logits" or len(content) != 4 * math.prod(shape):
        raise Refused(f"its network sends {len(outcome.result):,} bytes that are not {shape[0]:,} × {shape[1]:,} logits")
    return _finite(torch.from_numpy(np.frombuffer(content, "<f4").reshape(shape).astype(np.float32)))


def _ended(outcome, limits):
    match outcome.ended:
        case "deadline":
            return f"had no answer after {limits.seconds:,.0f} seconds"
        case "memory":
            return f"took more than {in_bytes(limits.memory)} of memory"
        case "output":
            return f"wrote more than {in_bytes(limits.output)}"
    return f"crashed (exit status {outcome.status})"


def _finite(logits):
    if not logits.isfinite().all():
        raise Refused("its network answers with values that are not finite")
    return logits
