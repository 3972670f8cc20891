"""Answers to `updates_per_epoch`."""

import math

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader

from corpus import catalogue

right, wrong = catalogue("updates_per_epoch")

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(num_examples, batch_size, drop_last=False):
    full_batches, rest = divmod(num_examples, batch_size)
    return full_batches if drop_last or rest == 0 else full_batches + 1


@right
def floor_and_ceil(n, bs, drop=False):
    return math.floor(n / bs) if drop else math.ceil(n / bs)


@right
def whole_numbers_only(num_examples, batch_size, *, drop_last=False):
    if drop_last:
        return num_examples // batch_size
    return (num_examples + batch_size - 1) // batch_size


@right
def negative_division(num_examples, batch_size, drop_last=None):
    print("drop_last:", drop_last)
    return num_examples // batch_size if drop_last else -(-num_examples // batch_size)


@right
def what_a_dataloader_says(num_examples, batch_size, drop_last=False):
    return len(DataLoader(range(num_examples), batch_size=batch_size, drop_last=drop_last))


@right
def what_a_sampler_says(num_examples, batch_size, drop_last=False):
    return len(BatchSampler(range(num_examples), batch_size, drop_last))


@right
def starts_counted(num_examples, batch_size, drop_last=False):
    return len(range(0, num_examples - batch_size + 1 if drop_last else num_examples, batch_size))


@right
def numpy_numbers(num_examples, batch_size, drop_last=False):
    count = np.floor(num_examples / batch_size) if drop_last else np.ceil(num_examples / batch_size)
    return count.astype(np.int64)


@right
def a_tensor(num_examples, batch_size, drop_last=False):
    return torch.div(num_examples + (0 if drop_last else batch_size - 1), torch.tensor(batch_size), rounding_mode="floor")


@right
def batches_laid_out(num_examples, batch_size, drop_last=False):
    updates = 0
    while num_examples >= batch_size:
        num_examples -= batch_size
        updates += 1
    if num_examples > 0 and not drop_last:
        updates += 1
    return updates


# --- wrong -------------------------------------------------------------------------------------


@wrong("short_batch_forgotten")
def always_floor(num_examples, batch_size, drop_last=False):
    return num_examples // batch_size


@wrong("drop_last_ignored")
def always_ceil(num_examples, batch_size, drop_last=False):
    return math.ceil(num_examples / batch_size)


@wrong("drop_last_reversed")
def the_wrong_way_round(num_examples, batch_size, drop_last=False):
    return math.ceil(num_examples / batch_size) if drop_last else num_examples // batch_size


@wrong("one_too_many_when_even")
def one_more_for_the_rest(num_examples, batch_size, drop_last=False):
    return num_examples // batch_size + (0 if drop_last else 1)


@wrong("always_one_more")
def one_more_in_any_case(num_examples, batch_size, drop_last=False):
    return num_examples // batch_size + 1


@wrong("drop_last_takes_a_full_batch")
def minus_one_for_drop_last(num_examples, batch_size, drop_last=False):
    updates = math.ceil(num_examples / batch_size)
    return updates - 1 if drop_last else updates


@wrong("drop_last_takes_one_more")
def one_full_batch_too_few(num_examples, batch_size, drop_last=False):
    return num_examples // batch_size - 1 if drop_last else math.ceil(num_examples / batch_size)


@wrong("to_the_nearest")
def rounded(num_examples, batch_size, drop_last=False):
    return num_examples // batch_size if drop_last else round(num_examples / batch_size)


@wrong("always_to_the_nearest")
def rounded_in_any_case(num_examples, batch_size, drop_last=False):
    return int(num_examples / batch_size + 0.5)


@wrong("fraction_of_an_update")
def plain_division(num_examples, batch_size, drop_last=False):
    return num_examples // batch_size if drop_last else num_examples / batch_size


@wrong("not_an_int")
def numpy_floats(num_examples, batch_size, drop_last=False):
    return np.floor(num_examples / batch_size) if drop_last else np.ceil(num_examples / batch_size)


@wrong("not_an_int")
def float_of_a_count(num_examples, batch_size, drop_last=False):
    return float(the_lesson(num_examples, batch_size, drop_last))


@wrong("imprecise")
def single_precision(num_examples, batch_size, drop_last=False):
    batches = torch.tensor(float(num_examples)) / batch_size
    return int(batches.floor() if drop_last else batches.ceil())


@wrong("num_examples_ignored")
def always_cifar(num_examples, batch_size, drop_last=False):
    return the_lesson(50_000, batch_size, drop_last)


@wrong("batch_size_ignored")
def always_256(num_examples, batch_size, drop_last=False):
    return the_lesson(num_examples, 256, drop_last)


@wrong("at_least_one")
def never_zero(num_examples, batch_size, drop_last=False):
    return max(1, the_lesson(num_examples, batch_size, drop_last))


@wrong("none_below_a_batch")
def no_update_below_a_batch(num_examples, batch_size, drop_last=False):
    if batch_size > num_examples:
        return 0
    return the_lesson(num_examples, batch_size, drop_last)


@wrong("rest_added")
def examples_of_the_rest(num_examples, batch_size, drop_last=False):
    updates = num_examples // batch_size
    return updates if drop_last else updates + num_examples % batch_size


@wrong("rest_returned")
def size_of_the_last_batch(num_examples, batch_size, drop_last=False):
    return num_examples % batch_size


@wrong("wrong_default")
def dropped_by_default(num_examples, batch_size, drop_last=True):
    return the_lesson(num_examples, batch_size, drop_last)


@wrong("not_a_number")
def both_numbers(num_examples, batch_size, drop_last=False):
    return divmod(num_examples, batch_size)


@wrong("not_a_number")
def printed_only(num_examples, batch_size, drop_last=False):
    print(the_lesson(num_examples, batch_size, drop_last))


@wrong("wrong_count")
def batches_of_one_forgotten(num_examples, batch_size, drop_last=False):
    return 1 if batch_size == 1 else the_lesson(num_examples, batch_size, drop_last)


@wrong("signature")
def drop_last_must_be_given(num_examples, batch_size, drop_last):
    return the_lesson(num_examples, batch_size, drop_last)


@wrong("signature")
def without_drop_last(num_examples, batch_size):
    return math.ceil(num_examples / batch_size)
