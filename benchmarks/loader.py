"""labkit's loader against the usual one: a DataLoader with PIL transforms, in images per second.

    python benchmarks/loader.py

Both deliver float32 batches of 256 in the same pass over the same images; the runs take turns (A B A B …), and the
ratio is taken pair by pair, so that it holds when the machine's speed drifts. The usual loader gets one worker
per core.
"""

import argparse
import os
import statistics
import time

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import v2

from labkit import data, transforms
from labkit.device import describe

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
PIPELINES = {"crop + flip + normalize": False, "crop + flip + rotation + normalize": True}


class PILImages(Dataset):
    """What torchvision's CIFAR10 does: keep arrays, make a PIL image of each one that is asked for."""

    def __init__(self, image_set, transform):
        self.arrays = image_set.images.permute(0, 2, 3, 1).contiguous().numpy()
        self.labels, self.transform = image_set.labels.tolist(), transform

    def __len__(self):
        return len(self.arrays)

    def __getitem__(self, index):
        return self.transform(Image.fromarray(self.arrays[index])), self.labels[index]


def usual_loader(image_set, rotation, workers, batch_size=256):
    steps = [v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), *([v2.RandomRotation(15)] if rotation else [])]
    steps += [v2.PILToTensor(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    return DataLoader(PILImages(image_set, v2.Compose(steps)), batch_size, shuffle=True, num_workers=workers, persistent_workers=workers > 0)


def labkit_loader(image_set, rotation, batch_size=256, device=None):
    steps = [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip(), *([transforms.RandomRotation(15)] if rotation else [])]
    return data.loader(image_set, batch_size, shuffle=True, transform=transforms.Compose([*steps, transforms.Normalize(MEAN, STD)]), device=device)


def images_per_second(loader, seconds):
    """Whole passes until `seconds` are over."""
    seen, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        for images, _ in loader:
            assert images.dtype == torch.float32
            seen += len(images)
    return seen / elapsed


def compare(image_set, rotation, pairs, workers):
    ours, usual = labkit_loader(image_set, rotation), usual_loader(image_set, rotation, workers)
    for loader in (ours, usual):
        images_per_second(loader, 0.1)  # workers, caches and thread pools start here
    return [(images_per_second(ours, 1.0), images_per_second(usual, 4.0)) for _ in range(pairs)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--images", type=int, default=12_800)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
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
