"""Processes that begin and end sooner: half the life of one that imports PyTorch and does little else is garbage collection."""

import gc
import importlib
from contextlib import contextmanager


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


def call(module, function, *arguments):
    """Import `module` and call its `function`: for a process that is spawned, which else has imported everything before it does anything."""
    with fast_imports():
        found = getattr(importlib.import_module(module), function)
    return found(*arguments)
