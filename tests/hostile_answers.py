"""Answers that attack the probe from inside: what stands in the cell of an exercise, and the finding that it must get."""

import json
from dataclasses import dataclass
from textwrap import dedent, indent


@dataclass(frozen=True)
class Attack:
    """finding: its name ("": any that is not passed); words: what its message holds."""

    code: str
    finding: str = ""
    words: str = ""

    def cell(self, todo):
        """The cell. One statement holds all of the code: one that binds no name the answer uses would not be executed."""
        return f'if True:\n{indent(dedent(self.code), "    ")}\ncheck("{todo}", {todo})'


FORGED = json.dumps({"todo": "augment", "observations": {"look": {"value": "callable"}}})

ATTACKS = {
    "replace_head": Attack("import os\nos._exit(0)\nreplace_head = 1", "raises", "exit status 0"),
    "train": Attack(
        "import labkit.checks\nlabkit.checks.probe = lambda todo, answer: {'look': {'value': 'callable'}}\ntrain = 3",
        "raises",
        "it changed labkit.checks.probe",
    ),
    "test": Attack("def test(dataloader, model, loss_fn):\n    sum(range(10**12))", "timeout"),
    "reset": Attack("import ctypes\ndef reset(weights):\n    ctypes.string_at(0)", "raises", "signal 11"),
    "SimpleCNN": Attack(
        f"""
        import os
        def SimpleCNN():
            for descriptor in range(3, 256):
                try:
                    os.write(descriptor, {FORGED!r}.encode() + b"\\n")
                except OSError:
                    pass
        """,
        "raises",
        "cannot be read",
    ),
    "BasicBlock": Attack(
        """
        import os
        def BasicBlock(in_channels, channels, stride):
            for process in (-1, os.getppid(), 1, os.getpid()):
                try:
                    os.kill(process, 9)
                except OSError:
                    pass
        """,
        "raises",
        "signal 9",
    ),
    "make_layer": Attack(
        "def make_layer(self, block, channels, num_blocks, stride):\n    return make_layer(self, block, channels, num_blocks, stride)",
        "raises",
        "RecursionError",
    ),
    "six_runs": Attack(
        """
        import os, threading, time
        def flood(descriptor):
            while True:
                os.write(descriptor, b"x" * 65536)
        def six_runs(dataset, batch_size, epochs):
            threading.excepthook = print
            for descriptor in range(3, 16):
                threading.Thread(target=flood, args=(descriptor,), daemon=True).start()
            time.sleep(600)
        """,
        "output",
    ),
    "draw_scaling": Attack(
        """
        import os
        for n in range(2000):
            os.write(1, b"x" * 65536)
            os.write(2, b"x" * 65536)
        draw_scaling = None
        """,
        "not_defined",
    ),
    "pretrained_runs": Attack("import signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\ntime.sleep(600)\npretrained_runs = 1", "timeout"),
    "get_mean_std": Attack("import builtins, json\njson.dumps = builtins.isinstance = lambda *a, **k: 1\nget_mean_std = 1"),
    "augment": Attack(
        """
        import os
        if os.fork() == 0:
            os.setsid()
            while True:
                for descriptor in range(3, 9):
                    try:
                        os.write(descriptor, b"{}\\n")
                    except OSError:
                        pass
        augment = 3
        """
    ),
    "step_decay": Attack(
        """
        class Equal(float):
            def __eq__(self, other):
                return True
            def __sub__(self, other):
                return Equal(0)
            __rsub__, __hash__ = __sub__, None
        def step_decay(epoch, base_lr, step_size, gamma):
            return Equal(7)
        """
    ),
    "cyclic": Attack(
        "import atexit, os, sys\natexit.register(os._exit, 0)\ndef cyclic(step, base_lr, max_lr, step_size):\n    sys.exit(0)", "raises", "SystemExit"
    ),
    "updates_per_epoch": Attack("held = []\nwhile True:\n    held.append(bytearray(2**28))\nupdates_per_epoch = 1", "raises", "MemoryError"),
    "objective": Attack("import labkit.checks as c\nc._TODOS.clear()\nobjective = 2", "raises"),
    "BestModel": Attack(
        "import labkit.checks.todo as t\nt.Todo.probe = lambda self, answer: {}\nBestModel = 2", "raises", "it changed labkit.checks.todo.Todo.probe"
    ),
}
