"""What `fit` costs on top of a bare hand-written loop over the same loader and model.

    python benchmarks/fit_overhead.py

One more epoch each, in turns, of the same network, both as PyTorch computes by itself (LABKIT_ENGINE=plain; what the engine brings
is in speed.py); the ratio is taken pair by pair.
"""

import argparse
import os
import statistics

from arms import bare_epoch, training

from labkit import data
from labkit.device import default_device, describe
from labkit.loops import fit
from labkit.schedules import Schedule
from labkit.transforms import Normalize


def fit_epoch(loader, model, optimizer):
    fit(model, loader, None, optimizer, epochs=1, schedule=Schedule("constant", 1e-3, 1, len(loader)), verbose=False)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--images", type=int, default=3_125)
    args = parser.parse_args()
    os.environ["LABKIT_ENGINE"] = "plain"
    device = default_device()
    loader = data.loader(data.load(f"shapes:{args.images}/10").train, 256, shuffle=True, transform=Normalize((0.5,) * 3, (0.25,) * 3), device=device)
    print(f"{describe(device)}; {args.images:,} images, batch 256; median of {args.pairs} pairs (lowest to highest)")
    for name in ("SimpleCNN", "resnet18"):
        ways = [training(epoch, loader, name, device) for epoch in (fit_epoch, bare_epoch)]
        pairs = [[seconds() for seconds in ways] for _ in range(args.pairs + 1)][1:]  # the first one warms up
        ratios = sorted(bare / ours for ours, bare in pairs)
        ours, bare = (statistics.median(side) for side in zip(*pairs))
        print(f"{name:<10} fit {ours:.2f} s   bare loop {bare:.2f} s   bare / fit {statistics.median(ratios):.3f} ({ratios[0]:.3f} to {ratios[-1]:.3f})")


if __name__ == "__main__":
    main()
