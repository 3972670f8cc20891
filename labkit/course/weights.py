"""Measuring what submitted weights reach on the true test set. No code of a student runs here.

A file of weights is looked at before it is loaded: its names, shapes and types must be those of the network that its record names.
"""

import io
import pickletools
import secrets
import struct
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from safetensors import safe_open

from labkit import data, engine, models
from labkit.course.inbox import WEIGHT_FILES
from labkit.course.record import digest_of_test_images, number, read_claim, read_result
from labkit.course.untrusted import LIMITS, Archive, in_bytes, shown
from labkit.device import resolve
from labkit.errors import LabkitError, Refused

# The same weights on another processor sum floats in another order (and a GPU may round to TF32): images whose two best classes
# are nearly even tip over, some ten of CIFAR-10's 10,000. Half a percent is above that and below any difference worth a lie.
TOLERANCE = 0.005

_HEADER = 1_000_000  # bytes of the header of a .safetensors; that of a resnet50 has 40 kB
_PICKLE = 1_000_000  # bytes of the pickle in a .pt; that of a resnet50 has 70 kB
_MOST_TUPLES = 10_000  # in that pickle: 4 a tensor. Hashing tuples in tuples in tuples can exhaust the stack of the interpreter.
_OVERHEAD = 2_000_000  # bytes beside the numbers themselves
_TYPES = {"F32": torch.float32, "I64": torch.int64}  # all that networks of labkit hold
_GLOBALS = {"collections OrderedDict", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_parameter", "torch FloatStorage", "torch LongStorage"}
_OPCODES = {
    "PROTO", "EMPTY_DICT", "EMPTY_TUPLE", "EMPTY_LIST", "MARK", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BINPUT", "LONG_BINPUT", "BINGET",
    "LONG_BINGET", "BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "NONE", "NEWTRUE", "NEWFALSE", "GLOBAL", "BINPERSID", "REDUCE",
    "BUILD", "SETITEM", "SETITEMS", "APPEND", "APPENDS", "STOP",
}  # fmt: skip
_SAVE = "save them with torch.save(model.state_dict(), path)"


@dataclass(frozen=True)
class Outcome:
    """What became of one run. claimed, measured: test accuracies, None where there is none; verdict: "agrees", "differs" or
    "not measured"; sentence: all of it in words.
    """

    key: str
    claimed: float | None
    measured: float | None
    verdict: str
    sentence: str


def evaluate(folder, dataset, tolerance=TOLERANCE, device="cpu", own_model=None):
    """The `Outcome` of the run record in `folder`: its weights on the test set of `dataset`, beside the accuracy that it claims.

    dataset: a name for `labkit.data.load`, chosen by who grades; the record has no say in it. Images are normalized as the
    experiment says, by numbers measured on `dataset`. Claimed and measured may differ by `tolerance` and one image.
    own_model: for a network of the student's own, which must not run in this process, see `labkit.course.own_model.in_sandbox`.
    `own_model(experiment, folder, images, num_classes)` is given all test images at once, normalized, float32 (N, channels,
    height, width) on the CPU, without their labels and in an order that nobody can know, and returns the logits, a float tensor
    (N, num_classes); what it raises as `LabkitError` is said in the outcome. None leaves such runs unmeasured.

    Nothing in the record raises. Raises `LabkitError` for a `dataset` or a `device` that does not work.
    """
    folder, device = Path(folder), resolve(device)
    splits, claimed = data.load(dataset), None
    try:
        claimed = claimed_accuracy(folder)
        claim = read_claim(folder)
        experiment = replace(claim.experiment, data=dataset)
        measured, remarks = _measure(folder, experiment, device, own_model)
    except (LabkitError, RuntimeError) as problem:  # RuntimeError: of torch, on images that the network cannot take
        return Outcome(folder.name, claimed, None, "not measured", f"run {shown(folder.name, 20)} was not measured: {shown(problem, 400)}")
    remarks += _on_other_images(folder, claim, splits, dataset)
    return _compare(folder.name, claimed, measured, splits, tolerance, remarks)


def claimed_accuracy(folder):
    """The claimed test accuracy, None if result.json holds none that makes sense."""
    try:
        accuracy = number(read_result(folder), "test_acc", "result.json")
    except Refused:
        return None
    return accuracy if 0 <= accuracy <= 1 else None


def _compare(key, claimed, measured, splits, tolerance, remarks):
    """Set side by side what is claimed and what was measured."""
    allowed = tolerance + 1 / len(splits.test)
    agrees = claimed is not None and abs(claimed - measured) <= allowed
    said = "no test accuracy from 0 to 1" if claimed is None else f"a test accuracy of {claimed:.4f}"
    place = f"on the {len(splits.test):,} test images of {splits.name}"
    apart = "" if agrees or claimed is None else f", {abs(claimed - measured):.4f} apart where {tolerance:g} and one image are allowed"
    sentence = "; ".join([f"run {shown(key, 20)} claims {said}, its weights reach {measured:.4f} {place}{apart}", *remarks])
    return Outcome(key, claimed, measured, "agrees" if agrees else "differs", sentence)


def _on_other_images(folder, claim, splits, dataset):
    """What the reader of a difference should know about the data that the claim was made on."""
    if digest_of_test_images(folder) == splits.test.digest:
        return []
    return [f"the record speaks of other test images, those of {claim.data}" if claim.data != dataset else "the record speaks of other test images"]


def _measure(folder, experiment, device, own_model):
    """(accuracy on the test set, remarks); raises `LabkitError`."""
    if models.own_file(experiment.model) and own_model is None:
        raise Refused(f"its network {shown(experiment.model)} is code of the student, which needs the sandbox")
    loaders, _ = experiment.loaders(device)
    loader, remarks = loaders["test"], []
    if models.own_file(experiment.model):
        return _accuracy_of_own(experiment, folder, loader, own_model), remarks
    model = _build(experiment, len(loader.dataset.classes))
    state = load_state(weights_file(folder), model.state_dict())
    model.load_state_dict(state)
    if not all(bool(values.isfinite().all()) for values in state.values()):
        remarks.append("its weights hold values that are not finite")
    model.to(device).eval()
    with engine.choose(device).running(model):
        return _accuracy(loader, model), remarks


def _build(experiment, num_classes):
    with torch.random.fork_rng(devices=()):  # its start weights are random, and not the caller's business; `init` is not looked up
        return experiment.build_model(num_classes, untrained=True)


def _accuracy(loader, model):
    """Share of the images that `model` puts into the right class."""
    with torch.inference_mode():
        right = sum(int((model(images).argmax(1) == labels).sum()) for images, labels in loader)
    return right / len(loader.dataset)


def _accuracy_of_own(experiment, folder, loader, own_model):
    """The same of a network that runs elsewhere: it is given the images, and the labels stay here."""
    images, labels = (torch.cat(parts).cpu() for parts in zip(*_shuffled(loader)))
    num_classes = len(loader.dataset.classes)
    logits = own_model(experiment, folder, images, num_classes)
    if not isinstance(logits, torch.Tensor) or logits.shape != (len(images), num_classes):
        raise Refused(f"its network answers with {shown(getattr(logits, 'shape', type(logits).__name__))}, not with a logit for each class")
    return int((logits.argmax(1) == labels).sum()) / len(images)


def _shuffled(loader):
    """The same images in an order that nobody can know."""
    loader.shuffle, loader.seed = True, secrets.randbits(32)
    return loader


# --- files of weights ---------------------------------------------------------------------------


def weights_file(folder):
    """The path of the weights in a run record; raises `Refused` if it holds none."""
    for name in WEIGHT_FILES:
        if (folder / name).is_file():
            return folder / name
    raise Refused("there are no weights in its record")


def load_state(path, wanted):
    """The state dict in the file `path`, .safetensors or .pt, on the CPU, which must have the names, shapes and types of the state dict
    `wanted`; raises `Refused`. Nothing in the file is executed, and nothing is loaded before it is known to fit.
    """
    read = _read_safetensors if path.suffix == ".safetensors" else _read_pt
    needed = sum(value.nbytes for value in wanted.values())
    try:
        if path.stat().st_size > 2 * needed + _OVERHEAD:
            raise Refused(f"is {in_bytes(path.stat().st_size)} large, the weights of its network take {in_bytes(needed)}")
        return read(path, {name: (tuple(value.shape), value.dtype) for name, value in wanted.items()})
    except Refused as problem:
        raise Refused(f"{path.name} {problem}") from problem


def _read_safetensors(path, wanted):
    _need_small_header(path)
    try:
        with safe_open(path, "pt", device="cpu") as file:  # the library holds offsets, shapes and types against the size of the file
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 (the file is no dict)
            _need_fit({name: (tuple(part.get_shape()), _TYPES.get(part.get_dtype(), part.get_dtype())) for name, part in slices.items()}, wanted)
            return {name: file.get_tensor(name) for name in slices}
    except Refused:
        raise
    except Exception as error:  # safetensors has errors of its own
        raise Refused(f"is damaged ({shown(error)})") from error


def _need_small_header(path):
    with open(path, "rb") as file:
        length = file.read(8)
    if len(length) < 8 or (size := struct.unpack("<Q", length)[0]) > path.stat().st_size - 8:
        raise Refused("is cut short, or no .safetensors")
    if size > _HEADER:
        raise Refused(f"has a header of {size:,} bytes, more than {_HEADER:,}")


def _read_pt(path, wanted):
    content = _repacked(path)
    # On the device "meta" a tensor has shape, strides and type, and takes no memory.
    _need_fit({name: (tuple(value.shape), value.dtype) for name, value in _unpickled(content, "meta").items()}, wanted)
    state = _unpickled(content, "cpu")
    for name, value in state.items():
        if any(stride == 0 and size > 1 for stride, size in zip(value.stride(), value.shape)):
            raise Refused(f"holds {shown(name)} as one value that stands for many; {_SAVE}")
    return {name: value.detach().contiguous() for name, value in state.items()}


def _repacked(path):
    """The .pt as a new zip of the entries that were looked at: torch reads zips in its own way, and might find other ones in the file."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\x03\x04":
            raise Refused(f"is no zip, as torch.save writes it since version 1.6; {_SAVE}")
    buffer, size = io.BytesIO(), path.stat().st_size
    with Archive(path, replace(LIMITS, memory=size, total=size)) as archive, zipfile.ZipFile(buffer, "w") as copy:
        _need_plain(archive)
        for entry in archive.entries:
            content = archive.read(entry, size)
            if entry.name == "data.pkl":
                _look_at_pickle(content)
            copy.writestr(f"weights/{'/'.join(entry.parts[1:])}", content)
    return buffer.getvalue()


def _need_plain(archive):
    """A .pt is one folder of entries that are not compressed, data.pkl among them."""
    if archive.refused:
        raise Refused(f"holds an entry that no weights have: {archive.refused[0][0]}: {archive.refused[0][1]}")
    if any(entry.info.compress_type != zipfile.ZIP_STORED for entry in archive.entries):
        raise Refused(f"holds compressed entries, as torch.save never writes them; {_SAVE}")
    names = [entry.parts[1:] for entry in archive.entries]
    if len({entry.parts[0] for entry in archive.entries}) != 1 or len(set(names)) != len(names) or ("data.pkl",) not in names:
        raise Refused(f"is no file of torch.save; {_SAVE}")
    if ("constants.pkl",) in names:
        raise Refused(f"holds a TorchScript program, no weights; {_SAVE}")


def _look_at_pickle(content):
    """Walk over the pickle without executing it; a state dict needs few of its instructions, and five global names."""
    if len(content) > _PICKLE:
        raise Refused(f"holds a pickle of {len(content):,} bytes, too many for a state dict; {_SAVE}")
    tuples = 0
    try:
        for opcode, argument, _ in pickletools.genops(content):
            tuples += opcode.name.startswith("TUPLE")
            if opcode.name not in _OPCODES or tuples > _MOST_TUPLES:
                raise Refused(f"holds more than a state dict (its pickle uses {opcode.name}); {_SAVE}")
            if opcode.name == "GLOBAL" and argument not in _GLOBALS:
                raise Refused(f"holds more than a state dict of float32 and int64 (its pickle names {shown(argument)}); {_SAVE}")
    except Refused:
        raise
    except Exception as error:  # of pickletools, and of the text codecs that it uses
        raise Refused(f"holds a damaged pickle ({shown(error)})") from error


def _unpickled(content, device):
    """The state dict in the .pt `content`, a plain dict."""
    try:
        state = torch.load(io.BytesIO(content), map_location=device, weights_only=True)
    except Exception as error:  # pickle, zip and torch each have errors of their own
        raise Refused(f"cannot be read ({shown(error)}); {_SAVE}") from error
    if not isinstance(state, dict) or not all(isinstance(name, str) and isinstance(value, torch.Tensor) for name, value in state.items()):
        raise Refused(f"holds no state dict; {_SAVE}")
    return dict(state)  # without the `_metadata` of a state dict, which modules act on


def _need_fit(found, wanted):
    """Names, shapes and types must be those of the network; names the first that is not."""
    for name in [*wanted, *found]:
        if found.get(name) != wanted.get(name):
            there, here = _in_words(found.get(name)), _in_words(wanted.get(name))
            raise Refused(f"does not fit the network of its experiment: {shown(name)} is {there} in the file and {here} in the network")


def _in_words(entry):
    if entry is None:
        return "missing"
    shape, dtype = entry
    return f"{str(dtype).removeprefix('torch.')} {shown('×'.join(map(str, shape)) or 'number', 40)}"
