"""Answers to `step_decay`."""

import math

import numpy as np
import torch

from corpus import catalogue

right, wrong = catalogue("step_decay")

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(epoch, base_lr, step_size, gamma):
    return base_lr * gamma ** (epoch // step_size)


@right
def a_loop_over_the_epochs(e, lr, every, factor=0.5):
    for past in range(1, e + 1):
        if past % every == 0:
            lr = lr * factor
    print("epoch", e, "lr", lr)
    return lr


@right
def recursion(epoch, base_lr, step_size, gamma):
    return base_lr if epoch < step_size else gamma * recursion(epoch - step_size, base_lr, step_size, gamma)


@right
def numpy_power(epoch, base_lr, step_size, gamma):
    return np.float32(base_lr) * np.power(np.float32(gamma), np.floor(epoch / step_size))


@right
def through_logarithms(epoch, base_lr, step_size, gamma):
    return math.exp(math.log(base_lr) + math.floor(epoch / step_size) * math.log(gamma))


@right
def a_tensor(epoch, base_lr, step_size, gamma):
    return torch.tensor(base_lr) * torch.tensor(gamma).pow(epoch // step_size)


@right
def torchs_scheduler(epoch, base_lr, step_size, gamma):
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=base_lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size, gamma)
    for _ in range(epoch):
        optimizer.step()
        scheduler.step()
    return optimizer.param_groups[0]["lr"]


class Decay:
    __name__ = "callable_class"

    def __call__(self, epoch, base_lr, step_size, gamma):
        drops, _ = divmod(epoch, step_size)
        return base_lr * math.prod([gamma] * drops)


right(Decay())

# --- wrong -------------------------------------------------------------------------------------


@wrong("one_epoch_early")
def counted_from_one(epoch, base_lr, step_size, gamma):
    return base_lr * gamma ** ((epoch + 1) // step_size)


@wrong("one_epoch_late")
def only_when_greater(epoch, base_lr, step_size, gamma):
    lr = base_lr
    for past in range(epoch):
        if past and past % step_size == 0:
            lr *= gamma
    return lr


@wrong("counted_from_one")
def epochs_from_one(epoch, base_lr, step_size, gamma):
    return base_lr * gamma ** ((epoch - 1) // step_size)


@wrong("one_step_ahead")
def range_from_zero_on(epoch, base_lr, step_size, gamma):
    lr = base_lr
    for _ in range(0, epoch + 1, step_size):
        lr *= gamma
    return lr


@wrong("no_floor")
def plain_division(epoch, base_lr, step_size, gamma):
    return base_lr * math.pow(gamma, epoch / step_size)


@wrong("to_the_nearest_step")
def rounded_exponent(epoch, base_lr, step_size, gamma):
    return base_lr * gamma ** round(epoch / step_size)


@wrong("rounded_up")
def ceiling(epoch, base_lr, step_size, gamma):
    return base_lr * gamma ** math.ceil(epoch / step_size)


@wrong("factor_added_up")
def times_instead_of_power(epoch, base_lr, step_size, gamma):
    return base_lr * gamma * (epoch // step_size)


@wrong("factor_added_up_after_the_first")
def times_with_an_exception(epoch, base_lr, step_size, gamma):
    if epoch < step_size:
        return base_lr
    return base_lr * gamma * (epoch // step_size)


@wrong("only_once")
def a_single_if(epoch, base_lr, step_size, gamma):
    if epoch >= step_size:
        base_lr = base_lr * gamma
    return base_lr


@wrong("smaller_at_multiples")
def only_at_multiples(epoch, base_lr, step_size, gamma):
    return base_lr * gamma if epoch % step_size == 0 else base_lr


@wrong("only_at_the_step")
def only_at_multiples_after_the_first(epoch, base_lr, step_size, gamma):
    return base_lr * gamma if epoch > 0 and epoch % step_size == 0 else base_lr


@wrong("divided")
def division_by_gamma(epoch, base_lr, step_size, gamma):
    return base_lr / gamma ** (epoch // step_size)


@wrong("every_epoch")
def in_every_epoch(epoch, base_lr, step_size, gamma):
    for _ in range(epoch):
        base_lr *= gamma
    return base_lr


@wrong("modulo")
def rest_instead_of_quotient(epoch, base_lr, step_size, gamma):
    return base_lr * gamma ** (epoch % step_size)


@wrong("base_lr_forgotten")
def the_factor_alone(epoch, base_lr, step_size, gamma):
    return gamma ** (epoch // step_size)


@wrong("base_lr_raised")
def brackets_around_the_product(epoch, base_lr, step_size, gamma):
    return (base_lr * gamma) ** (epoch // step_size)


@wrong("never_changes")
def computed_and_thrown_away(epoch, base_lr, step_size, gamma):
    base_lr * gamma ** (epoch // step_size)
    return base_lr


@wrong("one_minus_gamma")
def gamma_taken_away(epoch, base_lr, step_size, gamma):
    return base_lr * (1 - gamma) ** (epoch // step_size)


@wrong("in_a_straight_line")
def down_in_a_line(epoch, base_lr, step_size, gamma):
    return base_lr - base_lr * gamma * (epoch // step_size)


@wrong("exponential")
def exponential_decay(epoch, base_lr, step_size, gamma):
    return base_lr * math.exp(-gamma * (epoch // step_size))


@wrong("step_size_ignored")
def always_ten_epochs(epoch, base_lr, step_size, gamma):
    return base_lr * gamma ** (epoch // 10)


@wrong("gamma_ignored")
def always_half(epoch, base_lr, step_size, gamma):
    return base_lr * 0.5 ** (epoch // step_size)


@wrong("base_lr_ignored")
def own_learning_rate(epoch, base_lr, step_size, gamma):
    lr = 0.01
    return lr * gamma ** (epoch // step_size)


@wrong("rounded")
def rounded_to_three_places(epoch, base_lr, step_size, gamma):
    return round(base_lr * gamma ** (epoch // step_size), 3)


@wrong("cut_to_zero")
def a_whole_number(epoch, base_lr, step_size, gamma):
    return int(base_lr * gamma ** (epoch // step_size))


@wrong("cut_to_zero")
def brackets_missing(epoch, base_lr, step_size, gamma):
    return base_lr * gamma**epoch // step_size


_kept = {"lr": None}


@wrong("remembers")
def lowered_at_each_call(epoch, base_lr, step_size, gamma):
    if epoch == 0:
        _kept["lr"] = base_lr
    elif epoch % step_size == 0:
        _kept["lr"] *= gamma
    return _kept["lr"]


@wrong("not_a_number")
def all_rates_so_far(epoch, base_lr, step_size, gamma):
    return [base_lr * gamma ** (e // step_size) for e in range(epoch + 1)]


@wrong("not_a_number")
def printed_only(epoch, base_lr, step_size, gamma):
    print(base_lr * gamma ** (epoch // step_size))


@wrong("not_a_number")
def as_a_text(epoch, base_lr, step_size, gamma):
    return f"{base_lr * gamma ** (epoch // step_size):.6f}"


@wrong("raises")
def divided_by_the_epoch(epoch, base_lr, step_size, gamma):
    return base_lr * gamma ** (step_size // epoch)


@wrong("wrong_rate")
def gamma_to_the_step_size(epoch, base_lr, step_size, gamma):
    return base_lr * gamma**step_size if epoch >= step_size else base_lr


@wrong("signature")
def gamma_left_out(epoch, base_lr, step_size):
    return base_lr * 0.5 ** (epoch // step_size)
