"""Answers that are alike, and runs that stand in two submissions: hints for a human, never a verdict.

An answer is compared as a sequence of tokens. Comments, docstrings, layout and the names that were chosen in it do not count, nor do
the lines that the course gives to everyone. Short answers are alike in everyone's hands. So a pair is worth a hint only if the two
share many more tokens than an answer of this class shares with the one that is nearest to it, which in a large class is near.
"""

import ast
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from functools import cache
from itertools import chain

import numpy as np
from rapidfuzz.distance import Indel
from rapidfuzz.process import cdist

from labkit.checks.notebook import STUB
from labkit.course.answers import NO_PYTHON, answer_sources, lines, own_answers, package_answers

__all__ = ["answer_sources", "hints", "own_answers"]

ALIKE = 0.9  # below it, a human would not see a copy
MARGIN = 2.2  # times the root of the number of tokens: what a pair shares beyond what is usual. Sums of independent choices spread so
FEW = 4  # different answers; of fewer, nothing is usual
NEAR = 0.75  # taken for the likeness of neighbours where there are few
MOST_CHARACTERS = 40_000  # of an answer; what comes after is not compared
MOST_TOKENS = 2_000  # likewise; the longest answer of the course has 250, all of them together have 1,700
MOST_NAMES = 8  # in a sentence
COURSE, PACKAGE = "the course", "labkit itself"
ALL = "*"  # in the place of an exercise: all answers together

_REGION = re.compile(r"^( *)### BEGIN SOLUTION$.*?^ *### END SOLUTION$", re.S | re.M)
_MARKERS = ("### BEGIN SOLUTION", "### END SOLUTION")
_CHOSEN = "¤"  # marks a chosen name; a name cannot hold it
_TOKEN = re.compile(rf"\d[\w.]*|\w+{_CHOSEN}?|[^\w\s]")
_NAMING = {
    ast.Name: "id", ast.arg: "arg", ast.ExceptHandler: "name", ast.FunctionDef: "name", ast.AsyncFunctionDef: "name", ast.ClassDef: "name",
}  # fmt: skip


def hints(classroom, own=()):
    """{index: [sentence, …]} for each of the submissions in `classroom`, a list of `Facts`.

    own: {exercise: source text} of the course's own solutions, see `own_answers`; without them nothing is known of what everyone was
    given. There are no hints between submissions of the same student. The order of `classroom` makes no difference.
    """
    own, found = dict(own), defaultdict(list)
    entries = {todo: _entries(todo, classroom, own.get(todo, "")) for todo in sorted({todo for facts in classroom for todo in facts.answers})}
    for todo, of_all in (entries | {ALL: _together(entries.values())}).items():
        for index, match in _matches(todo, of_all):
            found[index].append(match)
    runs = _shared_runs(classroom)
    return {index: _sentences(found[index]) + runs[index] for index in range(len(classroom))}


# --- an answer as tokens ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Entry:
    """An answer. owner: the student, or who else wrote it; index: of the submission, None if it is in none; words: to the letter."""

    owner: str
    index: int | None
    tokens: tuple
    words: tuple


def _entries(todo, classroom, own):
    """What the class, the course and the package have for an exercise; answers that are still open are left out."""
    given = given_lines(own)
    texts = [(facts.student, index, facts.answers[todo]) for index, facts in enumerate(classroom) if todo in facts.answers]
    texts += [(COURSE, None, own), (PACKAGE, None, _package_answers().get(todo, ""))]
    entries = [_Entry(owner, index, tokens(text, given), words(text, given)) for owner, index, text in texts]
    return [entry for entry in entries if entry.tokens]


def _together(entries):
    """One entry for all answers of a submission: each of them may be too short to tell anything."""
    found = defaultdict(list)
    for entry in chain.from_iterable(entries):
        found[entry.owner, entry.index].append(entry)
    names = ("tokens", "words")
    joined = {key: [tuple(chain.from_iterable(getattr(entry, name) for entry in own))[: 2 * MOST_TOKENS] for name in names] for key, own in found.items()}
    return [_Entry(*key, *sequences) for key, sequences in joined.items()]


@cache
def _package_answers():
    return package_answers()


def tokens(source, given=frozenset()):
    """The tokens of an answer, a tuple of texts; given: lines that do not count, see `given_lines`. Of no Python, its words.

    In the place of a chosen name stands how many other ones were used since it was used last. Numbers in the order of their first
    appearance would all move with one more variable at the top.
    """
    found = _split(_statements(source[:MOST_CHARACTERS]), given)
    recent, replaced = [], []
    for token in found:
        if token.endswith(_CHOSEN):
            token, name = f"{_CHOSEN}{recent.index(token) if token in recent else ''}", token
            recent = [name, *(other for other in recent if other != name)]
        replaced.append(token)
    return tuple(replaced)


def words(source, given=frozenset()):
    """All words and signs of an answer, comments and names as they are; given: lines that do not count."""
    return tuple(_split(lines(source[:MOST_CHARACTERS]), given))


def given_lines(own):
    """The lines that everyone was given, without their indentation: of one of the course's solutions what is outside its markers."""
    stub = _REGION.sub(lambda region: "\n".join(region[1] + line for line in STUB.split("\n")), own)
    return frozenset(_plain(line) for line in (*lines(stub), *_statements(stub), *_MARKERS))


def _split(rows, given):
    return _TOKEN.findall("\n".join(row for row in rows if _plain(row) not in given))[:MOST_TOKENS]


def _plain(line):
    return line.replace(_CHOSEN, "").strip()


def _statements(source):
    """The statements, one a line, without comments and docstrings, and with marks on chosen names; of no Python, its lines."""
    try:
        return lines(ast.unparse(_normalized(ast.parse(source))))
    except NO_PYTHON:
        return [line for line in lines(source) if not line.lstrip().startswith("#")]


def _normalized(module):
    nodes = list(ast.walk(module))
    for node in nodes:
        if isinstance(body := getattr(node, "body", None), list):
            node.body = [part for part in body if not _is_text(part)]
    chosen = {_name(node) for node in nodes if not isinstance(getattr(node, "ctx", None), ast.Load)} - {None}
    for node in nodes:
        if (name := _name(node)) in chosen:
            setattr(node, _NAMING[type(node)], name + _CHOSEN)
    return module


def _is_text(statement):
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant) and isinstance(statement.value.value, str)


def _name(node):
    return getattr(node, _NAMING[type(node)]) if type(node) in _NAMING else None


# --- how alike they are -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Match:
    """An answer that is like another one. likeness: 0 to 1; usual: that of two answers of the class, None in a class too small to tell."""

    todo: str
    owner: str
    likeness: float
    usual: float | None
    to_the_letter: bool


def _matches(todo, entries):
    """Yield (index, `_Match`) for each two entries that are worth a hint, both ways."""
    alike, literal = _Likeness(entries, "tokens"), _Likeness(entries, "words")
    for place, entry in enumerate(entries):
        same = literal.worth(place) & literal.equal(place)
        for other in np.flatnonzero(same | alike.worth(place)) if entry.index is not None else ():
            if entries[other].owner != entry.owner:
                yield entry.index, _Match(todo, entries[other].owner, alike.of(place)[other], alike.usual, bool(same[other]))


class _Likeness:
    """How alike entries are in one of their sequences: 2 × what two have in common (in order), over the length of both."""

    def __init__(self, entries, name):
        numbers = {}
        self.places = np.array([numbers.setdefault(getattr(entry, name), len(numbers)) for entry in entries], dtype=int)
        self.lengths = np.array([len(sequence) for sequence in numbers])
        # The same sequence is there once: neither a copy nor a team tells what is usual.
        texts = _encoded(numbers)
        self.table = cdist(texts, texts, scorer=Indel.normalized_similarity, dtype=np.float32)
        students = sorted({place for place, entry in zip(self.places.tolist(), entries) if entry.index is not None})
        self.usual, self.near = _usual(self.table[students][:, students])

    def of(self, place):
        """How alike the entry at `place` and each of the entries are."""
        return self.table[self.places[place], self.places]

    def equal(self, place):
        return self.places == self.places[place]

    def worth(self, place):
        """Of each entry whether it and the one at `place` have enough in common for a hint."""
        both = (self.lengths[self.places[place]] + self.lengths[self.places]) / 2
        return (self.of(place) >= ALIKE) & ((self.of(place) - self.near) * both > MARGIN * np.sqrt(both))


def _encoded(sequences):
    """The sequences as strings with a character for each token: small ones for frequent tokens, with which rapidfuzz is twice as fast."""
    tokens = Counter(chain.from_iterable(sequences)).most_common()
    codes = {token: chr(min(number, sys.maxunicode)) for number, (token, _) in enumerate(tokens)}
    return ["".join(codes[token] for token in sequence) for sequence in sequences]


def _usual(table):
    """(likeness of two answers, likeness of neighbours) for a square table without what is on its diagonal.

    The median, and the lower quartile of the largest in each row: three in four have a neighbour that is nearer. A ring of copies, which
    have each other for neighbours, does not move it unless it is most of the class.
    """
    if len(table) < FEW:
        return None, NEAR
    others = table[~np.eye(len(table), dtype=bool)].reshape(len(table), -1)
    return float(np.median(others)), float(np.quantile(others.max(axis=1), 0.25))


# --- in words -----------------------------------------------------------------------------------


def _sentences(matches):
    """One for all exercises that are like those of the same others."""
    by_exercise, by_owners = defaultdict(list), defaultdict(list)
    named = {match.owner for match in matches if match.todo != ALL}
    for match in matches:
        if match.todo != ALL or match.owner not in named:
            by_exercise[match.to_the_letter, match.todo].append(match)
    for (to_the_letter, _), found in sorted(by_exercise.items(), reverse=True):
        by_owners[to_the_letter, tuple(sorted({match.owner for match in found}))].append(found)
    return [_sentence(owners, to_the_letter, sorted(found, key=lambda found: found[0].todo)) for (to_the_letter, owners), found in by_owners.items()]


def _sentence(owners, to_the_letter, exercises):
    """exercises: the matches of each."""
    of, how = _joined(owners), " to the letter, names and comments included" if to_the_letter else ""
    if len(exercises) == 1:
        subject, those = ("all answers together are", "those") if exercises[0][0].todo == ALL else (f"`{exercises[0][0].todo}` is", "that")
        like = f"{those} of {of}{how}" if to_the_letter else f"{_percents(exercises[0])} like {those} of {of}"
        return f"{subject} {like}, {_where(exercises[0][0].usual)}"
    parts = [f"`{found[0].todo}`{'' if to_the_letter else f' {_percents(found)}'} ({_usually(found[0].usual)})" for found in exercises]
    return f"{len(exercises)} answers are {'' if to_the_letter else 'like '}those of {of}{how}: {', '.join(parts)}"


def _where(usual):
    if usual is None:
        return "in a class that is too small to say how alike two answers usually are"
    return f"where two answers of this class are usually {usual:.0%} alike"


def _usually(usual):
    return "the class is too small to say what is usual" if usual is None else f"two are usually {usual:.0%} alike"


def _percents(matches):
    low, high = (int(100 * bound([match.likeness for match in matches])) for bound in (min, max))  # no rounding up to 100%
    return f"{low}%" if low == high else f"{low} to {high}%"


def _joined(names):
    names = [*names[:MOST_NAMES], f"{len(names) - MOST_NAMES} more"] if len(names) > MOST_NAMES + 1 else names
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


# --- runs ---------------------------------------------------------------------------------------


def _shared_runs(classroom):
    """{index: [sentence, …]}: the runs of a submission that others hand in as well."""
    owners = defaultdict(set)
    for facts in classroom:
        for run in facts.runs.values():
            owners[run.clock].add(facts.student)
    return {index: _run_sentences(facts, owners) for index, facts in enumerate(classroom)}


def _run_sentences(facts, owners):
    keys = defaultdict(list)
    for run in facts.runs.values():
        if run.clock and (others := owners[run.clock] - {facts.student}):
            keys[tuple(sorted(others))].append(run.key)
    return [_run_sentence(others, sorted(found)) for others, found in sorted(keys.items())]


def _run_sentence(others, keys):
    what = f"the record of run {keys[0]} is" if len(keys) == 1 else f"the records of {len(keys)} runs ({_joined(keys)}) are"
    return f"{what} also in the submission of {_joined(others)}: the epochs ended at the same times, which those of a second training never do"
