"""Answers to `distillation_loss`."""

import math

import torch
from torch import nn
from torch.nn import functional as F

from corpus import catalogue

right, wrong = catalogue("distillation_loss")

# --- right -------------------------------------------------------------------------------------


@right
def the_lesson(student_logits, teacher_logits, labels, temperature, alpha):
    log_student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.softmax(teacher_logits.detach() / temperature, dim=1)
    soft = F.kl_div(log_student, teacher, reduction="batchmean") * temperature**2
    hard = F.cross_entropy(student_logits, labels)
    return alpha * soft + (1 - alpha) * hard


@right
def instruction_for_instruction(student_logits, teacher_logits, labels, temperature, alpha):
    """This is also how labkit writes it."""
    student = F.log_softmax(student_logits / temperature, dim=1)
    teacher = F.log_softmax(teacher_logits.detach() / temperature, dim=1)
    soft = F.kl_div(student, teacher, reduction="batchmean", log_target=True) * temperature**2
    return alpha * soft + (1 - alpha) * F.cross_entropy(student_logits, labels)


@right
def modules_and_no_grad(s, t, y, T=4.0, a=0.9):
    with torch.no_grad():
        target = nn.Softmax(dim=1)(t / T)
    kl = nn.KLDivLoss(reduction="batchmean")(nn.LogSoftmax(dim=1)(s / T), target)
    ce = nn.CrossEntropyLoss()(s, y)
    print("kl", kl.item(), "ce", ce.item())
    return kl * (a * T * T) + ce * (1.0 - a)


@right
def written_out(student_logits, teacher_logits, labels, temperature, alpha):
    p = (teacher_logits.data / temperature).softmax(-1)
    q = (student_logits / temperature).softmax(-1)
    kl = (p * (p.log() - q.log())).sum(dim=1).mean()
    hard = -torch.log_softmax(student_logits, 1)[torch.arange(len(labels)), labels].mean()
    return alpha * temperature**2 * kl + (1 - alpha) * hard


@right
def cross_entropy_less_the_entropy(student, teacher, labels, temperature, alpha):
    q = F.softmax(teacher.detach() / temperature, 1)
    entropy = -(q * torch.log(q + 1e-9)).sum(1).mean()
    soft = F.cross_entropy(student / temperature, q) - entropy
    return torch.lerp(F.cross_entropy(student, labels), soft * temperature**2, alpha)


@right
def mean_times_classes(student_logits, teacher_logits, labels, temperature, alpha):
    soft = F.kl_div(F.log_softmax(student_logits / temperature, 1), F.softmax(teacher_logits.detach() / temperature, 1), reduction="none").mean()
    hard = F.nll_loss(F.log_softmax(student_logits, 1), labels)
    return alpha * soft * student_logits.size(1) * temperature**2 + (1 - alpha) * hard


@right
def in_double_precision(student_logits, teacher_logits, labels, temperature, alpha):
    student, teacher = student_logits.double(), teacher_logits.detach().double()
    soft = torch.distributions.kl_divergence(
        torch.distributions.Categorical(logits=teacher / temperature), torch.distributions.Categorical(logits=student / temperature)
    )
    return (alpha * temperature**2 * soft).mean() + (1 - alpha) * F.cross_entropy(student, labels)


class Distillation(nn.Module):
    __name__ = "callable_class"

    def forward(self, student_logits, teacher_logits, labels, temperature, alpha):
        return the_lesson(student_logits, teacher_logits, labels, temperature, alpha)


right(Distillation())

# --- wrong -------------------------------------------------------------------------------------


def log_p(logits, temperature=1.0, dim=1):
    return F.log_softmax(logits / temperature, dim)


def divergence(student, teacher, temperature, reduction="batchmean"):
    return F.kl_div(log_p(student, temperature), log_p(teacher.detach(), temperature), reduction=reduction, log_target=True)


def distilled(s, t, y, T, a, soft=None, hard=None):
    """The loss, with another soft or hard part."""
    soft = T * T * divergence(s, t, T) if soft is None else soft
    hard = F.cross_entropy(s, y) if hard is None else hard
    return a * soft + (1 - a) * hard


@wrong("scale_missing")
def without_the_square(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=divergence(s, t, temperature))


@wrong("scaled_by_temperature")
def temperature_instead_of_its_square(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=temperature * divergence(s, t, temperature))


@wrong("scaled_by_twice_the_temperature")
def times_two_instead_of_squared(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=temperature * 2 * divergence(s, t, temperature))


@wrong("divided_by_temperature_squared")
def divided_by_the_square(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=divergence(s, t, temperature) / temperature**2)


@wrong("alpha_swapped")
def alpha_the_wrong_way_round(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, 1 - alpha)


@wrong("alpha_ignored")
def half_and_half(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, 0.5)


@wrong("alpha_ignored")
def a_third_and_two_thirds(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, 1 / 3)


@wrong("wrong_factor")
def mean_of_the_two_losses(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha) / 2


@wrong("not_weighted")
def plain_sum(s, t, labels, temperature, alpha):
    return temperature**2 * divergence(s, t, temperature) + F.cross_entropy(s, labels)


@wrong("hard_not_weighted")
def hard_in_full(s, t, labels, temperature, alpha):
    return alpha * temperature**2 * divergence(s, t, temperature) + F.cross_entropy(s, labels)


@wrong("hard_missing")
def soft_loss_only(s, t, labels, temperature, alpha):
    return alpha * temperature**2 * divergence(s, t, temperature)


@wrong("only_hard")
def plain_training(s, t, labels, temperature, alpha):
    return F.cross_entropy(s, labels)


@wrong("mean_over_classes_too")
def mean_over_everything(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=temperature**2 * divergence(s, t, temperature, "none").mean())


@wrong("soft_summed")
def summed_over_the_batch(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=temperature**2 * divergence(s, t, temperature, "sum"))


@wrong("reversed_kl")
def from_student_to_teacher(s, t, labels, temperature, alpha):
    soft = F.kl_div(log_p(t.detach(), temperature), log_p(s, temperature), reduction="batchmean", log_target=True)
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("probabilities_into_kl")
def softmax_on_both_sides(s, t, labels, temperature, alpha):
    soft = F.kl_div(F.softmax(s / temperature, 1), F.softmax(t.detach() / temperature, 1), reduction="batchmean")
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("logits_into_kl")
def logits_as_input(s, t, labels, temperature, alpha):
    soft = F.kl_div(s / temperature, F.softmax(t.detach() / temperature, 1), reduction="batchmean")
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("target_not_probabilities")
def log_target_forgotten(s, t, labels, temperature, alpha):
    soft = F.kl_div(log_p(s, temperature), log_p(t.detach(), temperature), reduction="batchmean")
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("target_not_probabilities")
def arguments_swapped(s, t, labels, temperature, alpha):
    soft = F.kl_div(F.softmax(t.detach() / temperature, 1), log_p(s, temperature), reduction="batchmean")
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("log_target_of_probabilities")
def log_target_without_logarithm(s, t, labels, temperature, alpha):
    soft = F.kl_div(log_p(s, temperature), F.softmax(t.detach() / temperature, 1), reduction="batchmean", log_target=True)
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("cross_entropy_instead_of_kl")
def soft_cross_entropy(s, t, labels, temperature, alpha):
    soft = F.cross_entropy(s / temperature, F.softmax(t.detach() / temperature, 1))
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("teacher_labels_only")
def hard_teacher(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=temperature**2 * F.cross_entropy(s / temperature, t.argmax(1)))


@wrong("teacher_labels_only")
def hard_teacher_without_temperature(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=F.cross_entropy(s, t.argmax(1)))


@wrong("mse_of_logits")
def squared_difference(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=F.mse_loss(s, t.detach()))


@wrong("student_not_softened")
def teacher_softened_only(s, t, labels, temperature, alpha):
    soft = F.kl_div(log_p(s), F.softmax(t.detach() / temperature, 1), reduction="batchmean")
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("teacher_not_softened")
def student_softened_only(s, t, labels, temperature, alpha):
    soft = F.kl_div(log_p(s, temperature), F.softmax(t.detach(), 1), reduction="batchmean")
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("multiplied_by_temperature")
def multiplied(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, soft=temperature**2 * divergence(s, t, 1 / temperature))


@wrong("temperature_ignored")
def temperature_of_four(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, 4.0, alpha)


@wrong("temperature_ignored")
def temperature_of_one(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, 1.0, alpha)


@wrong("softmax_over_the_batch")
def dimension_0(s, t, labels, temperature, alpha):
    soft = F.kl_div(log_p(s, temperature, 0), log_p(t.detach(), temperature, 0), reduction="batchmean", log_target=True)
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("hard_softened")
def temperature_in_the_hard_loss(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, hard=F.cross_entropy(s / temperature, labels))


@wrong("hard_of_probabilities")
def cross_entropy_of_softmax(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, hard=F.cross_entropy(s.softmax(1), labels))


@wrong("hard_of_teacher")
def teacher_against_labels(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, hard=F.cross_entropy(t, labels))


@wrong("hard_of_teacher_labels")
def labels_of_the_teacher(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, hard=F.cross_entropy(s, t.argmax(1)))


@wrong("hard_scaled")
def square_on_both(s, t, labels, temperature, alpha):
    return temperature**2 * (alpha * divergence(s, t, temperature) + (1 - alpha) * F.cross_entropy(s, labels))


@wrong("mean_over_classes_too")
def mean_and_no_square(s, t, labels, temperature, alpha):
    """Two mistakes at once: both are named."""
    return distilled(s, t, labels, temperature, alpha, soft=divergence(s, t, temperature, "none").mean())


@wrong("alpha_swapped")
def alpha_swapped_and_no_square(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, 1 - alpha, soft=divergence(s, t, temperature))


@wrong("wrong_soft_loss")
def squared_hellinger_distance(s, t, labels, temperature, alpha):
    p, q = F.softmax(s / temperature, 1), F.softmax(t.detach() / temperature, 1)
    return distilled(s, t, labels, temperature, alpha, soft=(p.sqrt() - q.sqrt()).square().sum(1).mean() * temperature**2)


@wrong("wrong_hard_loss")
def smoothed_labels(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, hard=F.cross_entropy(s, labels, label_smoothing=0.1))


@wrong("wrong_loss")
def a_constant(s, t, labels, temperature, alpha):
    return s.sum() * 0 + 3


@wrong("not_finite")
def logarithm_of_zero(s, t, labels, temperature, alpha):
    return the_lesson(s, t, labels, temperature, alpha) - math.inf


@wrong("not_a_tensor")
def number_returned(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha).item()


@wrong("not_a_tensor")
def three_losses(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha), divergence(s, t, temperature), F.cross_entropy(s, labels)


@wrong("not_a_scalar")
def one_for_each_sample(s, t, labels, temperature, alpha):
    soft = divergence(s, t, temperature, "none").sum(1) * temperature**2
    return distilled(s, t, labels, temperature, alpha, soft=soft, hard=F.cross_entropy(s, labels, reduction="none"))


@wrong("no_gradient")
def all_without_gradients(s, t, labels, temperature, alpha):
    with torch.no_grad():
        return distilled(s, t, labels, temperature, alpha)


@wrong("no_gradient")
def a_new_tensor(s, t, labels, temperature, alpha):
    return torch.tensor(distilled(s, t, labels, temperature, alpha).item(), requires_grad=True)


@wrong("hard_gradient_only")
def soft_loss_without_gradient(s, t, labels, temperature, alpha):
    with torch.no_grad():
        soft = temperature**2 * divergence(s, t, temperature)
    return distilled(s, t, labels, temperature, alpha, soft=soft)


@wrong("soft_gradient_only")
def hard_loss_as_a_number(s, t, labels, temperature, alpha):
    return distilled(s, t, labels, temperature, alpha, hard=F.cross_entropy(s, labels).item())


@wrong("wrong_gradient")
def gradient_turned_round(s, t, labels, temperature, alpha):
    loss = distilled(s, t, labels, temperature, alpha)
    return 2 * loss.detach() - loss


@wrong("teacher_not_detached")
def gradients_to_the_teacher(s, t, labels, temperature, alpha):
    soft = F.kl_div(log_p(s, temperature), F.softmax(t / temperature, 1), reduction="batchmean")
    return distilled(s, t, labels, temperature, alpha, soft=soft * temperature**2)


@wrong("backward_inside")
def backward_called(s, t, labels, temperature, alpha):
    loss = distilled(s, t, labels, temperature, alpha)
    loss.backward()
    return loss


@wrong("input_changed")
def teacher_divided_in_place(s, t, labels, temperature, alpha):
    t = t.detach().div_(temperature)
    soft = F.kl_div(log_p(s, temperature), t.softmax(1), reduction="batchmean") * temperature**2
    return distilled(s, t, labels, temperature, alpha, soft=soft)
