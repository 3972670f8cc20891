"""An experiment in words, and what it means: its data, transforms, model and optimizer."""

import hashlib
import json
import math
import os
from dataclasses import dataclass, fields
from numbers import Real
from pathlib import Path

import torch

from labkit import data, models, optimizers, transforms
from labkit.engine import PRECISIONS
from labkit.errors import LabkitError, accepted
from labkit.loops import MONITORS
from labkit.schedules import SCHEDULES, Schedule

SCHEMA = 1  # raise it when a field is added or changes its meaning: older run records are then left alone

NORMALIZATIONS = {
    "none": "raw pixel values 0 … 255",
    "unit": "[0, 1]",
    "signed": "[-1, 1]",
    "standardize": "mean 0 and std 1 per channel, estimated from 30% of the training images",
    "first_image": "standardized by the first training image alone",
}
AUGMENTATIONS = {
    "crop": lambda side: transforms.RandomCrop(side, padding=side // 8),
    "shift": lambda side: transforms.RandomCrop(side, padding=side // 16, padding_mode="reflect"),
    "flip": lambda side: transforms.RandomHorizontalFlip(),
    "alternating_flip": lambda side: transforms.AlternatingFlip(),
    "rotate": lambda side: transforms.RandomRotation(15),
    "color": lambda side: transforms.ColorJitter(0.2, 0.2, 0.2, 0.05),
    "noise": lambda side: transforms.GaussianNoise(sigma=0.05),
    "cutout": lambda side: transforms.Cutout(side // 4),
}
MAX_TEACHERS = 10  # experiments in one record, each the teacher of the one before
OPTIMIZERS = ("adam", "adamw", "sgd", "muon")
# Fields that came later, left out of a record where they change nothing: so older records keep their keys.
_LATER = ("skew", "teacher", "temperature", "alpha", "whiten", "lookahead", "views", "precision")


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """All that decides the numbers of one training; two equal experiments are one run.

    data: a name for `labkit.data.load`. fraction: share of the training images used (stratified). valid: share of
    those held out to choose the best epoch by `monitor`; any share above 0 means the validation part of the dataset
    where it has one of its own. 0 chooses nothing, draws the test curve instead and keeps the last weights.
    skew: the share of each class's training images that is kept, () for all. data_seed draws
    fraction, skew and validation part, seed everything else.
    model, stem, dropout: see `labkit.models.build`. init: "random", a torchvision weights entry such as
    "IMAGENET1K_V1", or a path. normalization: one of `NORMALIZATIONS`. augmentation: names from `AUGMENTATIONS`,
    in order. schedule, step_size, gamma: see `Schedule`. patience: epochs without improvement before stopping.
    teacher: the experiment of the network to distil from, with temperature and alpha as in `labkit.distill`.
    whiten: see `labkit.models.whiten`. lookahead: see `labkit.optimizers`. views: looks at an image where it is evaluated,
    see `labkit.models.Views`. precision: see `labkit.engine.Engine`; "bfloat16" pays on a GPU and on processors with AVX512-BF16.

    Raises `LabkitError` for a value that makes no sense.
    """

    data: str = "cifar10"
    fraction: float = 1.0
    valid: float = 0.1
    model: str = "resnet18"
    stem: str = "imagenet"
    init: str = "random"
    dropout: float = 0.0
    normalization: str = "standardize"
    augmentation: tuple[str, ...] = ()
    optimizer: str = "adam"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    schedule: str = "constant"
    step_size: int = 10
    gamma: float = 0.5
    batch_size: int = 256
    epochs: int = 10
    patience: int | None = None
    monitor: str = "valid_loss"
    skew: tuple[float, ...] = ()
    teacher: "Experiment | None" = None
    temperature: float = 4.0
    alpha: float = 0.9
    whiten: bool = False
    lookahead: bool = False
    views: int = 1
    precision: str = "float32"
    data_seed: int = 0
    seed: int = 0

    def __post_init__(self):
        for field in fields(self):
            self._convert(field)
        data.parse(self.data)
        models.check_name(self.model)
        accepted("stem", self.stem, models.STEMS)
        accepted("normalization", self.normalization, NORMALIZATIONS)
        accepted("optimizer", self.optimizer, OPTIMIZERS)
        accepted("schedule", self.schedule, SCHEDULES)
        accepted("monitor", self.monitor, MONITORS)
        accepted("views", self.views, models.VIEWS)
        accepted("precision", self.precision, PRECISIONS)
        for name in self.augmentation:
            accepted("augmentation", name, AUGMENTATIONS)
        self._check_numbers()

    def _convert(self, field):
        """Bring a value to its field's type, so that lr=1 and lr=1.0 are the same experiment."""
        value = getattr(self, field.name)
        if field.type in (int, float):
            if not _is_number(value, whole=field.type is int):
                raise LabkitError(f"{field.name} must be a {'whole ' if field.type is int else ''}number, not {value!r}")
            object.__setattr__(self, field.name, field.type(value))
        if field.type is bool and not isinstance(value, bool):
            raise LabkitError(f"{field.name} must be True or False, not {value!r}")
        if field.type is str:
            if not isinstance(value, (str, os.PathLike)):
                raise LabkitError(f"{field.name} must be a name, not {value!r}")
            object.__setattr__(self, field.name, os.fspath(value))
        if field.type == tuple[str, ...]:
            if not isinstance(value, (str, tuple, list)) or not all(isinstance(name, str) for name in value):
                raise LabkitError(f"{field.name} must be a name or a tuple of names, not {value!r}")
            object.__setattr__(self, field.name, (value,) if isinstance(value, str) else tuple(value))
        if field.type == tuple[float, ...]:
            if not isinstance(value, (tuple, list)) or not all(_is_number(share) for share in value):
                raise LabkitError(f"{field.name} must be a tuple of shares, not {value!r}")
            object.__setattr__(self, field.name, tuple(map(float, value)))

    def _check_numbers(self):
        limits = {
            "fraction": (0 < self.fraction <= 1, "above 0 and at most 1"),
            "valid": (0 <= self.valid < 1, "0 (no validation) or a share below 1"),
            "dropout": (0 <= self.dropout < 1, "0 or a probability below 1"),
            "lr": (self.lr > 0, "above 0"),
            "momentum": (0 <= self.momentum < 1, "from 0 to below 1"),
            "weight_decay": (self.weight_decay >= 0, "0 or more"),
            "label_smoothing": (0 <= self.label_smoothing < 1, "from 0 to below 1"),
            "step_size": (self.step_size >= 1, "at least 1 epoch"),
            "gamma": (0 < self.gamma <= 1, "above 0 and at most 1"),
            "batch_size": (self.batch_size >= 1, "at least 1"),
            "epochs": (self.epochs >= 1, "at least 1"),
            "skew": (all(0 <= share <= 1 for share in self.skew) and (any(self.skew) or not self.skew), "a share from 0 to 1 for each class, not all 0"),
            "temperature": (self.temperature > 0, "above 0"),
            "alpha": (0 <= self.alpha <= 1, "from 0 to 1"),
            "patience": (self.patience is None or (isinstance(self.patience, int) and self.patience >= 1), "at least 1 epoch, or None for no early stopping"),
        }
        for name, (holds, wanted) in limits.items():
            if not holds:
                raise LabkitError(f"{name} must be {wanted}, not {getattr(self, name)}")
        if self.patience is not None and self.valid == 0:
            raise LabkitError("early stopping needs validation data; set valid above 0 or patience to None")
        self._check_distillation()

    def _check_distillation(self):
        if self.teacher is None and (self.temperature, self.alpha) != (Experiment.temperature, Experiment.alpha):
            raise LabkitError("temperature and alpha say how to learn from a teacher; name one with teacher=Experiment(…)")
        if self.teacher is not None and not isinstance(self.teacher, Experiment):
            raise LabkitError(f"teacher must be an Experiment or None, not {type(self.teacher).__name__}")
        if self.teacher is not None and self.label_smoothing:
            raise LabkitError("with a teacher the labels are not smoothed as well; set label_smoothing to 0")

    def to_dict(self):
        """All fields that have a say in this experiment, and the schema version, ready for JSON."""
        silent = [name for name in _LATER if getattr(self, name) == getattr(Experiment, name)]
        if self.teacher:
            silent = [name for name in silent if name not in ("temperature", "alpha")]
        return {"schema": SCHEMA} | {field.name: _plain(getattr(self, field.name)) for field in fields(self) if field.name not in silent}

    @property
    def key(self):
        """16 hexadecimal digits that name this experiment: the beginning of the SHA-256 of its canonical JSON."""
        return key_of(self.to_dict())

    @classmethod
    def from_dict(cls, content):
        """The experiment of a `to_dict`; raises `LabkitError` for another schema version, and for what is no such record at all."""
        _need_few_teachers(content)
        content = dict(content)
        if (schema := content.pop("schema", None)) != SCHEMA:
            raise LabkitError(f"this record has schema version {schema}, this labkit reads {SCHEMA}")
        for name in content:
            accepted("field", name, [field.name for field in fields(cls)])
        if "teacher" in content:
            content["teacher"] = cls.from_dict(content["teacher"])
        return cls(**content)

    def loaders(self, device):
        """{"train", "test" and, where `valid` > 0, "valid"}: the loaders of this experiment, and what they show.

        Returns (loaders, facts); facts are plain values for the run record.
        """
        splits = data.load(self.data)
        parts = {"train": self._skewed(data.subset(splits.train, self.fraction, self.data_seed)), "test": splits.test}
        if self.valid and splits.valid:
            parts["valid"] = splits.valid
        elif self.valid:
            parts["train"], parts["valid"] = data.split(parts["train"], self.valid, self.data_seed)
        self._need_no_single_image(len(parts["train"]))
        normalize = normalization(self.normalization, parts["train"])
        side = splits.train.images.shape[-1]
        augment = transforms.Compose([AUGMENTATIONS[name](side) for name in self.augmentation] + [normalize])
        loaders = {
            name: data.loader(part, self.batch_size, shuffle=True, transform=augment, device=device, seed=self.seed)
            if name == "train"
            else data.loader(part, min(1000, len(part)), transform=normalize, device=device)
            for name, part in parts.items()
        }
        facts = {"data_digest": self._data_digest(splits), "test_digest": splits.test.digest, "mean": normalize.mean, "std": normalize.std}
        return loaders, facts | {f"{name}_images": len(part) for name, part in parts.items()}

    def _data_digest(self, splits):
        """What is trained on and chosen by: neither may change between the sessions of one run."""
        if self.valid and splits.valid:
            return hashlib.sha256(f"{splits.train.digest} {splits.valid.digest}".encode()).hexdigest()
        return splits.train.digest

    def _skewed(self, image_set):
        if not self.skew:
            return image_set
        if len(self.skew) != len(image_set.classes):
            raise LabkitError(f"skew needs one share a class: {self.data} has {len(image_set.classes)} classes, skew {len(self.skew)} shares")
        return data.skew(image_set, [round(share * count) for share, count in zip(self.skew, image_set.counts)], self.data_seed)

    def _need_no_single_image(self, num_images):
        """On 32×32 images a resnet ends in 1×1 maps, of which batch norm cannot take the variance over one image."""
        if self.model.startswith("resnet") and num_images % self.batch_size == 1:
            left = f"batch size {self.batch_size} leaves a last batch of 1 of the {num_images:,} training images"
            raise LabkitError(f"{left}, too few for batch norm; use another batch size")

    @property
    def init_digest(self):
        """SHA-256 of the weights file that `init` names, None if it names none or the file is not here."""
        return _file_digest(Path(self.init))

    @property
    def code_digest(self):
        """SHA-256 of the file of a model of one's own, None for labkit's models or if the file is not here."""
        return _file_digest(models.own_file(self.model))

    def build_model(self, num_classes, untrained=False):
        """The network before its first update; `untrained` leaves it with random weights, whatever `init` names."""
        weights = None if untrained or self.init == "random" else self.init
        model = models.build(self.model, num_classes, weights, self.stem, self.dropout, self.views)
        if self.whiten:
            models.whitening_layer(model)
        return model

    def build_optimizer(self, model):
        optimizer = self._optimizer(model)
        return optimizers.lookahead(optimizer) if self.lookahead else optimizer

    def _optimizer(self, model):
        match self.optimizer:
            case "adam":
                return torch.optim.Adam(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
            case "adamw":
                return torch.optim.AdamW(model.parameters(), lr=self.lr, weight_decay=self.weight_decay)
            case "sgd":
                return torch.optim.SGD(model.parameters(), lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay)
            case "muon":
                return optimizers.Muon(model, self.lr, self.momentum, self.weight_decay)

    def build_schedule(self, steps_per_epoch):
        return Schedule(self.schedule, self.lr, self.epochs, steps_per_epoch, self.step_size, self.gamma)


def key_of(content):
    """The key of the experiment whose `to_dict` is `content`."""
    canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _is_number(value, whole=False):
    """Whether `value` is a finite number; a whole one has to fit into 64 bits, as seeds must."""
    try:
        fits = isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:  # a whole number that no float can hold
        return False
    return fits and (not whole or (value == int(value) and abs(value) < 2**63))


def _need_few_teachers(content):
    """A record may have been written by anyone: it must be a dict, and end."""
    teachers, teacher = 0, content
    while isinstance(teacher, dict) and teachers <= MAX_TEACHERS:
        teachers, teacher = teachers + 1, teacher.get("teacher")
    if not isinstance(content, dict) or teachers > MAX_TEACHERS:
        found = f"more than {MAX_TEACHERS} in a row" if teachers else f"a {type(content).__name__}"
        raise LabkitError(f"the record of an experiment must hold its fields by their names, and at most {MAX_TEACHERS} experiments, not {found}")


def _file_digest(path):
    """SHA-256 of a file, None if it is not here."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path and path.is_file() else None


def _plain(value):
    """A field's value as JSON holds it."""
    if isinstance(value, Experiment):
        return value.to_dict()
    return list(value) if isinstance(value, tuple) else value


def normalization(name, image_set):
    """The `Normalize` of one of `NORMALIZATIONS`, measured on `image_set` where it needs to be."""
    channels = image_set.images.shape[1]
    fixed = {"none": (0.0, 1 / 255), "unit": (0.0, 1.0), "signed": (0.5, 0.5)}
    if name in fixed:
        mean, std = fixed[name]
        return transforms.Normalize((mean,) * channels, (std,) * channels)
    measured = image_set.select(torch.tensor([0])) if name == "first_image" else image_set
    return transforms.Normalize(*data.get_mean_std(measured, 1.0 if name == "first_image" else 0.3))
