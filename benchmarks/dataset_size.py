"""Notebook 04's study at full size: dataset size against accuracy, as a table and a figure.

    python benchmarks/dataset_size.py --data cifar10 --caption CIFAR-10

Six runs, {resnet18, resnet50} × {sixteenth, half, full}, random init, Adam 1e-3, batch 256, standardized, no augmentation,
fixed numbers of epochs, nothing selected on the test set. Runs are kept in the run store: a study that was
stopped goes on where it was. Writes dataset_size.png and dataset_size.md to docs/results.
"""

import argparse
import itertools
import json
import math
import shlex
import sys
from pathlib import Path

import pandas as pd

from labkit import data, plots
from labkit.runs import Experiment, run

FRACTIONS = {"sixteenth": 1 / 16, "half": 1 / 2, "full": 1.0}


def experiments(dataset, epochs, models):
    for (size, fraction), model in itertools.product(FRACTIONS.items(), models):
        if epochs[size]:
            yield Experiment(data=dataset, fraction=fraction, valid=0, model=model, batch_size=256, epochs=epochs[size])


def row(finished):
    e, result = finished.experiment, finished.result
    images = round(e.fraction * len(data.load(e.data).train))
    return {
        "model": e.model, "images": images, "epochs": e.epochs, "updates": e.epochs * math.ceil(images / e.batch_size),
        "train accuracy": result["train_acc"], "test accuracy": result["test_acc"], "gap": result["train_acc"] - result["test_acc"],
    }  # fmt: skip


def devices(runs):
    sessions = [json.loads((finished.path / "environment.json").read_text())[-1] for finished in runs]
    return ", ".join(sorted({f"{session['device_name']}, torch {session['torch']}" for session in sessions}))


def markdown(table):
    text = table.map(lambda value: f"{value:.3f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value)
    lines = [list(table.columns), ["---"] * len(table.columns), *text.values.tolist()]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--caption", default="CIFAR-10", help="the data in words, for the figure")
    parser.add_argument("--epochs", nargs=3, type=int, default=[10, 5, 5], metavar=("SIXTEENTH", "HALF", "FULL"), help="0 leaves a size out")
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    runs = [run(experiment) for experiment in experiments(args.data, dict(zip(FRACTIONS, args.epochs)), args.models)]
    table = pd.DataFrame([row(finished) for finished in runs]).sort_values(["model", "images"])
    args.out.mkdir(parents=True, exist_ok=True)
    plots.scaling(table, title=args.caption).savefig(args.out / "dataset_size.png", dpi=120)
    command = f"python benchmarks/dataset_size.py {shlex.join(sys.argv[1:])}"
    text = f"{markdown(table)}\n\n{args.caption}; {devices(runs)}; one seed; `{command}`\n"
    (args.out / "dataset_size.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
