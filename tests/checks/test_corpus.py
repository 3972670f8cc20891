"""Each wrong answer of the catalogue gets its finding, each right one passes, here and after a trip through JSON."""

import importlib
import json
import time
from collections import Counter
from pathlib import Path

import pytest
from corpus import CASES

from labkit import checks

for file in sorted(Path(__file__).with_name("corpus").glob("[!_]*.py")):
    importlib.import_module(f"corpus.{file.stem}")

SLOW = 6.0  # seconds; a check takes a fraction of one, but machines may be busy


@pytest.mark.parametrize("case", CASES, ids=str)
def test_verdict(case):
    start = time.perf_counter()
    observations = checks.probe(case.todo, case.answer)
    finding = checks.judge(case.todo, observations)
    seconds = time.perf_counter() - start
    print(f"{seconds:.2f} s: {finding.message}")
    assert finding.name == case.finding, finding.message
    assert finding.points == finding.of if finding.passed else 0 <= finding.points < finding.of
    assert finding.passed or (20 < len(finding.message) < 400 and "\n" not in finding.message)
    assert seconds < SLOW
    assert checks.judge(case.todo, json.loads(json.dumps(observations))) == finding


@pytest.mark.parametrize("todo", checks.names())
def test_the_catalogue_is_large_enough(todo):
    counts = Counter(case.finding == "passed" for case in CASES if case.todo == todo)
    assert counts[True] >= 4 and counts[False] >= 8, f"{todo}: {counts[True]} right, {counts[False]} wrong answers"
    assert len({case.answer.__name__ for case in CASES if case.todo == todo}) == counts.total()
