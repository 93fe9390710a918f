"""The embedded Kafka broker: the binary of the noida-db wheel, behind a fetch proxy.

The broker speaks the Kafka protocol and keeps its log in memory. It saves the log to one file about
once a second and when it ends. So a kill -9 of the broker (not of any other process) loses the last
second. A power cut loses COPY_INTERVAL_S and about a second, because only the copies of the file
are synced (`broker_file.py`). Records that every group has committed are deleted regularly, because
the broker rewrites the whole file.

Only the proxy reaches the broker's own port (`private_network.py`).
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

    from radar.local.private_network import PrivateNetwork

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
        async with FetchProxy(host, port, broker.port, broker.connect):
            await asyncio.wait(
                (broker.ended, broker.lost, stopped), return_when=asyncio.FIRST_COMPLETED
            )
    finally:
        stopped.cancel()
        copying.cancel()
        await broker.stop()
    return await broker.ended


class _Broker:
    """The broker's process, and the end of its log output.

    Attributes:
        port: Where it listens.
        lost: Done when no new connection to it is possible any more.
        tail: The end of its log output.
        listens: Set when it says so itself: a port that answers may be another process's.
        ended: Done with its exit code.
    """

    def __init__(
        self,
        process: "asyncio.subprocess.Process",
        host: str,
        port: int,
        network: "PrivateNetwork | None",
    ) -> None:
        import asyncio

        self._host, self.port = host, port
        self._network = network
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.lost = never if network is None else network.lost
        self.tail = b""
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

    async def connect(self) -> "tuple[asyncio.StreamReader, asyncio.StreamWriter]":
        """Connect to the broker.

        Raises:
            OSError: It does not answer.
        """
        import asyncio

        if self._network is None:
            return await asyncio.open_connection(self._host, self.port)
        return await self._network.connect(self._host, self.port)

    async def stop(self) -> None:
        """End the broker; it saves its log."""
        import asyncio

        if not self.ended.done():
            self._process.terminate()
            try:
                await asyncio.wait_for(asyncio.shield(self.ended), STOP_TIMEOUT_S)
            except TimeoutError:
                self._process.kill()
        if self._network is not None:
            self._network.close()


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
        broker = await _begin(data_dir, host, free_port(host))
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


async def _begin(data_dir: Path, host: str, port: int) -> _Broker:
    """Start the broker's process, in a network of its own if the kernel allows it."""
    from radar.local import private_network

    if not private_network.is_possible():
        return _Broker(await _process(data_dir, host, port), host, port, None)
    network = private_network.PrivateNetwork()
    process = await _process(data_dir, host, port, network.theirs.fileno())
    network.theirs.close()
    refusal = await network.refusal()
    if refusal is None:
        return _Broker(process, host, port, network)
    network.close()
    await process.communicate()
    print(  # noqa: T201 - this process's log
        f"kafka: every local user can connect to the broker's own port {port}, because the kernel"
        f" allows it no network of its own ({refusal}): docs/security.md",
        file=sys.stderr,
        flush=True,
    )
    return _Broker(await _process(data_dir, host, port), host, port, None)


async def _process(
    data_dir: Path, host: str, port: int, control: int | None = None
) -> "asyncio.subprocess.Process":
    import asyncio

    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "radar.local.broker", "--become-broker"),
        *(() if control is None else ("--control", str(control))),
        *(str(data_dir), host, str(port)),
        env=os.environ | {SUPERVISOR_VARIABLE: str(os.getpid())},
        pass_fds=() if control is None else (control,),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )


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


def become_broker(data_dir: Path, host: str, port: int, control: int | None) -> None:
    """Replace this process by the broker's binary, in a network of its own if it has `control`."""
    binary = Path(noida_db.__file__).with_name("noida-db")
    if control is not None:
        import socket

        from radar.local import private_network

        private_network.move_in(socket.socket(fileno=control), binary, data_dir)
    # Last, because Linux forgets it when a process gets other rights.
    follow_supervisor(signal.SIGTERM)
    line = [
        str(binary),
        *("start", "--only", "kafka", "--host", host),
        *("--kafka-port", str(port), "--data-dir", str(data_dir)),
    ]
    os.execv(line[0], line)  # noqa: S606 - no shell


def main() -> None:
    """Run the broker: `python -m radar.local.broker DATA_DIR HOST PORT`."""
    parser = argparse.ArgumentParser(description="embedded Kafka broker")
    parser.add_argument("--become-broker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--control", type=int, help=argparse.SUPPRESS)
    parser.add_argument("data_dir", type=Path)
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    options = parser.parse_args()
    options.data_dir.mkdir(parents=True, exist_ok=True)
    if options.become_broker:
        become_broker(options.data_dir, options.host, options.port, options.control)
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
