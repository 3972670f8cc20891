"""Distillation: the loss against formulas written out in numpy, and a teacher that is asked rightly, seldom, and left as it was."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sentences import one_sentence
from torch import nn
from torch.utils.data import DataLoader

from labkit import data
from labkit.data import ImageSet
from labkit.distill import Distiller, distillation_loss
from labkit.loops import fit, train
from labkit.loops import test as evaluate
from labkit.transforms import Compose, GaussianNoise, Normalize

CLASSES = tuple("abcdefghij")
NORMALIZE = Normalize((0.5,) * 3, (0.25,) * 3)


def batch(size=6, classes=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(size, classes, dtype=torch.float64, generator=generator) for _ in range(2))
    return student, teacher, torch.randint(classes, (size,), generator=generator)


def by_hand(student, teacher, labels, temperature, alpha):
    """The loss of one sample after the other, in numpy."""

    def softmax(row):
        powers = np.exp(row - row.max())
        return powers / powers.sum()

    soft = hard = 0.0
    for s, t, label in zip(student.numpy(), teacher.numpy(), labels.tolist()):
        p, q = softmax(t / temperature), softmax(s / temperature)
        soft += sum(p_c * np.log(p_c / q_c) for p_c, q_c in zip(p, q))
        hard -= np.log(softmax(s)[label])
    return (alpha * soft * temperature**2 + (1 - alpha) * hard) / len(labels)


# --- the loss ----------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.5, 1, 4.0, 20])
@pytest.mark.parametrize("alpha", [0, 0.3, 1])
def test_the_loss_is_that_of_the_paper(temperature, alpha):
    expected = by_hand(*batch(), temperature, alpha)
    assert distillation_loss(*batch(), temperature, alpha).item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_is_that_of_finite_differences():
    student, teacher, labels = batch()
    student.requires_grad_()
    distillation_loss(student, teacher, labels, 3.0, 0.7).backward()
    with torch.no_grad():
        for place in np.ndindex(*student.shape):
            step = torch.zeros_like(student)
            step[place] = 1e-5
            up, down = (by_hand(student + sign * step, teacher, labels, 3.0, 0.7) for sign in (1, -1))
            assert student.grad[place].item() == pytest.approx((up - down) / 2e-5, abs=1e-8)


def test_no_gradient_flows_to_the_teacher():
    student, teacher, labels = batch()
    student.requires_grad_(), teacher.requires_grad_()
    distillation_loss(student, teacher, labels, 2.0, 0.5).backward()
    assert teacher.grad is None and student.grad.abs().sum() > 0


def soft_gradient(temperature):
    student, teacher, labels = batch()
    student.requires_grad_()
    distillation_loss(student, teacher, labels, temperature, alpha=1).backward()
    return student.grad


def test_at_a_high_temperature_the_gradient_is_the_difference_of_the_centred_logits():
    """Equation 4 of the paper, times temperature², and averaged over the batch."""
    student, teacher, _ = batch()
    centred = [logits - logits.mean(1, keepdim=True) for logits in (student, teacher)]
    limit = (centred[0] - centred[1]) / student.numel()
    errors = [(soft_gradient(temperature) - limit).abs().max().item() for temperature in (10, 100, 1000)]
    assert errors[0] > 5 * errors[1] > 25 * errors[2]  # the error goes with 1 / temperature
    assert errors[2] < 1e-2 * limit.abs().max()


def test_the_factor_keeps_the_size_of_the_gradient():
    sizes = [soft_gradient(temperature).norm().item() for temperature in (5, 50)]
    assert 0.5 < sizes[1] / sizes[0] < 2
    without = [size / temperature**2 for size, temperature in zip(sizes, (5, 50))]
    assert without[1] / without[0] < 0.02, "this test cannot see whether the factor is there"


def test_a_student_that_says_the_same_has_no_soft_loss():
    student, _, labels = batch()
    assert distillation_loss(student, student, labels, 4.0, alpha=1).item() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("temperature", [0, -1.0, float("nan")])
def test_a_temperature_that_is_not_above_0_is_refused(temperature):
    with one_sentence("temperature must be above 0", str(temperature)):
        distillation_loss(*batch(), temperature, 0.5)
    with one_sentence("temperature must be above 0"):
        Distiller(nn.Identity(), temperature=temperature)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_an_alpha_outside_its_range_is_refused(alpha):
    with one_sentence("alpha must be from 0", "to 1", str(alpha)):
        distillation_loss(*batch(), 2.0, alpha)
    with one_sentence("alpha must be from 0"):
        Distiller(nn.Identity(), alpha=alpha)


def test_a_teacher_of_other_classes_is_refused():
    student, _, labels = batch()
    with one_sentence("one shape", "(6, 5) and (6, 1000)", "replace the teacher's head"):
        distillation_loss(student, torch.zeros(6, 1000), labels, 2.0, 0.5)


# --- the distiller -----------------------------------------------------------------------------


class Teacher(nn.Module):
    """Writes down how it is asked. Batch norm and dropout show a wrong mode in the numbers."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(5)
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(48, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 10))
        self.asked = []

    def forward(self, images):
        self.asked.append((len(images), self.training, torch.is_grad_enabled()))
        return self.layers(images)

    @property
    def images_seen(self):
        return sum(images for images, *_ in self.asked)


def pixels(count=50):
    generator = torch.Generator().manual_seed(1)
    return ImageSet(torch.randint(256, (count, 3, 4, 4), dtype=torch.uint8, generator=generator), torch.arange(count) % 10, CLASSES)


def make_loader(transform=NORMALIZE, shuffle=True, batch_size=16):
    return data.loader(pixels(), batch_size, shuffle=shuffle, transform=transform, seed=3)


def losses(distiller, batches, student):
    return [distiller.loss(student(images), labels).item() for images, labels in batches]


def student_network():
    torch.manual_seed(8)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 10))


TRANSFORMS = {
    "none": None, "normalize": NORMALIZE, "nested": Compose([Compose([]), NORMALIZE]),
    "noise": GaussianNoise(), "noise and normalize": Compose([GaussianNoise(), NORMALIZE]), "unknown": lambda images, generator: images,
}  # fmt: skip


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_batches_are_those_of_the_loader_epoch_for_epoch(transform, shuffle):
    plain, taught = make_loader(transform, shuffle), Distiller(Teacher()).loader(make_loader(transform, shuffle))
    assert (len(taught), taught.batch_size, taught.device, taught.seed) == (len(plain), plain.batch_size, plain.device, plain.seed)
    assert taught.dataset.digest == plain.dataset.digest
    for epoch in (0, 1, 7):
        plain.epoch = taught.epoch = epoch
        for (x, y), (expected_x, expected_y) in zip(taught, plain, strict=True):
            assert torch.equal(x, expected_x) and torch.equal(y, expected_y)
        assert taught.epoch == plain.epoch == epoch + 1


def test_a_loader_that_has_run_already_goes_on_from_its_epoch():
    loader = make_loader()
    loader.epoch = 4
    assert Distiller(Teacher()).loader(loader).epoch == 4


@pytest.mark.parametrize("transform", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("shuffle", [False, True])
def test_the_loss_uses_what_the_teacher_says_to_the_batch_at_hand(transform, shuffle):
    teacher, student = Teacher(), student_network()
    distiller = Distiller(teacher, temperature=3.0, alpha=0.6)
    batches = distiller.loader(make_loader(transform, shuffle))
    for _ in range(2):
        for images, labels in batches:
            logits = student(images)
            with torch.no_grad():
                expected = by_hand(logits, Teacher().eval()(images), labels, 3.0, 0.6)
            assert distiller.loss(logits, labels).item() == pytest.approx(expected, rel=1e-4)


def test_known_and_newly_asked_logits_give_the_same_losses():
    class SameButUnknown(Normalize):
        """Not known to be fixed, so the teacher is asked for each batch."""

    student, (known, asked) = student_network(), (Distiller(Teacher()) for _ in range(2))
    pairs = known.loader(make_loader(NORMALIZE)), asked.loader(make_loader(SameButUnknown(NORMALIZE.mean, NORMALIZE.std)))
    for _ in range(2):
        one, other = losses(known, pairs[0], student), losses(asked, pairs[1], student)
        assert len(one) == 4 and one == pytest.approx(other, rel=1e-5)
    assert asked.teacher.images_seen == 2 * known.teacher.images_seen


@pytest.mark.parametrize("name", ["none", "normalize", "nested"])
def test_without_augmentation_the_teacher_is_asked_once_for_each_image(name):
    distiller = Distiller(Teacher())
    batches = distiller.loader(make_loader(TRANSFORMS[name]))
    assert distiller.teacher.images_seen == 0  # not before the first pass
    for _ in range(3):
        losses(distiller, batches, student_network())
    assert distiller.teacher.images_seen == 50


@pytest.mark.parametrize("name", ["noise", "noise and normalize", "unknown"])
def test_with_augmentation_the_teacher_sees_every_batch_as_it_is(name):
    distiller = Distiller(Teacher())
    batches = distiller.loader(make_loader(TRANSFORMS[name]))
    for _ in range(3):
        losses(distiller, batches, student_network())
    assert distiller.teacher.images_seen == 150


@pytest.mark.parametrize("name", ["normalize", "noise"])
def test_the_teacher_is_left_as_it_was(name):
    teacher, student = Teacher(), student_network()
    teacher.train()
    teacher.layers[2].eval()  # each part has a mode of its own
    modes, state = [module.training for module in teacher.modules()], {key: value.clone() for key, value in teacher.state_dict().items()}
    distiller = Distiller(teacher)
    train(distiller.loader(make_loader(TRANSFORMS[name])), student, distiller.loss, torch.optim.SGD(student.parameters(), lr=0.1))
    assert [module.training for module in teacher.modules()] == modes
    assert all(torch.equal(value, state[key]) for key, value in teacher.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in teacher.parameters())
    assert {(training, gradients) for _, training, gradients in teacher.asked} == {(False, False)}


def test_the_modes_come_back_where_the_teacher_raises():
    teacher = Teacher().train()
    with pytest.raises(RuntimeError):
        Distiller(teacher).predict(torch.zeros(2, 3, 5, 5))
    assert all(module.training for module in teacher.modules())


def test_a_loss_without_a_batch_of_the_loader_is_refused():
    distiller, student = Distiller(Teacher()), student_network()
    batches = distiller.loader(make_loader(None))
    images, labels = next(iter(make_loader(None)))
    with one_sentence("not asked about this batch", "distiller.loader"):
        distiller.loss(student(images), labels)
    losses(distiller, batches, student)
    with one_sentence("not asked about this batch"):  # after the pass, as on validation data
        distiller.loss(student(images), labels)
    for images, labels in batches:
        with one_sentence("not asked about this batch"):
            distiller.loss(student(images)[1:], labels[1:])


def test_another_loader_is_refused():
    with one_sentence("data.loader", "DataLoader"):
        Distiller(Teacher()).loader(DataLoader(pixels(), 16))


# --- training with a teacher -------------------------------------------------------------------


def perceptron(seed, width):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, width), nn.ReLU(), nn.Linear(width, 10))


def loader_of(image_set, shuffle=False):
    return data.loader(image_set, 25, shuffle=shuffle, transform=NORMALIZE)


def adam(model):
    return torch.optim.Adam(model.parameters(), lr=1e-3)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_fit_learns_from_a_teacher(alpha):
    """With alpha=1 the labels have no part in it: here they are all wrong, and the student agrees with the teacher all the same."""
    image_set = data.load("shapes:100/50").train
    teacher, student = perceptron(1, width=128), perceptron(2, width=64)
    fit(teacher, loader_of(image_set, shuffle=True), None, adam(teacher), 10, verbose=False)
    labels = (image_set.labels + 1) % 10 if alpha == 1 else image_set.labels
    distiller = Distiller(teacher, temperature=2.0, alpha=alpha)
    batches = distiller.loader(loader_of(ImageSet(image_set.images, labels, image_set.classes), shuffle=True))
    before = evaluate(loader_of(image_set), student, F.cross_entropy)[1]
    history = fit(student, batches, None, adam(student), 10, loss_fn=distiller.loss, verbose=False).history
    after = evaluate(loader_of(image_set), student, F.cross_entropy)[1]
    assert history[-1]["train_loss"] < 0.2 * history[0]["train_loss"]
    assert before < 0.3 and after > 0.9
