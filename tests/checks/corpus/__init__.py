"""Answers as students write them, right and wrong: a catalogue. Each wrong one names the finding that it must get."""

from dataclasses import dataclass

CASES = []


@dataclass(frozen=True)
class Case:
    todo: str
    answer: object
    finding: str

    def __str__(self):
        return f"{self.todo}-{self.answer.__name__}"


def catalogue(todo):
    """(right, wrong): the decorators that enter an answer to this exercise; `wrong` takes the finding."""

    def enter(answer, finding):
        CASES.append(Case(todo, answer, finding))
        return answer

    return lambda answer: enter(answer, "passed"), lambda finding: lambda answer: enter(answer, finding)
