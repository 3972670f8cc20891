"""The rubric gives points for what was found, by a file that a lecturer can change, and nothing for what was made up."""

import dataclasses

import pytest
from sentences import one_sentence

from labkit import checks, notebooks
from labkit.course import rubric
from labkit.course.facts import Facts, NotebookFacts, RunFacts
from labkit.course.rubric import Result, fill, flags, load

LESSON = {"normalization": 10, "augmentation": 10, "learning_rate": 10, "batch_size": 10, "resnet18": 20, "accuracy": 10, "report": 30}
BEST = "13_best_model"


def finding(todo, share=1.0, name="passed"):
    of = checks.judge(todo, {}).of
    return {"name": name, "message": "a message", "points": of * share, "of": of}


def run(key, notebook, **changes):
    return RunFacts(**{"key": key, "notebooks": [notebook], "init": "random", "claimed": 0.93, "measured": 0.93, "verdict": "agrees"} | changes)


@pytest.fixture
def facts():
    """All that a student can reach without a person."""
    names = ["03_cnn_and_resnet18", "06_normalization", "07_augmentation", "08_learning_rate", "09_batch_size", BEST]
    runs = [run(f"{name[:2]}{number}", name) for name in names for number in range(6)]
    cited = {name: NotebookFacts([], [run.key for run in runs if run.notebooks == [name]]) for name in names}
    return Facts("111", "111_lab3.zip", findings={todo: finding(todo) for todo in checks.names()}, notebooks=cited, runs={run.key: run for run in runs})


def points(facts, marks=(), chosen=None):
    """{part: points}."""
    return {part.name: part.points for part in fill(chosen or load(), facts, dict(marks))}


def test_the_courses_rubric_is_that_of_the_lab_sheet():
    chosen = load()
    assert {name: sum(rule.of for rule in rules) for name, (_, rules) in chosen.parts.items()} == LESSON
    assert sum(LESSON.values()) == 100
    accuracy = next(rule for rule in chosen.parts["accuracy"][1])
    assert accuracy.settings["accuracy"] == [[0.9, 10], [0.8, 6]] and chosen.measured_notebooks == {BEST}
    named = {rule.settings["evidence"] for _, rules in chosen.parts.values() for rule in rules if rule.kind == "evidence"} | {BEST}
    assert named <= {path.stem for path in notebooks.paths("notebooks")}


def test_all_that_is_right_has_all_points_but_those_of_a_person(facts):
    assert points(facts) == LESSON | {"normalization": 7, "augmentation": 7, "learning_rate": 7, "batch_size": 7, "report": 0}
    parts = fill(load(), facts, {})
    assert sum(part.open for part in parts) == 42
    marks = {rule.column: rule.of for rule in load().human}
    assert points(facts, marks) == LESSON
    assert [sum(getattr(part, name) for part in fill(load(), facts, marks)) for name in ("points", "of", "open")] == [100, 100, 0]


def test_nothing_has_no_points():
    parts = fill(load(), Facts("111", "x.zip"), {})
    assert sum(part.points for part in parts) == 0 and all(item.why for part in parts for item in part.items if item.kind != "human")


def test_checks_give_the_share_of_their_points(facts):
    facts.findings["BasicBlock"] = finding("BasicBlock", 0.5, "no_shortcut")
    facts.findings["make_layer"] = finding("make_layer", 0.0, "raises")
    item = fill(load(), facts, {})[4].items[0]
    assert item.points == 16 * (0.5 * 6) / 12 and item.why[0] == "BasicBlock: 3 of 6 [no_shortcut] a message"
    del facts.findings["make_layer"]
    assert fill(load(), facts, {})[4].items[0].points == item.points


def evidence(facts):
    return fill(load(), facts, {})[0].items[1]


@pytest.mark.parametrize("kind", ["open", "order", "error", "output"])
def test_a_notebook_that_was_not_executed_as_it_should_has_half_of_its_evidence(facts, kind):
    facts.notebooks["06_normalization"].faults = [(kind, "cell 3: a fault")]
    assert evidence(facts).points == 1.5 and evidence(facts).why[0] == "cell 3: a fault"


@pytest.mark.parametrize("kind", ["unanswered", "edited", "removed", "uncited", "printed", "verdict"])
def test_other_faults_cost_nothing_here(facts, kind):
    facts.notebooks["06_normalization"].faults = [(kind, "a fault")]
    assert evidence(facts).points == 3


def test_records_that_are_missing_or_damaged_do_not_count(facts):
    for key, change in {"060": {"contradictions": [("seal", "changed")]}, "061": {"contradictions": [("unreadable", "cut")]}}.items():
        facts.runs[key] = dataclasses.replace(facts.runs[key], **change)
    del facts.runs["062"]
    assert evidence(facts).points == 1.5 + 1.5 * 3 / 5 and evidence(facts).why[-1] == "3 sound run records, 5 are asked for"


@pytest.mark.parametrize(
    "change, said",
    [
        ({"verdict": "differs", "sentence": "run 063 claims too much"}, "run 063 claims too much"),
        ({"contradictions": [("loss", "it is too small")]}, "run 063 says what cannot be: it is too small"),
    ],
    ids=["claim", "record"],
)
def test_one_record_that_was_made_up_costs_all_evidence_of_its_notebook_and_no_other(facts, change, said):
    before = points(facts)
    facts.runs["063"] = dataclasses.replace(facts.runs["063"], **change)
    assert evidence(facts).points == 0 and evidence(facts).why == (said,)
    assert points(facts) == before | {"normalization": 4}
    assert flags(facts) == (said,)


def test_a_damaged_record_is_said_after_those_that_were_made_up(facts):
    for key, kind in {"061": "seal", "063": "time"}.items():
        facts.runs[key] = dataclasses.replace(facts.runs[key], contradictions=[(kind, "a reason")])
    assert flags(facts) == ("run 063 says what cannot be: a reason", "run 061 is damaged: a reason")


@pytest.mark.parametrize("measured, given", [(0.951, 10), (0.9001, 10), (0.9, 6), (0.8001, 6), (0.8, 0), (0.1, 0)])
def test_what_was_measured_decides_over_the_accuracy_not_what_is_claimed(facts, measured, given):
    for number in range(6):
        facts.runs[f"13{number}"] = run(f"13{number}", BEST, claimed=0.99, measured=measured - number / 1e5, verdict="differs")
    assert points(facts)["accuracy"] == given


def test_a_record_that_cannot_be_true_gives_no_accuracy(facts):
    facts.runs["130"] = run("130", BEST, measured=0.97, contradictions=[("key", "it is that of another run")])
    facts.runs["131"] = run("131", BEST, measured=0.96, contradictions=[("seal", "changed")])
    for number in range(2, 6):
        facts.runs[f"13{number}"] = run(f"13{number}", BEST, measured=0.85)
    item = fill(load(), facts, {})[5].items[0]
    assert item.points == 10 and "run 131 reaches" in item.why[-1]
    assert item.why[0] == "run 130 says what cannot be: it is that of another run; it does not count"


def test_the_best_run_counts_unless_it_starts_from_other_weights(facts):
    facts.runs["130"] = run("130", BEST, measured=0.97, init="weights/cifar10.pt")
    for number in range(1, 6):
        facts.runs[f"13{number}"] = run(f"13{number}", BEST, measured=0.85, init="IMAGENET1K_V1")
    item = fill(load(), facts, {})[5].items[0]
    assert item.points == 6 and item.why[0] == "run 130 starts from weights/cifar10.pt, which does not count"
    assert "0.8500, measured" in item.why[1]


def test_runs_of_other_notebooks_and_unmeasured_ones_do_not_count_for_the_accuracy(facts):
    for number in range(6):
        facts.runs[f"13{number}"] = run(f"13{number}", BEST, measured=None, verdict="not measured", sentence="it was not measured")
    assert points(facts)["accuracy"] == 0
    assert "it was not measured" in flags(facts)


def test_a_person_adds_and_takes_points(facts):
    parts = fill(load(), facts, {"report: the report": 25.0})
    result = Result(facts, parts, adjusted=-3)
    assert (result.points, result.of, result.open) == (58 + 25 - 3, 100, 12)


def test_flags_tell_what_needs_a_look_and_nothing_else(facts):
    assert flags(facts) == ()
    facts.notes = [("missing", "no report"), ("ignored", "a file"), ("sandbox", "`train` changed x"), ("refused", "it unpacks to too much")]
    facts.notebooks[BEST].faults = [("order", "not in order"), ("printed", "cell 3 prints other numbers"), ("edited", "the test cell x was changed")]
    facts.findings["train"] = finding("train", 0, "reference")
    assert flags(facts) == (
        "`train`: a message", f"{BEST}: cell 3 prints other numbers", f"{BEST}: the test cell x was changed", "`train` changed x", "it unpacks to too much",
    )  # fmt: skip
    assert flags(dataclasses.replace(facts, failed="it took too long"))[0] == "it was not graded: it took too long"


# --- the file --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, words",
    [
        ("x = ", ["is no valid TOML", "mend that line"]),
        ("title = 'a'", ["has no parts"]),
        ("[a]\ntitle = 'A'", ["part a has no items"]),
        ("[a]\nitems = [{ points = 1 }]", ["part a", "exactly one of checks, evidence, accuracy, human"]),
        ("[a]\nitems = [{ points = 1, human = 'x', checks = ['train'] }]", ["exactly one of"]),
        ("[a]\nitems = [{ points = 0, human = 'x' }]", ["points must be a number above 0, not 0"]),
        ("[a]\nitems = [{ points = nan, human = 'x' }]", ["points must be a number"]),
        ("[a]\nitems = [{ points = 1, checks = ['trian'] }]", ["unknown exercise", "trian", "train"]),
        ("[a]\nitems = [{ points = 1, checks = 'train' }]", ["checks must be a list"]),
        ("[a]\nitems = [{ points = 1, human = 'x', runs = 3 }]", ["runs"]),
        ("[a]\nitems = [{ points = 1, evidence = '06', runs = -1 }]", ["runs a whole number"]),
        ("[a]\nitems = [{ points = 5, accuracy = [[0.9, 6]], notebook = '13' }]", ["points up to 5"]),
        ("[a]\nitems = [{ points = 5, accuracy = [[90, 5]], notebook = '13' }]", ["accuracy below 1"]),
        ("[a]\nitems = [{ points = 5, accuracy = [[0.9, 5]] }]", ["needs the notebook"]),
        ("[a]\nitems = [{ points = 5, accuracy = [[0.9, 5]], notebook = '13', start = 'random' }]", ["start must be a list"]),
        ("[a]\nitems = [{ points = 1, human = 'x' }, { points = 1, human = 'x' }]", ["asks a person for 'a: x' twice"]),
        ("[a]\nitems = [{ points = 1, human = '' }]", ["must say on one line"]),
    ],
)
def test_a_rubric_that_cannot_be_meant_is_named(tmp_path, text, words):
    (tmp_path / "rubric.toml").write_text(text)
    with one_sentence(*words):
        load(tmp_path / "rubric.toml")


def test_a_rubric_that_is_not_there_is_named(tmp_path):
    with one_sentence("rubric", "--rubric"):
        load(tmp_path / "none.toml")


def test_a_course_can_have_its_own(tmp_path, facts):
    (tmp_path / "own.toml").write_text("[code]\nitems = [{ points = 5, checks = ['train', 'test'] }]\n[talk]\nitems = [{ points = 2.5, human = 'the talk' }]")
    assert points(facts, {"talk: the talk": 2.0}, load(tmp_path / "own.toml")) == {"code": 5, "talk": 2}


def test_facts_survive_json(facts):
    import json

    assert Facts.from_dict(json.loads(json.dumps(facts.to_dict()))) == facts
    with pytest.raises((TypeError, KeyError)):
        Facts.from_dict({"student": "111"})
    assert rubric.load().text.startswith("# Who gives points")
