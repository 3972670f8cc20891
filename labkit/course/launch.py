"""The first program in the sandbox: takes rights and resources away from itself, then becomes the command.

It is handed to `python -I -S -c` as text, because labkit.course is not to be seen inside, and needs the standard library alone.
"""

import ctypes
import json
import os
import resource
import select
import sys

_CAPABILITIES_V3 = 0x20080522


def launch(settings, command):
    """Become `command`.

    settings: "limits" {name of a RLIMIT: value}, "user" the id to change to (None: stay), "result" the descriptor that
    stays open beside 0, 1 and 2, "swap" whether that one is the standard output, whose place the error output then takes.
    """
    if settings["swap"]:
        os.dup2(1, settings["result"])
        os.dup2(2, 1)
    os.set_inheritable(settings["result"], True)
    os.closerange(3, settings["result"])
    os.closerange(settings["result"] + 1, resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    _volunteer()
    if settings["user"] is not None:
        _change_user(settings["user"])
    _need_reader(settings["result"])
    for name, value in settings["limits"].items():
        _limit(getattr(resource, name, None), value)
    os.execv(command[0], command)


def _volunteer():
    """Where the machine runs out of memory all the same, this goes first."""
    try:
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")
    except OSError:
        pass  # not Linux


def _change_user(user):
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)
    libc = ctypes.CDLL(None, use_errno=True)
    # The change of user took what root may do, but not what a program that is started could inherit of it.
    if libc.capset((ctypes.c_uint32 * 2)(_CAPABILITIES_V3, 0), (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def _need_reader(result):
    """Do not begin when whoever wants the result is gone: nobody would end this."""
    reader = select.poll()
    reader.register(result, 0)
    if reader.poll(0):
        sys.exit(1)


def _limit(kind, value):
    """Set a limit that this system knows, as low as asked for or as it is already."""
    if kind is None:
        return
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


if __name__ == "__main__":
    launch(json.loads(sys.argv[1]), sys.argv[2:])
