"""Of the known mistakes of `EarlyStopping`, the scores and the distillation loss, no two give the same observations."""

import itertools

import pytest
import torch

from labkit import distill, loops, metrics
from labkit.checks import distillation, scores, stopping


def alike(values, same):
    """The pairs of names whose values cannot be told apart."""
    return [(one, other) for one, other in itertools.combinations(values, 2) if same(values[one], values[other])]


def test_early_stopping():
    epochs = {"passed": stopping._epochs()} | {name: stopping._epochs(**mistake) for name, (mistake, _) in stopping._MISTAKES.items()}
    epochs |= {patience: stopping._epochs(lambda _, fixed=patience: fixed) for patience in stopping._PATIENCES}
    assert alike(epochs, list.__eq__) == []


def test_a_right_early_stopping_is_labkits():
    for patience, values in (stopping.SERIES | stopping._SPECIAL).values():
        stopper = loops.EarlyStopping(patience)
        assert [(stopper.step(value), stopper.best) for value in values] == stopping._replay(patience, values)


def test_top_k():
    shares = {"passed": scores._shares(scores._hits)} | {name: values for name, (values, _) in scores._top_k_candidates().items()}
    shares |= {k: scores._shares(lambda x, y, _, fixed=k: scores._hits(x, y, fixed)) for k in range(2, 7)}
    assert alike(shares, scores._near) == []


def test_per_class():
    counts = {"passed": scores._counts(scores._right)} | {name: pairs for name, (pairs, _) in scores._per_class_candidates().items()}
    assert alike(counts, list.__eq__) == []


def test_right_scores_are_labkits():
    assert scores._near(scores._shares(scores._hits), [metrics.top_k_accuracy(*batch, k) for batch, k in scores._TOP_K.values()])
    assert scores._counts(scores._right) == [metrics.per_class_accuracy(*batch, classes) for batch, classes in scores._PER_CLASS.values()]


def loss_with(mistakes):
    """The value for each call, put together from the parts with these mistakes, one by one and without numpy."""

    def part(parts):
        return next((parts[name] for name in parts if name in mistakes), parts[None])

    values = []
    for (student, teacher, labels), t, alpha in distillation.CALLS.values():
        by_student, by_teacher, scale = part(distillation._softenings(t))
        soft = part(distillation._soft_totals(student / by_student, teacher / by_teacher))
        soft = soft * part(distillation._reductions(*student.shape)) * part(distillation._scales(scale))
        values.append(float(part(distillation._MIXES)(alpha, soft, part(distillation._hard_losses(student, teacher, labels, t)))))
    return values


def mistakes_in_the_loss():
    call = distillation._SMALL
    parts = (
        distillation._MIXES, distillation._soft_totals(*call[:2]), distillation._softenings(2.5), distillation._reductions(5, 4),
        distillation._scales(2.5), distillation._hard_losses(*call, 2.5),
    )  # fmt: skip
    return [name for part in parts for name in part if name]


@pytest.mark.parametrize("mistake", mistakes_in_the_loss())
def test_a_mistake_in_the_loss_is_found_again(mistake):
    assert distillation._explanations(loss_with([mistake])) == [mistake]
    assert 20 < len(distillation._message(mistake)) < 300 and "{" not in distillation._message(mistake)


@pytest.mark.parametrize(
    "mistakes",
    [
        ["alpha_swapped", "scale_missing"],
        ["mean_over_classes_too", "scale_missing"],
        ["reversed_kl", "hard_softened"],
        ["alpha_ignored 0.7", "temperature_ignored 4", "hard_of_probabilities"],
    ],
)
def test_mistakes_that_come_together_are_all_found(mistakes):
    assert distillation._explanations(loss_with(mistakes)) == mistakes


def test_a_right_loss_is_labkits():
    values = [distill.distillation_loss(*batch, t, alpha).item() for batch, t, alpha in distillation.CALLS.values()]
    assert distillation._near(values, loss_with([])) and distillation._explanations(values) is None
    assert torch.allclose(torch.tensor(values), torch.tensor([float(distillation._right(call)) for call in distillation.CALLS.values()]))
