"""Code that nobody trusts, run for real: nothing gets out, everything ends, and honest work beside it keeps its marks."""

import json
import math
import os
import platform
import random
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from pathlib import Path

import hostile
import nbformat
import pytest
from hostile import SMALL
from hostile_answers import ATTACKS
from nbformat.v4 import new_code_cell, new_notebook
from sentences import one_sentence

from labkit import checks
from labkit.checks import inside
from labkit.course import observe, sandbox, seccomp
from labkit.course.sandbox import MIB, WORK, Bubblewrap, Docker, Limits, Outcome, Unsafe

ROOT = Path(__file__).parents[1]
NOTEBOOKS = {path.name: path.read_bytes() for path in sorted((ROOT / "notebooks").iterdir()) if path.suffix in (".ipynb", ".py")}
WHY_NOT = Bubblewrap().available()
NEEDED = os.environ.get("LABKIT_NEED_SANDBOX")  # read here: no test sees the variables of labkit
TELL = "import os\ndef tell(data):\n    os.write(int(os.environ['LABKIT_RESULT_FD']), data)\n"


@pytest.fixture
def needs_bubblewrap():
    """Where LABKIT_NEED_SANDBOX is set, as in CI on Linux, a machine without a sandbox fails."""
    if WHY_NOT:
        _give_up(WHY_NOT)


def _give_up(reason):
    (pytest.fail if NEEDED else pytest.skip)(reason)


# --- hostile programs -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    made = hostile.canaries(tmp_path_factory.mktemp("outside"))
    yield made
    made.close()


@pytest.mark.parametrize("name", hostile.CASES)
def test_a_hostile_program_ends_with_a_name_and_harms_nothing(name, outside, needs_bubblewrap):
    assert hostile.failure(hostile.CASES[name], outside) is None


def test_the_canaries_sing(tmp_path):
    """Each of them is noticed when it is touched."""

    def connect(outside):
        with socket.create_connection(outside.listeners[0].getsockname()):
            wait_for(lambda: outside.touched)

    harms = [lambda o: o.file.write_text("x"), lambda o: (o.folder / "new").touch(), lambda o: (o.process.kill(), o.process.wait()), connect]
    for number, harm in enumerate(harms):
        (tmp_path / str(number)).mkdir()
        outside = hostile.canaries(tmp_path / str(number))
        assert outside.unharmed()
        harm(outside)
        assert not outside.unharmed()
        outside.close()
    sleeper = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "token-of-this-test"])
    assert wait_for(lambda: hostile.left("token-of-this-test") == [str(sleeper.pid)])
    sleeper.kill()
    sleeper.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="the cases have just been run by a user who is not root")
def test_the_same_without_rights(needs_bubblewrap):
    """The cases again, started by a user who is not root, with the system's Python: root's own may lie in root's home."""
    user = ["setpriv", "--reuid", "1000", "--regid", "1000", "--clear-groups", shutil.which("python3", path="/usr/bin") or "python3"]
    surroundings = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PATH": os.environ["PATH"], "HOME": "/nonexistent", "PYTHONDONTWRITEBYTECODE": "1"}

    def run(*arguments):
        done = subprocess.run([*user, *arguments], cwd="/", env=surroundings, capture_output=True, text=True)
        return done.stdout + done.stderr

    if why_not := run("-c", "import hostile; print(hostile.Bubblewrap().available() or '', end='')"):
        _give_up(f"not as another user: {why_not[-200:]}")
    assert json.loads(run("-m", "hostile")) == {}


def test_the_sandbox_goes_with_a_grader_that_is_killed(needs_bubblewrap):
    token = "token-of-a-killed-grader"
    program = "from labkit.course.sandbox import *\nb = Bubblewrap(Limits(seconds=900))\n"
    program += f"b.run([b.python, '-I', '-c', 'import time; time.sleep(900)', '{token}'], {{}})"
    grader = subprocess.Popen([sys.executable, "-c", program], cwd="/", env=os.environ | {"PYTHONPATH": str(ROOT)})
    sleeping = wait_for(lambda: [pid for pid in hostile.left(token) if _is_called_with(token, pid)])
    assert sleeping, "the program was never started"
    grader.send_signal(signal.SIGKILL)
    grader.wait()
    assert wait_for(lambda: not hostile.left(token))


def _is_called_with(argument, pid):
    """Whether it is the program in the sandbox: bwrap's name is another one, and in the grader the argument is a part of the program."""
    try:
        called = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        return Path(f"/proc/{pid}/comm").read_text().startswith("python") and argument.encode() in called
    except OSError:
        return False


def wait_for(condition, seconds=60):
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.05)
    return value


# --- an honest program ----------------------------------------------------------------------------


def boxes():
    yield pytest.param(Bubblewrap, id="Bubblewrap")
    yield pytest.param(Unsafe, id="Unsafe")


@pytest.fixture(params=boxes())
def box(request):
    """`box(seconds=5)`: a runner with these limits, of either kind."""
    if request.param is Bubblewrap:
        request.getfixturevalue("needs_bubblewrap")
    return lambda **limits: request.param(Limits(**SMALL | {"seconds": 30} | limits))


def test_files_arrive_and_result_log_and_status_come_back(box):
    runner = box()
    code = TELL + "import sys\nprint('said')\nprint('whispered', file=sys.stderr)\ntell(open('sub/a.bin', 'rb').read())\nsys.exit(3)"
    outcome = runner.run([runner.python, "-c", code], {"sub/a.bin": bytes(range(256))})
    assert (outcome.ended, outcome.status, outcome.result) == ("finished", 3, bytes(range(256)))
    assert sorted(outcome.log.split()) == ["said", "whispered"] and 0 < outcome.seconds < 30


def test_its_folders_can_be_written_and_are_empty_the_next_time(box):
    runner = box()
    code = TELL + "import tempfile\nopen('new', 'w').write('x')\ntempfile.NamedTemporaryFile().write(b'x')\ntell(str(sorted(os.listdir('.'))).encode())"
    for _ in range(2):
        assert runner.run([runner.python, "-c", code], {}).result == b"['new']"


@pytest.mark.parametrize(
    ("code", "ended", "limits"),
    [
        ("import time\ntime.sleep(60)", "deadline", {"seconds": 0.5}),
        ("while True:\n    print('x' * 1000)", "output", {}),
        ("import os\nos.abort()", "crashed", {}),
        ("import os\nos.fork()\na = [bytearray(2**20) for _ in range(150)]\nimport time\ntime.sleep(60)", "memory", {}),
    ],
)
def test_each_limit_has_its_name(box, code, ended, limits):
    runner = box(**limits)
    outcome = runner.run([runner.python, "-I", "-c", code], {})
    assert outcome.ended == ended and (outcome.status is None or ended == "crashed")


def test_a_folder_can_be_shown(tmp_path, needs_bubblewrap):
    (tmp_path / "a").write_text("seen")
    tmp_path.chmod(0o755)
    runner = Bubblewrap(Limits(**SMALL))
    code = TELL + "tell(open('/data/folder/a', 'rb').read())\nopen('/data/folder/b', 'w')"
    outcome = runner.run([runner.python, "-I", "-c", code], {}, {"/data/folder": tmp_path})
    assert outcome.result == b"seen" and "Read-only file system" in outcome.log and os.listdir(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["/etc/x", "../x", "a/../x", "a//b", ".", "", "a\0b"])
def test_names_that_lead_elsewhere_are_refused(name):
    with one_sentence(repr(name), "plain relative path"):
        Unsafe().run([], {name: b""})


def test_too_many_files_are_refused():
    with one_sentence("401 files", "at most 400"):
        Unsafe().run([], dict.fromkeys(map(str, range(401)), b""))


# --- what is said where it does not work ----------------------------------------------------------


@pytest.mark.parametrize(
    ("thing", "name", "value", "words"),
    [
        (sys, "platform", "darwin", "the sandbox needs Linux"),
        (platform, "machine", lambda: "riscv64", "riscv64"),
        (shutil, "which", lambda name: None, "sudo apt-get install bubblewrap"),
        (platform, "release", lambda: "5.10.0-8-amd64", "Linux 5.14 or newer (this is 5.10.0-8-amd64)"),
        (Path, "home", lambda: Path(sys.prefix) / "home", "an environment of its own"),
    ],
)
def test_what_is_missing_is_one_sentence(thing, name, value, words, monkeypatch):
    for setting in ((sys, "platform", "linux"), (platform, "machine", lambda: "x86_64"), (shutil, "which", str), (sandbox, "_is_root", lambda: False)):
        monkeypatch.setattr(*setting)
    monkeypatch.setattr(platform, "release", lambda: "6.1.0")
    monkeypatch.setattr(thing, name, value)
    assert words in Bubblewrap().available()
    with one_sentence(words):
        Bubblewrap().run(["true"], {})


def test_a_bubblewrap_that_fails_is_no_fault_of_the_submission(monkeypatch, tmp_path, needs_bubblewrap):
    fake = tmp_path / "bwrap"
    fake.write_text("#!/bin/sh\necho 'bwrap: setting up uid map: Permission denied' >&2\nexit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with one_sentence("uid map: Permission denied", "apparmor_restrict_unprivileged_userns", "Docker"):
        Bubblewrap().run(["true"], {})
    assert "uid map" in Bubblewrap().available()


def test_the_call_of_docker():
    """Not run here: there may be no daemon. What keeps code in must stand in the call."""
    docker = Docker(Limits(memory=512 * MIB, processes=20, tmpfs=8 * MIB), image="labkit-grade")
    call = docker.command_line("labkit-1", {f"{WORK}/01.ipynb": Path("/x/0")}, ["python", "-V"], {"/data": Path("/y")})
    text = " ".join(call)
    for words in (
        "--network none", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges", "--pids-limit 20", f"--memory {512 * MIB} ",
        f"--memory-swap {512 * MIB}", "--rm", "--pull never", f"type=bind,src=/x/0,dst={WORK}/01.ipynb,readonly", "src=/y,dst=/data,readonly",
        f"--tmpfs {WORK}:size={8 * MIB}",
    ):  # fmt: skip
        assert words in text
    assert int(call[call.index("--user") + 1]) > 1000 and call[-2:] == ["python", "-V"] and call.index("labkit-grade") < call.index("-c")
    assert "privileged " not in text and "docker.sock" not in text


def test_docker_without_a_daemon_is_one_sentence(monkeypatch, tmp_path):
    fake = tmp_path / "docker"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "docker is missing" in Docker().available()
    for said, words in (
        ("Cannot connect to the Docker daemon", "start its daemon"),
        ("Error: No such image: labkit-grade", "build it as docs/sandbox.md says"),
    ):
        fake.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
        fake.chmod(0o755)
        assert words in Docker().available()


def test_a_result_through_the_standard_output():
    """How it leaves a container: the launcher moves it, and what is printed goes to the other one."""
    call = sandbox._launched(sys.executable, [sys.executable, "-c", TELL + "tell(b'result')\nprint('log')"], {}, 7, swap=True)
    done = subprocess.run(call, capture_output=True, env={"LABKIT_RESULT_FD": "7"})
    assert (done.stdout, done.stderr, done.returncode) == (b"result", b"log\n", 0)


# --- the filter of system calls -------------------------------------------------------------------


def verdict(program, number, arguments=(), architecture=0xC000003E):
    """What the filter answers: the four kinds of instruction that it uses, carried out here."""
    data = struct.pack("=iIQ6Q", number, architecture, 0, *arguments, *[0] * (6 - len(arguments)))
    steps, place = list(struct.iter_unpack("=HBBI", program)), 0
    while True:
        code, then, otherwise, value = steps[place]
        match code:
            case 0x20:
                register = struct.unpack_from("=I", data, value)[0]
            case 0x06:
                return value
            case _:
                true = {0x15: register == value, 0x35: register >= value, 0x45: register & value != 0}[code]
                place += then if true else otherwise
        place += 1


ALLOW, EPERM, ENOSYS, EAFNOSUPPORT, KILL = 0x7FFF0000, 0x50001, 0x50026, 0x50061, 0x80000000


@pytest.mark.parametrize(("machine", "architecture", "column"), [("x86_64", 0xC000003E, 0), ("aarch64", 0xC00000B7, 1)])
def test_the_filter_on_both_processors(machine, architecture, column):
    program = seccomp.program(machine)

    def ask(number, *arguments):
        return verdict(program, number, arguments, architecture)

    numbers = {name: both[column] for name, both in (seccomp.DENIED | seccomp.LOOKED_INTO).items() if both[column] is not None}
    assert len(set(numbers.values())) == len(numbers)
    assert {name for name in seccomp.DENIED if name in numbers and ask(numbers[name]) != EPERM} == set()
    assert [ask(numbers["clone"], flags) for flags in (0x11, 0x3D0F00, 0x10000000, 0x20011, 0x40000000)] == [ALLOW, ALLOW, EPERM, EPERM, EPERM]
    assert ask(numbers["clone3"]) == ENOSYS and ask(470) == ENOSYS
    assert [ask(numbers["socket"], family) for family in (1, 2, 10, 16, 17, 40, 38)] == [ALLOW] * 3 + [EAFNOSUPPORT] * 4
    assert [ask(numbers["ioctl"], 0, request) for request in (0x5401, 0x5412, 0x541C)] == [ALLOW, EPERM, EPERM]
    assert [ask(numbers["prlimit64"], pid) for pid in (0, 1)] == [ALLOW, EPERM]
    looked = set(numbers.values())
    assert all(ask(number) == ALLOW for number in range(400) if number not in looked)
    assert verdict(program, 0, architecture=0x40000003) == KILL
    if machine == "x86_64":
        assert ask(0x40000000 | 101) == KILL


def test_the_numbers_are_those_of_the_headers():
    """Where the kernel's headers are installed."""
    headers = [Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h"), Path("/usr/include/asm-generic/unistd.h")]
    for column, path in enumerate(headers):
        if path.exists():
            known = {name: int(number) for name, number in re.findall(r"#define __NR(?:3264)?_(\w+)\s+(\d+)", path.read_text())}
            for name, both in (seccomp.DENIED | seccomp.LOOKED_INTO).items():
                assert both[column] == known.get(name), name


def test_another_processor_is_one_sentence():
    with one_sentence("riscv64", "Docker"):
        seccomp.program("riscv64")


# --- answers --------------------------------------------------------------------------------------


def notebook(cells):
    """The bytes of a notebook of code cells."""
    return nbformat.writes(new_notebook(cells=[new_code_cell(cell) for cell in cells])).encode()


def test_the_source_gets_full_marks_through_the_sandbox(needs_bubblewrap):
    seen = observe.observe(NOTEBOOKS, Bubblewrap())
    assert seen.outcome.ended == "finished" and seen.notes == () and seen.missing == ()
    assert {todo: finding.name for todo in checks.names() if not (finding := checks.judge(todo, seen.observations[todo])).passed} == {}


@pytest.fixture(scope="module")
def attacked():
    """The source, before it a notebook of attacks, and one that nobody can read."""
    if WHY_NOT:
        return None
    # Each in a notebook of its own: in one, an answer would build on every cell that binds a name it uses, such as `os`.
    attacks = {f"00_{todo}.ipynb": notebook([attack.cell(todo)]) for todo, attack in ATTACKS.items()}
    files = NOTEBOOKS | attacks | {"00_nested.ipynb": b"[" * 10**6, "00_parens.ipynb": notebook(["x = " + "(" * 5000])}
    return observe.observe(files, Bubblewrap(Limits(memory=2048 * MIB)), seconds=10)


@pytest.mark.parametrize("todo", ATTACKS)
def test_an_attack_from_an_answer_costs_that_answer(todo, attacked, needs_bubblewrap):
    attack = ATTACKS[todo]
    finding = checks.judge(todo, attacked.observations[todo])
    assert not finding.passed and finding.points <= 0.5 * finding.of
    assert attack.finding in ("", finding.name) and attack.words in finding.message, finding


@pytest.mark.parametrize("todo", [todo for todo in checks.names() if todo not in ATTACKS])
def test_honest_answers_beside_attacks_keep_full_marks(todo, attacked, needs_bubblewrap):
    assert checks.judge(todo, attacked.observations[todo]).passed


def test_the_run_as_a_whole_came_to_its_end(attacked, needs_bubblewrap):
    assert attacked.outcome.ended == "finished" and attacked.outcome.status == 0
    words = {todo: attack.words.removeprefix("it changed ") for todo, attack in ATTACKS.items() if attack.words.startswith("it changed ")}
    changed = [f"`{todo}` changed {what!r}, with which it is checked" for todo, what in words.items()]
    assert len(changed) == 2
    assert sorted(attacked.notes) == sorted(["the notebook '00_nested.ipynb' cannot be read", *changed]) and attacked.missing == ()


def test_the_probe_without_a_sandbox(monkeypatch):
    """`Unsafe`: the same observations; an exercise that kills its group takes nothing else with it."""
    cells = ["import math\nNOTHING = 0", "import os\ndef step_decay(epoch, base_lr, step_size, gamma):\n    os.killpg(0, 9)", 'check("step_decay", step_decay)']
    right = "def updates_per_epoch(num_examples, batch_size, drop_last=False):\n"
    right += "    return num_examples // batch_size if drop_last else -(-num_examples // batch_size)"
    seen = observe.observe({"1.ipynb": notebook([*cells, right, 'check("updates_per_epoch", updates_per_epoch)'])}, Unsafe())
    assert checks.judge("step_decay", seen.observations["step_decay"]).message.endswith("its process ended: signal 9")
    assert checks.judge("updates_per_epoch", seen.observations["updates_per_epoch"]).passed
    assert set(seen.missing) == set(checks.names()) - {"step_decay", "updates_per_epoch"} and seen.notes == ()


# --- reading the result ---------------------------------------------------------------------------


def result(*lines, ended="finished", status=0, end=b"\n"):
    """What `read` makes of these lines."""
    data = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + end
    return observe.read(Outcome(ended, status, data, "", 1.0))


HEADING = {"missing": [todo for todo in checks.names() if todo not in ("train", "test")], "unreadable": []}
LOOKED = {"look": {"value": "callable"}}


def line(todo, observations=LOOKED):
    return {"todo": todo, "observations": observations}


def test_an_honest_result():
    seen = result(HEADING, line("train"), line("test", {"look": {"value": math.nan}}))
    assert seen.observations["train"] == LOOKED and math.isnan(seen.observations["test"]["look"]["value"])
    assert seen.notes == () and len(seen.missing) == len(checks.names()) - 2


@pytest.mark.parametrize(
    "bad",
    [
        b"", b"{", b"\xff\xfe", b"[]", b"3", b"null", b'"text"', b"[" * 200_000, b'{"a":' * 50_000, b'{"todo": "train"}', b"1" * 10_000,
        {"todo": "hack", "observations": {}},
        {"todo": "train", "observations": []}, {"todo": ["train"], "observations": {}}, {"todo": "train", "observations": {}, "points": 6},
        {"todo": "train", "outcome": "passed", "detail": ""}, {"todo": "train", "outcome": "died", "detail": 3}, {"todo": None}, HEADING,
        line("train", {"look": "x" * 20_001}), line("train", {"x" * 20_001: 1}), line("train", {"look": 2**201}), line("train", {"look": [0] * 500_001}),
        {"todo": "train", "observations": {"look": json.loads("[" * 40 + "]" * 40)}},
        b'{"todo": "train", "observations": {"look": "' + b"x" * 6 * 2**20 + b'"}}',
    ],
    ids=range(25),
)  # fmt: skip
def test_a_bad_line_is_reported_and_counts_for_nothing(bad):
    seen = result(HEADING, bad, line("test"))
    assert seen.observations["test"] == LOOKED and len(seen.notes) == 1
    assert not checks.judge("train", seen.observations["train"]).points


def test_of_two_results_neither_counts():
    seen = result(HEADING, line("train"), line("train"), line("test"))
    assert "some are forged" in seen.notes[0] and "`train`" in seen.notes[0]
    assert "more than one result" in checks.judge("train", seen.observations["train"]).message and seen.observations["test"] == LOOKED


def test_a_run_that_was_cut_off():
    seen = result(HEADING, line("train"), json.dumps(line("test")).encode()[:30], ended="memory", status=None, end=b"")
    assert seen.observations["train"] == LOOKED and seen.notes == ("the run did not come to its end: memory, ended from outside",)
    assert "the whole run ended before (memory)" in checks.judge("test", seen.observations["test"]).message
    nothing = result(ended="crashed", status=139, end=b"")
    assert set(nothing.observations) == set(checks.names()) and nothing.missing == ()


def test_a_flood_of_lines_is_not_read():
    seen = result(HEADING, *[b"x"] * 10_000)
    assert len(seen.notes) <= 200 and "more than 200 lines" in seen.notes[0]


@pytest.mark.parametrize(
    ("kind", "detail", "name"), [("deadline", "20", "timeout"), ("deadline", "1e999", "timeout"), ("output", "x", "output"), ("died", "signal 9", "raises")]
)
def test_how_an_exercise_ended_becomes_a_finding(kind, detail, name):
    seen = result(HEADING, {"todo": "train", "outcome": kind, "detail": detail}, line("test"))
    finding = checks.judge("train", seen.observations["train"])
    assert (finding.name, finding.points) == (name, 0)


def test_halves_of_characters_can_be_written():
    seen = result(HEADING, b'{"todo": "train", "observations": {"look": {"raised": "\\ud800", "message": "\\udfff", "line": "", "own": false}}}', line("test"))
    assert checks.judge("train", seen.observations["train"]).message.encode()


@pytest.mark.parametrize(
    ("sent", "got"), [(b'{"observations": {"look": 1}}', {"observations": {"look": 1}}), (b'{"changed": "x"}', {"outcome": "tampered", "detail": "x"})]
)
def test_what_an_exercise_may_send(sent, got):
    assert inside._parsed(sent) == got
    for bad in (b"", b"[" * 100_000, sent[:-1], sent[:-1] + b', "todo": "x"}', b'{"observations": []}', b'{"changed": 3}'):
        assert inside._parsed(bad)["outcome"] == "garbled"


# --- judging what an opponent sends ---------------------------------------------------------------

GARBAGE = (
    math.nan, math.inf, -math.inf, True, None, 10**60, -1, 0, 12345.678, 1e308, "", "text", "\ud800", [], {}, [[]], [math.nan], {"values": [math.nan]},
    [10**9] * 4, {"type": "Tensor", "shape": [10**9, 10**9], "values": []},
)  # fmt: skip


def places(value, path=()):
    """The paths into nested data; of long lists the first, the middle and the last entry."""
    yield path
    keys = value if isinstance(value, dict) else sorted({0, len(value) // 2, len(value) - 1}) if isinstance(value, list) and value else ()
    for key in keys:
        yield from places(value[key], (*path, key))


def replaced(value, path, new):
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def at(value, path):
    for key in path:
        value = value[key]
    return value


@pytest.fixture(scope="module")
def honest():
    """{exercise: what is observed of a right answer}"""
    from labkit.checks import status
    from labkit.checks.notebook import answers
    from labkit.notebooks import LESSONS, find

    found = {}
    for path in find(ROOT / "notebooks", patterns=[LESSONS]):
        with status.beside(path):
            found |= {todo: json.loads(json.dumps(status.observe(answer))) for todo, answer in answers(path).items() if todo in checks.names()}
    return found


@pytest.mark.parametrize("todo", checks.names())
def test_the_judge_raises_on_nothing(todo, honest):
    draw, start = random.Random(todo), time.process_time()
    paths = list(places(honest[todo]))[1:]
    while time.process_time() - start < 0.6:  # some judges compute a network
        broken = replaced(honest[todo], draw.choice(paths), draw.choice(GARBAGE))
        finding = checks.judge(todo, broken)
        assert isinstance(finding.message, str) and len(finding.message) <= 600 and 0 <= finding.points <= finding.of


@pytest.mark.parametrize("todo", checks.names())
def test_what_is_no_finite_number_is_never_better_than_a_wrong_one(todo, honest):
    """A comparison with NaN is false: `abs(a - b) > tolerance` must not take it for right."""
    numbers = [path for path in places(honest[todo]) if isinstance(at(honest[todo], path), (int, float)) and not isinstance(at(honest[todo], path), bool)]
    start = time.process_time()
    for path in random.Random(todo).sample(numbers, len(numbers)):
        if time.process_time() - start > 1:
            break
        wrong = [checks.judge(todo, replaced(honest[todo], path, value)).passed for value in (12345.678, -98765.4)]
        for value in (math.nan, -math.inf, math.inf, 10**60, "text", [math.nan]):
            if at(honest[todo], path) != value and checks.judge(todo, replaced(honest[todo], path, value)).passed:
                assert any(wrong), (path, value)


@pytest.mark.parametrize("todo", checks.names())
def test_a_scene_that_is_missing_is_not_passed(todo, honest):
    for scene in honest[todo]:
        assert not checks.judge(todo, {name: outcome for name, outcome in honest[todo].items() if name != scene}).passed
