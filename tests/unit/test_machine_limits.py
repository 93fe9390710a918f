"""Limits of the machine that radar raises, or reports by name."""

import socket
import subprocess
import sys

import pytest

from ports import free_port
from radar.checks.doctor import advertised, describe
from radar.checks.findings import State
from radar.kafka import Broker

START = """
import resource, sys
soft, hard = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
from radar.process import (raise_open_files, warn_of_few_files)
warn_of_few_files(raise_open_files())
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
"""


def started(soft: int, hard: int) -> "subprocess.CompletedProcess[str]":
    """Run the start of a command that records, under limits of open files."""
    command = [sys.executable, "-c", START, str(soft), str(hard)]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)


def test_soft_limit_of_open_files_is_raised_to_the_hard_one() -> None:
    ran = started(256, 2048)
    assert (ran.stdout.strip(), ran.stderr) == ("2048 2048", "")


def test_low_hard_limit_of_open_files_is_reported_by_name() -> None:
    ran = started(128, 256)
    assert ran.stdout.strip() == "256 256"
    (line,) = ran.stderr.splitlines()
    assert line.startswith("radar: warning: a process may open 256 files only")


@pytest.mark.fault(
    "A broker advertises an address that clients cannot reach",
    report="the broker and the address, with the option to set",
    place="`doctor`: Kafka brokers",
    within_s=10,
)
def test_broker_that_cannot_be_reached_is_named(within_s: float) -> None:
    """A client connects to the bootstrap server first, and then to the advertised addresses."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(within_s)
        reached, silent = listener.getsockname()[1], free_port()
        brokers = [Broker(1, "127.0.0.1", reached), Broker(2, "127.0.0.1", silent)]
        (finding,) = advertised(brokers)
        (fine,) = advertised(brokers[:1])
    assert finding.state is State.PROBLEM
    assert f"broker 2 is advertised as 127.0.0.1:{silent}" in describe(finding)
    assert fine.state is State.OK
