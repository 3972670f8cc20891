"""What bad input must end in: one clear sentence."""

from contextlib import contextmanager

import pytest

from labkit.errors import LabkitError


@contextmanager
def one_sentence(*words):
    """The block raises a `LabkitError` of one line that holds each of `words`."""
    with pytest.raises(LabkitError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert [word for word in words if word not in message] == [], message
