"""Answers to `top_k_accuracy`."""

import numpy as np
import torch

from corpus import catalogue

right, wrong = catalogue("top_k_accuracy")

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(logits, labels, k):
    top = logits.topk(k, dim=1).indices
    return (top == labels[:, None]).any(dim=1).float().mean().item()


@right
def instruction_for_instruction(logits, labels, k):
    """Two lines leave little to choose: this is also how labkit writes it."""
    if not 1 <= k <= logits.shape[1]:
        raise ValueError(f"k must be from 1 to {logits.shape[1]}, the number of classes, not {k}")
    return (logits.topk(k, dim=1).indices == labels[:, None]).any(1).float().mean().item()


@right
def transposed_as_on_imagenet(output, target, topk):
    with torch.no_grad():
        _, pred = output.topk(topk, 1, True, True)
        pred = pred.t()
        correct = pred.eq(target.view(1, -1).expand_as(pred))
        return correct[:topk].reshape(-1).float().sum(0).div_(target.size(0))


@right
def a_loop_over_samples(scores, y, k):
    hits = 0
    for row, label in zip(scores.tolist(), y.tolist()):
        best = sorted(range(len(row)), key=lambda c: row[c], reverse=True)[:k]
        if label in best:
            hits += 1
    print("hits:", hits)
    return hits / len(y)


@right
def numpy_argsort(logits, labels, k=5):
    order = np.argsort(-logits.numpy(), axis=1)[:, :k]
    return np.mean([label in row for row, label in zip(order, labels.numpy())])


@right
def rank_counted(logits, labels, k):
    own = logits[torch.arange(len(labels)), labels].unsqueeze(1)
    return torch.mean(((logits > own).sum(dim=1) < k).double())


@right
def last_of_an_ascending_sort(logits, labels, k):
    p = torch.softmax(logits, dim=1)
    top = p.argsort(dim=1)[:, -k:]
    return float((top == labels.reshape(-1, 1)).sum()) / logits.size(0)


@right
def kth_largest_as_threshold(logits, labels, k):
    threshold = logits.sort(1, descending=True).values[:, k - 1]
    hit = logits.gather(1, labels.view(-1, 1)).squeeze(1) >= threshold
    return hit.sum().item() / hit.numel()


# --- wrong -------------------------------------------------------------------------------------


def hits(logits, labels, k):
    return (logits.topk(k).indices == labels[:, None]).any(1)


@wrong("top_1_only")
def argmax_alone(logits, labels, k):
    return (logits.argmax(1) == labels).float().mean().item()


@wrong("hits_not_divided")
def count(logits, labels, k):
    return hits(logits, labels, k).sum().item()


@wrong("percent")
def percent(logits, labels, k):
    return 100 * hits(logits, labels, k).float().mean().item()


@wrong("divided_by_k")
def mean_of_the_comparison(logits, labels, k):
    return (logits.topk(k).indices == labels[:, None]).float().mean().item()


@wrong("only_divided_by_k")
def over_k(logits, labels, k):
    return hits(logits, labels, k).sum().item() / k


@wrong("divided_by_classes")
def over_the_classes(logits, labels, k):
    return hits(logits, labels, k).sum().item() / logits.shape[1]


@wrong("any_of_the_batch")
def any_without_dimension(logits, labels, k):
    return float((logits.topk(k).indices == labels[:, None]).any())


@wrong("any_over_the_samples")
def any_over_dimension_0(logits, labels, k):
    return (logits.topk(k).indices == labels[:, None]).any(0).float().mean().item()


@wrong("whole_number")
def integer_division(logits, labels, k):
    return hits(logits, labels, k).sum().item() // len(labels)


@wrong("whole_number")
def all_of_them(logits, labels, k):
    return float(hits(logits, labels, k).all())


@wrong("misses_counted")
def error_rate(logits, labels, k):
    return 1 - hits(logits, labels, k).float().mean().item()


@wrong("smallest_logits")
def argsort_ascending(logits, labels, k):
    return (logits.argsort(dim=1)[:, :k] == labels[:, None]).any(1).float().mean().item()


@wrong("smallest_logits")
def topk_of_the_smallest(logits, labels, k):
    return (logits.topk(k, largest=False).indices == labels[:, None]).any(1).float().mean().item()


@wrong("kth_only")
def the_kth_guess(logits, labels, k):
    return (logits.topk(k).indices[:, k - 1] == labels).float().mean().item()


@wrong("one_too_many")
def one_more(logits, labels, k):
    return hits(logits, labels, k + 1).float().mean().item()


@wrong("one_too_few")
def above_the_kth(logits, labels, k):
    own = logits.gather(1, labels[:, None])
    return (own > logits.topk(k).values[:, -1:]).float().mean().item()


@wrong("without_the_largest")
def slice_from_one(logits, labels, k):
    return (logits.argsort(dim=1, descending=True)[:, 1 : k + 1] == labels[:, None]).any(1).float().mean().item()


@wrong("first_classes")
def label_below_k(logits, labels, k):
    return (labels < k).float().mean().item()


@wrong("probability_threshold")
def probability_above_one_over_k(logits, labels, k):
    return (logits.softmax(1)[torch.arange(len(labels)), labels] > 1 / k).float().mean().item()


@wrong("probability_of_the_label")
def mean_probability(logits, labels, k):
    return logits.softmax(1)[torch.arange(len(labels)), labels].mean().item()


@wrong("probability_of_the_top")
def probability_of_the_largest(logits, labels, k):
    return logits.softmax(1).topk(k, dim=1).values.sum(1).mean().item()


@wrong("values_compared")
def values_instead_of_indices(logits, labels, k):
    return (logits.topk(k).values == labels[:, None]).any(1).float().mean().item()


@wrong("always_one")
def prediction_among_the_largest(logits, labels, k):
    return (logits.topk(k).indices == logits.argmax(1)[:, None]).any(1).float().mean().item()


@wrong("classes_of_other_samples")
def in_the_whole_tensor(logits, labels, k):
    top = logits.topk(k).indices
    return sum(label in top for label in labels) / len(labels)


@wrong("labels_of_other_samples")
def all_against_all(logits, labels, k):
    return (logits.topk(k).indices.unsqueeze(2) == labels).any(1).float().mean().item()


@wrong("k_ignored")
def always_three(logits, labels, k=3):
    return hits(logits, labels, 3).float().mean().item()


@wrong("k_ignored")
def always_five(logits, labels, k=5):
    return hits(logits, labels, 5).float().mean().item()


@wrong("fixed_divisor")
def ten_samples(logits, labels, k):
    return hits(logits, labels, k).sum().item() / 10


@wrong("rounded")
def rounded_to_four(logits, labels, k):
    return round(hits(logits, labels, k).float().mean().item(), 4)


@wrong("rounded")
def rounded(logits, labels, k):
    return round(hits(logits, labels, k).float().mean().item(), 2)


@wrong("shapes_do_not_fit")
def labels_without_a_dimension(logits, labels, k):
    return (logits.topk(k).indices == labels).any(1).float().mean().item()


@wrong("shapes_do_not_fit")
def labels_expanded(logits, labels, k):
    top = logits.topk(k).indices
    return (top == labels.expand_as(top)).any(1).float().mean().item()


@wrong("not_a_number")
def one_for_each_sample(logits, labels, k):
    return hits(logits, labels, k).float()


@wrong("not_a_number")
def as_text(logits, labels, k):
    return f"{hits(logits, labels, k).float().mean().item():.1%}"


@wrong("not_a_number")
def printed(logits, labels, k):
    print(hits(logits, labels, k).float().mean().item())


@wrong("input_changed")
def largest_struck_out(logits, labels, k):
    found = torch.zeros(len(labels), dtype=torch.bool)
    for _ in range(k):
        best = logits.argmax(1)
        found |= best == labels
        logits[torch.arange(len(labels)), best] = -float("inf")
    return found.float().mean().item()


@wrong("wrong_share")
def mean_reciprocal_place(logits, labels, k):
    places = (logits > logits.gather(1, labels[:, None])).sum(1) + 1
    return (1 / places).where(places <= k, 0).mean().item()


@wrong("wrong_share")
def not_a_number_at_all(logits, labels, k):
    return float("nan")
