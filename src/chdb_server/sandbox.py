"""Takes rights from this process that the embedded ClickHouse must never use, by Linux's Landlock.

ClickHouse's grants keep queries from files, URLs and commands. Below them the kernel enforces the
same rule for every file that the engine opens in a way that grants do not cover (the function
`file()`, a disk that a table's settings name):

- write only to the data folder and the folder of backups,
- read only these, Python's own files and the system's files about itself,
- execute no program,
- open no TCP connection to any address.

A process can only give rights up, and threads that run already keep theirs. So this comes before
the import of chDB, which starts threads.

Sources: the Linux manual pages landlock(7), landlock_create_ruleset(2), landlock_add_rule(2) and
landlock_restrict_self(2); linux/landlock.h for the numbers.
"""

import ctypes
import os
import site
import sys
from collections.abc import Iterable
from pathlib import Path

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # the same on every architecture
_ASK_VERSION = 1
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_REFER, _TRUNCATE = 1 << 13, 1 << 14
_EVERYTHING_OF_VERSION_2 = (1 << 14) - 1
_CONNECT_TCP = 1 << 1

# Version 1 forbids every move of a file from one folder to another, which ClickHouse does.
_LEAST_VERSION = 2
_VERSION_WITH_TRUNCATE = 3
_VERSION_WITH_NETWORK = 4

# Libraries, time zones, and the files about the machine by which ClickHouse sizes itself.
_SYSTEM = (
    *("/usr", "/lib", "/lib64", "/nix/store", "/sys"),
    *("/etc/ld.so.cache", "/etc/localtime", "/etc/timezone"),
    *("/dev/urandom", "/dev/random", "/dev/zero"),
)
_WRITABLE_DEVICES = ("/dev/null",)


class _Ruleset(ctypes.Structure):
    _fields_ = [("handled_access_fs", ctypes.c_uint64), ("handled_access_net", ctypes.c_uint64)]


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = [("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32)]


def enter(data_dir: Path, readable: Iterable[Path] = (), writable: Iterable[Path] = ()) -> None:
    """Restrict this process for the rest of its life, if the system can.

    Call it before any other thread exists.

    Args:
        data_dir: The folder that stays writable; it must exist.
        readable: Further files and folders that stay readable.
        writable: Further folders that stay writable; they must exist.
    """
    if not sys.platform.startswith("linux"):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    version = libc.syscall(_CREATE_RULESET, None, 0, _ASK_VERSION)
    if version < _LEAST_VERSION:
        return
    handled = _EVERYTHING_OF_VERSION_2
    if version >= _VERSION_WITH_TRUNCATE:
        handled |= _TRUNCATE
    wanted = _Ruleset(handled, _CONNECT_TCP if version >= _VERSION_WITH_NETWORK else 0)
    size = ctypes.sizeof(wanted) if version >= _VERSION_WITH_NETWORK else 8
    ruleset = libc.syscall(_CREATE_RULESET, ctypes.byref(wanted), size, 0)
    if ruleset < 0:
        return
    try:
        for folder in (data_dir, *writable):
            _allow(libc, ruleset, folder, handled & ~_EXECUTE)
        for device in _WRITABLE_DEVICES:
            _allow(libc, ruleset, Path(device), _READ_FILE | _WRITE_FILE)
        for path in (*_readable(), *readable):
            _allow(libc, ruleset, path, _READ_FILE | _READ_DIR)
        if not libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0):
            libc.syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _readable() -> list[Path]:
    # Of /proc only this process and the machine: other processes have secrets there.
    machine = [path for path in Path("/proc").iterdir() if not path.name.isdigit()]
    return [
        *map(Path, (sys.prefix, sys.base_prefix, sys.exec_prefix)),
        *map(Path, (*site.getsitepackages(), site.getusersitepackages())),
        Path(__file__).resolve().parents[2],
        *map(Path, _SYSTEM),
        Path(f"/proc/{os.getpid()}"),
        *(path for path in machine if not path.is_symlink()),
    ]


def _allow(libc: ctypes.CDLL, ruleset: int, path: Path, rights: int) -> None:
    """Keep rights to a path and all below it; a missing path needs none."""
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not path.is_dir():
            rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE
        rule = _PathBeneath(rights, descriptor)
        libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(descriptor)
