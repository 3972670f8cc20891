"""Kernels that start warm: forked from a process that has imported PyTorch and its like, which takes most of a short notebook's time."""

import atexit
import json
import os
import select
import signal
import socket
import subprocess
import sys
from functools import cache
from importlib.metadata import EntryPoint
from pathlib import Path

from jupyter_client import LocalProvisioner
from jupyter_client.provisioning import KernelProvisionerFactory

NAME = "warm"
SERVER = Path(__file__).with_name("kernel_server.py")


def install():
    """Have every kernel that is started from this process be a warm one. Elsewhere than on Linux a fork is not safe: they stay cold."""
    if sys.platform == "linux":
        factory = KernelProvisionerFactory.instance()
        factory.provisioners[NAME] = EntryPoint(NAME, f"{__name__}:WarmProvisioner", factory.GROUP_NAME)
        factory.default_provisioner_name = NAME


class WarmProvisioner(LocalProvisioner):
    """Jupyter's own one, but for the process that it looks after."""

    async def launch_kernel(self, cmd, **kwargs):
        self.cwd = kwargs.get("cwd") or os.getcwd()
        self.process = Forked(cmd, kwargs["env"], self.cwd, kwargs.get("stdout"), kwargs.get("stderr"))
        self.pid = self.pgid = self.process.pid
        return self.connection_info


@cache
def server(python):
    """The socket of a server that runs `python`. It ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    atexit.register(ours.close)
    environment = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}  # is read when matplotlib is imported
    with theirs:
        command = [python, str(SERVER), str(theirs.fileno())]
        subprocess.Popen(command, env=environment, pass_fds=[theirs.fileno()], start_new_session=True)
    return ours


class Forked:
    """A `subprocess.Popen` as far as kernels need one. Raises `ConnectionError` where the server does not answer."""

    stdin = stdout = stderr = returncode = None

    def __init__(self, command, environment, folder, stdout=None, stderr=None):
        request = json.dumps({"command": command, "environment": dict(environment), "folder": str(folder)}).encode()
        self._answers, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, open(os.devnull) as nothing:
            streams = [nothing.fileno(), *(stream.fileno() if stream else number for number, stream in ((1, stdout), (2, stderr)))]
            socket.send_fds(server(command[0]), [request], [theirs.fileno(), *streams])
        answer = self._answers.recv(100)
        if not answer:
            raise ConnectionError(f"{SERVER.name}, which forks the kernels, has died; its traceback is on stderr")
        self.pid = int(answer)

    def wait(self):
        if self.returncode is None:
            self.returncode = int(self._answers.recv(100) or -signal.SIGKILL)
            self._answers.close()
        return self.returncode

    def poll(self):
        ended = self.returncode is not None or select.select([self._answers], [], [], 0)[0]
        return self.wait() if ended else None

    def send_signal(self, number):
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self):
        self.send_signal(signal.SIGTERM)

    def kill(self):
        self.send_signal(signal.SIGKILL)
