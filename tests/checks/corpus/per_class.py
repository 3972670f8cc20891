"""Answers to `per_class_accuracy`."""

from collections import Counter

import numpy as np
import torch

from corpus import catalogue
from labkit.metrics import confusion_matrix

right, wrong = catalogue("per_class_accuracy")

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(logits, labels, num_classes):
    hits = logits.argmax(dim=1) == labels
    return [(int(hits[labels == c].sum()), int((labels == c).sum())) for c in range(num_classes)]


@right
def through_the_confusion_matrix(logits, labels, num_classes):
    """This is also how labkit writes it."""
    table = confusion_matrix(logits, labels, num_classes)
    return [(int(table[c, c]), int(table[c].sum())) for c in range(num_classes)]


@right
def counters_in_lists(outputs, targets, n):
    correct, total = [0] * n, [0] * n
    _, predicted = torch.max(outputs, 1)
    for label, guess in zip(targets, predicted):
        total[label] += 1
        if label == guess:
            correct[label] += 1
    print(correct, total)
    return list(zip(correct, total))


@right
def bincount_as_a_tensor(logits, labels, num_classes):
    hits = labels[logits.argmax(1) == labels]
    return torch.stack([torch.bincount(hits, minlength=num_classes), torch.bincount(labels, minlength=num_classes)], dim=1)


@right
def numpy_pairs(logits, labels, num_classes):
    p, y = np.asarray(logits).argmax(axis=1), np.asarray(labels)
    return tuple([np.sum((p == y) & (y == c)), np.count_nonzero(y == c)] for c in range(num_classes))


@right
def tensors_of_one_number(logits, labels, num_classes):
    table = torch.zeros(num_classes, 2)
    for c in range(num_classes):
        of_class = labels == c
        table[c, 1] = of_class.sum()
        table[c, 0] = (logits[of_class].softmax(1).argmax(1) == c).sum()
    return [(row[0], row[1]) for row in table]


class PerClass:
    __name__ = "callable_class"

    def __call__(self, logits, labels, num_classes=10):
        rows = [(label, row.index(max(row))) for row, label in zip(logits.tolist(), labels.tolist())]
        return [[sum(y == c == p for y, p in rows), sum(y == c for y, _ in rows)] for c in range(num_classes)]


right(PerClass())

# --- wrong -------------------------------------------------------------------------------------


def pairs_of(logits, labels, num_classes, pair):
    """One entry a class, made of the masks of its samples and of its predictions."""
    predictions = logits.argmax(1)
    return [pair(labels == c, predictions == c) for c in range(num_classes)]


@wrong("swapped")
def total_first(logits, labels, num_classes):
    return [pair[::-1] for pair in the_lesson(logits, labels, num_classes)]


@wrong("predictions_counted")
def precision(logits, labels, num_classes):
    return pairs_of(logits, labels, num_classes, lambda is_c, said_c: (int((is_c & said_c).sum()), int(said_c.sum())))


@wrong("false_positives_counted")
def predictions_as_correct(logits, labels, num_classes):
    return pairs_of(logits, labels, num_classes, lambda is_c, said_c: (int(said_c.sum()), int(is_c.sum())))


@wrong("one_against_the_rest")
def true_negatives_too(logits, labels, num_classes):
    return pairs_of(logits, labels, num_classes, lambda is_c, said_c: (int((is_c == said_c).sum()), len(is_c)))


@wrong("all_samples_as_total")
def total_of_all(logits, labels, num_classes):
    return [(correct, len(labels)) for correct, _ in the_lesson(logits, labels, num_classes)]


@wrong("overall_correct")
def correct_of_all(logits, labels, num_classes):
    correct = (logits.argmax(1) == labels).sum().item()
    return [(correct, (labels == c).sum().item()) for c in range(num_classes)]


@wrong("overall_accuracy")
def mask_forgotten(logits, labels, num_classes):
    return [((logits.argmax(1) == labels).sum().item(), len(labels)) for _ in range(num_classes)]


@wrong("not_reset")
def counters_before_the_loop(logits, labels, num_classes):
    result, correct, total = [], 0, 0
    for c in range(num_classes):
        correct += ((logits.argmax(1) == c) & (labels == c)).sum().item()
        total += (labels == c).sum().item()
        result.append((correct, total))
    return result


@wrong("wrong_ones_counted")
def mistakes_counted(logits, labels, num_classes):
    return [(total - correct, total) for correct, total in the_lesson(logits, labels, num_classes)]


@wrong("right_and_wrong")
def right_and_wrong(logits, labels, num_classes):
    return [(correct, total - correct) for correct, total in the_lesson(logits, labels, num_classes)]


@wrong("lowest_logit")
def argmin(logits, labels, num_classes):
    return the_lesson(-logits, labels, num_classes)


@wrong("absent_classes_left_out")
def classes_that_occur(logits, labels, num_classes):
    return [the_lesson(logits, labels, num_classes)[c] for c in labels.unique()]


@wrong("absent_classes_left_out")
def skips_the_empty(logits, labels, num_classes):
    return [pair for pair in the_lesson(logits, labels, num_classes) if pair[1]]


@wrong("absent_classes_left_out")
def up_to_the_highest_label(logits, labels, num_classes):
    return the_lesson(logits, labels, int(labels.max()) + 1)


@wrong("wrong_length")
def last_class_missing(logits, labels, num_classes):
    return the_lesson(logits, labels, num_classes - 1)


@wrong("shifted")
def classes_from_one(logits, labels, num_classes):
    return [the_lesson(logits, labels, num_classes + 1)[c] for c in range(1, num_classes + 1)]


@wrong("num_classes_ignored")
def ten_classes(logits, labels, num_classes=10):
    return the_lesson(logits, labels, 10)


@wrong("no_pairs")
def shares(logits, labels, num_classes):
    return [correct / max(total, 1) for correct, total in the_lesson(logits, labels, num_classes)]


@wrong("no_pairs")
def correct_alone(logits, labels, num_classes):
    return [correct for correct, _ in the_lesson(logits, labels, num_classes)]


@wrong("no_pairs")
def shares_with_nan(logits, labels, num_classes):
    hits = logits.argmax(1) == labels
    return [hits[labels == c].float().mean().item() for c in range(num_classes)]


@wrong("raises")
def divides_by_zero(logits, labels, num_classes):
    return [correct / total for correct, total in the_lesson(logits, labels, num_classes)]


@wrong("not_whole_numbers")
def share_and_total(logits, labels, num_classes):
    return [(correct / total if total else 0, total) for correct, total in the_lesson(logits, labels, num_classes)]


@wrong("dict_returned")
def a_dict(logits, labels, num_classes):
    return dict(enumerate(the_lesson(logits, labels, num_classes)))


@wrong("not_a_list")
def zip_returned(logits, labels, num_classes):
    return zip(*zip(*the_lesson(logits, labels, num_classes)))


@wrong("not_a_list")
def counters_returned(logits, labels, num_classes):
    return Counter(labels.tolist()).values()


@wrong("not_a_list")
def return_forgotten(logits, labels, num_classes):
    the_lesson(logits, labels, num_classes)


@wrong("two_lists")
def correct_and_total_apart(logits, labels, num_classes):
    correct, total = zip(*the_lesson(logits, labels, num_classes))
    return list(correct), list(total)


@wrong("texts")
def fractions_as_text(logits, labels, num_classes):
    return [f"{correct}/{total}" for correct, total in the_lesson(logits, labels, num_classes)]


@wrong("triples")
def class_number_included(logits, labels, num_classes):
    return [(c, *pair) for c, pair in enumerate(the_lesson(logits, labels, num_classes))]


@wrong("empty_class")
def one_instead_of_zero(logits, labels, num_classes):
    return [(correct, total or 1) for correct, total in the_lesson(logits, labels, num_classes)]


@wrong("empty_class")
def none_for_the_empty(logits, labels, num_classes):
    return [pair if pair[1] else None for pair in the_lesson(logits, labels, num_classes)]


@wrong("wrong_order")
def sorted_by_accuracy(logits, labels, num_classes):
    return sorted(the_lesson(logits, labels, num_classes), key=lambda pair: pair[0] / max(pair[1], 1))


@wrong("never_correct")
def logits_compared(logits, labels, num_classes):
    highest = logits.max(1).values
    return [(int((highest[labels == c] == c).sum()), int((labels == c).sum())) for c in range(num_classes)]


@wrong("always_correct")
def labels_compared_with_themselves(logits, labels, num_classes):
    return [(int((labels[labels == c] == c).sum()), int((labels == c).sum())) for c in range(num_classes)]


@wrong("wrong_counts")
def half_a_probability(logits, labels, num_classes):
    sure = logits.softmax(1).max(1).values > 0.9
    hits = (logits.argmax(1) == labels) & sure
    return [(int(hits[labels == c].sum()), int((labels == c).sum())) for c in range(num_classes)]


@wrong("shapes_do_not_fit")
def mask_on_one_side(logits, labels, num_classes):
    predictions = logits.argmax(1)
    return [(int((predictions[labels == c] == labels).sum()), int((labels == c).sum())) for c in range(num_classes)]


@wrong("input_changed")
def labels_struck_out(logits, labels, num_classes):
    result = the_lesson(logits, labels, num_classes)
    labels[logits.argmax(1) != labels] = -1
    return result
