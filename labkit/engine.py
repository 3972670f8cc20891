"""What makes training faster without changing what is computed: chosen here, in one place, and kept in the run record.

On a CPU a rule decides, which `benchmarks/speed.py` shows to hold. Graphics cards differ too much for a rule: before a long training
the ways are tried on copies of the network (`for_training`).

The numbers are those of the plain loop up to rounding: sums of floats come in another order. LABKIT_ENGINE=plain
turns everything off. What does change them, a lower precision, is never chosen here but asked for by an experiment.
"""

import copy
import ctypes
import math
import os
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from functools import cache, partial

import torch
from torch.nn import functional as F

from labkit.errors import accepted
from labkit.live_taps import live_taps

ENGINES = ("fast", "plain")
PRECISIONS = ("float32", "bfloat16")
PAY_FOR_TRIAL = 1_000  # updates; a trial takes about as long as a hundred
PAY_FOR_COMPILING = 20_000  # updates; compiling takes a minute or so
_TRIED_ON = ("cuda",)
_WARM_UP, _ROUNDS, _UPDATES = 3, 5, 3  # updates that are not timed, then so many times so many that are
_CLEARLY = 0.95  # of the time of the plain way: noise must not decide
_COMPILER = {"dynamic": False, "options": {"fallback_random": True}}  # the random numbers of a dropout are those of the plain loop
_KEEP = {"M_MMAP_THRESHOLD": (-3, 2**25), "M_TRIM_THRESHOLD": (-1, 2**31 - 1), "M_TOP_PAD": (-2, 2**26)}  # in malloc.h; bytes
_FUSED = (torch.optim.Adam, torch.optim.AdamW, torch.optim.SGD)  # exact types: a subclass may have a step of its own


@dataclass(frozen=True)
class Engine:
    """How a network is trained. channels_last: the channels of a pixel lie side by side in memory. fused: the optimizer
    updates a weight in one pass over memory. live_taps: see `labkit.live_taps`. keep_memory: see `_keep_memory`.
    precision: of the products while it is trained; weights, sums and everything that is evaluated are float32.
    compiled: full training batches go through `torch.compile`.
    """

    channels_last: bool = False
    fused: bool = False
    live_taps: bool = False
    keep_memory: bool = False
    precision: str = "float32"
    compiled: bool = False

    @contextmanager
    def running(self, model, optimizer=None):
        """Inside, model and optimizer work in this way; afterwards their weights and settings are laid out as usual."""
        if self.keep_memory:
            _keep_memory()
        with ExitStack() as stack:
            if self.channels_last:
                stack.enter_context(_channels_last(model, optimizer))
            if self.live_taps:
                stack.enter_context(live_taps(model))
            if type(optimizer) in _FUSED:
                stack.enter_context(_fused(optimizer, self.fused))
                if self.channels_last:
                    stack.enter_context(_updated_in_order(optimizer))
            if self.precision == "bfloat16":
                stack.enter_context(_forward_through(model, _in_bfloat16))
            if self.compiled:
                stack.enter_context(_compiled(model))
            yield


def choose(device, precision="float32"):
    """The `Engine` that a rule has for `device`; LABKIT_ENGINE=plain chooses nothing."""
    if _switched_off() or torch.device(device).type != "cpu":
        return Engine(precision=precision)
    return Engine(channels_last=True, fused=True, live_taps=True, keep_memory=True, precision=precision)


def for_training(model, optimizer, loader, precision="float32", updates=0, recorded=None):
    """The `Engine` for so many `updates` of `model` by `optimizer` on batches of `loader`: by the rule, or on a GPU by a trial.

    recorded: what an earlier session of this training chose, as a dict; it saves the trial, and the training goes on as it began.
    """
    device = next(model.parameters()).device
    worth_it = device.type in _TRIED_ON and updates >= PAY_FOR_TRIAL and not _switched_off()
    if not worth_it or (batch := _batch_like(loader, device)) is None:
        return choose(device, precision)
    if isinstance(recorded, dict) and recorded.keys() == asdict(Engine()).keys():
        return Engine(**recorded)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        return _try_out(cache(partial(_seconds_of_update, model, optimizer, *batch)), precision, compiling=updates >= PAY_FOR_COMPILING)


def _try_out(seconds, precision, compiling):
    """The `Engine` that wins. seconds: function that measures an update with an engine."""
    plain = Engine(precision=precision)
    fused = replace(plain, fused=True)
    channels_last = replace(fused, channels_last=True)
    chosen = _clearly_fastest(plain, [fused, channels_last, replace(channels_last, live_taps=True)], seconds)
    return _clearly_fastest(chosen, [replace(chosen, compiled=True)], seconds) if compiling else chosen


def _switched_off():
    return accepted("LABKIT_ENGINE", os.environ.get("LABKIT_ENGINE", "fast"), ENGINES) == "plain"


def _batch_like(loader, device):
    """(images, labels) in the size and shape that `loader` yields, None where only its first batch would tell."""
    images = getattr(getattr(loader, "dataset", None), "images", None)
    if not torch.is_tensor(images) or images.dim() != 4:
        return None
    count = loader.batch_size
    return torch.zeros(count, *images.shape[1:], device=device), torch.zeros(count, dtype=torch.int64, device=device)


def _clearly_fastest(usual, ways, seconds):
    """The fastest of `ways`; `usual` where it would win little."""
    fastest = min(ways, key=seconds)
    return fastest if seconds(fastest) < _CLEARLY * seconds(usual) else usual


def _seconds_of_update(model, optimizer, images, labels, engine):
    """Of one update of copies, the shortest of some, as other work only ever adds to it; infinitely many where `engine` fails."""
    try:
        model, optimizer = copy.deepcopy((model, optimizer))
        with engine.running(model.train(), optimizer):
            _timed(_WARM_UP, model, optimizer, images, labels)
            return min(_timed(_UPDATES, model, optimizer, images, labels) for _ in range(_ROUNDS)) / _UPDATES
    except Exception:  # whatever this device, its driver or this version of PyTorch cannot do: there are other ways
        return math.inf


def _timed(count, model, optimizer, images, labels):
    start = time.perf_counter()
    for _ in range(count):
        loss = F.cross_entropy(model(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    loss.item()  # waits for the device
    return time.perf_counter() - start


@cache
def _keep_memory():
    """Have this process keep the memory that it frees. Each update asks anew for that of the last one, and every page that the
    system has to hand out again costs more than what is computed on it. Only glibc can be told, and it cannot be told back.
    """
    with suppress(OSError, AttributeError, TypeError):  # TypeError: on Windows, where nothing has this name
        for option, size in _KEEP.values():
            ctypes.CDLL(None).mallopt(option, size)


@contextmanager
def _channels_last(model, optimizer):
    model.to(memory_format=torch.channels_last)
    if optimizer:
        _lay_out_like_weights(optimizer)
    try:
        yield
    finally:
        model.to(memory_format=torch.contiguous_format)
        if optimizer:
            _lay_out_like_weights(optimizer)


def _lay_out_like_weights(optimizer):
    """The fused updates go through weights and moments in the order of memory: it has to be the same one."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            if torch.is_tensor(value) and value.shape == parameter.shape and value.stride() != parameter.stride():
                moments[name] = torch.empty_like(parameter).copy_(value)


@contextmanager
def _fused(optimizer, fused):
    groups = [group for group in optimizer.param_groups if not (group.get("foreach") or group.get("differentiable"))]
    before = [group["fused"] for group in groups]
    for group in groups:
        _set_fused(optimizer, group, fused)
    try:
        yield
    finally:
        for group, value in zip(groups, before):
            _set_fused(optimizer, group, value)


def _set_fused(optimizer, group, fused):
    """Fused updates count their steps where the weights are, the others on the CPU."""
    group["fused"] = fused or None  # None leaves the choice to PyTorch, False forbids its second-best way as well
    for parameter in group["params"]:
        state = optimizer.state.get(parameter, {})
        if torch.is_tensor(state.get("step")) and not group.get("capturable"):
            state["step"] = state["step"].to(parameter.device if fused else "cpu")


@contextmanager
def _updated_in_order(optimizer):
    """For an update on a CPU, kernels whose channels lie side by side are seen as (out channels, height, width, in channels).

    That is their order in memory, so nothing moves. Else the fused updates first copy each gradient that is not in order.
    """
    turned = []

    def turn(optimizer, *_):
        kernels = [parameter for group in optimizer.param_groups for parameter in group["params"] if parameter.dim() == 4 and parameter.is_cpu]
        for kernel in kernels:
            if kernel.grad is not None and kernel.is_contiguous(memory_format=torch.channels_last):
                _permute(optimizer, kernel, (0, 2, 3, 1))
                turned.append(kernel)

    def turn_back(optimizer, *_):
        while turned:
            _permute(optimizer, turned.pop(), (0, 3, 1, 2))

    hooks = [optimizer.register_step_pre_hook(turn), optimizer.register_step_post_hook(turn_back)]
    try:
        yield
    finally:
        turn_back(optimizer)  # where an update was interrupted
        for hook in hooks:
            hook.remove()


def _permute(optimizer, kernel, order):
    """Permute a kernel, its gradient and all that the optimizer keeps in its shape."""
    gradient, kernel.grad = kernel.grad, None  # it has to have the shape of the kernel at any time
    kernel.data = kernel.data.permute(order)
    kernel.grad = gradient.permute(order)
    state = optimizer.state.get(kernel, {})
    state.update({name: value.permute(order) for name, value in state.items() if torch.is_tensor(value) and value.dim() == 4})


@contextmanager
def _forward_through(model, function):
    """Inside, `model(images)` computes `function(model, forward, images)`, where `forward` is what it computed before."""
    with ExitStack() as stack:
        if before := vars(model).get("forward"):
            stack.callback(setattr, model, "forward", before)
        model.forward = partial(function, model, model.forward)
        stack.callback(delattr, model, "forward")
        yield


def _in_bfloat16(model, forward, images):
    """The mixed precision of P. Micikevicius et al., "Mixed Precision Training", 2018; bfloat16 has the range of float32, so that
    no loss needs to be scaled.
    """
    if not model.training:
        return forward(images)
    with torch.autocast(images.device.type, torch.bfloat16):
        return forward(images).float()


@contextmanager
def _compiled(model):
    """Each shape costs a compilation: the short last batch of an epoch and what is evaluated go the usual way."""
    from torch._dynamo import config  # imports for seconds

    compiled, shapes = torch.compile(model.forward, **_COMPILER), set()

    def compute(model, forward, images):
        if not model.training:
            return forward(images)
        if not shapes:
            shapes.add(images.shape)  # the first batch is a full one
        return (compiled if images.shape in shapes else forward)(images)

    # Where there is no compiler for this device, the usual way is gone instead.
    with config.patch(suppress_errors=True), _forward_through(model, compute):
        yield
