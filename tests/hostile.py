"""Code that tries to get out of the sandbox, or to bring down who runs it, and what must become of it.

Needs no pytest: tests/test_sandbox.py also has it run by a user without rights.
"""

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from labkit.course.sandbox import MIB, Bubblewrap, Limits

SECRET = "canary-4711"
SMALL = {"seconds": 8, "memory": 256 * MIB, "output": MIB, "file_size": 4 * MIB, "processes": 24, "tmpfs": 8 * MIB, "cpu_seconds": 60}

PRELUDE = """
import ctypes, json, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
place = json.loads(sys.argv[1])
def tell(value):
    os.write(int(os.environ["LABKIT_RESULT_FD"]), json.dumps(value).encode())
def refused(attempt, *arguments):
    try:
        attempt(*arguments)
    except (OSError, ValueError) as error:
        return type(error).__name__
    return "succeeded"
def call(number, *arguments):
    ctypes.set_errno(0)
    return 0 if libc.syscall(number, *map(ctypes.c_long, arguments)) >= 0 else ctypes.get_errno()
def connect(family, kind, address):
    with socket.socket(family, kind) as s:
        s.settimeout(2)
        s.connect(address)
        s.send(b"out")
"""
# Numbers of system calls that must be refused, by machine: with no rights and all arguments 0 some would fail anyway, but with other errors.
CALLS = {
    "x86_64": [101, 310, 311, 165, 166, 155, 161, 272, 308, 250, 248, 249, 321, 298, 323, 246, 320, 175, 313, 176, 169, 167, 304, 135, 425, 426, 427, 319, 29],
    "aarch64": [117, 270, 271, 40, 39, 41, 51, 97, 268, 219, 217, 218, 280, 241, 282, 104, 294, 105, 273, 106, 142, 224, 265, 92, 425, 426, 427, 279, 194],
}
MACHINE = os.uname().machine


@dataclass(frozen=True)
class Case:
    """What is run; how it may end; what it must tell (None: anything), and the limits that differ from `SMALL`."""

    code: str
    ended: str = "finished"
    told: object = None
    limits: dict = field(default_factory=dict)


CASES = {
    # --- reads -----------------------------------------------------------------------------------
    "reads the password file": Case("tell([refused(open, f) for f in ('/etc/shadow', '/etc/passwd', '/root/.bashrc')])", told=["FileNotFoundError"] * 3),
    "reads a file outside": Case("tell([refused(open, place['file']), refused(os.listdir, place['folder'])])", told=["FileNotFoundError"] * 2),
    "reads the course's own files": Case(
        "here = place['package']\n"
        "others = set(os.listdir(here + '/..')) - {os.path.basename(sys.prefix)}\n"  # an environment may stand in the repository
        "tell([os.listdir(here + '/course'), sorted(others), refused(open, here + '/../README.md')])",
        told=[[], ["labkit"], "FileNotFoundError"],
    ),
    "reads environment variables": Case(
        "seen = [open(f'/proc/{n}/environ').read() for n in os.listdir('/proc') if n.isdigit()]\ntell([place['secret'] in str(dict(os.environ)) + str(seen)])",
        told=[False],
    ),
    "looks for processes": Case("tell([n for n in os.listdir('/proc') if n.isdigit()])", told=["1"]),
    "looks for devices": Case(
        "tell(sorted(set(os.listdir('/dev')) - {'null', 'zero', 'full', 'random', 'urandom', 'tty', 'shm', 'pts', 'ptmx', 'fd', 'core', 'console'}))",
        told=["stderr", "stdin", "stdout"],
    ),
    "looks through another's /proc": Case(
        "child = os.fork()\nif child:\n    os.waitpid(child, 0)\nelse:\n"
        "    tell([refused(open, '/proc/1/root' + place['file']), refused(os.listdir, '/proc/1/cwd/..')])",
        told=["FileNotFoundError", "succeeded"],  # what it sees there is the sandbox
    ),
    # --- writes ----------------------------------------------------------------------------------
    "writes everywhere": Case(
        "found = []\n"
        "for folder, folders, files in os.walk('/'):\n"
        "    folders[:] = [f for f in folders if f != 'proc' and folder.count('/') < 3]\n"
        "    if refused(open, os.path.join(folder, 'x'), 'w') == 'succeeded':\n"
        "        found.append(folder)\n"
        "tell(sorted(f for f in found if not f.startswith(('/tmp', '/sandbox', '/dev/shm'))))",
        told=[],
    ),
    "writes over its input": Case(
        "for attempt in (lambda: open('given.txt', 'w'), lambda: os.remove('given.txt'), lambda: os.rename('given.txt', "
        "'x'), lambda: os.chmod('given.txt', 511)):\n"
        "    if refused(attempt) == 'succeeded':\n        tell('succeeded')\ntell(open('given.txt').read())",
        told="given",
    ),
    "changes the kernel's settings": Case(
        "tell([refused(open, f, 'w') == 'succeeded' for f in ('/proc/sys/kernel/core_pattern', '/proc/sysrq-trigger', '/proc/sys/vm/drop_caches')])",
        told=[False] * 3,
    ),
    "writes a huge file": Case(
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\nf = open('big', 'wb')\ntell(refused(lambda: [f.write(bytes(2**20)) for _ in range(100)]))",
        told="OSError",
    ),
    "fills its folders": Case(
        "tell([refused(lambda: [open(f'{d}/{n}', 'wb').write(bytes(2**20)) for n in range(100)]) for d in ('.', '/tmp', '/dev/shm')])",
        told=["OSError"] * 3,
    ),
    "makes a million files": Case(
        "for n in range(10**6):\n    os.close(os.open(f'/tmp/{n}', os.O_CREAT))", "memory", limits={"memory": 48 * MIB, "seconds": 30}
    ),
    "leaves a link to a file outside": Case(
        "os.symlink(place['file'], 'link')\nos.symlink('/', 'root')\ntell(refused(open, 'link'))",
        told="FileNotFoundError",
    ),
    # --- network ---------------------------------------------------------------------------------
    "connects to this machine": Case(
        "tell([refused(connect, socket.AF_INET, socket.SOCK_STREAM, (host, place['port'])) for host in ('127.0.0.1', '0.0.0.0')])",
        told=["ConnectionRefusedError"] * 2,
    ),
    "connects to the world": Case(
        "tell([refused(connect, socket.AF_INET, k, ('1.1.1.1', 53)) for k in (socket.SOCK_STREAM, socket.SOCK_DGRAM)])",
        told=["OSError"] * 2,
    ),
    "connects to an abstract socket": Case(
        "tell(refused(connect, socket.AF_UNIX, socket.SOCK_STREAM, '\\0' + place['socket']))",
        told="ConnectionRefusedError",
    ),
    "connects to a socket in a folder": Case(
        "tell(refused(connect, socket.AF_UNIX, socket.SOCK_STREAM, place['folder'] + '/socket'))",
        told="FileNotFoundError",
    ),
    "opens other sockets": Case(
        "tell([refused(socket.socket, family, kind) for family, kind in ((16, 3), (17, 3), (40, 1), (38, 5))])", told=["OSError"] * 4
    ),
    # --- processes -------------------------------------------------------------------------------
    "forks a bomb": Case("while True:\n    try:\n        os.fork()\n    except OSError:\n        pass", "deadline|memory", limits={"seconds": 2}),
    "starts a thousand threads": Case(
        "def start():\n    for n in range(1000):\n        threading.Thread(target=time.sleep, args=(99,), daemon=True).start()\n"
        "try:\n    start()\nexcept RuntimeError as error:\n    tell('refused')\nos._exit(0)", told="refused",
    ),
    "leaves a daemon behind": Case("if os.fork():\n    os._exit(0)\nos.setsid()\nif os.fork():\n    os._exit(0)\nos.closerange(0, 256)\ntime.sleep(600)"),
    "leaves a hundred daemons that restart": Case(
        "def again():\n    while True:\n        try:\n            if os.fork():\n"
        "                os._exit(0)\n        except OSError:\n            pass\n        os.setsid()\n"
        "for _ in range(10):\n    if os.fork() == 0:\n        again()\ntime.sleep(0.3)",
    ),
    "kills everyone": Case("tell([refused(os.kill, pid, 9) for pid in (-1, place['process'], os.getppid() or 99999)])", told=["ProcessLookupError"] * 3),
    "kills everyone from a child": Case(
        "c = os.fork()\nif c == 0:\n    os.kill(-1, 9)\n    os.kill(1, 9)\n    os._exit(0)\nos.waitpid(c, 0)\ntell('alive')",
        told="alive",
    ),
    "exits early": Case("os._exit(0)", told=None),
    "ignores signals and sleeps": Case(
        "for n in range(1, 32):\n    refused(signal.signal, n, signal.SIG_IGN)\nwhile True:\n    time.sleep(600)", "deadline", limits={"seconds": 0.7}
    ),
    "loops in C": Case("sum(range(10**12))", "deadline", limits={"seconds": 0.7}),
    "uses up the processor": Case("sum(range(10**12))", "crashed", limits={"cpu_seconds": 1, "seconds": 60}),
    "crashes": Case("ctypes.string_at(0)", "crashed"),
    "recurses": Case(
        "sys.setrecursionlimit(10**9)\ndef f(x):\n    return [f(x) for _ in (1,)]\nf(1)",
        "crashed|memory|finished|deadline", limits={"seconds": 3},
    ),
    "calls as a 32-bit program": Case(
        "import mmap\ncode = mmap.mmap(-1, 4096, prot=7)\ncode.write(bytes.fromhex('b814000000cd80c3'))\n"
        "ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(code)))()\ntell('came back')", "crashed",
    ) if MACHINE == "x86_64" else Case("os.abort()", "crashed"),
    # --- memory ----------------------------------------------------------------------------------
    "takes memory in pieces": Case("a = []\nwhile True:\n    a.append(bytearray(2**20))", "finished|memory"),
    "takes it all at once": Case("tell(0)\nbytearray(2**36)", "finished", told=0),
    "takes memory that is shared": Case(
        "import mmap\nkeep = []\nwhile True:\n    m = mmap.mmap(-1, 2**22)\n    m.write(b'x' * 2**22)\n    keep.append(m)",
        "memory",
    ),
    "takes memory in many processes": Case(
        "while True:\n    try:\n        if os.fork() == 0:\n            a = b'x' * (40 * 2**20)\n"
        "            time.sleep(600)\n    except OSError:\n        time.sleep(0.1)", "memory"
    ),
    # --- output ----------------------------------------------------------------------------------
    "floods stdout": Case("while True:\n    os.write(1, b'x' * 65536)", "output"),
    "floods stderr": Case("while True:\n    print('again', file=sys.stderr)", "output"),
    "floods the result": Case("while True:\n    os.write(int(os.environ['LABKIT_RESULT_FD']), b'x' * 65536)", "output"),
    "floods at its end": Case(
        "for _ in range(10):\n    if os.fork() == 0:\n        os.write(1, b'x' * 60000)\n        os._exit(0)\nos.write(1, b'x' * 1500000)",
        "output",
    ),
    "closes all descriptors": Case("os.closerange(0, 256)\ntime.sleep(0.2)"),
    "prints what is no text": Case(r"os.write(1, b'\xff\xfe\x1b[2J\0')"),
    # --- rights ----------------------------------------------------------------------------------
    "makes forbidden system calls": Case(f"tell([call(n, 0, 0, 0, 0, 0) for n in {CALLS[MACHINE]}])", told=[1] * len(CALLS[MACHINE])),
    "makes new namespaces": Case(
        f"clone, clone3 = {(56, 435) if MACHINE == 'x86_64' else (220, 435)}\n"
        "tell([call(clone, flag | 17, 0, 0, 0, 0) for flag in (0x10000000, 0x20000000, 0x20000, 0x40000000)] + [call(clone3, 0, 0)])",
        told=[1, 1, 1, 1, 38],
    ),
    "becomes root": Case(
        "held = [l.split()[1] for l in open('/proc/self/status') if l.startswith(('CapInh', 'CapPrm', 'CapEff', 'CapAmb', 'NoNewPrivs'))]\n"
        "tell([refused(os.setuid, 0) == 'succeeded', refused(os.setgid, 0) == 'succeeded', os.getuid() == 0, [int(h, 16) for h in held]])",
        told=[False, False, False, [0, 0, 0, 0, 1]],
    ),
    "raises its limits": Case(
        "import resource as r\n"
        "tell([refused(r.setrlimit, k, (-1, -1)) for k in (r.RLIMIT_DATA, r.RLIMIT_CPU, r.RLIMIT_FSIZE, "
        "r.RLIMIT_NPROC, r.RLIMIT_NOFILE, r.RLIMIT_CORE, r.RLIMIT_STACK)])",
        told=["ValueError"] * 7,
    ),
    "types into the terminal": Case(
        "import fcntl\ntell([refused(fcntl.ioctl, 0, 0x5412, b'x'), refused(open, '/dev/tty')])",
        told=["PermissionError", "OSError"],
    ),
}  # fmt: skip


@dataclass
class Canaries:
    """Things outside that no case may touch."""

    folder: Path
    file: Path
    process: subprocess.Popen
    listeners: list
    touched: list = field(default_factory=list)

    def place(self):
        """What the hostile code is told about them."""
        import labkit

        tcp, abstract = self.listeners[:2]
        package = str(Path(labkit.__file__).resolve().parent)
        return {
            "file": str(self.file), "folder": str(self.folder), "process": self.process.pid, "port": tcp.getsockname()[1],
            "socket": abstract.getsockname()[1:].decode(), "package": package, "secret": SECRET,
        }  # fmt: skip

    def unharmed(self):
        return self.file.read_text() == SECRET and sorted(os.listdir(self.folder)) == ["canary", "socket"] and self.process.poll() is None and not self.touched

    def close(self):
        self.process.kill()
        self.process.wait()
        for listener in self.listeners:
            listener.close()


def canaries(folder):
    """Set them up in `folder`; a secret also stands in the environment."""
    os.environ["LABKIT_SECRET"] = SECRET
    (folder / "canary").write_text(SECRET)
    addresses = [(socket.AF_INET, ("127.0.0.1", 0)), (socket.AF_UNIX, f"\0labkit-{secrets.token_hex(8)}"), (socket.AF_UNIX, str(folder / "socket"))]
    made = Canaries(folder, folder / "canary", subprocess.Popen(["sleep", "600"]), [])
    for family, address in addresses:
        listener = socket.socket(family)
        listener.bind(address)
        listener.listen()
        threading.Thread(target=_accept, args=(listener, made.touched), daemon=True).start()
        made.listeners.append(listener)
    return made


def _accept(listener, touched):
    with suppress(OSError):  # closed
        touched.append(listener.accept())


def run(case, outside):
    """Run a case; returns (`Outcome`, the processes that are left of it)."""
    token = secrets.token_hex(8)
    box = Bubblewrap(Limits(**SMALL | case.limits))
    outcome = box.run([box.python, "-I", "-c", PRELUDE + case.code, json.dumps(outside.place()), token], {"given.txt": b"given"})
    return outcome, left(token)


def left(token):
    """The processes whose command line holds `token`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            found += [path.parent.name] if token.encode() in path.read_bytes() else []
    return found


def failures(names=CASES):
    """Run the cases; {name: what is wrong with how it went}."""
    wrong = {}
    with tempfile.TemporaryDirectory() as folder:
        outside = canaries(Path(folder))
        for name in names:
            if message := failure(CASES[name], outside):
                wrong[name] = message
        outside.close()
    return wrong


def failure(case, outside):
    """None, or what is wrong with how a case went."""
    limits = SMALL | case.limits
    outcome, remaining = run(case, outside)
    facts = f"{outcome.ended}, {outcome.status}, {outcome.seconds:.1f} s, {outcome.result[:200]!r}, {outcome.log[-500:]!r}"
    if outcome.ended not in case.ended.split("|"):
        return f"ended otherwise: {facts}"
    if case.told is not None and outcome.result != json.dumps(case.told).encode():
        return f"told something else: {facts}"
    if outcome.seconds > limits["seconds"] + 5 or len(outcome.result) > limits["output"] + 65536 or len(outcome.log) > 65536:
        return f"past its limits: {facts}"
    if remaining:
        return f"processes are left: {remaining}"
    return None if outside.unharmed() else f"a canary is harmed: {facts}"


if __name__ == "__main__":
    print(json.dumps(failures()))
    sys.exit()
