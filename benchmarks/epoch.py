"""Whole training epochs: labkit's `fit` against the loop that students write, and against `fit` with its engine off.

    python benchmarks/epoch.py

    student  a DataLoader with PIL transforms and a worker for each core, a plain PyTorch loop
    plain    labkit's loader, LABKIT_ENGINE=plain
    fit      labkit's loader, the engine that is chosen for the device

Crop, flip, normalize, Adam. The three take turns from the same weights; ratios are taken turn by turn.
"""

import argparse
import os
import statistics

import torch
from fit_overhead import seconds
from loader import labkit_loader, usual_loader
from torch import nn

from labkit import data
from labkit.device import default_device, describe
from labkit.loops import fit

CASES = [("resnet18", 256), ("resnet18", 32), ("resnet50", 64), ("SimpleCNN", 128), ("ConvNet", 32)]


def student_epoch(loader, model, optimizer):
    """As in the tutorials, accuracy and all."""
    device = next(model.parameters()).device
    loss_fn, correct = nn.CrossEntropyLoss(), 0
    model.train()
    for images, labels in loader:
        images, labels = images.to(device), labels.to(device)
        logits = model(images)
        loss = loss_fn(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        correct += (logits.argmax(1) == labels).sum().item()


def fit_epoch(engine):
    def epoch(loader, model, optimizer):
        os.environ["LABKIT_ENGINE"] = engine
        fit(model, loader, None, optimizer, epochs=1, verbose=False)

    return epoch


def compare(name, batch_size, image_set, turns, device):
    """[{arm: seconds of an epoch} for each turn], after one turn that warms up."""
    ours = labkit_loader(image_set, rotation=False, batch_size=batch_size, device=device)
    usual = usual_loader(image_set, rotation=False, workers=os.cpu_count(), batch_size=batch_size)
    arms = {"student": (student_epoch, usual), "plain": (fit_epoch("plain"), ours), "fit": (fit_epoch("fast"), ours)}
    return [{arm: seconds(epoch, loader, name, device) for arm, (epoch, loader) in arms.items()} for _ in range(turns + 1)][1:]


def ratio(turns, arm):
    """How many times as long the arm takes as `fit`: median (lowest to highest)."""
    ratios = sorted(turn[arm] / turn["fit"] for turn in turns)
    return f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=2_560)
    args = parser.parse_args()
    device = default_device()
    image_set = data.load(f"shapes:{args.images}/10").train
    print(f"{describe(device)}, torch {torch.__version__}; {args.images:,} images an epoch, median of {args.turns} turns (lowest to highest)\n")
    print("| model | batch | fit, images/s | student / fit | plain / fit |\n| --- | --- | --- | --- | --- |")
    for name, batch_size in CASES:
        turns = compare(name, batch_size, image_set, args.turns, device)
        speed = args.images / statistics.median(turn["fit"] for turn in turns)
        print(f"| {name} | {batch_size} | {speed:,.0f} | {ratio(turns, 'student')} | {ratio(turns, 'plain')} |", flush=True)


if __name__ == "__main__":
    main()
