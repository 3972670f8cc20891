"""Waiting for what another process does."""

import time


def wait_until(condition, seconds=90):
    """What `condition()` returns as soon as that is true; fails if it is not within `seconds`."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"still not after {seconds} seconds"
        time.sleep(0.02)
    return found
