"""Checks of notebook 10: `top_k_accuracy`, `per_class_accuracy`.

The answers score a few small batches of known logits and labels. The judge scores them itself, rightly and with each
well-known mistake, and looks which of these results the answer gave.
"""

import torch

from labkit import metrics
from labkit.checks.guard import as_number
from labkit.checks.todo import Todo

TOLERANCE = 1e-5


def _batch(size, classes, seed, skill=1.0, present=None):
    """(logits, labels) of `size` samples, better than chance; present: the classes that occur."""
    generator = torch.Generator().manual_seed(seed)
    present = torch.tensor(list(present or range(classes)))
    labels = present[torch.randint(len(present), (size,), generator=generator)]
    logits = 3 * torch.randn(size, classes, generator=generator)
    return logits + skill * torch.nn.functional.one_hot(labels, classes), labels


def _score(answer, batch, *last):
    """What the answer made of a batch, and whether it left the batch as it was."""
    logits, labels = batch
    given = logits.clone(), labels.clone()
    try:
        returned = answer(*given, *last)
    except RuntimeError as error:
        if "must match the" not in str(error):
            raise
        return {"returned": None, "misfit": str(error), "changed": False}
    return {"returned": returned, "changed": not (torch.equal(given[0], logits) and torch.equal(given[1], labels))}


def _misfit(name, scenes):
    """A comparison of tensors whose shapes do not fit together."""
    texts = [scene["misfit"] for scene in scenes if "misfit" in scene]
    if not texts:
        return None
    reason = texts[0].partition("  ")[0].rstrip(".")
    return "shapes_do_not_fit", f"`{name}` puts tensors together whose shapes do not fit ({reason}): print the shapes of both just before", 0.1


def _changed(name, scenes):
    if any(scene["changed"] for scene in scenes):
        return "input_changed", f"`{name}` changed the logits or labels that it was given: work on a copy", 0.7
    return None


def _number(value):
    """The number in `value`, a plain one, an array's or a 0-dimensional tensor's; None if it is none."""
    return None if isinstance(value, dict) and value.get("shape") != [] else as_number(value)


def _kind(value):
    match value:
        case None:
            return "None"
        case str():
            return "a text"
        case list():
            return f"{len(value)} values"
        case {"type": kind, "shape": [_, *_] as shape}:
            return f"{'an' if kind == 'array' else 'a'} {kind} of shape {shape}"
        case dict():
            return f"an object of type {value.get('type', 'dict')}"
    return f"an object of type {type(value).__name__}"


# --- top_k_accuracy ----------------------------------------------------------------------------

_TOP_K = {
    "k = 2": (_batch(11, 7, seed=1), 2),
    "k = 3": (_batch(13, 8, seed=2), 3),
    "k = 1": (_batch(9, 6, seed=3, skill=3), 1),
    "k = N": (_batch(4, 9, seed=4), 4),
    "none right": (_batch(7, 12, seed=5, skill=-20), 5),
    "all right": (_batch(6, 8, seed=7, skill=30), 2),
    "k = 4": (_batch(14, 10, seed=6, skill=2), 4),
}


def _top_k_scenes(answer):
    return {name: (lambda case=case: _score(answer, *case)) for name, case in _TOP_K.items()}


def _top_k_findings(seen):
    scenes = [seen[name] for name in _TOP_K]
    return _misfit("top_k_accuracy", scenes) or _wrong_number([scene["returned"] for scene in scenes]) or _changed("top_k_accuracy", scenes)


def _wrong_number(returned):
    odd = [value for value in returned if _number(value) is None]
    if odd:
        return "not_a_number", f"`top_k_accuracy` returned {_kind(odd[0])}, expected a single number from 0 to 1", 0.1
    if any(isinstance(value, dict) and value.get("requires_grad") for value in returned):
        return "keeps_the_graph", "the returned tensor still holds the graph of its computation: take the number out with `.item()`", 0.7
    shares = [_number(value) for value in returned]
    return None if _near(shares, _shares(_hits)) else _wrong_shares(shares)


def _near(ours, theirs):
    return all(abs(a - b) <= TOLERANCE * (1 + abs(b)) for a, b in zip(ours, theirs))


def _places(logits, labels):
    """The place of each label among the logits of its sample, from 0 for the largest."""
    return (logits > logits.gather(1, labels[:, None])).sum(1)


def _hits(logits, labels, k):
    """Right: a bool for each sample."""
    return _places(logits, labels) < k


def _shares(rule):
    """The mean of `rule(logits, labels, k)` for each case."""
    return [rule(*batch, k).double().mean().item() for batch, k in _TOP_K.values()]


def _each(value):
    """`value(share, number of samples, number of classes, k)` for each case."""
    return [value(share, *batch[0].shape, k) for share, (batch, k) in zip(_shares(_hits), _TOP_K.values())]


def _label_probability(logits, labels):
    return logits.softmax(1).gather(1, labels[:, None])[:, 0]


def _top_classes(logits, labels, k):
    """For each sample (rows), whether the label of each sample (columns) is among its `k` largest logits."""
    return (logits.topk(k).indices[:, :, None] == labels).any(1)


def _any_sample_at_place(logits, labels, k):
    """For each of the `k` places, whether the label of any sample is there."""
    return (_places(logits, labels)[:, None] == torch.arange(k)).any(0)


def _top_k_candidates():
    """{finding: (what this mistake gives for each case, message)}."""
    right = _shares(_hits)
    return {
        "top_1_only": (
            _shares(lambda x, y, k: _hits(x, y, 1)),
            "only the largest logit of each sample is looked at, whatever `k` says: a label among the `k` largest counts as a hit",
        ),
        "hits_not_divided": (_each(lambda share, n, c, k: share * n), "the number of hits was returned, expected their share: divide by the number of samples"),
        "percent": (_each(lambda share, n, c, k: 100 * share), "the share is in percent, expected a number from 0 to 1"),
        "divided_by_k": (_each(lambda share, n, c, k: share / k), "the hits were divided by samples × k: each sample counts once, as a hit or not"),
        "only_divided_by_k": (_each(lambda share, n, c, k: share * n / k), "the hits were divided by k, expected by the number of samples"),
        "divided_by_classes": (_each(lambda share, n, c, k: share * n / c), "the hits were divided by the number of classes, expected by that of the samples"),
        "any_of_the_batch": (
            [float(share > 0) for share in right],
            "a single hit makes the whole batch count: ask for each sample whether its label is among its own `k`, then take the mean",
        ),
        "any_over_the_samples": (
            _shares(_any_sample_at_place),
            "`any` was taken over the samples, expected over the `k` classes of each sample: look at the dimension",
        ),
        "whole_number": (
            [float(share == 1) for share in right],
            "it is 0 as soon as one sample is no hit: is the share cut to a whole number, or `all` asked of the batch?",
        ),
        "misses_counted": (_each(lambda share, n, c, k: 1 - share), "this is the share of samples whose label is not among the `k` largest logits"),
        "smallest_logits": (
            _shares(lambda x, y, k: _hits(-x, y, k)),
            "the labels were looked for among the `k` smallest logits: a sort in ascending order has the largest at its end",
        ),
        "kth_only": (
            _shares(lambda x, y, k: _places(x, y) == k - 1),
            "only the k-th largest logit of each sample is looked at, expected all of the `k` largest",
        ),
        "one_too_many": (_shares(lambda x, y, k: _hits(x, y, k + 1)), "the label was looked for among the k + 1 largest logits: one too many"),
        "one_too_few": (_shares(lambda x, y, k: _hits(x, y, k - 1)), "the label was looked for among the k − 1 largest logits: one too few"),
        "without_the_largest": (
            _shares(lambda x, y, k: _hits(x, y, k + 1) & (_places(x, y) > 0)),
            "the largest logit was left out: places are counted from 0",
        ),
        "first_classes": (_shares(lambda x, y, k: y < k), "a sample counts as a hit if its label is below `k`: the order of the logits does not matter for it"),
        "probability_threshold": (
            _shares(lambda x, y, k: _label_probability(x, y) > 1 / k),
            "the label's probability was compared with 1/k: ask for its place among the logits, not for its size",
        ),
        "probability_of_the_label": (_shares(lambda x, y, k: _label_probability(x, y)), "this is the mean probability of the labels, expected a share of hits"),
        "probability_of_the_top": (
            _shares(lambda x, y, k: x.softmax(1).topk(k).values.sum(1)),
            "this is the mean probability of the `k` largest logits; the labels were not looked at",
        ),
        "values_compared": (
            [0.0] * len(right),
            "it is 0 for every batch: are the labels compared with logits instead of with the classes that these belong to?",
        ),
        "always_one": ([1.0] * len(right), "it is 1 for every batch, also where no label is among the `k` largest: what is compared with what?"),
        "classes_of_other_samples": (
            _shares(lambda x, y, k: _top_classes(x, y, k).any(0)),
            "a label was looked for among the `k` classes of all samples, expected among those of its own sample",
        ),
        "labels_of_other_samples": (
            _shares(_top_classes),
            "each sample was compared with the labels of all samples, expected with its own: look at the shapes of what is compared",
        ),
        "rounded_to_a_whole": (_each(lambda share, n, c, k: float(round(share))), "the share was rounded to 0 or 1: return it as it is"),
    }


def _wrong_shares(shares):
    for name, (values, message) in _top_k_candidates().items():
        if _near(shares, values):
            return name, message, 0.6 if name in ("percent", "hits_not_divided") else 0.4
    return _rounded(shares) or _fixed_k(shares) or _fixed_divisor(shares) or _unknown_share(shares)


def _rounded(shares):
    for digits in range(1, 7):
        if _near(shares, _each(lambda share, n, c, k, digits=digits: round(share, digits))):
            return "rounded", f"the share was rounded to {digits} decimal places: return it as it is, and round where it is printed", 0.6
    return None


def _fixed_k(shares):
    for fixed in range(2, 7):
        if _near(shares, _shares(lambda x, y, k, fixed=fixed: _hits(x, y, fixed))):
            return "k_ignored", f"the {fixed} largest logits are looked at, whatever `k` says", 0.4
    return None


def _fixed_divisor(shares):
    """The hits divided by one number for all batches."""
    hits = _each(lambda share, n, c, k: share * n)
    divisor = next((hit / share for hit, share in zip(hits, shares) if share), 0)
    if divisor and _near(shares, [hit / divisor for hit in hits]):
        return "fixed_divisor", f"the hits were divided by {divisor:g} for every batch, expected by the number of its samples", 0.4
    return None


def _unknown_share(shares):
    share, right, (batch, k) = next(case for case in zip(shares, _shares(_hits), _TOP_K.values()) if not _near(case[:1], case[1:2]))
    n = len(batch[1])
    return "wrong_share", f"for {n} samples and k={k} it returned {share:.4f}, expected {right:.4f} ({round(right * n)} of {n} are hits)", 0.2


TOP_K = Todo("top_k_accuracy", 3, ("logits", "labels", "k"), _top_k_scenes, _top_k_findings, (metrics.top_k_accuracy,), distinctive=False)


# --- per_class_accuracy ------------------------------------------------------------------------

_PER_CLASS = {
    "four classes": (_batch(15, 4, seed=11, skill=3), 4),
    "seven classes": (_batch(20, 7, seed=12, skill=4), 7),
    "some without samples": (_batch(14, 5, seed=13, skill=2, present=(0, 2, 3)), 5),  # neither class 1 nor the last
    "the first without samples": (_batch(12, 6, seed=14, skill=3, present=(1, 2, 4, 5)), 6),
}


def _per_class_scenes(answer):
    return {name: (lambda case=case: _score(answer, *case)) for name, case in _PER_CLASS.items()}


def _per_class_findings(seen):
    scenes = [seen[name] for name in _PER_CLASS]
    return _misfit("per_class_accuracy", scenes) or _wrong_pairs([scene["returned"] for scene in scenes]) or _changed("per_class_accuracy", scenes)


def _wrong_pairs(returned):
    for value in returned:
        if found := _no_list(value):
            return found
    entries = [_entries(value) for value in returned]
    return _wrong_lengths(entries) or _wrong_entries(entries) or _wrong_counts([[_pair(entry) for entry in pairs] for pairs in entries])


def _no_list(value):
    if _entries(value) is not None:
        return None
    if isinstance(value, dict) and value and "type" not in value:
        share = 0.5 if all(map(_pair, value.values())) else 0.1
        return "dict_returned", "`per_class_accuracy` returned a dict, expected a list: its entry number c is the pair of class c", share
    return "not_a_list", f"`per_class_accuracy` returned {_kind(value)}, expected a list with one pair for each class", 0.2


def _entries(value):
    """The entries of a list or of the rows of a tensor or array; None for anything else."""
    if isinstance(value, dict) and isinstance(value.get("values"), list) and value.get("shape"):
        rows, *rest = value["shape"]
        if len(value["values"]) != rows * (rest[0] if rest else 1) or len(rest) > 1:
            return None
        return [value["values"][row * rest[0] : (row + 1) * rest[0]] for row in range(rows)] if rest else value["values"]
    return value if isinstance(value, list) else None


def _pair(entry):
    """(correct, total) as whole numbers; None if the entry is no such pair."""
    parts = _entries(entry)
    if parts is None or len(parts) != 2:
        return None
    numbers = [_number(part) for part in parts]
    return tuple(map(int, numbers)) if all(number is not None and float(number).is_integer() for number in numbers) else None


def _wrong_lengths(entries):
    lengths, classes = [len(pairs) for pairs in entries], [count for _, count in _PER_CLASS.values()]
    if lengths == classes:
        return None
    if [[len(_entries(half) or ()) for half in halves] for halves in entries] == [[count] * 2 for count in classes]:
        return "two_lists", "`per_class_accuracy` returned two lists, expected one list in which each class has its pair (correct, total)", 0.5
    if lengths in _lengths_of_those_present():
        return "absent_classes_left_out", "classes without samples are missing from the list: they get the pair (0, 0)", 0.5
    share = 0.4 if _same_start(entries) else 0.1
    if len(set(lengths)) == 1:
        return "num_classes_ignored", f"the list has {lengths[0]} entries whatever `num_classes` says", share
    length, count = next(pair for pair in zip(lengths, classes) if pair[0] != pair[1])
    message = f"the list has {length} entries for num_classes={count}, expected one pair for each of the classes 0 to {count - 1}"
    return "wrong_length", message, share


def _lengths_of_those_present():
    """How long the lists are where only classes that occur are in them, or none after the last one that does."""
    batches = [batch for batch, _ in _PER_CLASS.values()]
    predicted = [torch.cat([labels, logits.argmax(1)]) for logits, labels in batches]
    return [len(labels.unique()) for _, labels in batches], [len(seen.unique()) for seen in predicted], [int(labels.max()) + 1 for _, labels in batches]


def _same_start(entries):
    """Whether the lists are right as far as they go."""
    return all(entries) and all(_pair(entry) == pair for pairs, wanted in zip(entries, _counts(_right)) for entry, pair in zip(pairs, wanted))


def _wrong_entries(entries):
    """The list is as long as it should be, but does not hold pairs of whole numbers."""
    flat = [entry for pairs in entries for entry in pairs]
    if all(_number(entry) is not None for entry in flat):
        return "no_pairs", "the list holds single numbers, expected for each class the pair (correct, total): how many are right, and of how many", 0.3
    if any(isinstance(entry, str) for entry in flat):
        return "texts", "the list holds texts, expected pairs of whole numbers: they are printed elsewhere", 0.3
    lengths = {len(_entries(entry) or ()) for entry in flat}
    if lengths == {3}:
        return "triples", "each entry has three parts, expected two: the pair (correct, total); the place in the list says which class it is", 0.5
    totals = [total for pairs in _counts(_right) for _, total in pairs]
    odd = [entry for entry, total in zip(flat, totals) if total and _pair(entry) is None]
    if odd:
        return _no_pair(odd[0])
    if any(_pair(entry) is None for entry in flat):
        return _EMPTY_CLASS
    return None


_EMPTY_CLASS = "empty_class", "a class without samples gets the pair (0, 0): nothing is divided here, so that nothing needs to be avoided", 0.7


def _no_pair(entry):
    parts = _entries(entry)
    if parts is not None and len(parts) == 2 and all(_number(part) is not None for part in parts):
        shown = ", ".join(f"{_number(part):.4g}" for part in parts)
        return "not_whole_numbers", f"an entry is ({shown}), expected two counts: how many are right, and of how many", 0.4
    return "no_pairs", f"an entry of the list is {_kind(entry)}, expected a pair of whole numbers (correct, total)", 0.2


def _right(predictions, labels, classes):
    return [(int(((predictions == c) & (labels == c)).sum()), int((labels == c).sum())) for c in range(classes)]


def _counts(rule):
    """[(correct, total), …] for each case by `rule(predictions, labels, number of classes)`."""
    return [rule(batch[0].argmax(1), batch[1], classes) for batch, classes in _PER_CLASS.values()]


def _for_each(pair):
    """The cases counted by `pair(correct, total, predicted, number of samples)` of each class."""

    def rule(predictions, labels, classes):
        predicted = torch.bincount(predictions, minlength=classes).tolist()
        return [pair(correct, total, predicted[c], len(labels)) for c, (correct, total) in enumerate(_right(predictions, labels, classes))]

    return _counts(rule)


def _overall(of_samples):
    def rule(predictions, labels, classes):
        hits = int((predictions == labels).sum())
        return [(hits, len(labels) if of_samples else total) for _, total in _right(predictions, labels, classes)]

    return _counts(rule)


def _running(predictions, labels, classes):
    """Counters that are not set back to 0 for the next class."""
    pairs = torch.tensor(_right(predictions, labels, classes))
    return [tuple(pair) for pair in pairs.cumsum(0).tolist()]


def _lowest_logit():
    return [_right(batch[0].argmin(1), batch[1], classes) for batch, classes in _PER_CLASS.values()]


def _per_class_candidates():
    """{finding: (the pairs that this mistake gives, message)}."""
    return {
        "swapped": (_for_each(lambda correct, total, predicted, n: (total, correct)), "the pairs are (total, correct), expected (correct, total)"),
        "predictions_counted": (
            _for_each(lambda correct, total, predicted, n: (correct, predicted)),
            "the second number is how often the class was predicted, expected how many samples of the class there are",
        ),
        "false_positives_counted": (
            _for_each(lambda correct, total, predicted, n: (predicted, total)),
            "the first number is how often the class was predicted, rightly or not: only samples of the class can be right ones of it",
        ),
        "predictions_and_labels_counted": (
            _for_each(lambda correct, total, predicted, n: (total, predicted)),
            "the pairs are (samples of the class, predictions of it): the first number is how many samples of the class were predicted as it",
        ),
        "wrong_ones_counted": (
            _for_each(lambda correct, total, predicted, n: (total - correct, total)),
            "the first number is how many samples of the class were predicted wrongly, expected how many rightly",
        ),
        "right_and_wrong": (
            _for_each(lambda correct, total, predicted, n: (correct, total - correct)),
            "the pairs are (right, wrong), expected (correct, total): how many are right, and of how many",
        ),
        "one_against_the_rest": (
            _for_each(lambda correct, total, predicted, n: (n - total - predicted + 2 * correct, n)),
            "samples of other classes that were not taken for this class count as right ones of it: look at the samples of the class alone",
        ),
        "all_samples_as_total": (
            _for_each(lambda correct, total, predicted, n: (correct, n)),
            "the second number is that of all samples, expected the number of samples of the class",
        ),
        "predicted_of_all": (_for_each(lambda correct, total, predicted, n: (predicted, n)), "the pairs are (predictions of the class, all samples)"),
        "overall_correct": (_overall(of_samples=False), "the first number is that of all right predictions, the same for each class: count those of the class"),
        "overall_accuracy": (_overall(of_samples=True), "each class has the counts of the whole batch, expected those of its own samples"),
        "not_reset": (_counts(_running), "the counts of each class contain those of the classes before it: start each class at 0"),
        "lowest_logit": (_lowest_logit(), "the class with the lowest logit was taken as the prediction, expected the highest"),
        "all_zero": (_for_each(lambda correct, total, predicted, n: (0, 0)), "all counts are 0"),
        "never_correct": (_for_each(lambda correct, total, predicted, n: (0, total)), "no sample counts as right: what is compared with what?"),
        "always_correct": (_for_each(lambda correct, total, predicted, n: (total, total)), "every sample counts as right: what is compared with what?"),
    }


def _wrong_counts(counts):
    right = _counts(_right)
    if counts == right:
        return None
    for name, (pairs, message) in _per_class_candidates().items():
        if counts == pairs:
            return name, message, 0.6 if name == "swapped" else 0.4
    if _only_empty_differ(counts, right):
        return _EMPTY_CLASS
    return _shifted(counts, right) or _unknown_counts(counts, right)


def _only_empty_differ(counts, right):
    return all(ours[1] == 0 for pairs, wanted in zip(counts, right) for theirs, ours in zip(pairs, wanted) if theirs != ours)


def _shifted(counts, right):
    """The right pairs at other places."""
    moved = [[*pairs[1:], pairs[0]] for pairs in right], [[*pairs[1:], (0, 0)] for pairs in right], [[pairs[-1], *pairs[:-1]] for pairs in right]
    if counts in moved:
        return "shifted", "each class has the pair of the one beside it: classes count from 0", 0.5
    if all(sorted(pairs) == sorted(wanted) for pairs, wanted in zip(counts, right)):
        return "wrong_order", "the pairs are right but stand at other places: entry number c belongs to class c", 0.5
    return None


def _unknown_counts(counts, right):
    pairs, wanted = next(case for case in zip(counts, right) if case[0] != case[1])
    c = next(c for c, (theirs, ours) in enumerate(zip(pairs, wanted)) if theirs != ours)
    correct, total = wanted[c]
    return "wrong_counts", f"class {c} has the pair {pairs[c]}, expected {wanted[c]}: {correct} of its {total} samples got the highest logit for it", 0.2


PER_CLASS = Todo(
    "per_class_accuracy", 4, ("logits", "labels", "num_classes"), _per_class_scenes, _per_class_findings, (metrics.per_class_accuracy,), distinctive=False,
)  # fmt: skip
