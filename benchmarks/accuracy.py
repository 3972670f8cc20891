"""Does the engine change what is learned? The same trainings with it and without it, over several seeds.

    python benchmarks/accuracy.py --data imagefolder:cifar10-images --fraction 0.0625 --epochs 5

Test accuracies after the last epoch, nothing selected; the difference is taken seed by seed.
"""

import argparse
import os
import statistics
import tempfile

import torch

from labkit.device import default_device, describe
from labkit.engine import ENGINES
from labkit.runs import Experiment, RunStore, run


def accuracies(experiments, engine):
    """The test accuracy of each, trained in a fresh store."""
    os.environ["LABKIT_ENGINE"] = engine
    with tempfile.TemporaryDirectory() as folder:
        return [run(experiment, RunStore(folder), verbose=False).result["test_acc"] for experiment in experiments]


def spread(values):
    return f"{statistics.mean(values):.4f} ± {statistics.stdev(values):.4f}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--models", nargs="+", default=["resnet18", "SimpleCNN"])
    parser.add_argument("--fraction", type=float, default=1 / 16)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    print(f"{describe(default_device())}, torch {torch.__version__}; {args.data}, {args.fraction:g} of it, {args.epochs} epochs, {args.seeds} seeds\n")
    print("| model | engine off | engine on | difference |\n| --- | --- | --- | --- |")
    for model in args.models:
        common = {"data": args.data, "fraction": args.fraction, "valid": 0, "model": model, "batch_size": 64, "epochs": args.epochs}
        experiments = [Experiment(seed=seed, **common) for seed in range(args.seeds)]
        found = {engine: accuracies(experiments, engine) for engine in ENGINES}
        difference = [fast - plain for fast, plain in zip(found["fast"], found["plain"])]
        print(f"| {model} | {spread(found['plain'])} | {spread(found['fast'])} | {spread(difference)} |", flush=True)


if __name__ == "__main__":
    main()
