"""How long it takes until a process has imported labkit: by `labkit.startup` against how Python does it by itself.

    python benchmarks/startup.py

First a process that imports labkit and ends, with and without `fast_imports`; then the start of another worker where one has been
started before, as each study of a notebook but the first does it: forked from the server, and spawned. Both sides take turns
(A B A B …) after one turn that fills the caches; ratios are taken pair by pair.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

from labkit.device import describe

PLAIN = "import labkit.checks"
FAST = "from labkit.startup import fast_imports\nwith fast_imports():\n    import labkit.checks"
ANOTHER_WORKER = """
import time
from labkit import startup
startup.METHOD = {method!r}
for _ in range(2):
    worker = startup.process("labkit.study.estimate", "duration", 1.0)
    start = time.perf_counter()
    worker.start()
    worker.join()
    seconds = time.perf_counter() - start
    assert worker.exitcode == 0
print(seconds)
"""


def life(code):
    """Seconds that a process takes to do `code`."""
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def another_worker(method):
    """Seconds from the start to the end of a second worker that does nothing."""
    done = subprocess.run([sys.executable, "-c", ANOTHER_WORKER.format(method=method)], check=True, capture_output=True, text=True)
    return float(done.stdout)


def compare(what, measure, plain, fast, count):
    pairs = [(measure(plain), measure(fast)) for _ in range(count + 1)][1:]
    slow, quick = (statistics.median(side) for side in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    print(f"{what}: plain {slow:.2f} s   labkit {quick:.2f} s   ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    args = parser.parse_args()
    print(f"{describe('cpu', threads=False)}, {os.cpu_count()} cores; median of {args.pairs} pairs (lowest to highest)")
    compare("a process that imports labkit and ends", life, PLAIN, FAST, args.pairs)
    if sys.platform == "linux":
        compare("the start of another worker", another_worker, "spawn", "forkserver", args.pairs)


if __name__ == "__main__":
    main()
