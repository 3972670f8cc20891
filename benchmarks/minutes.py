"""What so many minutes of this machine bring: the test accuracy of the fast recipe beside ResNet-18's.

    python benchmarks/minutes.py --data imagefolder:cifar10-images --minutes 2 5 10

For each recipe a few updates are measured, and as many epochs are trained as the minutes hold; the rate falls to 0 at the end of
them. Minutes are those of the epochs, the look at 1,000 validation images after each included. The test set is read once. What was
trained is in the run store.
"""

import argparse
from dataclasses import replace

import torch

from labkit import data
from labkit.device import default_device, describe
from labkit.runs import Experiment, run
from labkit.study.tasks import probe

RECIPES = {
    "FastNet16": {"model": "FastNet16"},
    "FastNet32": {"model": "FastNet32"},
    "FastNet32 in bfloat16": {"model": "FastNet32", "precision": "bfloat16"},
    "ResNet-18": {"model": "resnet18"},
}
USUAL = {"augmentation": ("crop", "flip"), "optimizer": "adam", "lr": 1e-3, "batch_size": 128, "schedule": "one_cycle"}
FAST = {  # notebook 13's
    "augmentation": ("shift", "alternating_flip"), "whiten": True, "optimizer": "muon", "lr": 0.1, "momentum": 0.6,
    "label_smoothing": 0.2, "batch_size": 250, "schedule": "cosine", "views": 6,
}  # fmt: skip


def experiment(recipe, dataset, seed):
    common = FAST if recipe["model"].startswith("FastNet") else USUAL
    return Experiment(data=dataset, valid=0.02, monitor="valid_acc", seed=seed, **common, **recipe)


def fitted(experiment, minutes, device):
    """`experiment` with as many epochs as fit into the minutes, at least one."""
    cost = probe(experiment, device, torch.get_num_threads())
    return replace(experiment, epochs=max(1, int(60 * minutes / cost.epoch(experiment))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 5, 10])
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    device = default_device()
    data.load(args.data)
    print(f"{describe(device)}, torch {torch.__version__}; {args.data}, seed {args.seed}\n")
    print("| budget | network | epochs | minutes | test accuracy |\n| --- | --- | --- | --- | --- |")
    for minutes in args.minutes:
        for name in args.recipes:
            finished = run(fitted(experiment(RECIPES[name], args.data, args.seed), minutes, device), device=device, verbose=False)
            epochs, accuracy = finished.result["epochs"], finished.result["test_acc"]
            print(f"| {minutes:g} min | {name} | {epochs} | {finished.seconds / 60:.1f} | {accuracy:.3f} |", flush=True)


if __name__ == "__main__":
    main()
