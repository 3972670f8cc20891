"""The benchmarks run, and measure what the lesson uses. What they find is for a quiet machine."""

import os
import subprocess
import sys

import nbformat
import pytest
import torch
from solutions import ROOT
from torch import nn

from labkit import profile
from labkit.runs import Experiment

BENCHMARKS = ROOT / "benchmarks"


@pytest.fixture
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)


def test_the_fast_recipe_is_the_one_of_notebook_13(benchmarks):
    from minutes import FAST

    cells = nbformat.read(ROOT / "notebooks" / "13_best_model.ipynb", as_version=4).cells
    space = {"P": profile.Profile("laptop", "shapes:100/50"), "Experiment": Experiment}
    exec(next(cell.source for cell in cells if cell.source.startswith("RECIPE =")), space)
    assert {name: getattr(space["RECIPE"], name) for name in FAST} == FAST


AIRBENCH = """
import torch

class CifarLoader:
    def __init__(self, path, train=True, batch_size=500, aug=None, altflip=False):
        self.content = torch.load(f"{path}/{'train' if train else 'test'}.pt")

def train94(loader):
    assert loader.content["images"].shape == (100, 32, 32, 3) and loader.content["images"].dtype == torch.uint8
    return "a network"

def evaluate(network, loader, tta_level):
    assert network == "a network" and len(loader.content["labels"]) == 50 and len(loader.content["classes"]) == 10
    return 0.94
"""


def test_the_comparison_with_airbench_trains_with_both(benchmarks, tmp_path, monkeypatch):
    """With a stand-in that needs no GPU: what is tested is our side, and that its images are where airbench looks for them."""
    (tmp_path / "airbench").mkdir()
    (tmp_path / "airbench" / "__init__.py").write_text(AIRBENCH)
    (tmp_path / "airbench" / "lib_airbench94.py").write_text("hyp = {'opt': {'batch_size': 1024}, 'aug': {}}")
    monkeypatch.syspath_prepend(tmp_path)
    from against_airbench import compare, line

    ours, theirs = compare(94, "shapes:100/50", 2, torch.device("cpu"), model="FastNet16", epochs=1, batch_size=50)
    assert len(ours) == len(theirs) == 2 and all(one.seconds > 0 and 0 <= one.accuracy <= 1 for one in ours)
    assert line("airbench94", theirs).startswith("| airbench94 | 94.00% ± 0.00% | 0.00 s")


def test_the_products_of_an_update_are_those_that_meet_an_image(benchmarks):
    """Counted by hand, and against the convolution of ones: where all weights and pixels are 1, an output is the number of live taps."""
    from headroom import needed

    tiny = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1), nn.Flatten(), nn.Linear(8, 10))
    first, second, last = (4 * 2 * 2) * 3 * 4, (2 * 2) * 4 * 8, 8 * 10  # on 2×2 images
    assert needed(tiny, 2) == 2 * first + 3 * second + 3 * last
    odd = nn.Conv2d(6, 4, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), groups=2)
    ones = nn.Conv2d(3, 2, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(1, 2), bias=False)
    nn.init.ones_(ones.weight)
    network = nn.Sequential(nn.Conv2d(3, 6, 1), odd)
    assert needed(network, 7) - 2 * 3 * 6 * 7 * 7 == 3 * 2 * round(ones(torch.ones(1, 3, 7, 7)).sum().item())


def test_headroom_is_a_table_with_a_line_for_each_case():
    done = bench("headroom", *["--images", "128", "--turns", "1", "--cases", "ConvNet:32"])
    assert done.returncode == 0, done.stderr
    assert [line.count("|") for line in done.stdout.splitlines() if line.startswith("| ConvNet, batch 32")] == [6]


def test_without_a_gpu_the_comparison_is_one_sentence(tmp_path):
    surroundings = os.environ | {"CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run([sys.executable, BENCHMARKS / "against_airbench.py"], cwd=tmp_path, capture_output=True, text=True, env=surroundings)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and "run this where there is one" in done.stderr


def bench(*arguments, cwd=ROOT):
    """`labkit bench`, ended."""
    return subprocess.run([sys.executable, "-m", "labkit.cli", "bench", *arguments], cwd=cwd, capture_output=True, text=True)


def test_the_table_has_a_line_for_each_measurement():
    small = "--images 256 --turns 1 --cases ConvNet:32 --data shapes:300/50 --target 0.01"
    done = bench("speed", *small.split())
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("|")][2:]
    assert [line.split("|")[1].split(":")[0].strip() for line in lines] == [
        "1,000 images", "1,000 images", "updates of an epoch", "epoch", "to 1% on 100% of shapes",
    ]  # fmt: skip
    assert all(line.count("|") == 7 and "nan" not in line for line in lines)


def test_a_benchmark_that_does_not_exist_is_one_sentence():
    done = bench("sped")
    assert (done.returncode, done.stdout) == (2, "") and "unknown benchmark 'sped' (did you mean 'speed'?); accepted: accuracy, " in done.stderr
    assert "arms" not in done.stderr  # a part of the others


def test_what_a_benchmark_refuses_is_one_sentence():
    done = bench("speed", "--cases", "--data", "imagefolder:nowhere", "--images", "0")
    assert done.returncode == 2 and done.stderr.startswith("labkit: ") and done.stderr.count("\n") == 1, done.stderr


def test_an_accuracy_in_percent_is_one_sentence():
    done = bench("speed", "--target", "65")
    assert (done.returncode, done.stdout) == (2, "") and "--target is 65; an accuracy between 0 and 1 is needed" in done.stderr


def test_outside_the_repository_bench_says_where_to_call_it(tmp_path):
    done = bench(cwd=tmp_path)
    assert (done.returncode, done.stderr) == (2, "labkit: there is no folder benchmarks/ here; call `labkit bench` in the folder of the repository\n")
