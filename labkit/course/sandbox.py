"""Run code that nobody trusts: without network, without files to write, with little memory and time, and all of it gone afterwards.

`Bubblewrap` is the sandbox (Linux); `Docker` is for where it does not work; `Unsafe` protects from accidents only. All
three have `available()` and `run(command, files)`. docs/sandbox.md says what each of them stops and what not.
"""

import json
import os
import platform
import secrets
import select
import selectors
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

import labkit
from labkit.course import seccomp
from labkit.errors import LabkitError

WORK = "/sandbox"  # the working folder inside
MIB = 2**20
POLL = 0.05  # seconds between two looks at clock and memory
LOG = 64 * 1024  # bytes of the log that are kept, from its end
INODE = 1024  # bytes that the kernel needs for a file, however empty
MAX_FILES = 400  # each takes a descriptor
# Waits for the end of its input, which comes with the end of whoever started it, and ends the process of a descriptor.
_GUARD = "import signal, sys\nsys.stdin.read()\nsignal.pidfd_send_signal(int(sys.argv[1]), signal.SIGKILL)"
_LAUNCH = Path(__file__).with_name("launch.py")
_NAMESPACES = ("--unshare-ipc", "--unshare-pid", "--unshare-net", "--unshare-uts", "--unshare-cgroup-try")


@dataclass(frozen=True)
class Limits:
    """What a run may use. seconds on the clock; cpu_seconds of each process; memory, output, file_size and tmpfs in bytes.

    memory: of all processes together, what they keep in folders included. output: of log and result together. tmpfs:
    of the working folder, of /tmp and of /dev/shm, each. processes: with their threads.
    """

    seconds: float = 600
    cpu_seconds: int = 300
    memory: int = 3072 * MIB
    output: int = 32 * MIB
    file_size: int = 64 * MIB
    processes: int = 64
    tmpfs: int = 128 * MIB

    def resources(self):
        """{name of a RLIMIT: value}, set inside before the command starts."""
        return {
            "RLIMIT_DATA": self.memory,  # not the address space, of which PyTorch reserves far more than it uses
            "RLIMIT_STACK": 8 * MIB,
            "RLIMIT_CPU": self.cpu_seconds,
            "RLIMIT_FSIZE": self.file_size,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_NOFILE": 256,
            "RLIMIT_CORE": 0,
            "RLIMIT_MEMLOCK": 0,
            "RLIMIT_MSGQUEUE": 0,
        }


@dataclass(frozen=True)
class Outcome:
    """What became of a run.

    ended: "finished", or past which limit it was ended ("deadline", "memory", "output"), or "crashed" (by a signal). status:
    the exit status, 128 + n after signal n, None where it was ended. result: what came through the pipe; log: the end
    of what was printed.
    """

    ended: str
    status: int | None
    result: bytes
    log: str
    seconds: float


class _Box:
    """A command under way: its `process`, and the descriptors `log` and `result` to read from."""

    def __init__(self, process, log, result):
        self.process, self.log, self.result = process, log, result

    def memory(self):
        """The bytes that it has in use now."""
        return _memory_of_tree(self.process.pid)

    def stop(self):
        """End all of it; returns when it is gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def status(self, log):
        """The exit status, after it has ended by itself; log: what it has printed, as text."""
        code = self.process.returncode
        return 128 - code if code < 0 else code


class _Output:
    """What has come out so far: the whole result, the end of the log, and how many bytes may still come."""

    def __init__(self, left):
        self.left, self.result, self.log = left, bytearray(), b""

    def take(self, name, chunk):
        self.left -= len(chunk)
        if name == "result":
            self.result += chunk
        else:
            self.log = (self.log + chunk)[-LOG:]


def _follow(box, limits):
    """Read what comes out until the command ends or is past a limit, end all of it, and return the `Outcome`."""
    start, output = time.monotonic(), _Output(limits.output)
    with selectors.DefaultSelector() as selector:
        for name in ("log", "result"):
            os.set_blocking(getattr(box, name), False)
            selector.register(getattr(box, name), selectors.EVENT_READ, name)
        try:
            ended = _until_it_ends(box, limits, start + limits.seconds, selector, output)
        finally:
            box.stop()
        while output.left >= 0 and _read(selector, output, 0):
            pass
    log = output.log.decode(errors="replace")
    status = box.status(log) if ended == "finished" else None
    if ended == "finished" and output.left < 0:
        ended, status = "output", None
    elif status is not None and status > 128:
        ended = "crashed"
    return Outcome(ended, status, bytes(output.result), log, time.monotonic() - start)


def _until_it_ends(box, limits, deadline, selector, output):
    next_look = 0
    while box.process.poll() is None:
        _read(selector, output, POLL)
        if output.left < 0:
            return "output"
        if (now := time.monotonic()) > deadline:
            return "deadline"
        if now > next_look:
            if box.memory() > limits.memory:
                return "memory"
            next_look = time.monotonic() + POLL
    return "finished"


def _read(selector, output, seconds):
    """Take what there is to read, wait for it at most `seconds`; returns how many bytes came."""
    if not selector.get_map():  # all is closed: it is about to end
        time.sleep(min(seconds, 0.005))
    before = output.left
    for key, _ in selector.select(seconds) if selector.get_map() else ():
        with suppress(BlockingIOError):
            if chunk := os.read(key.fd, 65536):
                output.take(key.data, chunk)
            else:
                selector.unregister(key.fileobj)
    return before - output.left


# --- how much memory ----------------------------------------------------------------------------


def _memory_of_tree(pid):
    """Bytes of a process and all its descendants. Pages that they share count for each of them; those of mapped files do not count."""
    total, waiting = 0, [pid]
    while waiting:
        pid = waiting.pop()
        with suppress(OSError, ValueError):  # it has ended meanwhile, or this is not Linux
            total += _memory_of(pid)
            for thread in os.listdir(f"/proc/{pid}/task"):
                waiting += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
    return total


def _memory_of(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith(("RssAnon:", "RssShmem:")))


def _memory_of_folder(path, size):
    """Bytes of what lies in a tmpfs of this size, and of the entries themselves; 0 where another file system is mounted there (yet)."""
    try:
        facts = os.statvfs(path)
    except OSError:
        return 0
    if facts.f_blocks * facts.f_frsize != size:
        return 0
    return (facts.f_blocks - facts.f_bfree) * facts.f_frsize + (facts.f_files - facts.f_ffree) * INODE


# --- what all of them need ----------------------------------------------------------------------


def _checked(files):
    """`files`, if their names can stand in the working folder."""
    if len(files) > MAX_FILES:
        raise LabkitError(f"{len(files)} files are too many for the sandbox; it takes at most {MAX_FILES}")
    for name in files:
        path = PurePosixPath(name)
        if str(path) != name or path.is_absolute() or ".." in path.parts or "\0" in name or name == ".":
            raise LabkitError(f"{name!r} cannot be the name of a file in the sandbox; use a plain relative path")
    return files


def _environment(result):
    """All the variables that the command sees. result: the descriptor for its result."""
    return {
        "LABKIT_RESULT_FD": str(result),
        "LABKIT_DEVICE": "cpu",
        "LABKIT_PROGRESS": "off",
        "HOME": WORK,
        "TMPDIR": "/tmp",
        "USER": "student",
        "LOGNAME": "student",
        "PATH": "/usr/bin",
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": "/tmp",
    }


def _launched(python, command, limits, result, user=None, swap=False):
    """The command line that sets the limits, see launch.py, and then becomes `command`."""
    settings = {"limits": limits, "user": user, "result": result, "swap": swap}
    return [python, "-I", "-S", "-c", _LAUNCH.read_text(encoding="utf-8"), json.dumps(settings), *command]


def _pipe(stack):
    """A pipe, both of whose ends are closed at the latest with `stack`: (to read, to write), the latter as a file object."""
    read, write = os.pipe()
    stack.callback(os.close, read)
    return read, stack.enter_context(os.fdopen(write, "wb", buffering=0))


class _Sandbox:
    """What the three have in common. python: the interpreter inside."""

    def __init__(self, limits=None):
        self.limits = limits or Limits()
        self.python = sys.executable

    def run(self, command, files, readonly=None):
        """Run `command` with `files` {relative path: bytes} in its working folder; returns the `Outcome`.

        readonly: {path inside: path here} that it may read besides, of what everyone may read here. It writes its result to the descriptor in LABKIT_RESULT_FD.
        Nothing of it is left when this returns. Raises `LabkitError` where the sandbox itself cannot be set up.
        """
        with ExitStack() as stack:
            return _follow(self._start(stack, command, _checked(files), readonly or {}), self.limits)


# --- bubblewrap ---------------------------------------------------------------------------------


class Bubblewrap(_Sandbox):
    """Namespaces, a filter of system calls and limits, by https://github.com/containers/bubblewrap; a fresh one for each run."""

    def available(self):
        """None, or one sentence that says why not and what to do."""
        if reason := _missing_for_bubblewrap():
            return reason
        try:
            outcome = Bubblewrap(Limits(seconds=20)).run(["/usr/bin/env", "true"], {})
        except LabkitError as error:
            return str(error)
        return None if outcome.status == 0 else f"a first program in the sandbox failed ({_last_line(outcome.log) or outcome.ended}); use Docker instead"

    def _start(self, stack, command, files, readonly):
        if reason := _missing_for_bubblewrap():
            raise LabkitError(reason)
        log, log_end = _pipe(stack)
        result, result_end = _pipe(stack)
        status, status_end = _pipe(stack)
        gate, gate_end = _pipe(stack)
        sheets = {name: stack.enter_context(_sheet(content)) for name, content in files.items()}
        filter_sheet = stack.enter_context(_sheet(seccomp.program()))
        descriptors = {name: sheet.fileno() for name, sheet in sheets.items()}
        options = [
            *self.options(descriptors, readonly, result_end.fileno()),
            "--seccomp",
            filter_sheet.fileno(),
            "--json-status-fd",
            status_end.fileno(),
            "--block-fd",
            gate,
        ]
        option_sheet = stack.enter_context(_sheet("\0".join(map(str, options)).encode()))
        launched = _launched(self.python, command, self.limits.resources(), result_end.fileno(), _spare_user() if _is_root() else None)
        kept = [result_end, status_end, filter_sheet, option_sheet, *sheets.values()]
        process = subprocess.Popen(
            ["bwrap", "--args", str(option_sheet.fileno()), "--", *launched], stdin=subprocess.DEVNULL, stdout=log_end, stderr=log_end,
            pass_fds=[gate, *(file.fileno() for file in kept)], cwd="/", env={"PATH": os.environ.get("PATH", os.defpath)}, start_new_session=True,
        )  # fmt: skip
        for file in (log_end, *kept):
            file.close()
        box = stack.enter_context(_BubblewrapBox(process, log, result, status, self.limits.tmpfs))
        with suppress(BrokenPipeError):  # it has failed already
            gate_end.write(b"guarded")
        return box

    def options(self, files, readonly, result):
        """Yield bwrap's options. files: {relative path: descriptor to read it from}; readonly: see `run`; result: a descriptor."""
        yield from ("--die-with-parent", "--new-session", "--as-pid-1", "--hostname", "sandbox", *_NAMESPACES, "--cap-drop", "ALL")
        # Root gives up its user in launch.py. It keeps no namespace of users: inside one it would still be root for the files here.
        yield from ("--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID") if _is_root() else ("--unshare-user", "--uid", "65534", "--gid", "65534")
        yield "--clearenv"
        for name, value in (_environment(result) | {"PYTHONPATH": str(_package().parent)}).items():
            yield from ("--setenv", name, value)
        for folder in (WORK, "/tmp"):
            yield from ("--perms", "1777", "--size", self.limits.tmpfs, "--tmpfs", folder)
        yield from _system()
        yield from _python()
        for inside, outside in readonly.items():
            yield from _shown(outside, inside)
        yield from ("--proc", "/proc", "--dev", "/dev", "--perms", "1777", "--size", self.limits.tmpfs, "--tmpfs", "/dev/shm", "--remount-ro", "/dev")
        for name, descriptor in files.items():
            yield from (*_folders_above(f"{WORK}/{name}"), "--perms", "0444", "--ro-bind-data", descriptor, f"{WORK}/{name}")
        yield from ("--chdir", WORK, "--remount-ro", "/")


class _BubblewrapBox(_Box):
    """Its first process holds all the others: when it ends, the kernel ends them."""

    def __init__(self, process, log, result, status, tmpfs):
        super().__init__(process, log, result)
        self._status, self._tmpfs = status, tmpfs
        facts = _first_line(status)
        self._pid = json.loads(facts)["child-pid"] if facts else None
        self._first = self._guard = None
        with suppress(ProcessLookupError):
            self._first = os.pidfd_open(self._pid) if facts else None
        if self._first is not None:
            self._guard = self._guarded()

    def _guarded(self):
        """A process that ends the sandbox if this one is killed: the signal of `--die-with-parent` is refused where root has given up its user."""
        return subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _GUARD, str(self._first)], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=[self._first], cwd="/", env={}, start_new_session=True,
        )  # fmt: skip

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.stop()
        if self._first is not None:
            self._guard.communicate()
            os.close(self._first)

    def memory(self):
        if self._pid is None:
            return 0
        folders = (WORK, "/tmp", "/dev/shm")
        return _memory_of_tree(self._pid) + sum(_memory_of_folder(f"/proc/{self._pid}/root{folder}", self._tmpfs) for folder in folders)

    def stop(self):
        if self._first is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._first, signal.SIGKILL)
            select.select([self._first], [], [])  # it has ended, and with it, before it, all the others
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def status(self, log):
        rest = b"".join(iter(lambda: os.read(self._status, 4096), b""))
        if b"exit-code" not in rest:  # the command was never started
            raise LabkitError(_why_not(_last_line(log)))
        return json.loads(rest.splitlines()[-1])["exit-code"]


def _missing_for_bubblewrap():
    if not sys.platform.startswith("linux"):
        return f"the sandbox needs Linux (this is {platform.system()}); use Docker instead"
    if platform.machine() not in seccomp.MACHINES:
        return f"the sandbox knows no system calls of {platform.machine()}; use Docker instead"
    if shutil.which("bwrap") is None:
        return "bubblewrap is missing; install it with: sudo apt-get install bubblewrap"
    if not _is_root() and tuple(int(part) for part in platform.release().split("-")[0].split(".")[:2]) < (5, 14):
        return f"the sandbox needs Linux 5.14 or newer (this is {platform.release()}), where limits count each sandbox by itself; use Docker instead"
    for folder in (sys.prefix, sys.base_prefix):
        if Path.home().is_relative_to(folder):
            return f"the Python environment {folder} holds your home folder, which the sandbox would show; install labkit into an environment of its own"
    return None


def _why_not(words):
    fix = "use Docker instead, or run as root"
    if "uid map" in words or "namespace" in words or "Operation not permitted" in words:
        fix = "allow user namespaces (Ubuntu: sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0), run as root, or use Docker instead"
    return f"bubblewrap cannot set up a sandbox here ({words or 'it said nothing'}); {fix}"


def _sheet(content):
    """An unnamed file in memory that holds `content`, to be read from its beginning."""
    file = os.fdopen(os.memfd_create("labkit"), "w+b")
    file.write(content)
    file.seek(0)
    return file


def _is_root():
    return os.geteuid() == 0


def _spare_user():
    """A user id that nothing else has: systemd keeps these for its dynamic users. Processes are counted by user."""
    return 61184 + secrets.randbelow(4336)


def _system():
    """Yield the options that show programs and libraries of the system."""
    yield from ("--ro-bind", "/usr", "/usr", "--perms", "0755", "--dir", "/etc")
    for path in ("/etc/ld.so.cache", "/etc/fonts"):
        yield from ("--ro-bind-try", path, path)
    for folder in map(Path, ("/bin", "/sbin", "/lib", "/lib32", "/lib64")):
        if folder.is_symlink():
            yield from ("--symlink", os.readlink(folder), folder)
        elif folder.exists():
            yield from ("--ro-bind", folder, folder)


def _shown(outside, inside):
    yield from (*_folders_above(inside), "--ro-bind", outside, inside)


def _folders_above(path):
    """Yield the options that make them: left to itself, bwrap makes some that only root may enter."""
    for folder in reversed(PurePosixPath(path).parents[:-1]):
        yield from ("--perms", "0755", "--dir", folder)


def _package():
    return Path(labkit.__file__).resolve().parent


def _python():
    """Yield the options that show this Python and labkit, where they are here, but not what belongs to the course staff."""
    shown = {Path(folder) for folder in (sys.prefix, sys.base_prefix, os.path.realpath(sys.base_prefix))}
    shown |= set() if any(_package().is_relative_to(folder) for folder in (*shown, "/usr")) else {_package()}
    for folder in sorted(shown):
        if not folder.is_relative_to("/usr"):
            yield from _shown(folder, folder)
    for folder in (_package() / "course", *(_package().parent / name for name in ("notebooks", "tests", "build", "docs"))):
        if folder.is_dir() and any(folder.is_relative_to(seen) for seen in (*shown, "/usr")):
            yield from ("--tmpfs", folder, "--remount-ro", folder)


def _first_line(descriptor):
    line = b""
    while not line.endswith(b"\n") and (char := os.read(descriptor, 1)):
        line += char
    return line


def _last_line(text):
    return (text.strip().splitlines() or [""])[-1][:200]


# --- Docker -------------------------------------------------------------------------------------


class Docker(_Sandbox):
    """The same limits by Docker, in a container of `image`, which has Python and labkit without labkit.course (docs/sandbox.md)."""

    def __init__(self, limits=None, image="labkit-grade"):
        super().__init__(limits)
        self.image, self.python = image, "python"

    def available(self):
        """None, or one sentence that says why not and what to do."""
        if shutil.which("docker") is None:
            return "docker is missing; install it from https://docs.docker.com/engine/install"
        looked = subprocess.run(["docker", "image", "inspect", self.image], capture_output=True, text=True, errors="replace")
        if looked.returncode == 0:
            return None
        if "no such image" in looked.stderr.lower():
            return f"there is no Docker image {self.image}; build it as docs/sandbox.md says"
        return f"docker does not work here ({_last_line(looked.stderr)}); start its daemon, and see that you may use it"

    def command_line(self, name, staged, command, readonly):
        """The call of docker. name: of the container; staged: {path inside: path here} of the files."""
        limits, size = self.limits, f"size={self.limits.tmpfs},mode=1777,nosuid,nodev"
        # Docker passes no descriptors on: the result comes through the standard output, and what is printed through the other one.
        launched = _launched(self.python, command, limits.resources() | {"RLIMIT_NPROC": limits.processes}, 3, swap=True)
        return [
            "docker", "run", "--rm", "--interactive", "--name", name, "--network", "none", "--read-only", "--cap-drop", "ALL",
            "--security-opt", "no-new-privileges", "--pids-limit", str(limits.processes), "--memory", str(limits.memory),
            "--memory-swap", str(limits.memory), "--user", str(_spare_user()), "--ipc", "private", "--shm-size", str(limits.tmpfs),
            "--log-driver", "none", "--pull", "never", "--tmpfs", f"{WORK}:{size}", "--tmpfs", f"/tmp:{size}", "--workdir", WORK,
            *(word for inside, outside in (staged | readonly).items() for word in ("--mount", f"type=bind,src={outside},dst={inside},readonly")),
            *(word for variable in _environment(3).items() for word in ("--env", "=".join(variable))),
            "--entrypoint", launched[0], self.image, *launched[1:],
        ]  # fmt: skip

    def _start(self, stack, command, files, readonly):
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="labkit-sandbox-")))
        folder.chmod(0o755)
        staged = {f"{WORK}/{name}": _staged(folder / str(number), content) for number, (name, content) in enumerate(files.items())}
        name = f"labkit-{secrets.token_hex(8)}"
        process = stack.enter_context(
            subprocess.Popen(
                self.command_line(name, staged, command, readonly), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                start_new_session=True,
            )
        )  # fmt: skip
        return _DockerBox(process, process.stderr.fileno(), process.stdout.fileno(), name)


class _DockerBox(_Box):
    def __init__(self, process, log, result, name):
        super().__init__(process, log, result)
        self._name = name

    def memory(self):
        return 0  # docker itself holds the limit

    def stop(self):
        subprocess.run(["docker", "rm", "--force", self._name], capture_output=True)
        super().stop()


def _staged(path, content):
    path.write_bytes(content)
    path.chmod(0o444)
    return path


# --- no sandbox ---------------------------------------------------------------------------------


class Unsafe(_Sandbox):
    """A plain process with limits. It stops accidents (an endless loop, too much memory) and no attack: all your files are open to it."""

    def available(self):
        """None, or one sentence that says why not and what to do."""
        return None if os.name == "posix" else f"limits cannot be set on {platform.system()}; grade in WSL or on Linux"

    def _start(self, stack, command, files, readonly):
        if moved := [inside for inside, outside in readonly.items() if Path(inside) != Path(outside)]:
            raise LabkitError(f"without a sandbox {moved[0]} cannot be shown in another place; show it where it lies")
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="labkit-sandbox-", ignore_cleanup_errors=True)))
        for name, content in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
        log, log_end = _pipe(stack)
        result, result_end = _pipe(stack)
        number = result_end.fileno()
        places = {"HOME": str(folder), "TMPDIR": str(folder), "MPLCONFIGDIR": str(folder), "PATH": os.defpath, "PYTHONPATH": str(_package().parent)}
        limits = {name: value for name, value in self.limits.resources().items() if name != "RLIMIT_NPROC"}  # here it would count all that the user runs
        process = stack.enter_context(
            subprocess.Popen(
                _launched(self.python, command, limits, number), stdin=subprocess.DEVNULL, stdout=log_end, stderr=log_end,
                pass_fds=[number], cwd=folder, env=_environment(number) | places, start_new_session=True,
            )
        )  # fmt: skip
        log_end.close()
        result_end.close()
        return _Box(process, log, result)
