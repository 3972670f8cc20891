"""Started by `warm_kernels.py`: imports what every notebook imports, then forks itself for each kernel that is asked for.

Nothing of labkit is imported here: which labkit a kernel finds, and what that needs, is for the kernel to see.
"""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import sys
from contextlib import suppress

PACKAGES = ("ipykernel.ipkernel", "torch._dynamo", "torchvision.models", "pandas", "matplotlib.pyplot", "tqdm.auto")


def main():
    """Serve until the other end of the socket, whose number is the argument, is closed. Returns in the forked processes, too."""
    requests = socket.socket(fileno=int(sys.argv[1]))
    gc.disable()  # what is imported stays: there is no garbage to look for
    for package in PACKAGES:
        importlib.import_module(package)
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the supervisors
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 2**20, 4)
        if not message:
            return
        if os.fork() == 0:
            requests.close()
            supervise(descriptors, **json.loads(message))
            return
        for descriptor in descriptors:
            os.close(descriptor)


def supervise(descriptors, **request):
    """Fork the kernel, tell the client at the first of `descriptors` its number and in the end its exit status. It dies with the client."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    client, *streams = descriptors
    pid = os.fork()
    if pid == 0:
        os.close(client)
        become(streams, **request)
        return
    os.write(client, f"{pid}\n".encode())
    ended = os.pidfd_open(pid)
    if ended not in select.select([client, ended], [], [])[0]:
        os.kill(pid, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with suppress(BrokenPipeError):
        os.write(client, f"{status}\n".encode())


def become(streams, command, environment, folder):
    """Be what `command` ([python, "-m", module, arguments …]) would have started."""
    os.setsid()
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment, JPY_PARENT_PID=str(os.getppid()))
    sys.path[0] = folder
    sys.argv[1:] = command[3:]
    sys.modules["numpy"].random.seed()  # as at import, where each process has another seed
    gc.enable()
    runpy.run_module(command[2], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
