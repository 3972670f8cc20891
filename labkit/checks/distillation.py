"""Check of notebook 11: `distillation_loss`.

The answer is called with a few temperatures and alphas, 0 and 1 among them, so that each of the two losses is also
seen alone. The judge puts the loss together from parts, right ones and those of each well-known mistake, and looks
for the one with the fewest mistakes that gives the numbers of the answer.
"""

import itertools
import math

import numpy as np
import torch
from torch.nn import functional as F

from labkit import distill
from labkit.checks.todo import Todo

TOLERANCE = 5e-4  # some add a small number before they take a logarithm


def _batch(size, classes, seed):
    """(student logits, teacher logits, labels)"""
    generator = torch.Generator().manual_seed(seed)
    student, teacher = (2 * torch.randn(size, classes, generator=generator) for _ in range(2))
    return student, teacher, torch.randint(classes, (size,), generator=generator)


_SMALL, _LARGE = _batch(5, 4, seed=1), _batch(7, 6, seed=2)
CALLS = {  # name: (batch, temperature, alpha)
    "both": (_SMALL, 2.5, 0.3),
    "another batch": (_LARGE, 4.5, 0.85),
    "soft alone": (_SMALL, 2.5, 1.0),
    "hard alone": (_SMALL, 2.5, 0.0),
    "low temperature": (_LARGE, 1.5, 0.6),
}
_TEACHER = "teacher with gradients"


def _scenes(answer):
    scenes = {name: (lambda call=call: _call(answer, *call)) for name, call in CALLS.items()}
    return scenes | {_TEACHER: lambda: _call(answer, *CALLS["both"], watch_teacher=True)}


def _call(answer, batch, temperature, alpha, watch_teacher=False):
    """What the answer returned, and what flows back from it."""
    sources = batch[0].clone().requires_grad_(), batch[1].clone().requires_grad_(watch_teacher)
    given = sources[0] * 1, sources[1] * 1, batch[2].clone()
    returned = answer(*given, temperature, alpha)
    changed = not all(torch.equal(now.detach(), before) for now, before in zip(given, batch))
    return {"returned": returned, "changed": changed} | _gradients(returned, sources if watch_teacher else sources[:1])


def _gradients(returned, sources):
    if not isinstance(returned, torch.Tensor) or returned.is_meta or returned.numel() != 1 or not returned.requires_grad:
        return {"gradients": None}
    try:
        return {"gradients": torch.autograd.grad(returned.sum(), sources, allow_unused=True)}
    except RuntimeError as error:
        if "second time" not in str(error):
            raise
        return {"gradients": "spent"}


# --- the parts of the loss, with and without mistakes ------------------------------------------
# Each part is a dict {mistake: value}, None standing for no mistake; MESSAGES says what the mistakes are. A number
# after the name of a mistake belongs into its message.


def _soft_totals(student, teacher):
    """The soft loss of softened logits, summed over the batch."""
    p, q, log_p, log_q = student.softmax(1), teacher.softmax(1), student.log_softmax(1), teacher.log_softmax(1)
    divergence = F.kl_div(log_p, q, reduction="sum")
    return {
        None: divergence,
        "cross_entropy_instead_of_kl": F.cross_entropy(student, q, reduction="sum"),
        "reversed_kl": F.kl_div(log_q, p, reduction="sum"),
        "probabilities_into_kl": F.kl_div(p, q, reduction="sum"),
        "logits_into_kl": F.kl_div(student, q, reduction="sum"),
        "target_not_probabilities": F.kl_div(log_p, log_q, reduction="sum"),
        "log_target_of_probabilities": F.kl_div(log_p, q, reduction="sum", log_target=True),
        "teacher_labels_only": F.cross_entropy(student, teacher.argmax(1), reduction="sum"),
        "mse_of_logits": F.mse_loss(student, teacher) * len(student),
        "mse_of_probabilities": F.mse_loss(p, q) * len(student),
        "softmax_over_the_batch": F.kl_div(student.log_softmax(0), teacher.softmax(0), reduction="sum"),
        "divergence_negative": -divergence,
    }


_FIXED = (1, 2, 3, 4, 5, 6, 7, 8, 10, 20)


def _softenings(t):
    """(what student's and teacher's logits are divided by, and whose square the soft loss is multiplied by)."""
    fixed = {f"temperature_ignored {number}": (number, number, number) for number in _FIXED}
    constant = {f"temperature_only_as_factor {number}": (number, number, t) for number in _FIXED}
    return fixed | constant | {
        None: (t, t, t),
        "student_not_softened": (1, t, t),
        "teacher_not_softened": (t, 1, t),
        "multiplied_by_temperature": (1 / t, 1 / t, t),
        "softened_twice": (t * t, t * t, t),
    }  # fmt: skip


def _reductions(size, classes):
    return {None: 1 / size, "mean_over_classes_too": 1 / (size * classes), "soft_summed": 1, "divided_by_batch_twice": 1 / size**2}


def _scales(t):
    factors = {"scale_missing": 1, "scaled_by_temperature": t, "scaled_by_twice_the_temperature": 2 * t, "divided_by_temperature_squared": 1 / (t * t)}
    return {None: t * t} | factors


def _hard_losses(student, teacher, labels, t):
    right = F.cross_entropy(student, labels)
    return {
        None: right,
        "hard_softened": F.cross_entropy(student / t, labels),
        "hard_multiplied_by_temperature": F.cross_entropy(student * t, labels),
        "hard_of_probabilities": F.cross_entropy(student.softmax(1), labels),
        "hard_of_softened_probabilities": F.cross_entropy((student / t).softmax(1), labels),
        "hard_of_teacher": F.cross_entropy(teacher, labels),
        "hard_of_teacher_labels": F.cross_entropy(student, teacher.argmax(1)),
        "hard_without_logarithm": F.nll_loss(student, labels),
        "hard_of_probability_sum": F.nll_loss(student.softmax(1), labels),
        "hard_summed": right * len(labels),
        "hard_scaled": right * t * t,
        "hard_softened_and_scaled": F.cross_entropy(student / t, labels) * t * t,
    }


_MIXES = {
    None: lambda a, soft, hard: a * soft + (1 - a) * hard,
    "alpha_swapped": lambda a, soft, hard: (1 - a) * soft + a * hard,
    "not_weighted": lambda a, soft, hard: soft + hard,
    "hard_not_weighted": lambda a, soft, hard: a * soft + hard,
    "soft_not_weighted": lambda a, soft, hard: soft + (1 - a) * hard,
    "both_by_alpha": lambda a, soft, hard: a * (soft + hard),
    "hard_missing": lambda a, soft, hard: a * soft,
    "only_soft": lambda a, soft, hard: soft + 0 * a,
    "soft_missing": lambda a, soft, hard: (1 - a) * hard + 0 * soft,
    "only_hard": lambda a, soft, hard: hard + 0 * soft,
    "hard_subtracted": lambda a, soft, hard: a * soft - (1 - a) * hard,
} | {
    f"alpha_ignored {share:g}": (lambda a, soft, hard, share=share: share * soft + (1 - share) * hard) for share in np.arange(1, 20) / 20
}  # fmt: skip

MESSAGES = {
    "alpha_swapped": "`alpha` weights the hard loss, expected the soft one: the soft loss by `alpha`, the hard one by the rest",
    "not_weighted": "the two losses are added without weights: the soft one counts `alpha`, the hard one the rest",
    "hard_not_weighted": "the hard loss counts in full, expected the share that `alpha` leaves",
    "soft_not_weighted": "the soft loss counts in full, expected the share `alpha`",
    "both_by_alpha": "both losses are weighted by `alpha`: the hard one has the rest, so that the weights add up to 1",
    "hard_missing": "the hard loss is missing: the cross-entropy with the labels has the share that `alpha` leaves",
    "only_soft": "the soft loss alone was returned, whatever `alpha` says",
    "soft_missing": "the soft loss is missing, or 0: what the teacher says has no effect",
    "only_hard": "the hard loss alone was returned, whatever `alpha` says: the teacher has no effect",
    "hard_subtracted": "the hard loss is subtracted, expected a sum of both",
    "alpha_ignored": "the soft loss counts {} whatever `alpha` says",
    "cross_entropy_instead_of_kl": "the soft loss is the cross-entropy with the teacher's probabilities: its gradient is the right one, but the"
    " Kullback-Leibler divergence is lower by the teacher's own entropy",
    "reversed_kl": "the Kullback-Leibler divergence goes from the student to the teacher, expected from the teacher to the student:"
    " look at the order of the arguments of `kl_div`",
    "probabilities_into_kl": "`kl_div` was given the student's probabilities, expected their logarithms as its first argument",
    "logits_into_kl": "`kl_div` was given the student's logits, expected the logarithms of its probabilities as first argument",
    "target_not_probabilities": "the loss is not a number: the target of `kl_div` has negative entries, expected the teacher's probabilities"
    " (for their logarithms there is `log_target`)",
    "log_target_of_probabilities": "`kl_div` was told that its target holds logarithms, but it was given probabilities: they must fit together",
    "teacher_labels_only": "the soft loss uses the teacher's most likely class alone, expected all of its probabilities",
    "mse_of_logits": "the soft loss is the mean squared difference of the logits, expected the Kullback-Leibler divergence of the probabilities",
    "mse_of_probabilities": "the soft loss is the mean squared difference of the probabilities, expected their Kullback-Leibler divergence",
    "softmax_over_the_batch": "the softmax runs over the samples of the batch, expected over the classes: look at `dim`",
    "divergence_negative": "the soft loss has the wrong sign: a divergence is never negative",
    "temperature_ignored": "the soft loss uses the temperature {} whatever `temperature` says",
    "temperature_only_as_factor": "the logits are divided by {} whatever `temperature` says",
    "student_not_softened": "the student's logits are not divided by the temperature in the soft loss: both sides are softened",
    "teacher_not_softened": "the teacher's logits are not divided by the temperature: both sides are softened",
    "multiplied_by_temperature": "the logits are multiplied by the temperature, expected a division: a higher temperature makes softer probabilities",
    "softened_twice": "the logits in the soft loss are divided by the square of the temperature, expected by the temperature",
    "mean_over_classes_too": "the divergence was averaged over samples and classes, expected over the samples alone: look at `reduction`",
    "soft_summed": "the divergence was summed over the batch, expected its average over the samples",
    "divided_by_batch_twice": "the divergence was divided by the number of samples twice",
    "scale_missing": "the soft loss is not multiplied by temperature²: its gradient shrinks as the temperature grows",
    "scaled_by_temperature": "the soft loss is multiplied by the temperature, expected by its square",
    "scaled_by_twice_the_temperature": "the soft loss is multiplied by twice the temperature, expected by its square",
    "divided_by_temperature_squared": "the soft loss is divided by temperature², expected multiplied by it",
    "hard_softened": "the hard loss uses the logits divided by the temperature, expected the logits as they are",
    "hard_multiplied_by_temperature": "the hard loss uses the logits times the temperature, expected the logits as they are",
    "hard_of_probabilities": "the hard loss was given probabilities: cross-entropy applies softmax itself, so hand it the logits",
    "hard_of_softened_probabilities": "the hard loss was given softened probabilities: cross-entropy applies softmax itself, so hand it the logits",
    "hard_of_teacher": "the hard loss compares the teacher's logits with the labels, expected the student's",
    "hard_of_teacher_labels": "the hard loss uses the classes that the teacher finds most likely, expected `labels`",
    "hard_without_logarithm": "the hard loss was computed from logits without softmax and logarithm: use the cross-entropy",
    "hard_of_probability_sum": "the hard loss was computed from probabilities without their logarithm: use the cross-entropy",
    "hard_summed": "the hard loss was summed over the batch, expected its average",
    "hard_scaled": "the hard loss is multiplied by temperature², too: the factor belongs to the soft loss alone",
    "hard_softened_and_scaled": "the temperature is in the hard loss, too: it belongs to the soft loss alone",
}
_SHARES = {"cross_entropy_instead_of_kl": 0.8, "scale_missing": 0.6, "mean_over_classes_too": 0.6, "target_not_probabilities": 0.3}


def _soft_losses(call):
    """{(mistakes): the soft loss}: each kind of divergence with each softening, reduction and scale."""
    (student, teacher, _), t, _ = call
    totals, losses = {}, {}
    for softening, (by_student, by_teacher, scale) in _softenings(t).items():
        divisors = by_student, by_teacher
        if divisors not in totals:
            totals[divisors] = {kind: float(total) for kind, total in _soft_totals(student / by_student, teacher / by_teacher).items()}
        for (kind, total), (reduction, share), (scaling, factor) in itertools.product(
            totals[divisors].items(), _reductions(*student.shape).items(), _scales(scale).items()
        ):
            losses[kind, softening, reduction, scaling] = total * share * factor
    return losses


def _explanations(values):
    """The mistakes that lead to these values, one for each call: the fewest; None if no three do."""
    calls = list(CALLS.values())
    softs = [_soft_losses(call) for call in calls]
    hards = [{name: float(loss) for name, loss in _hard_losses(*batch, t).items()} for batch, t, _ in calls]
    soft, alphas = np.array([list(losses.values()) for losses in softs]).T, np.array([alpha for *_, alpha in calls])
    names, found = list(softs[0]), []
    for mix, hard in itertools.product(_MIXES, hards[0]):
        mixed = _MIXES[mix](alphas, soft, np.array([losses[hard] for losses in hards]))
        fits = np.isclose(mixed, values, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True).all(axis=1)
        found += [[name for name in (mix, *names[row], hard) if name] for row in fits.nonzero()[0]]
    fewest = min(found, key=len, default=None)
    return fewest if fewest and len(fewest) <= 3 else None


# --- the judge ---------------------------------------------------------------------------------


def _right(call):
    (student, teacher, labels), t, alpha = call
    return alpha * _soft(student, teacher, t) + (1 - alpha) * F.cross_entropy(student, labels)


def _right_values():
    return [float(_right(call)) for call in CALLS.values()]


def _soft(student, teacher, t):
    return _soft_totals(student / t, teacher / t)[None] / len(student) * t * t


def _findings(seen):
    scenes = [seen[name] for name in CALLS]
    return _wrong_form([scene["returned"] for scene in scenes]) or _wrong_values(scenes) or _wrong_gradients(seen) or _changed(scenes)


def _wrong_form(returned):
    if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in returned):
        share = 0.3 if _near(returned, _right_values()) else 0.0
        return "not_a_tensor", f"`distillation_loss` returned the number {returned[0]:.4g}, expected a tensor: through a number no gradient flows back", share
    for value in returned:
        if not isinstance(value, dict) or value.get("type") != "Tensor":
            return "not_a_tensor", f"`distillation_loss` returned {_kind(value)}, expected a tensor with a single number", 0.0
        if value["shape"] != [] or len(value["values"]) != 1:
            return "not_a_scalar", f"`distillation_loss` returned a tensor of shape {value['shape']}, expected a single number: the mean over the batch", 0.2
    return None


def _kind(value):
    if value is None or isinstance(value, list):
        return "None" if value is None else f"{len(value)} values"
    return f"an object of type {value.get('type', 'dict') if isinstance(value, dict) else type(value).__name__}"


def _wrong_values(scenes):
    values, right = [scene["returned"]["values"][0] for scene in scenes], _right_values()
    if _near(values, right):
        return None
    mistakes = _explanations(values)
    if mistakes is None:
        return _unexplained(dict(zip(CALLS, values)), dict(zip(CALLS, right)))
    share = _SHARES.get(mistakes[0], 0.5) if len(mistakes) == 1 else 0.3
    return mistakes[0].split()[0], "; and ".join(map(_message, mistakes)), share


def _near(ours, theirs):
    return len(ours) == len(theirs) and bool(np.allclose(ours, theirs, rtol=TOLERANCE, atol=TOLERANCE))


def _message(mistake):
    name, *number = mistake.split()
    return MESSAGES[name].format(*number)


def _unexplained(values, right):
    """None of the known mistakes: say in which part it is."""
    if not all(map(math.isfinite, values.values())):
        return "not_finite", f"the loss is {next(v for v in values.values() if not math.isfinite(v))}, expected a finite number: look at the logarithms", 0.1
    if found := _constant_factor(values, right) or _constant_share(values):
        return found
    for name, part, alpha in (("wrong_soft_loss", "soft alone", 1), ("wrong_hard_loss", "hard alone", 0)):
        other = "hard alone" if alpha else "soft alone"
        if _near([values[other]], [right[other]]) and not _near([values[part]], [right[part]]):
            message = f"with alpha={alpha}, where the {part.split()[0]} loss stands alone, it is {values[part]:.4f}, expected {right[part]:.4f}"
            return name, f"{message}; the other loss is right", 0.4
    _, temperature, alpha = CALLS["both"]
    message = f"with temperature={temperature:g} and alpha={alpha:g} the loss is {values['both']:.4f}, expected {right['both']:.4f}"
    return "wrong_loss", message, 0.1


def _constant_factor(values, right):
    factor = values["both"] / right["both"]
    if factor and _near(list(values.values()), [factor * value for value in right.values()]):
        return "wrong_factor", f"the loss is {factor:.4g} times what it should be", 0.4
    return None


def _constant_share(values):
    """The two losses are right, but weighted by one number in every call."""
    losses = [(float(_soft(*batch[:2], t)), float(F.cross_entropy(batch[0], batch[2]))) for batch, t, _ in CALLS.values()]
    share = (values["both"] - losses[0][1]) / (losses[0][0] - losses[0][1])
    if _near(list(values.values()), [share * soft + (1 - share) * hard for soft, hard in losses]):
        return "alpha_ignored", MESSAGES["alpha_ignored"].format(f"{share:.4g}"), 0.5
    return None


# --- what flows back ---------------------------------------------------------------------------


def _wrong_gradients(seen):
    call, gradients = CALLS["both"], seen["both"]["gradients"]
    if gradients == "spent":
        return "backward_inside", "`distillation_loss` called `backward` itself: return the loss, the training loop does that", 0.5
    if gradients is None or gradients[0] is None:
        return "no_gradient", "the value is right, but no gradient flows back to the student's logits: was something detached or made a new tensor?", 0.3
    flow = gradients[0]["values"]
    parts = _expected_flow(call)
    if not _near(flow, parts["both"]):
        for name, message in _HALF.items():
            if _near(flow, parts[name]):
                return f"{name}_gradient_only", message, 0.4
        return "wrong_gradient", "the value is right, but the gradient with respect to the student's logits is not that of the loss", 0.4
    return _wrong_teacher(seen[_TEACHER]["gradients"])


_HALF = {
    "soft": "the value is right, but only the soft loss has a gradient: the hard one was computed without, or detached",
    "hard": "the value is right, but only the hard loss has a gradient: keep `no_grad` and `detach` to the teacher's side",
}


def _expected_flow(call):
    """The gradient with respect to the student's logits, of both losses and of each alone."""
    (student, teacher, labels), t, alpha = call
    with torch.enable_grad():  # a notebook may have switched them off
        student = student.clone().requires_grad_()
        parts = {"soft": alpha * _soft(student, teacher, t), "hard": (1 - alpha) * F.cross_entropy(student, labels)}
        flows = {name: torch.autograd.grad(loss, student)[0].flatten() for name, loss in parts.items()}
    return {name: flow.tolist() for name, flow in (flows | {"both": flows["soft"] + flows["hard"]}).items()}


def _wrong_teacher(gradients):
    teacher = gradients[1]
    if teacher is not None and any(abs(value) > 1e-9 for value in teacher["values"]):
        return "teacher_not_detached", "a gradient flows back to the teacher's logits: what the teacher says is given, so detach it", 0.8
    return None


def _changed(scenes):
    if any(scene["changed"] for scene in scenes):
        return "input_changed", "`distillation_loss` changed the logits or labels that it was given: work on new tensors", 0.7
    return None


DISTILLATION = Todo(
    "distillation_loss", 6, ("student_logits", "teacher_logits", "labels", "temperature", "alpha"), _scenes, _findings,
    (distill.distillation_loss,), distinctive=False,
)  # fmt: skip
