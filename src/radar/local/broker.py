"""The embedded Kafka broker: the binary of the noida-db wheel, behind a fetch proxy.

The broker speaks the Kafka protocol and keeps its log in memory. It saves the log to one file about
once a second and when it ends. So a kill -9 of the broker (not of any other process) loses the last
second. A power cut loses COPY_INTERVAL_S and about a second, because only the copies of the file
are synced (`broker_file.py`). Records that every group has committed are deleted regularly, because
the broker rewrites the whole file.
"""

import argparse
import contextlib
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import noida_db

from radar.errors import RadarError
from radar.process import SUPERVISOR_VARIABLE, follow_supervisor

if TYPE_CHECKING:
    import asyncio

START_TIMEOUT_S = 20.0
STOP_TIMEOUT_S = 20.0
COPY_INTERVAL_S = 5.0
COPY_REST = 20.0  # pause this many times the duration of a copy, to spare a slow disk
PORT_ATTEMPTS = 5
_TAIL_BYTES = 4096
# The broker's messages that it listens, and that its port is in use.
_LISTENS, _PORT_TAKEN = b"press Ctrl-C to stop", b"is already in use"


async def run(data_dir: Path, host: str, port: int) -> int:
    """Run the broker until it ends or SIGTERM or SIGINT comes; return its exit code.

    Raises:
        OSError: The port is taken.
        RadarError: The broker's file is torn and there is no copy that the broker can read.
    """
    import asyncio

    from radar.local.fetch_proxy import FetchProxy

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    broker = await _start(data_dir, host)
    stopped = asyncio.ensure_future(stop.wait())
    copying = asyncio.ensure_future(_keep_copies(data_dir))
    try:
        # Leave the proxy first: messages that the broker acknowledges while it saves are lost.
        async with FetchProxy(host, port, broker.port):
            await asyncio.wait((broker.ended, stopped), return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopped.cancel()
        copying.cancel()
        await broker.stop()
    return await broker.ended


class _Broker:
    """The broker's process, and the end of its log output."""

    def __init__(self, process: "asyncio.subprocess.Process", port: int) -> None:
        import asyncio

        self.port = port
        self.tail = b""
        # Set by the broker's own message: a port that answers may be another process's.
        self.listens = asyncio.Event()
        self.ended = asyncio.ensure_future(self._wait())
        self._process = process

    async def _wait(self) -> int:
        stream = self._process.stdout
        while stream is not None and (written := await stream.read(_TAIL_BYTES)):
            with contextlib.suppress(OSError):  # a full disk of the log must not end the broker
                sys.stderr.buffer.write(written)
                sys.stderr.buffer.flush()
            self.tail = (self.tail + written)[-_TAIL_BYTES:]
            if _LISTENS in self.tail:
                self.listens.set()
        return await self._process.wait()

    async def stop(self) -> None:
        """End the broker; it saves its log."""
        import asyncio

        if not self.ended.done():
            self._process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(self.ended), STOP_TIMEOUT_S)
            except TimeoutError:
                self._process.kill()


async def _start(data_dir: Path, host: str) -> _Broker:
    """Start the broker, from the copy if its file is torn, and wait until it answers."""
    from radar.local import broker_file

    broker = await _spawn(data_dir, host)
    if (reason := _torn(broker)) is None:
        return broker
    print(broker_file.put_back(data_dir, reason), file=sys.stderr, flush=True)  # noqa: T201
    broker = await _spawn(data_dir, host)
    if (reason := _torn(broker)) is not None:
        raise broker_file.hopeless(data_dir, reason)
    return broker


async def _spawn(data_dir: Path, host: str) -> _Broker:
    """Start the broker on a free port and wait until it listens or has ended."""
    import asyncio

    from radar.addresses import free_port

    for _ in range(PORT_ATTEMPTS):
        port = free_port(host)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "radar.local.broker", "--become-broker"),
            *(str(data_dir), host, str(port)),
            env=os.environ | {SUPERVISOR_VARIABLE: str(os.getpid())},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        broker = _Broker(process, port)
        listens = asyncio.ensure_future(broker.listens.wait())
        await asyncio.wait(
            (broker.ended, listens),
            timeout=START_TIMEOUT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        listens.cancel()
        if not (broker.ended.done() and _PORT_TAKEN in broker.tail):
            break
    return broker


def _torn(broker: _Broker) -> str | None:
    """Return why the broker could not read its file, if that was the reason for its end."""
    from radar.local.broker_file import TORN

    if not broker.ended.done():
        return None
    _, found, reason = broker.tail.decode(errors="replace").rpartition(f"{TORN}: ")
    return reason.split("\n", 1)[0].strip() if found else None


async def _keep_copies(data_dir: Path) -> None:
    """Copy the broker's file repeatedly, until cancelled."""
    import asyncio

    from radar.local.broker_file import Keeper

    keeper, failed, took_s = Keeper(data_dir), False, 0.0
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(max(COPY_INTERVAL_S, COPY_REST * took_s))
        began_s = loop.time()
        try:
            await asyncio.to_thread(keeper.keep)
        except OSError as error:
            if not failed:
                print(f"kafka: cannot copy the broker's file: {error}", file=sys.stderr, flush=True)  # noqa: T201
            failed = True
        else:
            failed = False
        took_s = loop.time() - began_s


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
    # Imported here: the process that becomes the broker does not need it.
    import asyncio

    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        try:
            code = runner.run(run(options.data_dir, options.host, options.port))
        except RadarError as error:
            sys.exit(str(error))
    sys.exit(code)


if __name__ == "__main__":
    main()
