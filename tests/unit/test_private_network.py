"""The way into the embedded broker's network, as seen by the fetch proxy."""

import asyncio
import errno
import socket
from typing import Any

import pytest

from radar.local.private_network import PrivateNetwork


def test_lack_of_descriptors_fails_one_connection_and_not_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The kernel delivers the message and drops the descriptor that has no room."""

    async def connect() -> None:
        network = PrivateNetwork()
        asyncio.get_running_loop().add_reader(network._ours, network._receive)

        def no_room(*_: Any) -> tuple[bytes, list[int], int, None]:
            network._ours.recv(1)
            return b"s", [], 0, None

        monkeypatch.setattr(socket, "recv_fds", no_room)
        network.theirs.send(b"s")
        with pytest.raises(OSError, match="Too many open files") as raised:
            await network.connect("127.0.0.1", 1)
        assert raised.value.errno == errno.EMFILE
        assert not network.lost.done()
        network.close()

    asyncio.run(connect())


def test_connection_that_is_given_up_keeps_no_socket() -> None:
    async def give_up() -> None:
        network = PrivateNetwork()
        asyncio.get_running_loop().add_reader(network._ours, network._receive)
        connecting = asyncio.create_task(network.connect("127.0.0.1", 1))
        assert await asyncio.to_thread(network.theirs.recv, 1) == bytes([socket.AF_INET])
        connecting.cancel()
        await asyncio.wait([connecting])
        ours, kept = socket.socketpair()
        with ours:
            socket.send_fds(network.theirs, [b"s"], [kept.fileno()])
            kept.close()
            ours.settimeout(10)
            assert await asyncio.to_thread(ours.recv, 1) == b"", "the socket is closed"
        assert network._made.empty()
        network.close()

    asyncio.run(give_up())
