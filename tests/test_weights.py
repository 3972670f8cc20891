"""Submitted weights are measured on the grader's test set: an honest run agrees, and every lie gets its sentence."""

import io
import json
import os
import pickle
import random
import shutil
import struct
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from sentences import one_sentence

from labkit import data, models, runs
from labkit.course import weights
from labkit.course.record import contradictions, read_claim
from labkit.course.weights import evaluate, load_state
from labkit.errors import LabkitError, Refused
from labkit.experiment import Experiment
from labkit.runs import RunStore

DATA = "shapes:200/100"
EXPERIMENT = Experiment(data=DATA, model="SimpleCNN", epochs=1, batch_size=50)
STOPPING = Experiment(data=DATA, model="ConvNet", epochs=4, patience=1, batch_size=50, valid=0.2, schedule="step", step_size=1, lr=0.01)
FIXED = Experiment(data=DATA, model="ConvNet", epochs=2, batch_size=50, valid=0)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Honest runs, trained once."""
    store = RunStore(tmp_path_factory.mktemp("honest"))
    for experiment in (EXPERIMENT, STOPPING, FIXED):
        runs.run(experiment, store, device="cpu", verbose=False)
    return store


@pytest.fixture
def folder(store, tmp_path):
    """A copy of the honest run of `EXPERIMENT`, to be spoiled."""
    return Path(shutil.copytree(store.path(EXPERIMENT), tmp_path / EXPERIMENT.key))


def read(path):
    return json.loads(path.read_text())


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def forge(folder, **changes):
    """Change result.json, and seal it as a forger would."""
    result = read(folder / "result.json") | changes
    result.pop("seal")
    result["sha256"] = {name: runs.sha256(folder / name) for name in runs.SEALED if (folder / name).exists()}
    (folder / "result.json").write_text(json.dumps(result | {"seal": runs.seal(result)}))


def not_measured(outcome, *words):
    assert outcome.verdict == "not measured" and outcome.measured is None and "\n" not in outcome.sentence and len(outcome.sentence) < 600
    assert [word for word in ("was not measured: ", *words) if word not in outcome.sentence] == [], outcome.sentence


# --- what agrees and what differs ------------------------------------------------------------------


@pytest.mark.parametrize("experiment", [EXPERIMENT, STOPPING, FIXED], ids=["plain", "stopping", "fixed"])
def test_an_honest_run_agrees_and_contradicts_itself_nowhere(store, experiment):
    outcome = evaluate(store.path(experiment), DATA)
    assert outcome.verdict == "agrees" and outcome.measured == outcome.claimed == read(store.path(experiment) / "result.json")["test_acc"]
    assert outcome.key == experiment.key and f"on the 100 test images of {DATA}" in outcome.sentence and ";" not in outcome.sentence
    assert contradictions(store.path(experiment)) == []


def test_a_better_claim_differs(folder):
    honest = read(folder / "result.json")["test_acc"]
    forge(folder, test_acc=0.96)
    outcome = evaluate(folder, DATA)
    assert (outcome.verdict, outcome.claimed, outcome.measured) == ("differs", 0.96, honest)
    assert f"claims a test accuracy of 0.9600, its weights reach {honest:.4f}" in outcome.sentence
    assert f"{0.96 - honest:.4f} apart where 0.005 and one image are allowed" in outcome.sentence


def test_the_tolerance_is_half_a_percent_and_one_image(folder):
    honest = read(folder / "result.json")["test_acc"]
    verdicts = []
    for difference in (0.0149, -0.0149, 0.0151, -0.0151):
        forge(folder, test_acc=honest + difference)
        verdicts.append(evaluate(folder, DATA).verdict)
    assert verdicts == ["agrees", "agrees", "differs", "differs"]
    assert evaluate(folder, DATA, tolerance=0.01).verdict == "agrees"


def test_the_weights_of_another_training_differ_or_are_measured_as_they_are(folder):
    torch.manual_seed(1)
    save_file(models.SimpleCNN().state_dict(), folder / "weights.safetensors")
    forge(folder, test_acc=0.9)
    outcome = evaluate(folder, DATA)
    assert outcome.verdict == "differs" and outcome.measured < 0.5


@pytest.mark.parametrize("claim", [None, "0.9", True, [1], 1.5, -0.1, 1e300])
def test_a_claim_that_is_no_accuracy_is_none(folder, claim):
    forge(folder, test_acc=claim)
    outcome = evaluate(folder, DATA)
    assert outcome.claimed is None and outcome.verdict == "differs" and 0 <= outcome.measured <= 1
    assert "claims no test accuracy from 0 to 1, its weights reach" in outcome.sentence


def test_without_a_result_the_weights_are_measured_still(folder):
    (folder / "result.json").unlink()
    outcome = evaluate(folder, DATA)
    assert outcome.claimed is None and outcome.verdict == "differs" and 0 <= outcome.measured <= 1


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_measured_and_flagged(folder, value):
    state = load_file(folder / "weights.safetensors")
    state["classifier.bias"][0] = value
    save_file(state, folder / "weights.safetensors")
    outcome = evaluate(folder, DATA)
    assert outcome.measured == pytest.approx(0.1, abs=0.05) and outcome.sentence.endswith("its weights hold values that are not finite")


def test_the_record_does_not_choose_the_data(folder, monkeypatch):
    """Easy test images of the student's own, below a path of the grader's machine: never looked at."""
    experiment = read(folder / "experiment.json") | {"data": "imagefolder:/elsewhere/easy"}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    looked_at = []
    monkeypatch.setattr(Path, "is_dir", lambda path: looked_at.append(str(path)) or False)
    outcome = evaluate(folder, DATA)
    assert outcome.verdict == "agrees" and outcome.sentence.startswith(f"run {EXPERIMENT.key} claims")
    assert not any("easy" in path for path in looked_at)


def test_a_claim_on_other_images_is_measured_on_the_graders_and_said_so(folder):
    outcome = evaluate(folder, "shapes:200/150")
    assert outcome.sentence.endswith(f"the record speaks of other test images, those of {DATA}") and "150 test images" in outcome.sentence
    session = read(folder / "environment.json")
    session[-1]["test_digest"] = "0" * 64
    (folder / "environment.json").write_text(json.dumps(session))
    assert evaluate(folder, DATA).sentence.endswith("the record speaks of other test images")


def test_images_are_normalized_by_what_the_grader_measures(folder):
    """The numbers in environment.json are a claim like any other."""
    session = read(folder / "environment.json")
    session[-1] |= {"mean": [9.0, 9.0, 9.0], "std": [1e-9, 1e-9, 1e-9]}
    (folder / "environment.json").write_text(json.dumps(session))
    assert evaluate(folder, DATA).verdict == "agrees"


def test_nothing_is_fetched_or_read_for_the_start_of_a_network(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", lambda *args, **kwargs: pytest.fail("it was fetched"))
    for init in ("IMAGENET1K_V1", "/etc/passwd", str(tmp_path / "big.pt")):
        (folder / "experiment.json").write_text(json.dumps(read(folder / "experiment.json") | {"init": init}))
        assert evaluate(folder, DATA).verdict == "agrees"


def test_measuring_leaves_the_random_numbers_of_the_caller_alone(folder):
    torch.manual_seed(0)
    evaluate(folder, DATA)
    moved = torch.rand(1)
    torch.manual_seed(0)
    assert torch.equal(torch.rand(1), moved)


def test_what_the_grader_does_wrong_is_one_sentence(folder):
    with one_sentence("unknown dataset"):
        evaluate(folder, "nothing")
    with one_sentence("cannot be used"):
        evaluate(folder, DATA, device="abacus")


# --- networks of the student's own -----------------------------------------------------------------


@pytest.fixture
def own(folder):
    """The run as one of a network of the student's own, whose file must not be executed."""
    (folder / "best_model.py").write_text("raise SystemExit('executed')")
    experiment = read(folder / "experiment.json") | {"model": f"{folder}/best_model.py:BestModel"}
    (folder / "experiment.json").write_text(json.dumps(experiment))
    return folder


def test_a_network_of_ones_own_needs_the_sandbox(own):
    not_measured(evaluate(own, DATA), "is code of the student, which needs the sandbox")


def test_a_network_of_ones_own_is_given_images_without_labels(own):
    """One that knows the images is right; its answers are counted outside, in an order that it cannot know."""
    test, asked = data.load(DATA).test, []
    labels = dict(zip((image.numpy().tobytes() for image in test.images), test.labels.tolist()))

    def own_model(experiment, folder, images, num_classes):
        assert experiment.model.endswith("BestModel") and experiment.data == DATA and (folder / "weights.safetensors").is_file()
        assert images.dtype == torch.float32 and images.shape == (100, 3, 32, 32) and num_classes == 10
        normalize = replace(experiment, model="SimpleCNN").loaders("cpu")[0]["test"].transform
        pixels = (images * torch.tensor(normalize.std).view(3, 1, 1) + torch.tensor(normalize.mean).view(3, 1, 1)) * 255
        asked.append(torch.tensor([labels[image.round().byte().numpy().tobytes()] for image in pixels]))
        return torch.nn.functional.one_hot(asked[-1], 10).float()

    forge(own, test_acc=1.0)
    assert [evaluate(own, DATA, own_model=own_model).measured for _ in range(2)] == [1.0, 1.0]
    assert not torch.equal(asked[0], test.labels) and not torch.equal(asked[0], asked[1])


@pytest.mark.parametrize("answer", [torch.zeros(100), torch.zeros(100, 9), torch.zeros(1, 10), None, "logits", torch.zeros(100, 10, 1)])
def test_answers_that_are_no_logits_are_refused(own, answer):
    not_measured(evaluate(own, DATA, own_model=lambda *_: answer), "not with a logit for each class")


def test_what_the_sandbox_reports_is_said(own):
    def own_model(*_):
        raise LabkitError("the sandbox ended it after 60 seconds")

    not_measured(evaluate(own, DATA, own_model=own_model), "the sandbox ended it after 60 seconds")


# --- hostile experiments ---------------------------------------------------------------------------


def nested(depth):
    text = '{"schema": 1}'
    for _ in range(depth):
        text = f'{{"schema": 1, "teacher": {text}}}'
    return text


HOSTILE_EXPERIMENTS = {
    "no json": ("hello", "is no valid JSON"),
    "binary": ("\0\x01\x02", "is no valid JSON"),
    "list": ("[]", "experiment.json holds a list, not a dict"),
    "null": ("null", "experiment.json holds a NoneType"),
    "schema": ({"schema": 2}, "schema version 2"),
    "field": ({"password": 1}, "unknown field 'password'"),
    "self": ({"self": 1}, "unknown field 'self'"),
    "teachers": (nested(20), "at most 10 experiments"),
    "many teachers": (nested(1000), "is nested too deeply"),
    "very many teachers": (nested(10_000), "experiment.json is larger than 100,000 bytes"),
    "teacher text": ({"teacher": "resnet50"}, "must hold its fields by their names"),
    "teacher null": ({"teacher": None}, "must hold its fields by their names"),
    "rate text": ({"lr": "0.1"}, "lr must be a number"),
    "rate null": ({"lr": None}, "lr must be a number"),
    "rate infinite": ('{"schema": 1, "lr": 1e999}', "lr must be a number"),
    "rate of 4000 digits": ('{"schema": 1, "lr": ' + "9" * 4000 + "}", "lr must be a number"),
    "rate of 5000 digits": ('{"schema": 1, "lr": ' + "9" * 5000 + "}", "is no valid JSON"),
    "seed beyond 64 bits": ({"data_seed": 10**30}, "data_seed must be a whole number"),
    "epochs beyond 64 bits": ({"epochs": 1e300}, "epochs must be a whole number"),
    "epochs negative": ({"epochs": -1}, "epochs must be at least 1"),
    "batch of a half": ({"batch_size": 0.5}, "batch_size must be a whole number"),
    "huge batch": ({"batch_size": 10**18}, "batch size must be a whole number from 1 to"),
    "model list": ({"model": ["resnet18"]}, "model must be a name"),
    "model unknown": ({"model": "x" * 50_000}, "unknown model"),
    "normalization list": ({"normalization": []}, "normalization must be a name"),
    "stem dict": ({"stem": {}}, "stem must be a name"),
    "init number": ({"init": 5}, "init must be a name"),
    "augmentation of lists": ({"augmentation": [["crop"]]}, "augmentation must be"),
    "skew text": ({"skew": "all"}, "skew must be"),
    "skew of texts": ({"skew": ["a"]}, "skew must be"),
    "skew infinite": ({"skew": [float("inf")]}, "skew must be"),
    "skew of two classes": ({"skew": [1, 1]}, "skew needs one share a class"),
    "patience text": ({"patience": "5"}, "patience must be"),
    "fraction of nothing": ({"fraction": 1e-12}, "leaves none"),
    "too large": (" " * 200_000, "experiment.json is larger than 100,000 bytes"),
    "SimpleCNN with dropout": ({"dropout": 0.5}, "SimpleCNN has 10 classes and no dropout"),
}


@pytest.mark.parametrize("case", HOSTILE_EXPERIMENTS)
def test_an_experiment_that_cannot_be_meant_is_not_measured(folder, case):
    content, words = HOSTILE_EXPERIMENTS[case]
    if isinstance(content, dict):
        content = json.dumps(read(folder / "experiment.json") | content)
    (folder / "experiment.json").write_text(content)
    not_measured(evaluate(folder, DATA), words)
    assert contradictions(folder)


def test_epochs_without_end_cost_nothing(folder):
    (folder / "experiment.json").write_text(json.dumps(read(folder / "experiment.json") | {"epochs": 1e18, "patience": 10**18}))
    assert evaluate(folder, DATA).verdict == "agrees"
    assert ("epochs", f"history.jsonl ends after 1 of {10**18} epochs, and early stopping did not end it") in contradictions(folder)


@pytest.mark.parametrize("content", [[], None, "x", 5, {"schema": 1, "x": 1}, {"schema": 1, "teacher": {"schema": 1, "teacher": 7}}, {"schema": []}])
def test_from_dict_itself_raises_one_sentence(content):
    with one_sentence():
        Experiment.from_dict(content)


def test_from_dict_ends_on_teachers_that_do_not():
    content = {"schema": 1}
    content["teacher"] = content
    with one_sentence("at most 10 experiments"):
        Experiment.from_dict(content)


def test_the_key_of_a_claim_is_that_of_the_experiment_as_written(store):
    assert read_claim(store.path(STOPPING)).key == STOPPING.key
    taught = replace(EXPERIMENT, data="imagefolder:/no/such", teacher=replace(EXPERIMENT, data="cifar10"))
    folder = store.root / "taught"
    folder.mkdir()
    (folder / "experiment.json").write_text(json.dumps(taught.to_dict()))
    assert read_claim(folder).key == taught.key


# --- hostile files of weights ----------------------------------------------------------------------


def safetensors(header, content=b""):
    header = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(header)) + header + content


def state(**changes):
    return models.SimpleCNN().state_dict() | changes


def saved(content, **options):
    """The bytes of `torch.save`."""
    buffer = io.BytesIO()
    torch.save(content, buffer, **options)
    return buffer.getvalue()


def rezipped(content, change=lambda name, inside: inside, method=zipfile.ZIP_STORED, extra=()):
    """A .pt with other entries."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as old, zipfile.ZipFile(buffer, "w", method) as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, inside in extra:
            new.writestr(name, inside)
    return buffer.getvalue()


def with_pickle(content):
    return rezipped(saved(state()), lambda name, inside: content if name.endswith("data.pkl") else inside)


class Canary:
    """What unpickling it would leave behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def strided(shape, stride):
    """A state dict with one tensor of a few bytes that claims to be large."""
    return state(**{"classifier.weight": torch.zeros(1).as_strided(shape, stride)})


def lied_storage():
    """The pickle says that the storage of classifier.bias holds 1,000 numbers where its entry has 10."""
    content = saved({"a": torch.zeros(10)})
    return rezipped(content, lambda name, inside: inside.replace(b"K\x0at", b"M\xe8\x03t") if name.endswith("data.pkl") else inside)


def deep_pickle():
    """A dict whose key is a tuple in a tuple in a tuple …, to be hashed."""
    return b"\x80\x02})" + b"\x85" * 400_000 + b"Ns."


WEIGHTS = {
    "st empty": ("safetensors", lambda: b"", "is cut short, or no .safetensors"),
    "st cut short": ("safetensors", lambda: safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4)), "is damaged"),
    "st header beyond the file": ("safetensors", lambda: struct.pack("<Q", 2**62) + b"{}", "is cut short"),
    "st huge header": ("safetensors", lambda: safetensors(b" " * 1_500_000), "has a header of 1,500,000 bytes"),
    "st header no json": ("safetensors", lambda: safetensors(b"hello"), "is damaged"),
    "st deep header": ("safetensors", lambda: safetensors(b'{"a":' * 5000), "is damaged"),
    "st overlap": (
        "safetensors",
        lambda: safetensors({n: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for n in "ab"}, bytes(8)),
        "is damaged",
    ),
    "st shape beyond the bytes": (
        "safetensors",
        lambda: safetensors({"a": {"dtype": "F32", "shape": [2**40, 2**40], "data_offsets": [0, 8]}}, bytes(8)),
        "is damaged",
    ),
    "st hole": ("safetensors", lambda: safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(80)), "is damaged"),
    "st pickle": ("safetensors", lambda: pickle.dumps(Canary("/nowhere")), "safetensors"),
    "st too large": ("safetensors", lambda: bytes(3_000_000), "is 3 MB large, the weights of its network take 458,560 bytes"),
    "pt empty": ("pt", lambda: b"", "is no zip, as torch.save writes it"),
    "pt text": ("pt", lambda: b"hello", "is no zip, as torch.save writes it"),
    "pt legacy": ("pt", lambda: saved(state(), _use_new_zipfile_serialization=False), "is no zip, as torch.save writes it since version 1.6"),
    "pt cut short": ("pt", lambda: saved(state())[:100_000], "cannot be read as a zip"),
    "pt compressed": ("pt", lambda: rezipped(saved(state()), method=zipfile.ZIP_DEFLATED), "holds compressed entries"),
    "pt zip bomb": (
        "pt",
        lambda: rezipped(saved(state()), lambda name, inside: bytes(50_000_000) if name.endswith("/0") else inside, zipfile.ZIP_DEFLATED),
        "as a zip bomb does",
    ),
    "pt entry outside": ("pt", lambda: rezipped(saved(state()), extra=[("../../evil", b"x")]), "holds an entry that no weights have"),
    "pt two folders": ("pt", lambda: rezipped(saved(state()), extra=[("other/data.pkl", b"x")]), "is no file of torch.save"),
    "pt no folder": ("pt", lambda: rezipped(saved(state()), extra=[("data.pkl", b"x")]), "is no file of torch.save"),
    "pt torchscript": ("pt", lambda: rezipped(saved(state()), extra=[("archive/constants.pkl", b"x")]), "holds a TorchScript program"),
    "pt model": ("pt", lambda: saved(models.SimpleCNN()), "holds more than a state dict"),
    "pt list": ("pt", lambda: saved([torch.zeros(3)]), "holds no state dict"),
    "pt checkpoint": ("pt", lambda: saved({"model": state(), "epoch": 3}), "holds no state dict"),
    "pt names": ("pt", lambda: saved({1: torch.zeros(3)}), "holds no state dict"),
    "pt bytearray": ("pt", lambda: with_pickle(b"\x80\x02c__builtin__\nbytearray\nJ\xff\xff\xff\x7f\x85R."), "its pickle names __builtin__ bytearray"),
    "pt eval": ("pt", lambda: with_pickle(b"\x80\x02c__builtin__\neval\nX\x01\x00\x00\x001\x85R."), "its pickle names __builtin__ eval"),
    "pt stack global": ("pt", lambda: with_pickle(pickle.dumps(Canary("/nowhere"), 4)), "its pickle uses"),
    "pt memo beyond memory": ("pt", lambda: with_pickle(b"\x80\x02}r\xff\xff\xff\x7f."), "holds no state dict|does not fit"),
    "pt deep": ("pt", lambda: with_pickle(deep_pickle()), "its pickle uses TUPLE1"),
    "pt huge pickle": ("pt", lambda: with_pickle(b"\x80\x02" + b"N0" * 600_000 + b"}."), "holds a pickle of 1,200,004 bytes"),
    "pt damaged pickle": ("pt", lambda: with_pickle(b"\x80\x02X\xff\xff\xff\x7fa"), "holds a damaged pickle"),
    "pt pickle without end": ("pt", lambda: with_pickle(b"\x80\x02}"), "holds a damaged pickle"),
    "pt pickle of nothing": ("pt", lambda: with_pickle(b"\x80\x02."), "cannot be read"),
    "pt missing storage": ("pt", lambda: with_pickle(rezipped_pickle(b"X\x01\x00\x00\x000", b"X\x01\x00\x00\x00z")), "cannot be read"),
    "pt strided bomb": ("pt", lambda: saved(strided((10**6, 10**6), (0, 0))), "float32 1000000×1000000 in the file and float32 10×2048 in the network"),
    "pt one value for many": ("pt", lambda: saved(strided((10, 2048), (0, 0))), "one value that stands for many"),
    "pt sparse": ("pt", lambda: saved(state(**{"classifier.weight": torch.zeros(10, 2048).to_sparse()})), "holds more than a state dict"),
    "pt meta": ("pt", lambda: saved(state(**{"classifier.weight": torch.zeros(10, 2048, device="meta")})), "holds more than a state dict"),
}


def rezipped_pickle(old, new):
    """The pickle of an honest .pt with `old` replaced once."""
    with zipfile.ZipFile(io.BytesIO(saved(state()))) as archive:
        content = archive.read("archive/data.pkl")
    assert old in content
    return content.replace(old, new, 1)


@pytest.mark.parametrize("case", WEIGHTS)
def test_a_file_that_holds_no_such_weights_is_refused_in_a_sentence(folder, case):
    ending, make, words = WEIGHTS[case]
    (folder / "weights.safetensors").unlink()
    (folder / f"weights.{ending}").write_bytes(make())
    outcome = evaluate(folder, DATA)
    not_measured(outcome, f"weights.{ending} ")
    assert any(choice in outcome.sentence for choice in words.split("|")), outcome.sentence


@pytest.mark.parametrize("ending", ["safetensors", "pt"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda s: s.pop("classifier.bias"), "classifier.bias is missing in the file and float32 10 in the network"),
        (lambda s: s.update(extra=torch.zeros(2)), "extra is float32 2 in the file and missing in the network"),
        (lambda s: s.update({"classifier.bias": torch.zeros(11)}), "classifier.bias is float32 11 in the file and float32 10"),
        (lambda s: s.update({"classifier.weight": torch.zeros(2048, 10)}), "float32 2048×10 in the file and float32 10×2048"),
        (lambda s: s.update({"x\n\u202e" + "y" * 500: torch.zeros(1)}), "x��yyy"),
    ],
)
def test_weights_of_another_network_are_refused(folder, ending, spoil, words):
    content = state()
    spoil(content)
    (folder / "weights.safetensors").unlink()
    save = {"pt": torch.save, "safetensors": save_file}[ending]
    save(content, folder / f"weights.{ending}")
    not_measured(evaluate(folder, DATA), "does not fit the network of its experiment", words)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_weights_of_another_type_are_refused(folder, dtype):
    content = state(**{"classifier.bias": torch.zeros(10, dtype=dtype)})
    save_file(content, folder / "weights.safetensors")
    not_measured(evaluate(folder, DATA), "classifier.bias is", "float32 10 in the network")
    (folder / "weights.safetensors").unlink()
    torch.save(content, folder / "weights.pt")
    not_measured(evaluate(folder, DATA), "holds more than a state dict of float32 and int64")


@pytest.mark.parametrize("model", ["ConvNet", "resnet18", "resnet50"])
def test_weights_of_another_architecture_are_refused(folder, model):
    (folder / "experiment.json").write_text(json.dumps(read(folder / "experiment.json") | {"model": model}))
    not_measured(evaluate(folder, DATA), "does not fit the network of its experiment")


def test_without_weights_nothing_is_measured(folder):
    (folder / "weights.safetensors").unlink()
    not_measured(evaluate(folder, DATA), "there are no weights in its record")


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_poisoned_file_is_not_executed(folder, tmp_path, protocol, legacy):
    (folder / "weights.safetensors").unlink()
    poison = state() | {"canary": Canary(tmp_path / "canary")}
    torch.save(poison, folder / "weights.pt", pickle_protocol=protocol, _use_new_zipfile_serialization=not legacy)
    not_measured(evaluate(folder, DATA), "weights.pt")
    assert not (tmp_path / "canary").exists()
    torch.load(folder / "weights.pt", weights_only=False)
    assert (tmp_path / "canary").exists()  # the poison works


def test_an_honest_pt_is_measured_like_safetensors(folder):
    honest = load_file(folder / "weights.safetensors")
    (folder / "weights.safetensors").unlink()
    torch.save(honest, folder / "weights.pt")
    assert evaluate(folder, DATA).verdict == "agrees"
    model = models.SimpleCNN()
    model.load_state_dict(honest)
    for content in (model.state_dict(), dict(model.named_parameters()) | dict(model.named_buffers()), model.to(memory_format=torch.channels_last).state_dict()):
        torch.save(content, folder / "weights.pt")
        assert evaluate(folder, DATA).verdict == "agrees"


def test_torch_is_given_what_was_looked_at(folder, tmp_path):
    """Between two zips in one file, zipfile and torch might not choose the same one."""
    honest = load_file(folder / "weights.safetensors")
    path = tmp_path / "weights.pt"
    path.write_bytes(with_pickle(pickle.dumps(Canary(tmp_path / "canary"), 2)) + saved(honest))
    loaded = load_state(path, honest)
    assert all(torch.equal(loaded[name], value) for name, value in honest.items()) and not (tmp_path / "canary").exists()


def test_a_storage_that_is_shorter_than_said_is_not_read_beyond_its_end(tmp_path):
    (tmp_path / "weights.pt").write_bytes(lied_storage())
    with pytest.raises(Refused, match="cannot be read"):
        load_state(tmp_path / "weights.pt", {"a": torch.zeros(10)})


@pytest.mark.parametrize("model", ["resnet18", "resnet50"])
def test_the_limits_leave_room_for_the_largest_network(tmp_path, model):
    wanted = models.build(model, 10).state_dict()
    torch.save(wanted, tmp_path / "weights.pt")
    save_file(wanted, tmp_path / "weights.safetensors")
    for name in ("weights.pt", "weights.safetensors"):
        assert load_state(tmp_path / name, wanted).keys() == wanted.keys()
    with zipfile.ZipFile(tmp_path / "weights.pt") as archive:
        assert archive.getinfo("weights/data.pkl").file_size < weights._PICKLE / 10


# --- records that cannot be true -------------------------------------------------------------------


def spoiled(store, tmp_path, experiment, spoil):
    """What is found in a record of `experiment` after `spoil(folder)`, resealed as a forger would."""
    folder = Path(shutil.copytree(store.path(experiment), tmp_path / experiment.key))
    spoil(folder)
    if (folder / "result.json").exists():
        forge(folder)
    return contradictions(folder)


def rows(name, change):
    """A spoiling: `change(rows)` of a .jsonl file."""

    def spoil(folder):
        content = lines(folder / name)
        change(content)
        write_lines(folder / name, content)

    return spoil


def result(**changes):
    return lambda folder: forge(folder, **changes)


def experiment(**changes):
    return lambda folder: (folder / "experiment.json").write_text(json.dumps(read(folder / "experiment.json") | changes))


def cell(number, **changes):
    return rows("history.jsonl", lambda content: content[number].update(changes))


def tick(number, **changes):
    return rows("timing.jsonl", lambda content: content[number].update(changes))


LIES = {
    "another epoch count": (FIXED, result(epochs=30), "epochs", "result.json claims 30 epochs, history.jsonl holds 2"),
    "more epochs than planned": (FIXED, experiment(epochs=1), "epochs", "history.jsonl holds 2 epochs, the experiment has 1"),
    "fewer epochs than planned": (FIXED, experiment(epochs=9), "epochs", "history.jsonl ends after 2 of 9 epochs"),
    "epochs out of order": (FIXED, rows("history.jsonl", lambda c: c.reverse()), "epochs", "are not 1 to 2 in order"),
    "best epoch outside": (FIXED, result(best_epoch=7), "best", "claims epoch 7 as the best one, history.jsonl says 2"),
    "best epoch text": (FIXED, result(best_epoch="2"), "best", "claims epoch 2 as the best one"),
    "stopped without patience": (FIXED, result(stopped_early=True), "best", "stopped_early: True, by history.jsonl it is False"),
    "stopping forgotten": (STOPPING, lambda folder: rising(folder), "best", "early stopping ends this training after epoch 2, history.jsonl goes on to"),
    "better validation": (STOPPING, result(valid_acc=0.95), "result", "result.json claims valid_acc 0.95, history.jsonl says"),
    "better test than its curve": (FIXED, result(test_acc=0.9), "result", "result.json claims test_acc 0.9, history.jsonl says"),
    "accuracy above 1": (EXPERIMENT, result(test_acc=1.01), "accuracy", "test_acc of the result is 1.01, outside 0 to 1"),
    "accuracy below 0": (EXPERIMENT, cell(0, train_acc=-0.1), "accuracy", "train_acc of epoch 1 is -0.1, outside 0 to 1"),
    "no multiple": (EXPERIMENT, result(test_acc=0.9155), "accuracy", "test_acc of the result is 0.9155: no number of right images out of 100 gives that"),
    "too good a loss": (EXPERIMENT, result(test_acc=0.5, test_loss=0.2), "loss", "test_loss of the result is 0.2, too small: with an accuracy of 0.5"),
    "negative loss": (EXPERIMENT, cell(0, train_loss=-1), "loss", "train_loss of epoch 1 is -1"),
    "another rate": (STOPPING, cell(0, lr=0.5), "rate", "the learning rate of epoch 1 is 0.5, its schedule says 0.01"),
    "no time": (EXPERIMENT, tick(0, seconds=0), "time", "epoch 1 took 0 seconds"),
    "negative time": (FIXED, tick(1, seconds=-5), "time", "epoch 2 took -5 seconds"),
    "time backwards": (FIXED, tick(1, ended=1000), "time", "do not end one after the other"),
    "more time than passed": (FIXED, tick(1, seconds=5000), "time", "epochs that took 5000 seconds ended within"),
    "time in the future": (FIXED, tick(1, ended=4e9), "time", "ends in the future"),
    "other epochs in the times": (FIXED, rows("timing.jsonl", lambda c: c.pop()), "time", "do not hold the same epochs"),
    "key": (EXPERIMENT, result(key="0" * 16), "key", f"result.json is that of run 0000000000000000, experiment.json that of run {EXPERIMENT.key}"),
    "experiment of another key": (EXPERIMENT, experiment(seed=7), "key", f"the folder is named {EXPERIMENT.key}, its experiment.json is that of run"),
    "parameters": (EXPERIMENT, result(parameters=5), "size", "result.json claims 5 parameters, SimpleCNN has 114,186"),
    "classes": (EXPERIMENT, result(num_classes=1000), "size", "a SimpleCNN for 1000 classes cannot be built"),
    "huge classes": (FIXED, result(num_classes=2**62), "size", "cannot be built"),
    "half a class": (FIXED, result(num_classes=9.5), "size", "cannot be built"),
    "loss text": (EXPERIMENT, result(test_loss="low"), "unreadable", "result.json: test_loss is 'low', no number"),
    "accuracy nan": (EXPERIMENT, cell(0, train_acc=float("nan")), "unreadable", "history.jsonl: train_acc is None, no number"),
    "accuracy true": (EXPERIMENT, cell(0, train_acc=True), "unreadable", "history.jsonl: train_acc is True, no number"),
    "no column": (EXPERIMENT, rows("history.jsonl", lambda c: c[0].pop("lr")), "unreadable", "history.jsonl: lr is None, no number"),
    "rows of lists": (EXPERIMENT, lambda f: (f / "history.jsonl").write_text("[]\n"), "unreadable", "history.jsonl holds no line for each epoch"),
    "empty history": (EXPERIMENT, lambda f: (f / "history.jsonl").write_text(""), "unreadable", "history.jsonl holds no line for each epoch"),
    "no timing": (EXPERIMENT, lambda f: (f / "timing.jsonl").unlink(), "unreadable", "timing.jsonl is missing"),
    "no session": (EXPERIMENT, lambda f: (f / "environment.json").write_text("[]"), "unreadable", "environment.json names no session"),
    "session text": (EXPERIMENT, lambda f: (f / "environment.json").write_text('["x"]'), "unreadable", "environment.json names no session"),
    "no images": (
        EXPERIMENT,
        lambda f: (f / "environment.json").write_text('[{"train_images": 0, "valid_images": 0.5, "test_images": -1}]'),
        "unreadable",
        "train_images is 0, no number of images",
    ),
    "deep result": (EXPERIMENT, lambda f: (f / "environment.json").write_text("[" * 99), "unreadable", "environment.json is"),
}


def rising(folder):
    """A validation loss that rises from the first epoch on."""
    content = lines(folder / "history.jsonl")
    content = [content[0] | {"epoch": n, "valid_loss": 5.0 + n} for n in range(1, 5)]
    write_lines(folder / "history.jsonl", content)


@pytest.mark.parametrize("case", LIES)
def test_a_record_that_cannot_be_true_is_named(store, tmp_path, case):
    tried, spoil, kind, words = LIES[case]
    found = spoiled(store, tmp_path, tried, spoil)
    assert any(kind == name and words in sentence for name, sentence in found), found
    assert all("\n" not in sentence and len(sentence) < 500 for _, sentence in found)


def test_a_result_that_was_edited_by_hand_has_another_seal(folder):
    path = folder / "result.json"
    path.write_text(path.read_text().replace('"test_acc": 0.', '"test_acc": 0.9'))
    assert ("seal", "result.json was changed after it was written: its seal does not fit") in contradictions(folder)


@pytest.mark.parametrize("name", ["history.jsonl", "weights.safetensors"])
def test_a_file_that_was_exchanged_is_named(folder, name):
    with open(folder / name, "ab") as file:
        file.write(b"\n")
    assert ("seal", f"{name} is not the one that result.json was written for: its SHA-256 is another") in contradictions(folder)


def test_a_missing_result_is_one_finding(folder):
    (folder / "result.json").unlink()
    assert contradictions(folder) == [("unreadable", "result.json is missing")]


def test_a_folder_of_nothing_is_one_finding_a_file(tmp_path):
    found = contradictions(tmp_path)
    assert found and {kind for kind, _ in found} == {"unreadable"}
    not_measured(evaluate(tmp_path, DATA), "experiment.json is missing")


WILD = (None, True, -1, 0, 0.5, 1e308, 10**25, "", "x" * 1000, "\n\u202e", [], {}, [[]], {"a": []}, [None] * 50)


def mutated(value, draw):
    """`value` with something wild somewhere in it."""
    if isinstance(value, dict) and value and draw.random() < 0.8:
        name = draw.choice(list(value))
        return {n: v for n, v in value.items() if n != name} if draw.random() < 0.2 else value | {name: mutated(value[name], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        place = draw.randrange(len(value))
        return [*value[:place], mutated(value[place], draw), *value[place + 1 :]]
    return draw.choice(WILD)


def test_whatever_stands_in_a_record_nothing_is_raised(store, tmp_path):
    draw = random.Random(2)
    for number in range(150):
        folder = Path(shutil.copytree(store.path(STOPPING), tmp_path / str(number)))
        for name in draw.sample(("experiment.json", "environment.json", "result.json"), 1 + number % 2):
            (folder / name).write_text(json.dumps(mutated(read(folder / name), draw)))
        for name in draw.sample(("history.jsonl", "timing.jsonl"), number % 3):
            write_lines(folder / name, [mutated(row, draw) for row in lines(folder / name)] * draw.randrange(3))
        for _, sentence in contradictions(folder):
            assert "\n" not in sentence and len(sentence) < 500
        if number % 5 == 0:
            outcome = evaluate(folder, DATA)
            assert outcome.verdict in ("agrees", "differs", "not measured") and len(outcome.sentence) < 700
        shutil.rmtree(folder)


def test_whatever_byte_of_the_weights_is_wrong_nothing_is_raised(folder):
    draw, wanted = random.Random(3), state()
    for name, content in (("weights.pt", saved(wanted)), ("weights.safetensors", (folder / "weights.safetensors").read_bytes())):
        for _ in range(60):
            spoiled = bytearray(content)
            for _ in range(draw.choice((1, 5))):
                # Where headers and pickles stand, rather than among the numbers.
                place = draw.choice((draw.randrange(4000), len(spoiled) - 1 - draw.randrange(2000)))
                spoiled[place] = draw.randrange(256)
            (folder / name).write_bytes(spoiled)
            try:
                loaded = load_state(folder / name, wanted)
                assert {n: v.shape for n, v in loaded.items()} == {n: v.shape for n, v in wanted.items()}
            except Refused as problem:
                assert "\n" not in str(problem)
