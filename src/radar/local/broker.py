"""The embedded Kafka broker: the binary that the noida-db wheel brings, behind a relay.

It speaks the Kafka protocol, keeps its log in memory and saves it to one file about once a
second and when it ends, so a kill -9 of the broker (not of any other process) loses the last
second. Records that every group has committed are deleted regularly, because the file is
rewritten whole.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

import noida_db

from radar.local.process import SUPERVISOR_VARIABLE, follow_supervisor

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0


async def run(data_dir: Path, host: str, port: int) -> int:
    """Run the broker until it ends or SIGTERM or SIGINT comes; return its exit code.

    Raises:
        OSError: The port is taken.
    """
    import asyncio

    from radar.local.addresses import free_port
    from radar.local.relay import Relay

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    broker_port = free_port()
    broker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "radar.local.broker", "--become-broker"),
        *(str(data_dir), host, str(broker_port)),
        env=os.environ | {SUPERVISOR_VARIABLE: str(os.getpid())},
    )
    ended = asyncio.ensure_future(broker.wait())
    stopped = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.to_thread(_await_broker, host, broker_port)
        # Left before the broker is told to end: what it acknowledges while it saves, it loses.
        async with Relay(host, port, broker_port):
            await asyncio.wait((ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        if not ended.done():
            broker.terminate()  # it saves its log
            try:
                await asyncio.wait_for(asyncio.shield(ended), STOP_TIMEOUT_S)
            except TimeoutError:
                broker.kill()
    return await ended


def _await_broker(host: str, port: int) -> None:
    from radar.local.addresses import answers

    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not answers(host, port) and time.monotonic() < deadline_s:
        time.sleep(0.005)


def become_broker(data_dir: Path, host: str, port: int) -> None:
    """Replace this process by the broker's binary."""
    follow_supervisor(signal.SIGTERM)
    line = [
        str(Path(noida_db.__file__).with_name("noida-db")),
        *("start", "--only", "kafka", "--host", host),
        *("--kafka-port", str(port), "--data-dir", str(data_dir)),
    ]
    os.execv(line[0], line)  # noqa: S606 - no shell


def main() -> None:
    """Run the broker: `python -m radar.local.broker DATA_DIR HOST PORT`."""
    parser = argparse.ArgumentParser(description="embedded Kafka broker")
    parser.add_argument("--become-broker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    options.data_dir.mkdir(parents=True, exist_ok=True)
    if options.become_broker:
        become_broker(options.data_dir, options.host, options.port)
    follow_supervisor(signal.SIGTERM)
    # Not above: the process that becomes the broker should not wait for what it does not use.
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        sys.exit(runner.run(run(options.data_dir, options.host, options.port)))


if __name__ == "__main__":
    main()
