"""Processes that begin and end sooner: half the life of one that imports PyTorch and does little else is garbage collection."""

import gc
import importlib
import multiprocessing
import os
import sys
from contextlib import contextmanager

METHOD = "forkserver" if sys.platform == "linux" else "spawn"


@contextmanager
def fast_imports():
    """For imports: inside, no garbage is looked for, and what is there afterwards is taken for permanent.

    PyTorch makes about a million objects that stay. Without this the collector walks through them many times while they come,
    and once more when the process ends. See `benchmarks/startup.py`.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if collecting:
            gc.enable()


def process(module, function, *arguments):
    """A `Process` that will call `function` of `module`, with the environment variables of now, and dies with this one.

    On Linux it is forked from a server that has imported `module` once, so that a second start takes milliseconds. (A fork of
    this process itself would share its threads' locks and its GPU.) Elsewhere it is spawned and imports for itself.
    """
    context = multiprocessing.get_context(METHOD)
    if METHOD == "forkserver":
        context.set_forkserver_preload(["labkit.no_collection", module])  # the first one that is asked for stays
    return context.Process(target=call, args=(dict(os.environ), module, function, *arguments), daemon=True)


def call(environment, module, function, *arguments):
    """In the process: import `module` and call its `function`. All that is needed before that is this file, which imports little."""
    os.environ.clear()
    os.environ.update(environment)
    with fast_imports():
        found = getattr(importlib.import_module(module), function)
    gc.enable()  # it rests in a process of the server
    return found(*arguments)
