"""A study of small networks side by side against one after another, in seconds.

    python benchmarks/study_parallel.py

The runs of each study are the same, in fresh stores; side by side as many as there are cores with one thread each, one
after another with all threads. Both take turns (A B A B …), and the ratio is taken pair by pair, so that it holds
when the machine's speed drifts. Processes are started and the data is loaded before the clock.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch

from labkit.device import describe
from labkit.experiment import Experiment
from labkit.study import grid
from labkit.study.estimate import Layout
from labkit.study.local import Local
from labkit.study.tasks import FINISHED


def seconds(experiments, layout):
    """Train all in a fresh store."""
    with tempfile.TemporaryDirectory() as folder, Local(Path(folder), Path(folder) / "log", "cpu") as executor:
        executor.measure(experiments[0], layout)  # starts the processes and loads the data
        start = time.perf_counter()
        states = [ended[1] for ended in executor.train(experiments, layout) if ended]
        elapsed = time.perf_counter() - start
    assert states == [FINISHED] * len(experiments), states
    return elapsed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--data", default="shapes:1600/400")
    parser.add_argument("--models", nargs="+", default=["SimpleCNN", "ConvNet"])
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=[32, 256])
    args = parser.parse_args()
    cores = os.cpu_count()
    layouts = Layout(cores, 1), Layout(1, torch.get_num_threads())
    print(f"{describe('cpu')}, {cores} cores; {args.runs} runs of {args.epochs} epochs on {args.data}; median of {args.pairs} pairs (lowest to highest)")
    base = Experiment(data=args.data, epochs=args.epochs)
    for (model, batch_size), experiment in grid(base, model=args.models, batch_size=args.batch_sizes).items():
        experiments = list(grid(experiment, seed=range(args.runs)).values())
        pairs = [[seconds(experiments, layout) for layout in layouts] for _ in range(args.pairs)]
        beside, after = (statistics.median(side) for side in zip(*pairs))
        ratios = sorted(after / beside for beside, after in pairs)
        print(
            f"{model:<10} batch {batch_size:<4} {cores} side by side {beside:.1f} s   one after another {after:.1f} s   "
            f"faster by {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
