"""A network of the student's own is measured in the sandbox: an honest one agrees with its claim, every other one ends in a sentence."""

import json
import math
import shutil
import socket
import sys
import time
from contextlib import chdir
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from test_sandbox import needs_bubblewrap  # noqa: F401 (a fixture)
from test_weights import Canary, forge, not_measured, read, saved

from labkit import forward, runs
from labkit.course import own_model
from labkit.course.own_model import GIVEN, in_sandbox
from labkit.course.sandbox import MIB, Bubblewrap, Docker, Limits, Outcome, Unsafe
from labkit.course.weights import evaluate
from labkit.errors import LabkitError, Refused
from labkit.experiment import Experiment
from labkit.runs import RunStore

DATA = "shapes:400/100"
EXPERIMENT = Experiment(data=DATA, model="best_model.py:BestModel", epochs=6, batch_size=50, lr=0.01)
PARTS = """
from torch import nn

def block(inside, outside):
    return nn.Sequential(nn.Conv2d(inside, outside, 3, padding=1), nn.BatchNorm2d(outside), nn.ReLU(), nn.MaxPool2d(4))
"""
NETWORK = """
import torch
from torch import nn
from parts import block

class BestModel(nn.Module):
    def __init__(self, num_classes=10):
        super().__init__()
        self.features = nn.Sequential(block(3, 16), block(16, 32))
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(128, num_classes)

    def forward(self, x):
        return self.head(self.dropout(self.features(x).flatten(1)))
"""


def network(answer="return self.honest(x)", top=""):
    """The text of a module whose network does `answer`, lines of a forward pass, and before all that `top`."""
    lines = "".join(f"        {line}\n" for line in answer.splitlines())
    return f"import os\n{top}\n{NETWORK}\n    honest = forward\n\n    def forward(self, x):\n{lines}"


def sources(text=NETWORK):
    return {"best_model.py": text, "parts.py": PARTS}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of an honest run."""
    return train(tmp_path_factory.mktemp("honest"), EXPERIMENT)


def train(home, experiment):
    """The folder of a run that was trained where its modules lie."""
    for name, text in sources().items():
        (home / name).write_text(text)
    store = RunStore(home / "runs")
    with chdir(home), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(home)
        runs.run(experiment, store, device="cpu", verbose=False)
        return store.path(experiment)


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of the honest run, to be spoiled."""
    return Path(shutil.copytree(trained, tmp_path / EXPERIMENT.key))


@pytest.fixture
def box(needs_bubblewrap):  # noqa: F811 (the fixture)
    return Bubblewrap()


class Here(Unsafe):
    """A runner for networks that harm nothing but their answer: the program runs in this process, which has torch already."""

    def run(self, command, files, readonly=None):
        with TemporaryDirectory() as work, chdir(work), pytest.MonkeyPatch.context() as patch:
            for name, content in files.items():
                Path(name).write_bytes(content)
            patch.setattr(sys, "path", list(sys.path))
            return Outcome("finished", 0, forward._answer(Path(command[-1])), "", 0.0)


def measure(folder, sandbox, modules, seconds=60):
    return evaluate(folder, DATA, own_model=in_sandbox(sandbox, modules, seconds))


def agrees(outcome, folder):
    assert outcome.verdict == "agrees", outcome.sentence
    assert outcome.measured == outcome.claimed == read(folder / "result.json")["test_acc"]


# --- honest networks -------------------------------------------------------------------------------


def test_one_that_looks_twice_at_each_image_is_measured_so(tmp_path):
    folder = train(tmp_path, replace(EXPERIMENT, views=2, epochs=2))
    agrees(measure(folder, Here(Limits()), sources()), folder)


@pytest.mark.parametrize("runner", [Bubblewrap, Unsafe])
def test_an_honest_network_is_measured_exactly(folder, runner, request):
    if runner is Bubblewrap:
        request.getfixturevalue("needs_bubblewrap")
    outcome = measure(folder, runner(), sources())
    agrees(outcome, folder)
    assert outcome.measured > 0.2, "it has learned nothing: any network would agree"


HONEST = {
    "answers in double precision": network("return self.honest(x).double()"),
    "looks at the layout in memory": network("return self.head(self.features(x).view(len(x), -1))"),  # with `channels_last` it would raise
    "changes its input": network("y = self.honest(x)\nx.zero_()\nreturn y"),
}  # fmt: skip


@pytest.mark.parametrize("case", HONEST)
def test_what_an_honest_network_may_do(case, folder):
    agrees(measure(folder, Here(), sources(HONEST[case])), folder)


def test_printing_and_a_thread_that_stays_keep_nothing_up(folder, box):
    top = "import threading, time\nthreading.Thread(target=time.sleep, args=(999,)).start()"
    agrees(measure(folder, box, sources(network("print('hello')\nreturn self.honest(x)", top))), folder)


def test_modules_with_names_of_pythons_own_are_in_nobodys_way(folder, box):
    """Those of the student come first for the student alone, and where the file lies in the record's words is not looked at."""
    modules = sources() | dict.fromkeys(("json.py", "numpy.py", "torch.py", "labkit.py", "sitecustomize.py"), "raise RuntimeError('taken')")
    experiment = read(folder / "experiment.json") | {"model": "/elsewhere/best_model.py:BestModel"}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    agrees(measure(folder, box, modules), folder)


def test_a_better_claim_differs(folder):
    honest = read(folder / "result.json")["test_acc"]
    forge(folder, test_acc=0.96)
    outcome = measure(folder, Here(), sources())
    assert (outcome.verdict, outcome.claimed, outcome.measured) == ("differs", 0.96, honest)


def test_weights_in_a_pt_are_measured_too(folder):
    torch.save(load_file(folder / "weights.safetensors"), folder / "weights.pt")
    (folder / "weights.safetensors").unlink()
    agrees(measure(folder, Here(), sources()), folder)


# --- hostile networks ------------------------------------------------------------------------------

SEND = "def send(data):\n    for number in range(3, 256):\n        try:\n            os.write(number, data)\n        except OSError:\n            pass\n"
LIAR = "import torch\nclass Liar(torch.Tensor):\n    shape = property(lambda self: torch.Size((50, 10)))\n"
PRETENDER = "import torch\nclass Liar:\n    __class__ = torch.Tensor\n    shape = torch.Size((50, 10))\n"
SWAP = "import sys, numpy\nsys.modules['__main__']._scores = lambda *a: numpy.zeros((50, 11))\n"
WRONG = {
    "raises at import": ("raise RuntimeError('boom')", "best_model.py:BestModel(num_classes=10) cannot be built: RuntimeError: boom"),
    "is no Python": ("def def", "best_model.py:BestModel(num_classes=10) cannot be built: SyntaxError"),
    "exits at import": ("raise SystemExit(7)", "cannot be used: SystemExit: 7"),
    "has no such class": ("class Model: pass", "best_model.py does not define 'BestModel'"),
    "is no network": ("class BestModel(dict): pass", "must make an nn.Module, not BestModel"),
    "raises": (network("raise ValueError('no\\nimages \\x1b[2J')"), "cannot be used: ValueError: no images �[2J"),
    "returns NaN": (network("return self.honest(x) * float('nan')"), "answers with values that are not finite"),
    "returns one infinity": (network("y = self.honest(x)\ny[7, 3] = -float('inf')\nreturn y"), "answers with values that are not finite"),
    "returns too little": (network("return self.honest(x)[:, :9]"), "it returns torch.float32 of shape (50, 9), expected a float tensor (50, 10)"),
    "returns one row": (network("return self.honest(x)[:1]"), "it returns torch.float32 of shape (1, 10)"),
    "returns whole numbers": (network("return self.honest(x).long()"), "it returns torch.int64 of shape (50, 10)"),
    "returns complex numbers": (network("return self.honest(x).to(torch.complex64)"), "it returns torch.complex64"),
    "returns a list": (network("return [[0.0] * 10] * 100"), "it returns list"),
    "pretends to be a tensor": (network("return Liar()", PRETENDER), "cannot be used: AttributeError"),
}
HOSTILE = {
    "raises what has no words": (network("class E(Exception):\n    __str__ = None\nraise E"), "ended the program before there were logits (exit status 1)"),
    "exits": (network("os._exit(0)"), "ended the program before there were logits (exit status 0)"),
    "crashes": (network("os.abort()"), "crashed (exit status "),
    "takes memory": (network("keep = [torch.ones(2**26) for _ in range(64)]"), "memory"),
    "floods the log": (network("while True:\n    print('x' * 1000)"), "wrote more than 1 MB"),
    "floods the result": (network("while True:\n    send(bytes(65536))", SEND), "wrote more than 1 MB"),
    "writes logits before": (network(top=SEND + "send(b'logits\\n' + bytes(4000))"), "sends 8,014 bytes that are not 100 × 10 logits"),
    "writes twice": (network(top="if child := os.fork():\n    os.waitpid(child, 0)"), "sends 8,014 bytes that are not 100 × 10 logits"),
    "forges a problem": (network("send(b'problem\\n' + 'p\\u202e\\x1b\\n'.encode() * 999)\nos._exit(0)", SEND), "cannot be used: p���p"),
    "lies about its shape": (network("return torch.zeros(7).as_subclass(Liar)", LIAR), "sends 63 bytes that are not 100 × 10 logits"),
    "swaps parts of the program": (network(top=SWAP), "sends 4,407 bytes that are not 100 × 10 logits"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_answer_that_is_no_logits_is_said(case, folder):
    text, words = WRONG[case]
    not_measured(measure(folder, Here(), sources(text)), "its network ", words)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_network_ends_in_a_sentence(case, folder, box):
    text, words = HOSTILE[case]
    not_measured(measure(folder, box, sources(text)), "its network ", words)


ENDLESS = {
    "loops": ("while True:\n    pass", "had no answer after 6 seconds"),
    "forks": ("while True:\n    try:\n        os.fork()\n    except OSError:\n        pass", "had no answer after 6 seconds|of memory"),
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_network_that_comes_to_no_end_is_ended(case, folder, box):
    answer, words = ENDLESS[case]
    outcome = measure(folder, box, sources(network(answer)), seconds=6)
    not_measured(outcome, "its network ")
    assert any(choice in outcome.sentence for choice in words.split("|")), outcome.sentence


def test_no_labels_files_or_ports_are_in_sight(folder, box, tmp_path):
    """It looks for all of them, and raises what it has found."""
    (tmp_path / "canary").write_text("secret")
    with socket.create_server(("127.0.0.1", 0)) as server:
        look = f"""
            import glob, json, socket
            found = sorted(os.listdir('{GIVEN}')), sorted(json.load(open('{GIVEN}/task.json'))), sorted(glob.glob('*'))
            found += [path for path in ('{tmp_path}/canary', '{folder}/result.json', '{Path(own_model.__file__)}') if os.path.exists(path)],
            try:
                socket.create_connection(('127.0.0.1', {server.getsockname()[1]}))
                found += 'connected',
            except OSError:
                pass
            try:
                open('{GIVEN}/images.npy', 'r+b')
                found += 'written',
            except OSError:
                pass
            raise RuntimeError(str(found))"""
        outcome = measure(folder, box, sources(network(dedent(look))))
    task = ["model", "num_classes", "stem", "dropout", "views", "weights"]
    seen = ["images.npy", "task.json", "weights.safetensors"], task, ["best_model.py", "parts.py"], []
    not_measured(outcome, f"RuntimeError: {tuple(map(sorted, seen))}")


# --- hostile weights -------------------------------------------------------------------------------


def spoiled(folder, **changes):
    save_file(load_file(folder / "weights.safetensors") | changes, folder / "weights.safetensors")


def test_weights_of_another_network_are_said(folder):
    spoiled(folder, **{"head.bias": torch.zeros(11)})
    words = "weights.safetensors holds weights of another architecture: head.bias is (11,) in the file and (10,) in BestModel"
    not_measured(measure(folder, Here(), sources()), f"its network cannot be used: {words}")


@pytest.mark.parametrize("kind", ["empty", "cut", "bomb", "no tensors"])
def test_a_file_that_holds_no_weights_is_not_executed(kind, folder, tmp_path):
    """Also where no sandbox is."""
    content = {"empty": b"", "cut": b"PK\x03\x04", "bomb": saved(Canary(tmp_path / "canary")), "no tensors": saved({"x": 1})}[kind]
    (folder / "weights.safetensors").unlink()
    (folder / "weights.pt").write_bytes(content)
    not_measured(measure(folder, Here(), sources()), "its network cannot be used: weights.pt ", "save it with torch.save(model.state_dict(), path)")
    assert not (tmp_path / "canary").exists()


# --- what is decided outside -----------------------------------------------------------------------


class Recorded(Docker):
    """A runner that keeps what it is given and answers with `result`."""

    def __init__(self, result=b"", ended="finished", status=0):
        super().__init__(Limits(memory=512 * MIB))
        self.outcome, self.seen = Outcome(ended, status, result, "", 1.0), {}

    def run(self, command, files, readonly=None):
        self.seen.update(command=command, files=files, limits=self.limits, readonly=readonly, modes={path.stat().st_mode for path in readonly.values()})
        self.seen.update(images=np.load(readonly[f"{GIVEN}/images.npy"]), folder=next(iter(readonly.values())).parent)
        self.seen.update(mode=self.seen["folder"].stat().st_mode & 0o777)
        return self.outcome


def logits(num_images=3, num_classes=2):
    return np.arange(num_images * num_classes, dtype="<f4")


def ask(folder, runner, images=None, deadline=math.inf, **changes):
    images = torch.zeros(3, 3, 4, 4) if images is None else images
    return in_sandbox(runner, sources(), deadline=deadline)(replace(EXPERIMENT, **changes), folder, images, 2)


def test_what_the_sandbox_is_given(folder):
    """The modules, weights and images, readable for everyone inside; limits of its own beside those of the sandbox."""
    runner, images = Recorded(b"logits\n" + logits().tobytes()), torch.rand(3, 3, 4, 4)
    assert ask(folder, runner, images).tolist() == [[0, 1], [2, 3], [4, 5]]
    seen = runner.seen
    assert seen["command"] == ["python", "-P", "-m", "labkit.forward", GIVEN] and seen["files"]["parts.py"] == PARTS.encode()
    assert seen["modes"] == {0o100444} and seen["mode"] == 0o700 and np.array_equal(seen["images"], images.numpy())
    assert sorted(seen["readonly"]) == [f"{GIVEN}/{name}" for name in ("images.npy", "task.json", "weights.safetensors")]
    assert seen["limits"].memory == 512 * MIB and seen["limits"].seconds == own_model.START + 3 * own_model.PER_IMAGE
    assert runner.limits == Limits(memory=512 * MIB) and not seen["folder"].exists()


@pytest.mark.parametrize(
    ("result", "ended", "status", "words"),
    [
        (b"logits\n" + bytes(24), "deadline", None, "its network had no answer after 60 seconds"),
        (b"", "memory", None, "its network took more than 537 MB of memory"),
        (b"", "output", None, "its network wrote more than 1 MB"),
        (b"logits\n" + bytes(24), "crashed", 139, "its network crashed (exit status 139)"),
        (b"logits\n" + bytes(24), "finished", 3, "ended the program before there were logits (exit status 3)"),
        (b"", "finished", 0, "ended the program before there were logits (exit status 0)"),
        (b"logits", "finished", 0, "sends 6 bytes that are not 3 × 2 logits"),
        (b"logits\n" + bytes(23), "finished", 0, "sends 30 bytes"),
        (b"logits\n" + bytes(25), "finished", 0, "sends 32 bytes"),
        (b"Logits\n" + bytes(24), "finished", 0, "sends 31 bytes"),
        (b"\n" * 31, "finished", 0, "sends 31 bytes"),
        (b"logits\n" + b"\xff" * 24, "finished", 0, "values that are not finite"),
        (b"logits\n" + bytes(20) + b"\0\0\x80\x7f", "finished", 0, "values that are not finite"),
        (b"problem\n" + b"\xff\0" * 10**6, "finished", 0, "its network cannot be used: ��"),
    ],
)
def test_all_but_logits_is_refused_in_a_sentence(folder, result, ended, status, words):
    with pytest.raises(Refused) as caught:
        ask(folder, Recorded(result, ended, status))
    assert words in str(caught.value) and str(caught.value).isprintable() and len(str(caught.value)) < 400


def test_a_deadline_leaves_less_time_and_then_none(folder):
    runner = Recorded(b"logits\n" + logits().tobytes())
    ask(folder, runner, deadline=time.monotonic() + 30)
    assert 20 < runner.seen["limits"].seconds <= 30
    with pytest.raises(Refused, match="the time for one submission is used up"):
        ask(folder, runner, deadline=time.monotonic())


def test_a_network_whose_file_was_not_handed_in_is_said(folder):
    with pytest.raises(Refused, match=r"its network other\.py:Net is in no file that was handed in"):
        ask(folder, Recorded(), model="other.py:Net")


def test_weights_beyond_all_measure_are_refused(folder, monkeypatch):
    monkeypatch.setitem(own_model.LARGEST, "weights", 1000)
    with pytest.raises(Refused, match=r"weights\.safetensors is larger than 1,000 bytes"):
        ask(folder, Recorded())


def test_a_name_that_no_command_line_could_hold_arrives(folder):
    name = f"best_model.py:{'ä' * 49_000}"
    runner = Recorded(b"problem\nx")
    with pytest.raises(Refused):
        ask(folder, runner, model=name)
    assert len(json.dumps(runner.seen["command"])) < 200


def test_a_full_disk_is_one_sentence(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(own_model, "copyfile", full)
    with pytest.raises(LabkitError, match=r"cannot write into .*No space left on device.*TMPDIR"):
        ask(folder, Recorded())
