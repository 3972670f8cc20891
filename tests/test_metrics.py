"""Averages over samples, and the accuracies made of them."""

import pytest
import torch
import torch.nn.functional as F

from labkit.errors import LabkitError
from labkit.metrics import Meter, confusion_matrix, per_class_accuracy, top_k_accuracy


@pytest.fixture
def answers():
    """Logits and labels of 100 samples of 7 classes, right more often than by chance."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(7, (100,), generator=generator)
    return torch.randn(100, 7, generator=generator) + 2 * F.one_hot(labels, 7), labels


def test_averages_are_over_samples_so_that_a_short_last_batch_does_not_bias_them(answers):
    logits, labels = answers
    meter, of_batches = Meter(), []
    for x, y in zip(logits.split(48), labels.split(48)):  # 48, 48 and 4
        meter.add(F.cross_entropy(x, y), x, y)
        of_batches.append((F.cross_entropy(x, y).item(), (x.argmax(1) == y).float().mean().item()))
    loss, accuracy = meter.averages()
    assert loss == pytest.approx(F.cross_entropy(logits, labels).item(), abs=1e-6)
    assert accuracy == (logits.argmax(1) == labels).sum().item() / 100
    # The mean of the batch means is another number: this test can tell them apart.
    mean_loss, mean_accuracy = torch.tensor(of_batches).mean(0).tolist()
    assert abs(mean_loss - loss) > 0.01 and abs(mean_accuracy - accuracy) > 0.01


def test_averages_are_plain_floats_and_hold_no_graph():
    meter = Meter()
    logits = torch.zeros(3, 2, requires_grad=True)
    meter.add(F.cross_entropy(logits, torch.tensor([0, 1, 0])), logits, torch.tensor([0, 1, 0]))
    assert not meter.loss.requires_grad
    assert [type(value) for value in meter.averages()] == [float, float]


def test_a_meter_that_saw_nothing_says_that_the_dataloader_is_empty():
    with pytest.raises(LabkitError, match="the dataloader is empty"):
        Meter().averages()


@pytest.mark.parametrize("k", [1, 3, 7])
def test_top_k_counts_the_labels_among_the_k_largest_logits(answers, k):
    logits, labels = answers
    by_hand = sum(label in row.argsort(descending=True)[:k].tolist() for row, label in zip(logits, labels.tolist()))
    assert top_k_accuracy(logits, labels, k) == pytest.approx(by_hand / 100)
    assert 0.5 < by_hand / 100 < 1 or k == 7


@pytest.mark.parametrize("k", [0, 8])
def test_top_k_refuses_a_k_outside_the_classes(answers, k):
    with pytest.raises(LabkitError, match=f"k must be from 1 to 7, the number of classes, not {k}"):
        top_k_accuracy(*answers, k)


def test_the_confusion_matrix_has_the_true_class_in_rows():
    logits = F.one_hot(torch.tensor([0, 2, 2, 1]), 3).float()
    assert confusion_matrix(logits, torch.tensor([0, 1, 2, 1]), 3).tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]


def test_per_class_accuracy_is_correct_and_total_of_each_class_also_of_one_without_samples(answers):
    logits, labels = answers
    kept = labels != 4
    logits, labels = logits[kept], labels[kept]
    pairs = per_class_accuracy(logits, labels, 7)
    assert pairs == [(((logits.argmax(1) == c) & (labels == c)).sum().item(), (labels == c).sum().item()) for c in range(7)]
    assert pairs[4] == (0, 0)
    assert all(type(number) is int for pair in pairs for number in pair)
