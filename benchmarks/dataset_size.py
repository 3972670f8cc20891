"""Notebook 04's study at full size: dataset size against accuracy, as a table and a figure.

    python benchmarks/dataset_size.py --data cifar10 --out docs/results

Six runs, {resnet18, resnet50} × {sixteenth, half, full}, random init, Adam 1e-3, batch 256, no augmentation, fixed
numbers of epochs, nothing selected on the test set. Runs are kept in the run store: a stopped study goes on.
"""

import argparse
import itertools
from pathlib import Path

import pandas as pd

from labkit import data, plots
from labkit.device import default_device, describe
from labkit.runs import Experiment, run

FRACTIONS = {"sixteenth": 1 / 16, "half": 1 / 2, "full": 1.0}


def experiments(data, epochs, models):
    for (size, fraction), model in itertools.product(FRACTIONS.items(), models):
        if epochs[size]:
            yield Experiment(data=data, fraction=fraction, valid=0, model=model, batch_size=256, epochs=epochs[size])


def row(finished):
    e, result = finished.experiment, finished.result
    return {
        "model": e.model, "images": round(e.fraction * len(data.load(e.data).train)), "epochs": e.epochs,
        "train accuracy": result["train_acc"], "test accuracy": result["test_acc"], "minutes": finished.seconds / 60,
    }  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="cifar10")
    parser.add_argument("--epochs", nargs=3, type=int, default=[10, 5, 5], metavar=("SIXTEENTH", "HALF", "FULL"), help="0 leaves a size out")
    parser.add_argument("--models", nargs="+", default=["resnet18", "resnet50"])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    args = parser.parse_args()
    epochs = dict(zip(FRACTIONS, args.epochs))
    table = pd.DataFrame([row(run(experiment)) for experiment in experiments(args.data, epochs, args.models)])
    args.out.mkdir(parents=True, exist_ok=True)
    table.to_csv(args.out / "dataset_size.csv", index=False, float_format="%.4f")
    plots.scaling(table, title=args.data).savefig(args.out / "dataset_size.png", dpi=150, bbox_inches="tight")
    print(table.to_string(index=False), f"\n{args.data}, {describe(default_device())}")


if __name__ == "__main__":
    main()
