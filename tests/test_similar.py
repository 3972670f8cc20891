"""Likeness of answers across a class, with labkit's own, and runs that stand in two submissions."""

import ast
import importlib
import random
import sys
import time
from itertools import combinations
from pathlib import Path

import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from labkit import checks
from labkit.checks import notebook as reading
from labkit.course import similar
from labkit.course.answers import answer_sources
from labkit.course.facts import Facts, RunFacts

ROOT = Path(__file__).parents[1]
CATALOGUE = Path(__file__).with_name("checks")

TRAIN = '''def train(dataloader, model, loss_fn, optimizer):
    """Train for one pass over the data; return (avg_loss, avg_acc) over the samples seen."""
    model.train()
    total, right, count = 0.0, 0, 0
    for X, y in dataloader:
        # one step
        output = model(X)
        loss = loss_fn(output, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item() * X.shape[0]
        right += (output.argmax(1) == y).sum().item()
        count += X.shape[0]
    return total / count, right / count
'''
OTHERS = [
    "    losses = []\n    for step, batch in enumerate(dataloader):\n        x, y = (part.to(model.device) for part in batch)\n"
    "        losses.append(one_step(model, loss_fn, optimizer, x, y))\n    return tuple(np.mean(losses, axis=0))",
    "    device = next(model.parameters()).device\n    sums = torch.zeros(3)\n    for pair in tqdm(dataloader):\n        images, labels = pair\n"
    "        with torch.enable_grad():\n            value = loss_fn(model(images.to(device)), labels.to(device))\n        optimizer.zero_grad()\n"
    "        value.backward()\n        optimizer.step()\n        sums += torch.tensor([value.item(), 0, 1])\n    return (sums[0] / sums[2]).item(), 0.0",
    "    hits = [0, 0]\n    while True:\n        try:\n            data, target = next(iterator)\n        except StopIteration:\n            break\n"
    "        prediction = model.forward(data)\n        hits[0] += int(torch.eq(prediction.max(dim=1)[1], target).sum())\n        hits[1] += len(target)\n"
    "    return loss_fn(prediction, target).detach().numpy() / len(dataloader), hits[0] / hits[1]",
]
OTHERS = [TRAIN.split("\n")[0] + "\n" + body for body in OTHERS]


@pytest.fixture(scope="module")
def own():
    return similar.own_answers(ROOT / "notebooks")


def classroom(*answers, todo="train"):
    """Submissions of the students 1, 2, … with one answer each."""
    return [Facts(str(number), f"{number}_lab3.zip", answers={todo: answer}) for number, answer in enumerate(answers, 1)]


def renamed(source):
    """With other names, without comments, in another layout."""
    names = {"total": "loss_sum", "right": "hits", "count": "n", "X": "images", "y": "labels", "output": "logits"}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = names.get(node.id, node.id)
    return ast.unparse(tree)


# --- answers ------------------------------------------------------------------------------------


def test_names_comments_and_layout_do_not_count():
    changed = renamed(TRAIN)
    assert similar.words(changed) != similar.words(TRAIN) and similar.tokens(changed) == similar.tokens(TRAIN)
    assert similar.tokens(TRAIN) != similar.tokens(TRAIN.replace("argmax(1)", "argmin(1)")), "attributes count"
    assert similar.tokens("def f(a, b):\n    return a - b") != similar.tokens("def f(a, b):\n    return b - a"), "which name stands where counts"


def test_one_variable_more_changes_little():
    more = TRAIN.replace("    model.train()", "    start = time.time()\n    model.train()")
    found = similar.hints(classroom(TRAIN, more, *OTHERS))
    assert "like that of 2" in found[0][0] and "like that of 1" in found[1][0]


def test_what_the_course_gives_does_not_count(own):
    for todo, source in own.items():
        given = similar.given_lines(source)
        start, end = source.index("### BEGIN SOLUTION"), source.rindex("### END SOLUTION")
        open_exercise = source[:start] + reading.STUB.replace("\n", "\n        ") + source[end + len("### END SOLUTION") :]
        assert similar.words(open_exercise, given) == (), todo
        assert similar.tokens(source, given) and len(similar.tokens(source, given)) <= 250, todo
    stubs = [source[: source.index("### BEGIN")] + reading.STUB for source in (own["BasicBlock"],) * 4]
    assert not any(similar.hints(classroom(*stubs, todo="BasicBlock"), own).values())


def test_a_copy_is_said_with_what_is_usual():
    found = similar.hints(classroom(TRAIN, renamed(TRAIN), *OTHERS))
    usual = found[0][0].split("usually ")[1]
    assert found[0] == [f"`train` is 100% like that of 2, where two answers of this class are usually {usual}"]
    assert found[1] == [f"`train` is 100% like that of 1, where two answers of this class are usually {usual}"]
    assert found[2] == found[3] == found[4] == [] and 20 < int(usual.split("%")[0]) < 70


def test_a_copy_to_the_letter_is_said():
    found = similar.hints(classroom(TRAIN, *OTHERS, TRAIN.replace("    ", "        ")))
    assert found[0][0].startswith("`train` is that of 5 to the letter, names and comments included, where two")
    assert not any(found[index] for index in (1, 2, 3))


@pytest.mark.parametrize("others", [(), OTHERS[:1]])
def test_a_class_of_two_or_three(others):
    found = similar.hints(classroom(TRAIN, *others, renamed(TRAIN)))
    assert [bool(sentences) for sentences in found.values()] == [True, *[False] * len(others), True]
    assert found[0][0].endswith("in a class that is too small to say how alike two answers usually are")


def test_short_answers_are_alike_in_everyones_hands():
    decay = "def step_decay(epoch, base_lr, step_size, gamma):\n    return base_lr * gamma ** (epoch // step_size)"
    assert not any(similar.hints(classroom(*[decay] * 20, todo="step_decay")).values())


# Ways to write a line, the first ones more popular: of a class in which everyone chooses alone.
WAYS = {
    "replace_head": [
        ["def replace_head(model, num_classes, dropout=0.0):"],
        ["    in_features = model.fc.in_features", "    n = model.fc.in_features", ""],
        [
            "    linear = nn.Linear(in_features, num_classes)",
            "    head = nn.Linear(model.fc.in_features, num_classes)",
            "    linear = nn.Linear(512, num_classes)",
        ],
        [
            "    if dropout > 0:\n        model.fc = nn.Sequential(nn.Dropout(dropout), head)\n    else:\n        model.fc = head",
            "    model.fc = nn.Sequential(nn.Dropout(dropout), linear) if dropout > 0 else linear",
            "    if dropout == 0:\n        model.fc = linear\n    else:\n        model.fc = nn.Sequential(nn.Dropout(p=dropout), linear)",
        ],
        ["    return model"],
    ],
    "EarlyStopping": [
        ["class EarlyStopping:\n    def __init__(self, patience):\n        self.patience = patience"],
        ["        self.best = float('inf')", "        self.best = None", "        self.best = math.inf"],
        ["        self.bad_epochs = 0", "        self.counter = 0", "        self.wait = 0"],
        ["    def step(self, value):"],
        ["        if value < self.best:", "        if self.best is None or value < self.best:", "        if not value >= self.best:"],
        [
            "            self.best = value\n            self.counter = 0",
            "            self.best, self.bad_epochs = value, 0",
            "            self.wait = 0\n            self.best = value",
        ],
        [
            "        else:\n            self.counter += 1",
            "            return False\n        self.wait += 1",
            "        else:\n            self.bad_epochs = self.bad_epochs + 1",
        ],
        ["        return self.counter >= self.patience", "        if self.wait >= self.patience:\n            return True\n        return False"],
    ],
    "get_mean_std": [
        ["def get_mean_std(dataset, ratio=0.3):"],
        ["    n = int(len(dataset) * ratio)", "    count = max(1, round(ratio * len(dataset)))", "    size = math.ceil(len(dataset) * ratio)"],
        [
            "    indices = torch.randperm(len(dataset))[:n]",
            "    indices = random.sample(range(len(dataset)), n)",
            "    indices = np.random.choice(len(dataset), count, replace=False)",
        ],
        [
            "    images = torch.stack([dataset[i][0] for i in indices])",
            "    images = []\n    for i in indices:\n        images.append(dataset[i][0])\n    images = torch.stack(images)",
        ],
        ["    mean = images.mean(dim=(0, 2, 3))", "    mean = images.mean([0, 2, 3])", "    mean = torch.mean(images, dim=(0, 2, 3))"],
        ["    std = images.std(dim=(0, 2, 3))", "    std = torch.std(images, dim=(0, 2, 3))", "    std = images.transpose(0, 1).flatten(1).std(1)"],
        ["    return mean, std", "    return mean.tolist(), std.tolist()"],
    ],
    "top_k_accuracy": [
        ["def top_k_accuracy(logits, labels, k):"],
        ["    top = logits.topk(k, dim=1).indices", "    _, top = torch.topk(logits, k)", "    top = logits.argsort(dim=1, descending=True)[:, :k]"],
        ["    hits = (top == labels[:, None]).any(dim=1)", "    hits = (top == labels.unsqueeze(1)).sum(1)", "    hits = top.eq(labels.view(-1, 1)).any(1)"],
        ["    return hits.float().mean().item()", "    return hits.sum().item() / len(labels)"],
    ],
    "distillation_loss": [
        ["def distillation_loss(student_logits, teacher_logits, labels, temperature, alpha):"],
        ["    student = F.log_softmax(student_logits / temperature, dim=1)", "    student = (student_logits / temperature).log_softmax(1)"],
        ["    teacher = F.softmax(teacher_logits / temperature, dim=1)", "    teacher = torch.softmax(teacher_logits.detach() / temperature, 1)"],
        [
            "    soft = F.kl_div(student, teacher, reduction='batchmean') * temperature ** 2",
            "    soft = temperature * temperature * nn.KLDivLoss(reduction='batchmean')(student, teacher)",
            "    soft = -(teacher * student).sum(dim=1).mean() * temperature ** 2",
        ],
        ["    hard = F.cross_entropy(student_logits, labels)", "    hard = nn.CrossEntropyLoss()(student_logits, labels)"],
        ["    return alpha * soft + (1 - alpha) * hard", "    loss = soft * alpha + hard * (1 - alpha)\n    return loss"],
    ],
}  # fmt: skip


def honest(students, seed):
    """A class in which no one has looked at another one's answers; there are few ways, no free names and no comments, to make it hard."""
    generator = random.Random(seed)

    def answer(ways):
        return "\n".join(filter(None, (generator.choices(way, [1 / (1 + place) for place in range(len(way))])[0] for way in ways)))

    return [Facts(str(number), "zip", answers={todo: answer(ways) for todo, ways in WAYS.items()}) for number in range(students)]


@pytest.mark.parametrize(("students", "classes"), [(2, 60), (5, 40), (10, 20), (40, 5), (200, 1)])
def test_honest_classes_get_few_hints(students, classes, own):
    found = [sentences for seed in range(classes) for sentences in similar.hints(honest(students, seed), own).values()]
    assert sum(map(bool, found)) <= 0.03 * len(found), [sentences for sentences in found if sentences]


def test_short_answers_tell_together(own):
    students = honest(30, seed=0)
    students[7].answers = {todo: renamed(answer).replace("indices", "chosen") for todo, answer in students[3].answers.items()}
    found = similar.hints(students, own)
    assert len(found[3]) == 1 and found[3][0].startswith("all answers together are 100% like those of 7, where two answers of this class are usually")
    assert [index for index, sentences in found.items() if sentences] == [3, 7]


def test_a_ring_is_one_sentence_each():
    ring = [TRAIN.replace("total", f"total{number}") for number in range(5)]
    found = similar.hints(classroom(*ring, *OTHERS))
    assert found[0][0].startswith("`train` is 100% like that of 2, 3, 4 and 5, where")
    assert [len(sentences) for sentences in found.values()] == [1] * 5 + [0] * 3


def test_exercises_of_the_same_others_are_one_sentence():
    test = TRAIN.replace("def train", "def test").replace(", optimizer", "")
    submissions = [Facts(student, "zip", answers={"train": TRAIN, "test": test}) for student in ("a", "b")]
    (sentence,) = similar.hints(submissions)[0]
    assert sentence.startswith("2 answers are those of b to the letter, names and comments included: `test` (") and "`train` (" in sentence


def test_a_long_list_of_names_is_cut():
    sentence = similar.hints(classroom(*[TRAIN] * 30, *OTHERS))[0][0]
    assert "and 21 more to the letter" in sentence and len(sentence) < 300


def test_the_same_student_twice():
    submissions = classroom(TRAIN, TRAIN)
    submissions[1].student = "1"
    submissions[0].runs = submissions[1].runs = {"0" * 16: RunFacts("0" * 16, clock="c")}
    assert similar.hints(submissions) == {0: [], 1: []}


def test_labkits_own(own):
    package = similar.answer_sources({"n": new_notebook(cells=[new_code_cell('check("train", train)')])}, {"loops.py": (ROOT / "labkit/loops.py").read_text()})
    found = similar.hints(classroom(own["train"], package["train"], *OTHERS), own)
    assert "that of the course" in found[0][0] and "that of labkit itself" in found[1][0]
    assert found[2] == found[3] == found[4] == []


def test_the_order_of_files_makes_no_difference(own):
    submissions = classroom(TRAIN, *OTHERS, renamed(TRAIN), TRAIN, own["train"])
    expected = similar.hints(submissions, own)
    order = list(range(len(submissions)))
    random.Random(0).shuffle(order)
    found = similar.hints([submissions[index] for index in order], own)
    assert {index: found[place] for place, index in enumerate(order)} == expected and any(expected.values())


def test_a_class_without_answers(own):
    assert similar.hints([], own) == {}
    assert similar.hints([Facts("1", "zip"), Facts("2", "zip", answers={"train": "", "": ""})], own) == {0: [], 1: []}


def test_the_catalogue_of_answers_gives_no_false_alarm(own, monkeypatch):
    """Right answers that were written differently on purpose: each hint is about two that were made from the same text."""
    monkeypatch.syspath_prepend(CATALOGUE)
    alarms, pairs = [], 0
    for todo, answers in _catalogue().items():
        found = similar.hints(classroom(*(text for text, _ in answers), todo=todo), own)
        pairs += len(list(combinations(answers, 2)))
        related = {str(a): {str(b) for b, (_, other) in enumerate(answers, 1) if a != b and other & made_of} for a, (_, made_of) in enumerate(answers, 1)}
        alarms += [(todo, index, found[index]) for index in found if found[index] and not related[str(index + 1)] and "the course" not in found[index][0]]
    assert pairs > 400 and alarms == []


def _catalogue():
    """{exercise: [(source text, the names of all that it is made of), …]} of the right answers."""
    for file in sorted((CATALOGUE / "corpus").glob("[!_]*.py")):
        importlib.import_module(f"corpus.{file.stem}")
    found = {}
    for case in sys.modules["corpus"].CASES:
        answer = case.answer if hasattr(case.answer, "__qualname__") else type(case.answer)
        path, name = Path(sys.modules[answer.__module__].__file__), answer.__name__
        cells = [path.read_text(encoding="utf-8"), f'check("{case.todo}", {name})']
        if case.finding == "passed" and path.parent.name == "corpus":
            statements = reading.answers("catalogue", cells)[case.todo].statements
            made_of = {node.name for node in (statement.node for statement in statements) if isinstance(node, (ast.FunctionDef, ast.ClassDef))}
            text = answer_sources({"n": notebook(cells[1])}, {path.name: cells[0]})[case.todo]
            found.setdefault(case.todo, []).append((text, made_of))
    return found


# --- hostile texts ------------------------------------------------------------------------------

BROKEN = TRAIN.replace("for X, y in dataloader:", "for X, y in dataloader")
HOSTILE = [
    "-" * 99_999 + "1", "a" + ".b" * 49_999, "1+" * 49_999 + "1", "x=0x" + "f" * 90_000, "x = 1\0", "x = '\ud800'", "f'{" * 50, "(" * 90_000,
    "\n".join(f"v{number} = v{number + 1}" for number in range(9_000)), '"""' + "a\n" * 40_000, "¤" * 90_000, "\r" * 90_000, "def f(x):\n global x", "\f\v\x1c",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_any_text_is_compared_in_no_time(text, own):
    start = time.process_time()
    submissions = classroom(text, text, *OTHERS)
    for facts, todo in ((submissions[0], "</script>"), (submissions[1], text[:100])):
        facts.answers[todo] = text
    assert all(not found for index, found in similar.hints(submissions, own).items() if index > 1)
    assert answer_sources({"n": notebook(text, 'check("train", train)')}, {"a.py": text}) == {}
    assert time.process_time() - start < 5


def test_broken_python_is_compared_by_its_words():
    found = similar.hints(classroom(BROKEN, BROKEN.replace("# one step", "# mine"), *OTHERS))
    assert "`train` is 100% like that of 2" in found[0][0] and not found[2]


def test_a_large_class_takes_seconds(own):
    """500 students with all 21 exercises take 18 seconds."""
    start = time.process_time()
    similar.hints(honest(100, seed=3), own)
    assert time.process_time() - start < 10


# --- shared runs ----------------------------------------------------------------------------------


def with_runs(student, **clocks):
    return Facts(student, f"{student}_lab3.zip", runs={key: RunFacts(key, clock=clock) for key, clock in clocks.items()})


def test_copied_records():
    found = similar.hints([with_runs("a", k1="c1", k2="c2", k3="c3"), with_runs("b", k1="c1", k9="c2", k4="c4"), with_runs("c", k3="other", k5="c5")])
    times = "the epochs ended at the same times, which those of a second training never do"
    assert found[0] == [f"the records of 2 runs (k1 and k2) are also in the submission of b: {times}"]
    assert found[1] == [found[0][0].replace("k2", "k9").replace("of b", "of a")]
    assert found[2] == [], "the same key alone is honest: the same experiment trained twice"


def test_a_ring_that_shares_runs():
    found = similar.hints([with_runs(student, k1="c1", k2="c2") for student in "abcde"] + [with_runs("f", k2="c2")])
    assert len(found[0]) == 2 and "the record of run k1 is also in the submission of b, c, d and e:" in found[0][0]
    assert "k2 is also in the submission of b, c, d, e and f" in found[0][1] and len(found[5]) == 1


def test_runs_without_times():
    assert not any(similar.hints([with_runs("a", k1=""), with_runs("b", k1="")]).values())


# --- the texts of answers -------------------------------------------------------------------------


def notebook(*cells):
    return new_notebook(cells=[new_markdown_cell(text) if text.startswith("## ") else new_code_cell(text) for text in cells])


def test_the_course_has_an_own_answer_to_every_exercise(own):
    assert list(own) == checks.names()
    assert all(source.count("BEGIN SOLUTION") == source.count("END SOLUTION") >= 1 for source in own.values())
    assert "class BasicBlock" in own["BasicBlock"] and "class ResNet18" not in own["BasicBlock"]
    assert "def make_layer" in own["make_layer"] and "class BasicBlock" not in own["make_layer"]
    assert "class Residual" in own["BestModel"], "what it builds on belongs to it"


def test_an_answer_is_what_is_handed_in_with_what_it_builds_on():
    cells = (
        "from torch import nn\n%matplotlib inline\nSIZE = 3",
        "## text",
        "# my idea\ndef helper(x):  # of mine\n    return x * SIZE\n    # the end\nprint(helper(1))",
        "@cache\ndef other():\n    pass\n\n\n@decorated\ndef train(x):\n    return helper(x)",
        'check("train", train)',
    )
    assert answer_sources({"02": notebook(*cells)}, {}) == {
        "train": "# my idea\ndef helper(x):  # of mine\n    return x * SIZE\n    # the end\n@decorated\ndef train(x):\n    return helper(x)"
    }


@pytest.mark.parametrize(
    ("imports", "expression"),
    [
        ("import resnet18 as scratch", "scratch.BasicBlock"), ("import resnet18", "resnet18.BasicBlock"), ("from resnet18 import BasicBlock", "BasicBlock"),
        ("from resnet18 import *", "BasicBlock"), ("import torch, resnet18 as r", "r.BasicBlock"),
    ],
)  # fmt: skip
def test_an_answer_in_a_module(imports, expression):
    module = "from torch import nn\nclass BasicBlock(nn.Module):\n    right = 1\nclass ResNet18:\n    block = BasicBlock"
    sources = {"resnet18.py": module, "unused.py": module}
    sources |= {} if "*" in imports else {"a_first.py": "class BasicBlock:\n    wrong = 1"}
    found = answer_sources({"03": notebook(imports, f'check("BasicBlock", {expression})')}, sources)
    assert found == {"BasicBlock": "class BasicBlock(nn.Module):\n    right = 1"}


def test_an_answer_to_another_exercise_is_left_out():
    cells = ("def replace_head(m):\n    return m", "def reset(w):\n    return replace_head(w)", 'check("replace_head", replace_head)', 'check("reset", reset)')
    found = answer_sources({"all": notebook(*cells)}, {})
    assert found == {"replace_head": cells[0], "reset": cells[1]}


def test_broken_cells_are_taken_whole_and_the_rest_is_found():
    cells = ("def train(x:\n    return 1", "def test(x):\n    return 2", 'check("train", train)', 'check("test", test)', "def f(x):\n    global x")
    assert answer_sources({"02": notebook(*cells)}, {}) == {"train": cells[0], "test": cells[1]}


def test_other_ways_to_hand_in():
    cells = ("def mine(x):\n    return 1\ntrain = mine", "class Net:\n    pass\nNet.forward = lambda self: 1")
    calls = ('check("train", train)', 'check("SimpleCNN", Net)', 'check("test", lambda x: 1)', 'check("no exercise", mine)')
    found = answer_sources({"02": notebook(*cells, *calls)}, {})
    assert found == {"train": cells[0], "SimpleCNN": cells[1]}


def test_too_much_code_is_not_read():
    cells = ("def train(x):\n    return 1", 'check("train", train)')
    start = time.process_time()
    found = answer_sources({"01": notebook(*cells), "02": notebook("a = 1\n" * 100_000), "03": notebook(*cells)}, {"a.py": "b = 1\n" * 100_000})
    assert set(found) == {"train"} and time.process_time() - start < 5


def test_a_chain_of_statements_is_followed_in_no_time():
    chain = "\n".join(f"def f{number}(): return f{number + 1}" for number in range(5_000))
    start = time.process_time()
    found = answer_sources({"02": notebook(chain, *[f'check("{todo}", f0)' for todo in checks.names()])}, {})
    assert len(found["train"].split("\n")) == 5_000 and time.process_time() - start < 10
