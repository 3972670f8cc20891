"""A list of system calls that code in the sandbox may not make, as the program that Linux runs before each call.

The program is classic BPF, see https://docs.kernel.org/userspace-api/seccomp_filter.html. It refuses with an error
number and kills only what calls in the manner of another processor, where the numbers below would mean other calls.
"""

import errno
import platform
import struct

from labkit.errors import LabkitError

# Where a call's facts lie in the kernel's `struct seccomp_data`.
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16
# Instructions: load a word, compare it (equal, at least, any of these bits set), return.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _ERROR, _KILL = 0x7FFF0000, 0x00050000, 0x80000000

MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}  # audit architecture, column of the tables
_X32 = 0x40000000  # set in the numbers of x86-64's second table of calls
_UNKNOWN = 463  # from here on, calls are younger than this list; the C library does without them

# Call: its numbers on x86-64 and on AArch64, None where there is no such call.
DENIED = {
    # reading and steering other processes
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "process_madvise": (440, 440),
    "kcmp": (312, 272), "pidfd_getfd": (438, 438), "move_pages": (279, 239), "migrate_pages": (256, 238),
    # file systems and namespaces
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268), "name_to_handle_at": (303, 264), "open_by_handle_at": (304, 265),
    "quotactl": (179, 60), "quotactl_fd": (443, 443), "fanotify_init": (300, 262), "sysfs": (139, None), "ustat": (136, None),
    # parts of the kernel with a long record of holes
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280), "perf_event_open": (298, 241),
    "userfaultfd": (323, 282), "io_uring_setup": (425, 425), "io_uring_enter": (426, 426), "io_uring_register": (427, 427),
    "personality": (135, 92), "modify_ldt": (154, None), "uselib": (134, None), "lookup_dcookie": (212, 18), "nfsservctl": (180, 42),
    # memory that belongs to no process and no folder, so that nobody counts it
    "memfd_create": (319, 279), "memfd_secret": (447, 447), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180),
    # the machine itself
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "syslog": (103, 116), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "adjtimex": (159, 171), "clock_adjtime": (305, 266), "sethostname": (170, 161), "setdomainname": (171, 162),
    "vhangup": (153, 58), "iopl": (172, None), "ioperm": (173, None),
}  # fmt: skip
# Calls that depend on an argument.
LOOKED_INTO = {"clone": (56, 220), "clone3": (435, 435), "socket": (41, 198), "socketpair": (53, 199), "ioctl": (16, 29), "prlimit64": (302, 261)}

_NEW_NAMESPACE = 0x7E020000  # CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET
_FAMILIES = (1, 2, 10)  # AF_UNIX, AF_INET, AF_INET6: not AF_NETLINK, AF_PACKET, AF_VSOCK, AF_ALG …
_TYPED_INTO_TERMINAL = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX


def program(machine=None):
    """The filter as bytes, eight an instruction, for bwrap's `--seccomp`; raises `LabkitError` for a processor it is not written for."""
    machine = machine or platform.machine()
    if machine not in MACHINES:
        raise LabkitError(f"the sandbox has no list of system calls for {machine}; use Docker instead, or grade on x86_64 or aarch64")
    architecture, column = MACHINES[machine]
    steps = [_step(_LOAD, _ARCHITECTURE), _step(_EQUAL, architecture, 1, 0), _step(_RETURN, _KILL), _step(_LOAD, _NUMBER)]
    if machine == "x86_64":
        steps += [_step(_ANY_BIT, _X32, 0, 1), _step(_RETURN, _KILL)]
    steps += [_step(_AT_LEAST, _UNKNOWN, 0, 1), _refuse(errno.ENOSYS)]
    for numbers in DENIED.values():
        if numbers[column] is not None:
            steps += _where(numbers[column], [_refuse(errno.EPERM)])
    for name, numbers in LOOKED_INTO.items():
        steps += _where(numbers[column], _look_into(name))
    return b"".join([*steps, _step(_RETURN, _ALLOW)])


def _look_into(name):
    """What is done about a call that is refused for some arguments."""
    match name:
        case "clone":
            return [_argument(0), _step(_ANY_BIT, _NEW_NAMESPACE, 0, 1), _refuse(errno.EPERM), _step(_RETURN, _ALLOW)]
        case "clone3":  # its flags lie in memory, out of a filter's sight; the C library then takes clone
            return [_refuse(errno.ENOSYS)]
        case "socket" | "socketpair":
            return [_argument(0), *_unless(_FAMILIES), _refuse(errno.EAFNOSUPPORT)]
        case "ioctl":
            return [_argument(1), *_if(_TYPED_INTO_TERMINAL, errno.EPERM), _step(_RETURN, _ALLOW)]
        case "prlimit64":  # only of the caller itself
            return [_argument(0), *_unless((0,)), _refuse(errno.EPERM)]


def _where(number, steps):
    """`steps`, which end in a return, for the call of this number."""
    return [_step(_EQUAL, number, 0, len(steps)), *steps]


def _unless(values):
    return [step for value in values for step in (_step(_EQUAL, value, 0, 1), _step(_RETURN, _ALLOW))]


def _if(values, error):
    return [step for value in values for step in (_step(_EQUAL, value, 0, 1), _refuse(error))]


def _argument(number):
    """Load the low half of an argument: both processors are little-endian, and the kernel reads no more of these."""
    return _step(_LOAD, _ARGUMENTS + 8 * number)


def _refuse(error):
    return _step(_RETURN, _ERROR | error)


def _step(code, value, then=0, otherwise=0):
    """An instruction; then, otherwise: how many instructions to jump over after a comparison."""
    return struct.pack("=HBBI", code, then, otherwise, value)
