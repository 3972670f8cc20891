"""labkit's loader against the usual one: a DataLoader with PIL transforms, in images per second.

    python benchmarks/loader.py

Both deliver float32 batches of 256 in the same pass over the same images; the runs take turns (A B A B …), and the
ratio is taken pair by pair, so that it holds when the machine's speed drifts. The usual loader gets one worker
per core.
"""

import argparse
import statistics
import time

import torch
from arms import WORKERS, labkit_loader, usual_loader

from labkit import data
from labkit.device import describe

PIPELINES = {"crop + flip + normalize": False, "crop + flip + rotation + normalize": True}


def images_per_second(loader, seconds):
    """Whole passes until `seconds` are over."""
    seen, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for images, _ in loader:
            assert images.dtype == torch.float32
            seen += len(images)
    return seen / elapsed


def compare(image_set, rotation, pairs, workers):
    ours, usual = labkit_loader(image_set, 256, rotation), usual_loader(image_set, 256, rotation, workers)
    for loader in (ours, usual):
        images_per_second(loader, 0.1)  # workers, caches and thread pools start here
    return [(images_per_second(ours, 1.0), images_per_second(usual, 4.0)) for _ in range(pairs)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--workers", type=int, default=WORKERS)
    args = parser.parse_args()
    image_set = data.load(f"shapes:{args.images}/10").train
    print(f"{describe('cpu')}; the usual loader has {args.workers} workers; median of {args.pairs} pairs (lowest to highest)")
    for name, rotation in PIPELINES.items():
        pairs = compare(image_set, rotation, args.pairs, args.workers)
        ours, usual = (statistics.median(side) for side in zip(*pairs))
        ratios = sorted(a / b for a, b in pairs)
        print(f"{name:<36} labkit {ours:>9,.0f}/s   usual {usual:>7,.0f}/s   ratio {statistics.median(ratios):.1f} ({ratios[0]:.1f} to {ratios[-1]:.1f})")


if __name__ == "__main__":
    main()
