"""Whatever stands in the place of an answer: a named finding, no points for nonsense, nothing left behind, nothing on stderr."""

import json
import math
import os
import random
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from labkit import checks
from labkit.checks import guard
from labkit.errors import LabkitError

ARGUMENTS = {name: todo.arguments + todo.keywords + todo.optional + todo.defaulted for name, todo in checks._TODOS.items()}


def answer_of(todo, body, **names):
    """A function with the right parameters and this body."""
    with_default = checks._TODOS[todo].optional + checks._TODOS[todo].defaulted
    parameters = [name + ("=0.0" if name in with_default else "") for name in ARGUMENTS[todo]]
    source = f"def answer({', '.join(parameters)}):\n" + "\n".join("    " + line for line in body.splitlines())
    space = {"torch": torch, "nn": nn, "np": np, "math": math, "sys": sys, "os": os, "time": time, "warnings": warnings, "random": random} | names
    exec(source, space)
    return space["answer"]


def verdict(todo, answer):
    observations = checks.probe(todo, answer)
    finding = checks.judge(todo, observations)
    assert checks.judge(todo, json.loads(json.dumps(observations))) == finding
    assert finding.message and "Traceback" not in finding.message and len(finding.message) <= 700
    return finding


every = pytest.mark.parametrize("todo", checks.names())


# --- not an answer at all ----------------------------------------------------------------------


class Hostile:
    """Nothing can be asked of it."""

    def __getattribute__(self, name):
        raise RuntimeError("leave me alone")


class Rude(Exception):
    def __str__(self):
        raise ValueError("no text")


class OddSignature:
    __signature__ = "not a signature"

    def __call__(self):
        pass


@every
def test_something_else_than_a_function(todo):
    assert verdict(todo, None).name == "not_defined"
    for thing, kind in ((3, "int"), ("train", "str"), ([], "list"), (math, "module"), (torch.zeros(2), "Tensor")):
        finding = verdict(todo, thing)
        assert finding.name == "not_callable" and kind in finding.message and finding.points == 0
    assert verdict(todo, OddSignature()).points == 0


@every
def test_an_object_that_raises_at_every_question(todo):
    finding = verdict(todo, Hostile())
    assert finding.points == 0 and finding.name in ("raises", "not_callable", "unexpected")


@every
def test_other_parameters(todo):
    for answer in (lambda a, b, c, d, e, f, g: None, lambda *, nothing: None):
        finding = verdict(todo, answer)
        assert finding.name == "signature" and finding.points == 0
        assert f"{todo}(" in finding.message


def test_an_unknown_exercise():
    with pytest.raises(LabkitError, match=r"unknown exercise 'trian' \(did you mean 'train'\?\); accepted: replace_head, train"):
        checks.check("trian", None)


# --- raises, prints, hangs ---------------------------------------------------------------------


@every
@pytest.mark.parametrize("name", ["ValueError", "ZeroDivisionError", "SystemExit", "KeyboardInterrupt", "GeneratorExit", "RecursionError", "MemoryError"])
def test_raises(todo, name):
    finding = verdict(todo, answer_of(todo, f"raise {name}('the reason')"))
    assert (finding.name, finding.points) == ("raises", 0)
    assert name in finding.message and "the reason" in finding.message


@every
def test_raises_something_that_has_no_text(todo):
    assert verdict(todo, answer_of(todo, "raise Rude", Rude=Rude)).name == "raises"


@every
def test_the_untouched_stub(todo):
    finding = verdict(todo, answer_of(todo, "raise NotImplementedError"))
    assert (finding.name, finding.points) == ("not_implemented", 0)


def test_a_module_without_forward_is_no_stub():
    assert verdict("SimpleCNN", nn.Module).name == "raises"


@every
def test_prints_a_hundred_megabytes(todo):
    for body in ("print('x' * 100_000_000)", "while True:\n    print('again')", "while True:\n    sys.stderr.write('x' * 10_000)"):
        finding = verdict(todo, answer_of(todo, body))
        assert (finding.name, finding.points) == ("output", 0)


LOOPS = {
    "empty": "while True: pass",
    "swallows all": "while True:\n    try:\n        x = 1\n    except:\n        pass",
    "swallows all and calls": "while True:\n    try:\n        time.sleep(0.001)\n    except:\n        pass",
    "counts": "n = 0\nwhile n >= 0:\n    n += 1",
}


@every
@pytest.mark.parametrize("body", LOOPS.values(), ids=LOOPS)
def test_loops_for_ever(todo, body, monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.1)
    before, start = threading.active_count(), time.perf_counter()
    finding = verdict(todo, answer_of(todo, body))
    assert (finding.name, finding.points) == ("timeout", 0)
    assert time.perf_counter() - start < 5
    assert threading.active_count() == before, "the loop was not ended"


@every
def test_sleeps_for_an_hour(todo, monkeypatch):
    monkeypatch.setattr(guard, "SECONDS", 0.05)
    start = time.perf_counter()
    assert verdict(todo, answer_of(todo, "time.sleep(3600)")).name == "timeout"
    assert time.perf_counter() - start < 5


# --- nonsense returned -------------------------------------------------------------------------


class Agrees:
    """Equal to everything, and any number that is wanted."""

    def __eq__(self, other):
        return True

    __hash__ = None

    def __float__(self):
        return 0.5

    def __len__(self):
        return 4

    def __iter__(self):
        return iter([self] * 4)

    def __getattr__(self, name):
        return self

    def __call__(self, *args, **kwargs):
        return self


class Raises(Agrees):
    def __float__(self):
        raise RuntimeError("no number")

    def __eq__(self, other):
        raise RuntimeError("no comparison")

    __hash__ = None


class Liar(float):
    """A float that is always as near as needed."""

    def __sub__(self, other):
        return 0.0

    __rsub__ = __add__ = __radd__ = __sub__

    def __eq__(self, other):
        return True

    def __abs__(self):
        return 0.0

    __hash__ = None


class LyingTensor(torch.Tensor):
    def tolist(self):
        raise RuntimeError("no list")

    def detach(self):
        return self


class LyingList(list):
    def __len__(self):
        return 2

    def __eq__(self, other):
        return True

    __hash__ = None


ENDLESS = []
ENDLESS.append(ENDLESS)
NONSENSE = {
    "None": None,
    "NaN": math.nan,
    "two NaN": (math.nan, math.nan),
    "infinite": (math.inf, -math.inf),
    "text": "ready",
    "a long text": "x" * 10_000_000,
    "a huge list": [0.5] * 3_000_000,
    "a list of lists": [[[0.5] * 100] * 100] * 100,
    "a list in itself": ENDLESS,
    "two texts": ("0.5", "0.5"),
    "a huge number": (10**10_000, 10**10_000),
    "complex": (0.5j, 0.5j),
    "True": (True, True),
    "meta tensor": torch.zeros(2, 10, device="meta"),
    "two meta tensors": (torch.zeros((), device="meta"),) * 2,
    "tensor of NaN": torch.full((2, 10), math.nan),
    "wrong shape": torch.zeros(7, 7, 7),
    "sparse": torch.zeros(2, 10).to_sparse(),
    "complex tensor": torch.zeros(2, 10, dtype=torch.complex64),
    "array": np.zeros((2, 10)),
    "array of objects": np.array([object(), None]),
    "agrees": Agrees(),
    "four that agree": [Agrees()] * 4,
    "six that agree": [Agrees()] * 6,
    "raises": Raises(),
    "two that raise": (Raises(), Raises()),
    "liars": (Liar(7.0), Liar(7.0)),
    "lying tensors": (torch.zeros(()).as_subclass(LyingTensor),) * 2,
    "lying list": LyingList([0.5]),
    "module": nn.Linear(2, 2),
    "four modules": [nn.Linear(2, 2)] * 4,
    "function": len,
    "dict": {"loss": 0.5, 3: None},
    "generator": (x for x in ()),
}


@every
@pytest.mark.parametrize("value", NONSENSE.values(), ids=NONSENSE)
def test_nonsense_returned(todo, value):
    finding = verdict(todo, answer_of(todo, "return value", value=value))
    assert finding.points == 0 or (finding.points <= 0.5 * finding.of and not finding.passed)
    assert not finding.passed


LOOKED = "for images, labels in dataloader:\n    with torch.no_grad():\n        loss_fn(model.eval()(images.to('cpu')), labels.to('cpu'))\n"


@pytest.mark.parametrize("value", [NONSENSE[name] for name in ("liars", "agrees", "two that raise", "two NaN", "two meta tensors", "complex", "True")])
def test_nonsense_after_honest_work(value):
    """No award for numbers that only say that they are right: what is left is the share for the loop itself."""
    finding = verdict("test", answer_of("test", LOOKED + "return value", value=value))
    assert not finding.passed and finding.name in ("wrong_loss", "not_numbers", "not_finite", "not_two_values")


def test_modules_that_give_nonsense():
    for value in (value for name, value in NONSENSE.items() if "list of" not in name and "huge" not in name):

        class Network(nn.Module):
            def __init__(self, *args, value=value):
                super().__init__()
                self.layer, self.value = nn.Linear(2, 2), [value]

            def forward(self, x):
                return self.value[0]

        for todo in ("SimpleCNN", "BasicBlock"):
            assert not verdict(todo, Network).passed


# --- what stays behind -------------------------------------------------------------------------

MESS = """
torch.manual_seed(1); np.random.seed(1); random.seed(1); torch.rand(3); random.random()
os.environ["LABKIT_MESS"] = "1"; os.environ.pop("HOME", None)
os.chdir("/")
torch.set_default_dtype(torch.float64)
torch.set_grad_enabled(False)
sys.setprofile(None)
sys.stdout = sys.stderr = None
raise ValueError
"""


def surroundings():
    state = torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()
    return (
        sys.stdin, sys.stdout, sys.stderr, sys.getprofile(), sys.gettrace(), dict(os.environ), os.getcwd(), torch.get_default_dtype(),
        torch.is_grad_enabled(), state, threading.active_count(),
    )  # fmt: skip


@every
@pytest.mark.parametrize("body", [MESS, "return None", "print('x' * 10**7)", "sys.exit()"], ids=["mess", "nothing", "output", "exit"])
def test_surroundings_are_as_before(todo, body, monkeypatch):
    before = surroundings()
    verdict(todo, answer_of(todo, body))
    assert surroundings() == before


@every
def test_the_student_sees_the_finding_and_nothing_else(todo, capfd):
    noise = "print('to stdout'); print('to stderr', file=sys.stderr); warnings.warn('careful')\nreturn None"
    with warnings.catch_warnings(record=True):
        assert checks.check(todo, answer_of(todo, noise)) is None
    out, err = capfd.readouterr()
    finding = checks.judge(todo, checks.probe(todo, answer_of(todo, noise)))
    assert err == ""
    assert out == f"{todo}: not yet, {finding.points:g} of {finding.of:g} points [{finding.name}]\n{finding.message}\n"


# --- observations that no probe made -----------------------------------------------------------

LOOK = {"look": {"value": "callable"}}
MALFORMED = [
    {}, None, [], "text", 3, {"look": None}, {"look": {}}, {"look": {"value": None}}, {"look": {"value": 7}}, LOOK, LOOK | {"one pass": None},
    LOOK | {"one pass": {}}, LOOK | {"one pass": {"value": None}}, LOOK | {"one pass": {"value": {}}}, LOOK | {"one pass": {"raised": 3}},
    LOOK | {"one pass": {"value": {"log": 3, "state": [], "returned": {}}}}, LOOK | {"one pass": {"timeout": "long"}}, {"look": {"timeout": 1}},
]  # fmt: skip


@every
def test_malformed_observations(todo):
    for observations in MALFORMED:
        finding = checks.judge(todo, observations)
        assert isinstance(finding, checks.Finding) and not finding.passed and finding.points == 0


def damaged(value):
    """Copies of nested data, each with one entry missing or replaced."""
    if isinstance(value, dict):
        for key in value:
            yield {k: v for k, v in value.items() if k != key}
            for other in (None, -1, "text", [], {}):
                yield value | {key: other}
            yield from (value | {key: part} for part in damaged(value[key]))
    elif isinstance(value, list) and value:
        yield value[1:]
        yield from ([part, *value[1:]] for part in damaged(value[0]))


@pytest.mark.parametrize("todo", checks.names())
def test_damaged_observations(todo):
    from test_corpus import CASES

    observations = checks.probe(todo, next(case.answer for case in CASES if case.todo == todo))
    for broken in list(damaged(observations))[:: 7 if todo in ("train", "test") else 1][:400]:
        finding = checks.judge(todo, broken)
        assert isinstance(finding, checks.Finding) and finding.message and 0 <= finding.points <= finding.of
