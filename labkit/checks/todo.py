"""What a TODO and a finding are, and the mistakes that any answer can make."""

import inspect
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch

from labkit.checks.guard import run_scene

MAX_MESSAGE = 600  # characters


@dataclass(frozen=True)
class Finding:
    """A verdict: the `name` of what was found ("passed" if all is well), a `message` for the student, and points."""

    name: str
    message: str
    points: float
    of: float

    @property
    def passed(self):
        return self.name == "passed"


def call_with_default(answer, *arguments, **defaulted):
    """Call `answer`, with what has a default given by its name or, where the answer calls it something else, by its place."""
    try:
        by_name = _takes(inspect.signature(answer), arguments, defaulted)
    except (TypeError, ValueError):  # built-in: it has no signature to look at
        by_name = False
    return answer(*arguments, **defaulted) if by_name else answer(*arguments, *defaulted.values())


def _takes(signature, arguments, keywords):
    try:
        signature.bind(*arguments, **keywords)
    except TypeError:
        return False
    return True


def has_nan(value):
    """Whether there is one anywhere in nested dicts and lists."""
    if isinstance(value, dict):
        return any(map(has_nan, value.values()))
    if isinstance(value, list):
        return any(map(has_nan, value))
    return isinstance(value, float) and math.isnan(value)


@dataclass(frozen=True)
class Todo:
    """An exercise that can be checked.

    arguments: the names of what the answer is called with, positionally; keywords: of what is given by name, which
    may have a default; optional: of what is given by name and must have one; defaulted: of what must have one, is
    given last, and may have another name in the answer (see `call_with_default`). scenes: from the answer to {name: a
    function without arguments that drives it and returns plain values}. findings: from {scene: its value} to (name,
    message) or (name, message, share of the points), or None if all is well. reference: labkit's own solution, which
    an answer must not call or copy. distinctive: False where that solution is so short that an honest answer may be
    the same, so that only a call tells. part: where the answer may be a class, the method that is meant. around: a
    context that all scenes run in.
    """

    name: str
    points: float
    arguments: tuple
    scenes: Callable
    findings: Callable
    reference: tuple = ()
    keywords: tuple = ()
    optional: tuple = ()
    defaulted: tuple = ()
    distinctive: bool = True
    part: str = ""
    around: Callable = nullcontext

    def probe(self, answer):
        """Drive the answer; return what was seen, as plain values."""
        observations = {"look": run_scene(lambda: self._look(answer))}
        if observations["look"].get("value") != "callable":
            return observations
        with self.around():
            for name, scene in self.scenes(answer).items():
                observations[name] = run_scene(scene, self.reference, distinctive=self.distinctive)
                if "value" not in observations[name]:
                    break
        return observations

    def _look(self, answer):
        """What can be said without calling it."""
        answer = getattr(answer, self.part, answer) if self.part else answer
        if answer is None:
            return "missing"
        if not callable(answer):
            return f"not callable: {type(answer).__name__}"
        for reference in self.reference:
            if answer is reference:
                return f"reference: {answer.__module__}.{answer.__qualname__}"
        try:
            signature = inspect.signature(answer)
        except (TypeError, ValueError):
            return "callable"  # built-in: it has no signature to look at
        return "callable" if self._fits(signature) else f"signature: {signature}"

    def _fits(self, signature):
        arguments, keywords = self.arguments, dict.fromkeys(self.keywords)
        return (
            _takes(signature, arguments, keywords)
            and _takes(signature, arguments, keywords | dict.fromkeys(self.optional))
            and (_takes(signature, arguments, keywords | dict.fromkeys(self.defaulted)) or _takes(signature, arguments + self.defaulted, keywords))
        )

    def judge(self, observations):
        """Compare what was seen with what must be; return a `Finding`, whatever the observations look like."""
        try:
            with torch.random.fork_rng(devices=()):  # the networks to compare with take random numbers
                found = self._common(observations) or self._topic(observations) or self._not_finite(observations)
        except Exception as error:  # an answer decides what is in the observations: anything may be missing or of another type
            form = f"{type(error).__name__}: {error}"[:120]
            found = "unexpected", f"what `{self.name}` returned has an unexpected form ({form}); compare it with the description of the exercise"
        if found is None:
            return Finding("passed", "passed", self.points, self.points)
        name, message, *share = found
        return Finding(name, message[:MAX_MESSAGE], round(self.points * (share[0] if share else 0), 2), self.points)

    def _topic(self, observations):
        return self.findings({name: outcome["value"] for name, outcome in observations.items() if name != "look"})

    def _not_finite(self, observations):
        """A comparison with NaN is false, so that a test for what is wrong may not have seen one; no right answer shows any."""
        if has_nan(observations):
            return "not_finite", f"`{self.name}` gives NaN where a number is expected: look at what is divided by what"
        return None

    def _common(self, observations):
        """Mistakes that have nothing to do with the topic."""
        if "value" not in observations["look"]:
            return self._ended(observations["look"])
        kind, _, detail = observations["look"]["value"].partition(": ")
        given = (*self.arguments, *self.keywords, *self.optional, *(f"{name}=…" for name in self.defaulted))
        call = f"{self.name}({', '.join(given)})"
        match kind:
            case "missing":
                return "not_defined", f"`{self.name}` is None; run the cell that defines it, and define exactly this name"
            case "not callable":
                return "not_callable", f"`{self.name}` is of type {detail}, expected something that can be called as `{call}`"
            case "signature":
                return "signature", f"`{self.name}{detail}` cannot be called as `{call}`; give it these parameters, in this order"
            case "reference":
                return "reference", f"`{self.name}` is labkit's own {detail}; write your own"
        for outcome in observations.values():
            if "value" not in outcome:
                return self._ended(outcome)
        return None

    def _ended(self, outcome):
        """Why a scene came to no value."""
        if "reference" in outcome:
            return "reference", f"`{self.name}` uses labkit's own {outcome['reference']}; write your own"
        if "timeout" in outcome:
            return "timeout", f"`{self.name}` was given up after {outcome['timeout']:g} s on a few small inputs; look for a loop that does not end"
        if "flood" in outcome:
            return "output", f"`{self.name}` printed more than a million characters; remove the print from the loop"
        if outcome["raised"] == "NotImplementedError" and outcome["own"]:
            return "not_implemented", f"`{self.name}` is still open: replace `raise NotImplementedError` by your code"
        where = f" at `{outcome['line']}`" if outcome["line"] else ""
        return "raises", f"`{self.name}` raised {outcome['raised']}: {outcome['message']}{where}"
