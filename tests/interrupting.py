"""Ctrl-C in the middle of a training."""

import pytest

from labkit import runs
from labkit.runs import RunStore, run


def interrupt(started, epoch, store=None):
    """Train `started` and press Ctrl-C right after an epoch was saved; returns the folder of the unfinished run."""
    save = runs._Training.save

    def save_and_stop(self, progress):
        save(self, progress)
        if progress.epoch == epoch:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(runs._Training, "save", save_and_stop)
        run(started, store, verbose=False)
    return (store or RunStore()).path(started)
