"""Ports for servers of tests, which no other test of this machine is given meanwhile.

A port that the system calls free may be anybody's a moment later: another worker's of the same
run, or the source of an outgoing connection. So each process that runs tests has a block of
ports to itself, below those of which the system takes its own.
"""

import fcntl
import itertools
import socket
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import IO

FIRST, END, BLOCK = 12_000, 32_000, 200

_held: list[IO[str]] = []  # the lock lasts as long as its file is open: as long as this process


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free and is not given to anybody else."""
    for port in itertools.islice(_ports(), BLOCK):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("all ports of this process are taken")


@cache
def _ports() -> Iterator[int]:
    """Return the ports of this process in turn, so that each rests before it is given again."""
    directory = Path(tempfile.gettempdir()) / "radar-test-ports"
    directory.mkdir(exist_ok=True)
    for first in range(FIRST, END, BLOCK):
        lock = (directory / str(first)).open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.close()
            continue
        _held.append(lock)
        return itertools.cycle(range(first, first + BLOCK))
    raise AssertionError("all blocks of ports are taken")
