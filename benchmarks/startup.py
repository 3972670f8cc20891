"""How long a process lives that imports labkit and does nothing: as Python does it by itself against `labkit.startup.fast_imports`.

    python benchmarks/startup.py

Both take turns (A B A B …) after one that fills the caches; ratios are taken pair by pair.
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


def seconds(code):
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=9)
    args = parser.parse_args()
    pairs = [(seconds(PLAIN), seconds(FAST)) for _ in range(args.pairs + 1)][1:]
    plain, fast = (statistics.median(side) for side in zip(*pairs))
    ratios = sorted(a / b for a, b in pairs)
    print(f"{describe('cpu', threads=False)}, {os.cpu_count()} cores; median of {args.pairs} pairs (lowest to highest)")
    print(f"plain {plain:.2f} s   fast_imports {fast:.2f} s   ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
