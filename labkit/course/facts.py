"""What grading finds out about one submission, before anything is given points: plain data that JSON can hold.

Every text in it may come from the submission: whoever writes it into a page or a table has to escape it.
"""

import dataclasses
from dataclasses import dataclass, field

from labkit import checks


@dataclass
class RunFacts:
    """A run record. title: its experiment in a few words; notebooks: those that cite it; init: "random" or what it started from.

    history: a dict of numbers an epoch (epoch, lr, train_loss, train_acc, and valid_ or test_loss and _acc), empty if it cannot be read.
    contradictions: (kind, sentence), see `labkit.course.record`. claimed, measured: test accuracies, None where there is none.
    verdict: "agrees", "differs", "not measured" (it could not be) or "not asked" (it was not among those to measure), sentence: in words.
    clock: SHA-256 of the times at which its epochs ended, which no second training has.
    """

    key: str
    title: str = ""
    notebooks: list = field(default_factory=list)
    init: str = ""
    own_model: bool = False
    history: list = field(default_factory=list)
    contradictions: list = field(default_factory=list)
    claimed: float | None = None
    measured: float | None = None
    verdict: str = "not asked"
    sentence: str = ""
    clock: str = ""

    @property
    def sound(self):
        """Whether nothing speaks against it."""
        return not self.contradictions and self.verdict in ("agrees", "not asked")


@dataclass
class NotebookFacts:
    """A notebook. faults: (kind, sentence), see `labkit.course.evidence`; runs: the keys that it cites."""

    faults: list = field(default_factory=list)
    runs: list = field(default_factory=list)


def not_found(todo):
    """The `Finding` for an exercise that is in no notebook."""
    return checks.Finding("not_found", "no notebook that was handed in holds it", 0, checks.points(todo))


@dataclass
class Facts:
    """A submission. zip: its file's name; digest: of its bytes; notes: (kind, sentence) of the inbox and the sandbox.

    findings: {exercise: the fields of a `Finding`}; answers: {exercise: source of the cell or function}; discussions: {grade_id: text};
    notebooks: {name: `NotebookFacts`}; runs: {key: `RunFacts`}; report: bytes of the PDF, 0 without one. failed: why the grading came to
    no end, "" if it did.
    """

    student: str
    zip: str
    digest: str = ""
    notes: list = field(default_factory=list)
    findings: dict = field(default_factory=dict)
    answers: dict = field(default_factory=dict)
    discussions: dict = field(default_factory=dict)
    notebooks: dict = field(default_factory=dict)
    runs: dict = field(default_factory=dict)
    report: int = 0
    failed: str = ""
    seconds: float = 0.0

    def to_dict(self):
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content):
        """The inverse of `to_dict`; raises TypeError or KeyError for anything else."""
        notebooks = {name: NotebookFacts(**facts) for name, facts in content["notebooks"].items()}
        runs = {key: RunFacts(**facts) for key, facts in content["runs"].items()}
        return cls(**content | {"notebooks": notebooks, "runs": runs})
