"""The fast recipe against airbench (K. Jordan, 2024) on the same GPU and the same images: seconds of a training, and test accuracy.

    pip install airbench==0.1.8
    python benchmarks/against_airbench.py --level 94 --data cifar10
    python benchmarks/against_airbench.py --level 96 --data cifar10

Both train on all training images and evaluate with six views once, at the end, which is not timed, nor is reading the data. They take
turns after one training each that warms up; the ratio is taken turn by turn.
"""

import argparse
import importlib.util
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from arms import UPDATES
from minutes import FAST

from labkit import data, models
from labkit.device import default_device, describe
from labkit.engine import PRECISIONS, for_training
from labkit.loops import fit, test
from labkit.runs import Experiment
from labkit.transforms import Normalize

LEVELS = {  # what reaches so many percent
    94: {"model": "FastNet64", "epochs": 10, "batch_size": 1000, "lr": 0.24},
    96: {"model": "FastNet128", "epochs": 40, "batch_size": 1000, "lr": 0.24},
}


@dataclass
class Trained:
    seconds: float
    accuracy: float


def choose_engine(experiment, device):
    """What the run store would choose for a long training."""
    loaders, _ = experiment.loaders(device)
    model = experiment.build_model(len(loaders["train"].dataset.classes)).to(device)
    return for_training(model, experiment.build_optimizer(model), loaders["train"], experiment.precision, UPDATES)


def labkit_once(experiment, engine, device):
    """One training of `experiment`, by the package's own parts."""
    splits = data.load(experiment.data)
    loaders, facts = experiment.loaders(device)
    torch.manual_seed(experiment.seed)
    start = _now()
    model = experiment.build_model(len(splits.classes)).to(device)
    models.whiten(model, Normalize(facts["mean"], facts["std"])(loaders["train"].dataset.images[:5000]))
    loss_fn = torch.nn.CrossEntropyLoss(label_smoothing=experiment.label_smoothing)
    schedule = experiment.build_schedule(len(loaders["train"]))
    optimizer = experiment.build_optimizer(model)
    fit(model, loaders["train"], None, optimizer, experiment.epochs, loss_fn=loss_fn, schedule=schedule, verbose=False, engine=engine)
    return Trained(_now() - start, test(loaders["test"], model, torch.nn.CrossEntropyLoss())[1])


def airbench_once(level, folder):
    """One training by airbench with its own settings; it finds the images in `folder`."""
    airbench, lesson = importlib.import_module("airbench"), importlib.import_module(f"airbench.lib_airbench{level}")
    make, settings = airbench.CifarLoader, lesson.hyp
    train_loader = make(str(folder), train=True, batch_size=settings["opt"]["batch_size"], aug=settings["aug"], altflip=True)
    test_loader = make(str(folder), train=False, batch_size=2000)
    start = _now()
    network = getattr(airbench, f"train{level}")(train_loader)
    return Trained(_now() - start, airbench.evaluate(network, test_loader, tta_level=2))


def store(splits, folder):
    """Leave the images where airbench looks for them, in its own form: uint8 (N, 32, 32, 3)."""
    for name, part in (("train", splits.train), ("test", splits.test)):
        images = part.images.permute(0, 2, 3, 1).contiguous()
        torch.save({"images": images, "labels": part.labels, "classes": list(splits.classes)}, folder / f"{name}.pt")


def _now():
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def line(name, trained):
    accuracies, seconds = [one.accuracy for one in trained], [one.seconds for one in trained]
    spread = f"{statistics.mean(accuracies):.2%}" + (f" ± {statistics.stdev(accuracies):.2%}" if len(trained) > 1 else "")
    return f"| {name} | {spread} | {statistics.median(seconds):.2f} s |"


def compare(level, dataset, runs, device, **changes):
    """(trainings by labkit, trainings by airbench), `runs` of each."""
    recipe = Experiment(data=dataset, valid=0, **FAST | LEVELS[level] | changes)
    with tempfile.TemporaryDirectory() as folder:
        store(data.load(dataset), Path(folder))
        engine = choose_engine(recipe, device)
        pairs = [(labkit_once(replace(recipe, seed=seed), engine, device), airbench_once(level, folder)) for seed in range(runs + 1)]
    return list(zip(*pairs[1:]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--level", type=int, choices=LEVELS, default=94)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--precision", choices=PRECISIONS, default="bfloat16")
    args = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("airbench needs a CUDA GPU, and there is none here; run this where there is one")
    if not importlib.util.find_spec("airbench"):
        sys.exit("airbench is missing; install it with: pip install airbench==0.1.8")
    device = default_device()
    ours, theirs = compare(args.level, args.data, args.runs, device, precision=args.precision)
    print(f"{describe(device)}, torch {torch.__version__}; {args.data}, {args.runs} runs of each\n")
    print("| recipe | test accuracy | median time |\n| --- | --- | --- |")
    print(line(f"labkit, {LEVELS[args.level]['model']}, {args.precision}", ours), line(f"airbench{args.level}", theirs), sep="\n")
    ratios = sorted(one.seconds / other.seconds for one, other in zip(ours, theirs))
    print(f"\ntime of labkit / airbench: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})")


if __name__ == "__main__":
    main()
