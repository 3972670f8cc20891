"""Each schedule against its counterpart in `torch.optim.lr_scheduler`, update by update over a whole training."""

import pytest
import torch
from torch.optim import lr_scheduler

from labkit import schedules
from labkit.errors import LabkitError
from labkit.schedules import Schedule

LR, EPOCHS, STEPS = 0.02, 7, 13  # 13 steps an epoch: the sixteenth of CIFAR-10 at batch 256


def rates(make_scheduler, lr=LR, per_epoch=False):
    """The rate of every update under a scheduler of torch."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=lr)
    scheduler, seen = make_scheduler(optimizer), []
    for step in range(EPOCHS * STEPS):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if not per_epoch or (step + 1) % STEPS == 0:
            scheduler.step()
    return seen


def ours(name, **options):
    schedule = Schedule(name, LR, EPOCHS, STEPS, **options)
    return [schedule.lr(step) for step in range(EPOCHS * STEPS)]


def test_constant_is_the_rate_itself():
    assert set(ours("constant")) == {LR}


@pytest.mark.parametrize("step_size, gamma", [(1, 0.5), (2, 0.5), (3, 0.1), (10, 0.5)])
def test_step_is_torchs_step_lr(step_size, gamma):
    theirs = rates(lambda optimizer: lr_scheduler.StepLR(optimizer, step_size, gamma), per_epoch=True)
    assert ours("step", step_size=step_size, gamma=gamma) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("step_size", [1, 2, 5])
def test_cyclic_is_torchs_triangular_cyclic_lr(step_size):
    theirs = rates(lambda optimizer: lr_scheduler.CyclicLR(optimizer, LR / 10, LR, step_size_up=step_size * STEPS, cycle_momentum=False))
    assert ours("cyclic", step_size=step_size) == pytest.approx(theirs, rel=1e-9)
    assert max(theirs) == pytest.approx(LR)  # so that the whole way up is part of the comparison


def test_cosine_is_torchs_cosine_annealing_lr():
    theirs = rates(lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, EPOCHS * STEPS))
    assert ours("cosine") == pytest.approx(theirs, rel=1e-9)


def test_one_cycle_is_torchs_one_cycle_lr():
    theirs = rates(lambda optimizer: lr_scheduler.OneCycleLR(optimizer, LR, EPOCHS * STEPS, cycle_momentum=False))
    assert ours("one_cycle") == pytest.approx(theirs, rel=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 10])
def test_one_cycle_of_a_few_updates_is_still_torchs(steps):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    scheduler, theirs = lr_scheduler.OneCycleLR(optimizer, LR, steps, cycle_momentum=False), []
    for step in range(steps):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    assert [schedules.one_cycle(step, LR, steps) for step in range(steps)] == pytest.approx(theirs, rel=1e-9)


def test_the_rate_of_a_step_does_not_depend_on_what_was_asked_before():
    schedule = Schedule("cosine", LR, EPOCHS, STEPS)
    forwards = [schedule.lr(step) for step in range(20)]
    assert [schedule.lr(step) for step in reversed(range(20))] == forwards[::-1]


def test_the_functions_of_the_lesson():
    assert [schedules.step_decay(epoch, 0.1, 10, 0.5) for epoch in (0, 9, 10, 20)] == [0.1, 0.1, 0.05, 0.025]
    assert [schedules.cyclic(step, 1.0, 3.0, 4) for step in range(9)] == [1, 1.5, 2, 2.5, 3, 2.5, 2, 1.5, 1]


def test_an_unknown_schedule_is_refused_with_the_accepted_names():
    with pytest.raises(LabkitError, match=r"unknown schedule 'cosin' \(did you mean 'cosine'\?\); accepted: constant, step, cyclic, cosine, one_cycle"):
        Schedule("cosin", LR, EPOCHS, STEPS)


@pytest.mark.parametrize("numbers", [{"base_lr": 0}, {"base_lr": -0.1}, {"epochs": 0}, {"step_size": 0}])
def test_numbers_that_make_no_schedule_are_refused(numbers):
    with pytest.raises(LabkitError, match="learning rate above 0, step_size ≥ 1 and epochs ≥ 1"):
        Schedule(**{"name": "step", "base_lr": LR, "epochs": EPOCHS, "steps_per_epoch": STEPS} | numbers)
