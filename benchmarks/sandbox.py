"""What the sandbox costs: the same notebooks probed in it and in a plain process, by turns.

python benchmarks/sandbox.py --pairs 5
"""

import argparse
import statistics
import time
from pathlib import Path

from labkit.course.observe import observe
from labkit.course.sandbox import Bubblewrap, Unsafe


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"))
    parser.add_argument("--names", nargs="*", default=("",), help="beginnings of file names, such as 01 (default: all)")
    args = parser.parse_args()
    files = {path.name: path.read_bytes() for path in args.notebooks.iterdir() if path.suffix == ".py" or _chosen(path, args.names)}
    pairs = [(_seconds(files, Bubblewrap()), _seconds(files, Unsafe())) for _ in range(args.pairs)]
    for name, values in (("sandbox", [a for a, _ in pairs]), ("plain process", [b for _, b in pairs]), ("difference", [a - b for a, b in pairs])):
        print(f"{name:<14} {statistics.median(values):6.2f} s ({min(values):.2f} to {max(values):.2f})")
    print(f"{'ratio':<14} {statistics.median(a / b for a, b in pairs):6.3f}")


def _chosen(path, names):
    return path.suffix == ".ipynb" and path.name.startswith(tuple(names))


def _seconds(files, box):
    start = time.perf_counter()
    observe(files, box)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
