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
