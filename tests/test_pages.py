"""The pages of a grading: what they show, that nothing in a submission gets out of its place in them, and what a browser makes of them."""

import html
import json
import math
import re
import threading
from dataclasses import replace
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote

import pytest
from sentences import one_sentence

from labkit import printing
from labkit.course import figures, pages
from labkit.course.facts import Facts, NotebookFacts, RunFacts
from labkit.course.rubric import Item, Part, Result, flags

needs_browser = pytest.mark.skipif(printing.find_browser() is None, reason="no browser is installed here")

ABOUT = {"rubric": "rubric.toml, 100 points", "measured on": "cifar10, 10,000 test images, on a CPU", "graded": "8 Dec 2026"}
ATTACKS = (
    "<script>document.title = 'owned'; fetch('OUTSIDE/script')</script>",
    "\"><img src='OUTSIDE/image' onerror=\"document.title = 'owned'\">",
    "'><svg onload=\"document.title = 'owned'\"><image href='OUTSIDE/svg'/></svg>",
    "</title></style></pre></code></td></table><link rel=stylesheet href='OUTSIDE/link'><style>@import 'OUTSIDE/css'; * { display: none }</style>",
    "<meta http-equiv=refresh content='0; url=OUTSIDE/refresh'><base href='OUTSIDE/'><iframe src='OUTSIDE/frame'></iframe>",
    "<meta http-equiv='Content-Security-Policy' content=\"script-src * 'unsafe-inline'\"><object data='OUTSIDE/object'></object>",
    "javascript:document.title='owned'", "'; default-src *; \"", "--><!-- <p id=owned>", "&lt;b&gt; &#60;script&#62;",
    "{{ 7 * 7 }}{% for x in range(10) %}{{ self.__init__ }}{% endfor %}{# #}", "{% raw %}",
    "\u202egnp.gpj \u2066\u200b\ufeff", "\x00\x1b[31m\r\x0b\u2028\ud800", "$\\frac{$ \\undefined_", "漢字 한국어 العربية עברית", "e" + "\u0301" * 300,
)  # fmt: skip


def history(epochs=10, part="valid"):
    losses = {f"{name}_loss": scale for name, scale in (("train", 2.0), (part, 2.2))}
    rows = ({name: scale / (epoch + 1) + 0.01 * epoch for name, scale in losses.items()} for epoch in range(epochs))
    accuracies = {"train_acc": 0.9, f"{part}_acc": 0.8}
    return [{"epoch": n, "lr": 1e-3, **row, **{name: top * n / (n + 2) for name, top in accuracies.items()}} for n, row in enumerate(rows, 1)]


def runs(number=12, measured=4):
    made = {}
    for n in range(number):
        key = f"{n * 0x9E3779B97F4A7C15 % 2**64:016x}"
        known = {"claimed": 0.7 + 0.02 * n, "measured": 0.7 + 0.02 * n, "verdict": "agrees", "sentence": "they agree"} if n < measured else {"claimed": 0.7}
        title = f"resnet18, {3125 * 2 ** (n % 5):,} images, lr 0.001, batch 256"
        made[key] = RunFacts(key, title, ["04_dataset_size"], "random", history=history(10, "test" if n % 2 else "valid"), **known)
    return made


def parts(given=8.0, human=None):
    why = ("`get_mean_std` passed", "the notebook was run from top to bottom")
    return (
        Part("normalization", "Normalization", (Item("checks", "get_mean_std", given, 8.0, why), Item("evidence", "the notebook", 2.0, 2.0, why[1:]))),
        Part("accuracy", "Accuracy", (Item("accuracy", "best model", 7.5, 10.0, ("run 0000 reaches 0.8512, over 0.80",)),)),
        Part("report", "Report", (Item("human", "report", human, 30.0, ()),)),
    )


def result(student="111063548", given=8.0, human=None, flags=(), hints=(), report="", comment="", **facts):
    finding = {"name": "passed", "message": "passed", "points": 5.0, "of": 5.0}
    missed = {"name": "no_zero_grad", "message": "`optimizer.zero_grad()` is missing", "points": 0.0, "of": 6.0}
    content = {
        "findings": {"replace_head": finding, "train": missed},
        "answers": {"replace_head": "def replace_head(model, num_classes, dropout=0.0):\n\treturn model"},
        "discussions": {"discussion_head": "1. Because.\n2. It is larger.", "discussion_size": " "},
        "notebooks": {"04_dataset_size": NotebookFacts([("order", "cell 3 was executed before cell 2")]), "05_imagenet_init": NotebookFacts()},
        "notes": [("missing", "there is no report")], "runs": runs(2), "digest": "ab" * 32,
    }  # fmt: skip
    known = Facts(student, **{"zip": f"{student}_lab3.zip"} | content | facts)
    return Result(known, parts(given, human), flags, hints, f"students/{student}.html", report, comment=comment)


def class_of(number):
    return [result(str(111000000 + 7 * n), given=float(n % 9), flags=("runs differ",) if n % 10 == 3 else (), runs=runs(2, n % 3)) for n in range(number)]


def student_page(made, folder):
    pages.write_student(made, folder)
    return (folder / made.page).read_text(encoding="utf-8")


def index_page(made, folder):
    pages.write_index(made, folder, ABOUT)
    return (folder / "index.html").read_text(encoding="utf-8")


class Skeleton(HTMLParser):
    """The tags of a page with the names of their attributes; what its links and pictures name; its text."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.links, self.pictures, self.texts = [], [], [], []
        self.feed(page)
        self.close()
        self.text = re.sub(r"\s+", " ", " ".join(self.texts))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, [name for name, _ in attributes]))
        self.links += [value for name, value in attributes if name == "href"]
        self.pictures += [value for name, value in attributes if name == "src"]

    def handle_data(self, text):
        self.texts.append(text)


# --- what is shown --------------------------------------------------------------------------------


def test_the_page_of_a_student_shows_all_that_was_found(tmp_path):
    made = result(flags=("run 3 differs from its claim",), comment="Well done.\nSee me.", report="reports/111063548.pdf")
    made.facts.report = 2_000_000
    page = Skeleton(student_page(made, tmp_path))
    for words in (
        "111063548 17.5 of 50 points; 30 are open until a person has looked", "Needs a look run 3 differs from its claim", "Comment Well done. See me.",
        "Normalization 10 of 10", "Report 0 of 30 30 open", "run 0000 reaches 0.8512, over 0.80", "open, of 30", "7.5 of 10",
        "no_zero_grad `optimizer.zero_grad()` is missing", "0 of 6", "return model", "1. Because. 2. It is larger.", "discussion_size empty",
        "04_dataset_size order cell 3 was executed before cell 2", "missing there is no report", "111063548_lab3.zip", "ab" * 32,
        "report (PDF, 2 MB)", "0.7200", "On the line both are the same",
    ):  # fmt: skip
        assert words in page.text, words
    assert page.links == ["../index.html", "../reports/111063548.pdf"]
    assert page.text.index("Needs a look") < page.text.index("Normalization") < page.text.index("no_zero_grad") < page.text.index("Curves")


def test_hints_on_others_stay_off_the_page_that_a_student_may_get(tmp_path):
    made = result(hints=("`train` is 98% like that of 111063000",))
    assert "111063000" not in student_page(made, tmp_path) and "98% like that of 111063000" in index_page([made], tmp_path)


def test_the_measured_runs_come_first_then_those_that_something_speaks_against(tmp_path):
    some = runs(14, measured=2)
    odd = list(some)[7]
    some[odd].contradictions.append(("time", "the training ends in the future"))
    page = student_page(result(runs=some), tmp_path)
    keys = re.findall(r'<th scope="row"><code>([0-9a-f]{16})', page)
    assert sorted(keys) == sorted(some) and set(keys[:2]) == set(list(some)[:2]) and keys[2] == odd
    drawn = re.findall(r"<figcaption><code>([0-9a-f]{16})", page)
    assert drawn == keys[:12] and "12 runs of 14, the measured ones first" in page
    assert re.findall(r'<tr class="look"><th scope="row"><code>([0-9a-f]{16})', page) == [odd]


@pytest.mark.parametrize(("verdict", "marked"), [("agrees", False), ("not asked", False), ("differs", True), ("not measured", True)])
def test_a_run_is_marked_by_its_verdict(tmp_path, verdict, marked):
    run = RunFacts("0" * 16, measured=0.5, claimed=0.9, verdict=verdict, sentence="0.4000 apart")
    page = student_page(result(runs={run.key: run}), tmp_path)
    assert ('<tr class="look"' in page) == marked and ("0.4000 apart" in page) == marked


def test_a_grading_that_failed_has_a_page(tmp_path):
    bare = Facts("111", "111_lab3.zip", failed="the sandbox ran out of memory")
    page = Skeleton(student_page(Result(bare, (), flags(bare), page="students/111.html"), tmp_path))
    for words in ("it was not graded: the sandbox ran out of memory", "0 of 0 points", "No exercise was checked.", "No run was", "No notebook was"):
        assert words in page.text


def test_points_that_a_person_added_or_took_are_said(tmp_path):
    for adjusted, words in ((2.5, "Adjusted by a person +2.5"), (-3.0, "Adjusted by a person -3")):
        made = replace(result(), adjusted=adjusted)
        assert words in Skeleton(student_page(made, tmp_path)).text and pages._number(made.points) in student_page(made, tmp_path)


def test_two_submissions_of_one_student_can_be_told_apart(tmp_path):
    made = [result("1", zip="1_lab3.zip"), replace(result("1", zip="1_lab3 (2).zip"), page="students/1-2.html"), result("2", zip="2_lab3.zip")]
    page = Skeleton(index_page(made, tmp_path))
    assert "1_lab3.zip" in page.text and "1_lab3 (2).zip" in page.text and "2_lab3.zip" not in page.text
    assert page.links[-3:] == ["students/1.html", "students/1-2.html", "students/2.html"]


def test_the_index_begins_with_what_needs_a_look(tmp_path):
    some = class_of(20)
    page = Skeleton(index_page(some, tmp_path))
    assert "20 submissions · 2 to look at · 20 with points" in page.text
    assert page.text.index("runs differ") < page.text.index("Points of the class") < page.text.index("How it was graded")
    flagged = [f"students/{made.student}.html" for made in some if made.flags]
    assert page.links == ["#look", "#students", *flagged, *(made.page for made in some)]
    assert all(f"{title} {value}" in page.text for title, value in ABOUT.items())


def test_the_picture_of_the_distribution_can_be_read_aloud(tmp_path):
    page = index_page([result(str(n), given=given) for n, given in enumerate((0.0, 1.0, 8.0, math.nan))], tmp_path)
    assert 'alt="Students by points, 5 to 10: 1, 10 to 15: 1, 15 to 20: 1."' in page
    assert "Median 10.5, mean 12.5, from 9.5 to 17.5 of 50 points." in page


@pytest.mark.parametrize(("number", "words"), [(0, "No submission was graded."), (1, "1 submission ·"), (300, "300 submissions")])
def test_a_class_of_any_size(tmp_path, number, words):
    page = Skeleton(index_page(class_of(number), tmp_path))
    assert words in page.text and len([tag for tag, _ in page.tags if tag == "tr"]) == (number + 1 if number else 0)


def test_parts_that_a_student_lacks_are_a_dash(tmp_path):
    bare = Result(Facts("222", "222.zip"), parts()[:1], page="students/222.html")
    row = re.findall(r"<tr>.*?</tr>", index_page([result(), bare], tmp_path), re.S)[-1]
    assert re.findall(r'data-value="(.*?)"', row) == ["10", "0", "10", "", "", "", "0", "0"]


def test_the_same_results_give_the_same_bytes(tmp_path):
    first, second = (student_page(result(), tmp_path / name) for name in "ab")
    assert first == second and index_page(class_of(3), tmp_path) == index_page(class_of(3), tmp_path)
    assert [path.name for path in tmp_path.rglob("*.part")] == []


def test_a_folder_that_cannot_be_written_is_said(tmp_path):
    (tmp_path / "students").write_text("a file")
    with one_sentence("cannot write", "--out"):
        pages.write_student(result(), tmp_path)


# --- numbers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf, 1e308, 10**400, "1.5", "$\\frac{$", True, [1]])
def test_any_value_in_a_history_leaves_a_page(tmp_path, value):
    rows = history(3)
    rows[1]["valid_loss"] = rows[2]["train_acc"] = rows[2]["train_loss"] = value
    page = student_page(result(runs={"k": RunFacts("k", history=rows)}), tmp_path)
    assert page.count("<img ") == 1 and "nan" not in Skeleton(page).text


def test_a_history_without_columns_leaves_a_page(tmp_path):
    page = student_page(result(runs={"k": RunFacts("k", history=[{}, {"x": 1}])}), tmp_path)
    assert page.count("<img ") == 1


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1, 2.5, 1e308])
def test_what_is_no_accuracy_is_a_dash(tmp_path, value):
    run = RunFacts("k", claimed=value, measured=value, verdict="differs", history=history(2))
    made = result(runs={"k": run}, given=value)
    for page in (student_page(made, tmp_path), index_page([made], tmp_path)):
        assert "–" in page and not re.search(r"\b(nan|inf|None)\b", Skeleton(page).text)


def test_a_long_history_makes_a_small_picture():
    assert len(figures.curves(history(30_000))) < 120_000


def test_curves_draw_the_lines_that_the_history_has():
    both = figures.curves(history(5, "test"))
    assert all(color in both for color in (figures.COLORS["train"], figures.COLORS["test"])) and figures.COLORS["valid"] not in both
    assert all(f">{words}<" in both for words in ("epoch", "loss", "accuracy"))


def test_a_picture_does_not_depend_on_those_before():
    several = [history(10), [{}], history(1, "test"), [{"train_loss": 1e5, "valid_acc": 0.5}], history(40, "test")]
    assert [figures.curves(one) for one in several] == [figures.curves(one) for one in several[::-1]][::-1]


def test_bins_hold_every_student():
    assert figures.bins([-1, 0, 9.99, 10, 100, 120, math.nan], 100) == [
        (0, 10, 3), (10, 20, 1), *((low, low + 10, 0) for low in range(20, 90, 10)), (90, 100, 2)
    ]  # fmt: skip
    assert sum(count for *_, count in figures.bins([0, 0], 0)) == 2


# --- hostile texts --------------------------------------------------------------------------------


def spoiled(text):
    """A result in which every text that a submission can have a hand in is `text`."""
    run = RunFacts(text, text, [text], text, True, history(3), [(text, text)], 0.9, 0.5, "differs", text, text)
    finding = {"name": text, "message": text, "points": 0.0, "of": 5.0}
    facts = Facts(
        text, text, text, [(text, text)], {text: finding}, {text: text}, {text: text}, {text: NotebookFacts([(text, text)], [text])}, {text: run}, 1000, text
    )
    part = Part("part", text, (Item("checks", text, 1.0, 2.0, (text,)), Item("human", text, None, 2.0, (text,))))
    return Result(facts, (part,), (text,), (text,), "students/x.html", "reports/x.pdf", comment=text)


@pytest.mark.parametrize("attack", [*ATTACKS, " ".join(ATTACKS)])
def test_a_hostile_text_stays_text(tmp_path, attack):
    for write in (student_page, lambda made, folder: index_page([made], folder)):
        page, plain = (Skeleton(write(spoiled(text), tmp_path)) for text in (attack, "plain"))
        assert page.tags == plain.tags and page.links == plain.links and len(page.pictures) == len(plain.pictures)
        assert all(source.startswith("data:image/svg+xml;base64,") for source in page.pictures)
        assert not any(sign in page.text for sign in "\u202e\u2066\u200b\ufeff\x00\x1b\u2028")


def test_template_syntax_is_shown_as_it_is(tmp_path):
    assert "{{ 7 * 7 }}{% for x" in student_page(spoiled(ATTACKS[10]), tmp_path)


def test_signs_that_cannot_be_seen_are_shown(tmp_path):
    assert Skeleton(student_page(result(discussions={"q": "a\u202eb\nc\td"}), tmp_path)).text.count("a�b c d") == 1


@pytest.mark.parametrize("text", ["x" * 1_000_000, "\n" * 1_000_000, "\t" * 1_000_000, "漢 " * 500_000, "<" * 1_000_000])
def test_a_huge_text_makes_no_huge_page(tmp_path, text):
    assert len(student_page(spoiled(text), tmp_path)) < 700_000 and len(index_page([spoiled(text)], tmp_path)) < 100_000


def test_a_flood_of_entries_is_cut(tmp_path):
    many = [("kind", "a sentence of some length")] * 100_000
    run = RunFacts("k", notebooks=["n"] * 100_000, contradictions=many)
    made = result(notes=many, notebooks={"n": NotebookFacts(many)}, runs={"k": run}, flags=("flag",) * 100_000, hints=("hint",) * 100_000)
    page, index = student_page(made, tmp_path), index_page([made], tmp_path)
    assert len(page) < 60_000 and len(index) < 60_000 and "and 99,990 more" in page and "and 99,996 more" in index


@pytest.mark.parametrize("name", ["a b?c#d.pdf", "javascript:alert(1)", "//outside.example/x.pdf", "\"onclick='x'.pdf", "ü.pdf", "%2e%2e.pdf"])
def test_links_are_relative_whatever_the_file_is_called(tmp_path, name):
    link = Skeleton(student_page(result(report=name), tmp_path)).links[1]
    assert re.fullmatch(r"\.\./[\w./%-]+", link, re.A) and (name.startswith("//") or unquote(link) == f"../{name}")


def test_the_policy_allows_one_script_and_only_in_the_index(tmp_path):
    page, index = student_page(result(), tmp_path), index_page([result()], tmp_path)
    policies = [html.unescape(re.search(r'Security-Policy" content="(.*?)"', text)[1]) for text in (page, index)]
    assert "script" not in policies[0] and "<script" not in page and index.count("<script>") == 1
    assert all(policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-") and "unsafe" not in policy for policy in policies)
    assert "script-src 'sha256-" in policies[1]


def test_nothing_of_a_submission_reaches_a_picture():
    assert "owned" not in figures.curves([{"epoch": "owned", "owned": 1, "train_loss": "owned", "train_acc": 0.5, "lr": "owned"}])


# --- in a browser ---------------------------------------------------------------------------------


class Site:
    """`folder` as a site, and another one beside it; what each is asked for is kept."""

    def __init__(self, folder):
        self.folder, self.asked, self.outside_asked = folder, [], []
        self.inside, self.outside = self._serve(self.asked), self._serve(self.outside_asked)

    def _serve(self, asked):
        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_):
                asked.append(self.path)

            def end_headers(self):
                self.send_header("Cache-Control", "no-store")  # else a page that is written twice within a second is shown as it was
                super().end_headers()

        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=self.folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server

    def address(self, server):
        return f"http://127.0.0.1:{server.server_port}"

    def attack(self, text):
        return text.replace("OUTSIDE", self.address(self.outside))

    def look(self, page, script, width=1280):
        """What `script`, the body of a function of the window `w` that shows `page`, returns in a browser."""
        probe = f"""<!doctype html><iframe src="{page}" width="{width}" height="900"></iframe><pre id="seen"></pre><script>
            onload = () => {{ const w = frames[0]; seen.textContent = JSON.stringify((() => {{ {script} }})()) }}</script>"""
        (self.folder / "probe.html").write_text(probe, encoding="utf-8")
        with open(self.folder / "dom", "w+b") as dom:
            printing.browse(printing.find_browser(), self.folder / "profile", "--dump-dom", f"{self.address(self.inside)}/probe.html", output=dom)
            dom.seek(0)
            seen = re.search(r'<pre id="seen">(.+?)</pre>', dom.read().decode(), re.S)
        return json.loads(html.unescape(seen[1]))


@pytest.fixture
def site(tmp_path):
    made = Site(tmp_path)
    yield made
    for server in (made.inside, made.outside):
        server.shutdown()
        server.server_close()


SEEN = "return [w.document.title, !!w.document.querySelector('#owned'), w.document.querySelectorAll('*').length, w.location.pathname]"


@needs_browser
@pytest.mark.parametrize("which", ["student", "index"])
def test_in_a_browser_nothing_of_a_submission_runs_or_loads(site, tmp_path, which):
    def write(text):
        made = spoiled(text)
        (student_page if which == "student" else lambda one, folder: index_page([one], folder))(made, tmp_path)
        return made.page if which == "student" else "index.html"

    title, owned, elements, path = site.look(write(site.attack(" ".join(ATTACKS))), SEEN)
    assert not title.startswith("owned") and not owned and path.endswith(".html")
    assert site.outside_asked == [] and {name.rpartition("/")[2] for name in site.asked} <= {"probe.html", "x.html", "index.html", "favicon.ico"}
    assert site.look(write("plain"), SEEN)[2] == elements


@needs_browser
def test_the_policy_alone_would_hold(site, tmp_path):
    """Were a text ever put out unescaped: the browser itself refuses it. Without the policy it is owned, so that the test can tell."""
    attacks = [site.attack(text) for text in ATTACKS if "OUTSIDE" in text and "refresh" not in text]
    page = student_page(result(runs=runs(1)), tmp_path).replace("<header>", "<header><p id=owned>" + " ".join(attacks), 1)
    (tmp_path / "held.html").write_text(page, encoding="utf-8")
    (tmp_path / "open.html").write_text(re.sub(r'<meta http-equiv="Content-Security-Policy".*?>', "", page), encoding="utf-8")
    assert site.look("held.html", SEEN)[:2] != ["owned", True] and site.outside_asked == []
    assert site.look("open.html", SEEN)[:2] == ["owned", True]
    assert {"/script", "/image", "/link", "/css"} <= set(site.outside_asked)


SORT = """
const head = (name) => [...w.document.querySelectorAll('thead th')].find((th) => th.textContent.startsWith(name));
const press = (name) => {
  const button = head(name).querySelector('button');
  button.focus();
  button.click();
  const rows = [...w.document.querySelectorAll('tbody tr')].map((row) => row.cells[0].textContent.trim());
  return [head(name).getAttribute('aria-sort'), w.document.querySelectorAll('[aria-sort]').length, w.document.activeElement === button, rows];
};
return NAMES.map(press);
"""


@needs_browser
def test_a_press_on_a_heading_sorts(site, tmp_path):
    rows = (("9", 3.0, 1), ("10", 8.0, 0), ("200", 0.0, 1), ("31", math.nan, 0))
    some = [result(student, given=given, runs=runs(1, shown)) for student, given, shown in rows]
    pages.write_index(some, tmp_path, ABOUT)
    names = ["points", "points", "student", "student", "Normalization", "measured"]
    seen = site.look("index.html", SORT.replace("NAMES", json.dumps(names)))
    assert seen == [
        ["descending", 1, True, ["10", "9", "200", "31"]],
        ["ascending", 1, True, ["200", "9", "10", "31"]],
        ["ascending", 1, True, ["9", "10", "31", "200"]],
        ["descending", 1, True, ["200", "31", "10", "9"]],
        ["descending", 1, True, ["10", "9", "200", "31"]],
        ["descending", 1, True, ["9", "200", "10", "31"]],
    ]


WIDTHS = "return [w.document.documentElement.scrollWidth, w.innerWidth, w.document.documentElement.scrollHeight]"


@needs_browser
@pytest.mark.parametrize("width", [1280, 400])
def test_no_text_makes_a_page_wider_than_the_window_or_endless(site, tmp_path, width):
    text = "x" * 300 + " e" + "\u0301" * 100 + "W" * 10_000 + "\n" * 10_000
    made = spoiled(text)
    pages.write_student(made, tmp_path)
    pages.write_index([made], tmp_path, {text: text})
    for page in (made.page, "index.html"):
        scroll, inner, height = site.look(page, WIDTHS, width)
        assert scroll <= inner and height < 25_000, page
