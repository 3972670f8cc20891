"""How fast labkit is, in one table: loader, update, epoch and time to an accuracy, each beside the other ways of `arms.py`.

    python benchmarks/speed.py --data imagefolder:cifar10-images

The ways take turns, each in a process of its own, and ratios are taken turn by turn: the median (lowest to highest). Networks start
from random weights, for all ways the same, and are trained with Adam at 1e-3; each turn is one more epoch, the first one is not
counted. What is timed are the updates; epochs that are timed for an accuracy end with a look at 1,000 validation images or more,
which is not. Between two epochs the accuracy is taken to rise evenly. Each turn for an accuracy starts from other weights: when it
is reached is luck, too.
"""

import argparse
import itertools
import math
import statistics
import time

import torch
from arms import MEAN, STD, UPDATES, WAYS, WORKERS, OwnProcess, arm, build, chosen, labkit_loader, training, usual_loader
from loader import images_per_second

from labkit import data
from labkit.device import default_device, describe
from labkit.engine import PRECISIONS
from labkit.loops import test
from labkit.transforms import Normalize

CASES = [("resnet18", 256), ("resnet18", 32), ("resnet50", 64), ("SimpleCNN", 128), ("ConvNet", 32)]
COLUMNS = ("plain", "student", "reference", "limit")
MOST_EPOCHS = 30


def loaders(image_set, rotation, device):
    """{way: function that measures the seconds of 1,000 images}; the limit is to gather them and to do nothing else."""
    found = {
        "labkit": labkit_loader(image_set, 256, rotation, device),
        "student": usual_loader(image_set, 256, rotation),
        "reference": usual_loader(image_set, 256, rotation, pil=False),
        "limit": data.loader(image_set, 256, shuffle=True, transform=lambda images, _: images.float(), device=device),
    }
    return {way: lambda loader=loader: 1000 / images_per_second(loader, 1.0) for way, loader in found.items()}


def updates(image_set, name, batch_size, device, args):
    """{way: function that measures the seconds of an epoch's updates, on batches that lie ready}."""
    engine = chosen(image_set, batch_size, name, device, args)
    return {way: OwnProcess(_updates, way, image_set, name, batch_size, device, engine) for way in ("labkit", "plain", "limit")}


def _updates(way, image_set, name, batch_size, device, engine):
    epoch, loader = arm(way, image_set, batch_size, device, engine)
    return training(epoch, list(loader), name, device)


def epochs(image_set, name, batch_size, device, args):
    """{way: function that measures the seconds of an epoch}."""
    engine = chosen(image_set, batch_size, name, device, args)
    return {way: OwnProcess(_epoch, way, image_set, name, batch_size, device, engine) for way in WAYS}


def _epoch(way, image_set, name, batch_size, device, engine):
    return training(*arm(way, image_set, batch_size, device, engine), name, device)


def to_accuracy(name, batch_size, device, args):
    """{way: function that measures the seconds of training until the accuracy is reached on validation images, nan if it never is}."""
    train, valid = data.split(data.load(args.data).train, 0.1)
    train = data.subset(train, args.fraction)
    engine = chosen(train, batch_size, name, device, args)
    # Not the limit: its batches are always the same ones.
    return {way: OwnProcess(_to_accuracy, way, train, valid, name, batch_size, device, engine, args.target) for way in WAYS if way != "limit"}


def _to_accuracy(way, train, valid, name, batch_size, device, engine, target):
    epoch, loader = arm(way, train, batch_size, device, engine)
    valid = data.loader(valid, min(1000, len(valid)), transform=Normalize(MEAN, STD), device=device)
    seeds = itertools.count()

    def measure():
        model, optimizer = build(name, device, next(seeds))
        spent, before = 0.0, 0.0
        for _ in range(MOST_EPOCHS):
            start = time.perf_counter()
            epoch(loader, model, optimizer)
            took, accuracy = time.perf_counter() - start, test(valid, model, torch.nn.CrossEntropyLoss())[1]
            if accuracy >= target:
                return spent + took * (target - before) / (accuracy - before)
            spent, before = spent + took, accuracy
        return math.nan

    return measure


def end(ways):
    for way in ways.values():
        if isinstance(way, OwnProcess):
            way.end()


def row(what, ways, turns, warm_up):
    """A line of the table, after `warm_up` turns that do not count."""
    found = [{way: measure() for way, measure in ways.items()} for _ in range(warm_up + turns)][-turns:]
    cells = [ratio([turn[way] / turn["labkit"] for turn in found]) if way in ways else "" for way in COLUMNS[:-1]]
    cells.append(ratio([turn["labkit"] / turn["limit"] for turn in found]) if "limit" in ways else "")
    return f"| {what} | {statistics.median(turn['labkit'] for turn in found):.3g} s | {' | '.join(cells)} |"


def ratio(values):
    return f"{statistics.median(values):.2f}" + (f" ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else "")


def rows(args, device):
    """(what, its ways, turns that warm up), made one after the other."""
    image_set, warm_up = data.load(f"shapes:{args.images}/10").train, int(args.turns > 1)
    yield "1,000 images: crop, flip", loaders(image_set, False, device), warm_up
    yield "1,000 images: crop, flip, rotation", loaders(image_set, True, device), warm_up
    for name, batch_size in args.cases:
        yield f"updates of an epoch: {name}, batch {batch_size}", updates(image_set, name, batch_size, device, args), warm_up
        yield f"epoch: {name}, batch {batch_size}", epochs(image_set, name, batch_size, device, args), warm_up
    if args.data:
        yield f"to {args.target:.0%} on {args.fraction:.0%} of {args.data}: resnet18, batch 256", to_accuracy("resnet18", 256, device, args), 0


def case(text):
    name, _, batch_size = text.partition(":")
    return name, int(batch_size)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--images", type=int, default=2_560, help="in an epoch")
    parser.add_argument("--cases", type=case, nargs="*", default=CASES, metavar="NETWORK:BATCH")
    parser.add_argument("--data", help="the dataset whose validation images decide; without it no time to an accuracy is measured")
    parser.add_argument("--fraction", type=float, default=1.0, help="of its training images")
    parser.add_argument("--target", type=float, default=0.65, help="the accuracy to reach")
    parser.add_argument("--precision", choices=PRECISIONS, default="float32", help="of labkit's updates; the other ways stay as they are")
    parser.add_argument("--updates", type=int, default=UPDATES, help="length of the training that labkit's engine is chosen for, on a GPU")
    args = parser.parse_args()
    if not 0 < args.target < 1:
        parser.error(f"--target is {args.target:g}; an accuracy between 0 and 1 is needed, e.g. --target 0.65")
    device = default_device()
    print(f"{describe(device)}, torch {torch.__version__}; {args.images:,} images an epoch, {WORKERS} workers, {args.turns} turns; labkit in {args.precision}")
    print()
    print("| what | labkit | plain / labkit | student / labkit | reference / labkit | labkit / limit |\n| --- | --- | --- | --- | --- | --- |")
    for what, ways, warm_up in rows(args, device):
        print(row(what, ways, args.turns, warm_up), flush=True)
        end(ways)


if __name__ == "__main__":
    main()
