"""What the checks of notebooks 06 to 09 measure: known mistakes can be told apart, ingredients do not disturb one another."""

import pytest
import torch

from labkit import checks, schedules, transforms
from labkit.checks import images, statistics
from labkit.checks import schedules as rates
from labkit.checks.todo import call_with_default

RATES = {
    "step_decay": (schedules.step_decay, rates._DECAYS, rates._DECAY_MISTAKES),
    "cyclic": (schedules.cyclic, rates._CYCLES, rates._CYCLIC_MISTAKES),
}


def verdict(todo, answer):
    return checks.judge(todo, checks.probe(todo, answer)).name


# --- schedules and updates ---------------------------------------------------------------------


@pytest.mark.parametrize("todo, mistake", [(todo, name) for todo, (_, _, mistakes) in RATES.items() for name in mistakes])
def test_every_mistake_in_a_schedule_is_found_again(todo, mistake):
    wrong, _, _ = RATES[todo][2][mistake]
    assert verdict(todo, lambda time, a, b, c: wrong(time, a, b, c)) == mistake


@pytest.mark.parametrize("mistake", rates._UPDATES_MISTAKES)
def test_every_mistake_in_the_updates_is_found_again(mistake):
    wrong, _, _ = rates._UPDATES_MISTAKES[mistake]
    assert verdict("updates_per_epoch", lambda n, size, drop_last=False: int(wrong(n, size, drop_last))) == mistake


def test_what_has_a_default_is_given_by_name_or_place():
    assert call_with_default(lambda n, *, drop_last=False: drop_last, 1, drop_last=3) == 3
    assert call_with_default(lambda n, drop=False: drop, 1, drop_last=3) == 3
    assert call_with_default(lambda n, other=0, drop_last=False: (other, drop_last), 1, drop_last=3) == (0, 3)
    assert call_with_default(max, 1, drop_last=3) == 3  # built-in, without a signature


# --- get_mean_std ------------------------------------------------------------------------------


def test_mistakes_in_the_std_can_be_told_apart():
    pixels = statistics._pixels(statistics._SCENES["whole"][0])
    right = statistics._mean_std(pixels)[1]
    values = {name: values for name, (values, _, _) in statistics._std_mistakes(pixels).items()} | {"passed": [right]}
    flat = [(name, value) for name, several in values.items() for value in several]
    for i, (name, value) in enumerate(flat):
        for other, second in flat[:i]:
            assert name == other or not statistics._near(value.tolist(), second, 2 * statistics.TOLERANCE), (name, other)


def test_the_mean_tells_the_number_of_images_and_the_std():
    pixels = statistics._pixels(64)
    for count in (5, 23, 41):
        draws = [statistics._mean_std(pixels[torch.randperm(64)[:count]]) for _ in range(3)]
        assert statistics._fitting_count([mean.tolist() for mean, _ in draws], [count]) == count
        assert statistics._fitting_count([mean.tolist() for mean, _ in draws], [count + 1, count + 2]) is None
        assert statistics._wrong_relation([(mean.tolist(), std.tolist()) for mean, std in draws]) is None


# --- augment -----------------------------------------------------------------------------------

def measure(part, batch):
    measured = getattr(images, f"_measure_{part}")(batch.double(), images._visible(batch.double().mean(1)))
    return {name: torch.tensor(values, dtype=torch.float64)[images._places(part)] for name, values in measured.items()}


@pytest.mark.parametrize("angle", [-30.0, -7.0, 0.0, 15.0])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_ramp_tells_how_it_was_turned_and_mirrored(angle, mirrored):
    batch = transforms.rotate(images._batch(), torch.full((8,), angle), "bilinear")
    measured = measure("ramp", batch.flip(-1) if mirrored else batch)["direction"]
    expected = 45 - angle  # down is positive, so a turn to the left is negative
    assert torch.allclose(measured, torch.full((3,), 180 - expected if mirrored else expected, dtype=torch.float64), atol=0.5)


@pytest.mark.parametrize("right, down", [(0, 0), (4, -4), (-3, 1)])
def test_a_disc_tells_how_it_was_shifted(right, down):
    n = torch.ones(8, dtype=torch.int64)
    batch = transforms.crop(torch.nn.functional.pad(images._batch(), [4] * 4), (4 - down) * n, (4 - right) * n, 32)
    measured = measure("disc", transforms.rotate(transforms.erase(batch, 20 * n, 20 * n, 8), 0.0 * n))
    assert measured["x"].tolist() == [right] * 3 and measured["y"].tolist() == [down] * 3
    assert torch.allclose(measured["area"], torch.ones(3, dtype=torch.float64), atol=0.05)


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation"])
def test_a_factor_is_measured_whatever_the_others_are(name):
    changes = {
        "brightness": transforms.adjust_brightness, "contrast": transforms.adjust_contrast, "saturation": transforms.adjust_saturation,
    }  # fmt: skip
    batch = images._batch()
    before = images._factors(measure("disc", batch))
    after = images._factors(measure("disc", changes[name](batch, torch.full((8,), 0.9))))
    change = {other: (after[other] - before[other]).abs().max().item() for other in changes}
    assert change[name] > 0.06 and all(value < 0.015 for other, value in change.items() if other != name), change


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_right_answers_pass_whatever_is_drawn(seed, interpolation):
    generator = torch.Generator().manual_seed(seed)
    jitter, noise = transforms.ColorJitter(0.2, 0.2, 0.2), transforms.GaussianNoise(0, 0.05)
    crop, flip, rotation = transforms.RandomCrop(32, 4), transforms.RandomHorizontalFlip(), transforms.RandomRotation(15, interpolation)
    order = [[crop, flip, rotation, jitter, noise], [noise, jitter, rotation, crop, flip]][seed % 2]
    assert verdict("augment", lambda batch: transforms.Compose(order)(batch, generator)) == "passed"
