"""Imports without garbage collection: the collector works again afterwards, and what spawns a process imports nothing before it."""

import gc
import subprocess
import sys

import pytest

from labkit.startup import call, fast_imports


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_rests_and_is_then_what_it_was(collecting):
    try:
        (gc.enable if collecting else gc.disable)()
        with pytest.raises(ImportError), fast_imports():
            assert not gc.isenabled()
            raise ImportError
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


def test_what_was_imported_is_not_walked_through_again():
    with fast_imports():
        made = [[] for _ in range(1000)]
    walked_through = {id(one) for one in gc.get_objects()}
    assert not walked_through & {id(one) for one in made}


def test_a_spawned_process_has_imported_nothing_when_it_is_called():
    code = "import sys, labkit.startup; assert not {'torch', 'numpy', 'pandas'} & set(sys.modules), 'imported too early'"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    assert call("math", "gcd", 12, 18) == 6
