"""A network of the embedded broker's own, which only the fetch proxy reaches.

The broker can only listen on TCP ports. On the machine's loopback interface every local user could
connect to them, and every web page could post to them: past the proxy, which refuses the requests
that would end the broker. So the broker runs in a network namespace of its own, with another
loopback interface (Linux, network_namespaces(7)).

```text
 clients ──▶ fetch proxy ◀── sockets ── socket maker     (inside, makes sockets)
                  └────────── TCP ────▶ broker           (inside, listens)
```

A socket belongs for ever to the namespace of the process that made it. So a small process inside
makes the proxy's sockets and passes their descriptors (SCM_RIGHTS, unix(7)). The messages do not
pass through it.
"""

import asyncio
import contextlib
import ctypes
import errno
import fcntl
import os
import signal
import socket
import struct
import sys
from pathlib import Path

_CLONE_NEWUSER, _CLONE_NEWNET = 0x1000_0000, 0x4000_0000  # linux/sched.h
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_MADE, _REFUSED = b"s", b"-"
_REASON_BYTES = 1000


def move_in(control: socket.socket, binary: Path, data_dir: Path) -> None:
    """Move this process into a network of its own, and start the socket maker there.

    For the process that becomes the broker. If the kernel refuses, it ends the process, because it
    may have no network at all, and sends the reason.

    Args:
        control: One end of a pair of Unix sockets; `PrivateNetwork` has the other one.
        binary: A program that the process must still be able to start.
        data_dir: A folder in which it must still be able to write.
    """
    try:
        _enter()
        # With other rights a process may lose what an administrator's rights alone allow.
        if not (os.access(binary, os.X_OK) and os.access(data_dir, os.W_OK | os.X_OK)):
            raise OSError("its files are out of reach there")
    except OSError as error:
        control.sendall(_REFUSED + (error.strerror or str(error)).encode())
        os._exit(1)
    os.set_inheritable(control.fileno(), False)  # the broker must not keep it open
    broker = os.getpid()
    if not os.fork():
        try:
            _make_sockets(control, broker)
        finally:
            os._exit(0)
    control.sendall(_MADE)


def _enter() -> None:
    user, group = os.geteuid(), os.getegid()
    try:
        _unshare(_CLONE_NEWNET)
    except PermissionError:
        # In a user namespace of its own, with the same numbers, any user may.
        _unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{user} {user} 1")
        Path("/proc/self/gid_map").write_text(f"{group} {group} 1")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as some:
        fcntl.ioctl(some, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def _unshare(flags: int) -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(flags):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _make_sockets(control: socket.socket, broker: int) -> None:
    """Make one socket for each byte that comes, until the proxy or the broker ends."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != broker:
        return  # it died before the call
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):  # the proxy waits for the end of the broker's output
        os.dup2(nowhere, descriptor)
    while family := control.recv(1):
        with socket.socket(family[0], socket.SOCK_STREAM) as made:
            socket.send_fds(control, [_MADE], [made.fileno()])


class PrivateNetwork:
    """The proxy's way into the broker's network. Only one event loop uses it.

    Attributes:
        theirs: The control socket for the broker's process.
        lost: Done when there is no way in any more.
    """

    def __init__(self) -> None:
        self._ours, self.theirs = socket.socketpair()
        self._ours.setblocking(False)
        self._made: asyncio.Queue[socket.socket | None] = asyncio.Queue()
        self._given_up = 0  # connections whose sockets are still to come
        self.lost: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def refusal(self) -> str | None:
        """Return why the kernel allows no network of its own, None if it does; waits for it."""
        loop = asyncio.get_running_loop()
        answer = await loop.sock_recv(self._ours, _REASON_BYTES)
        if answer[:1] != _MADE:
            return answer[1:].decode(errors="replace") or "its process ended"
        loop.add_reader(self._ours, self._receive)
        return None

    async def connect(
        self, host: str, port: int
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to a port of the broker.

        Raises:
            OSError: The broker does not answer, or there is no way in.
        """
        loop = asyncio.get_running_loop()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._ours.send(bytes([family]))
        try:
            made = await self._made.get()
        except asyncio.CancelledError:
            self._given_up += 1
            raise
        if made is None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        try:
            made.setblocking(False)
            await loop.sock_connect(made, (host, port))
            return await asyncio.open_connection(sock=made)
        except BaseException:
            made.close()
            raise

    def close(self) -> None:
        """End the socket maker; connections stay."""
        asyncio.get_running_loop().remove_reader(self._ours)
        self._ours.close()
        self.theirs.close()
        while not self._made.empty():
            if made := self._made.get_nowait():
                made.close()

    def _receive(self) -> None:
        with contextlib.suppress(BlockingIOError):
            try:
                answer, descriptors, *_ = socket.recv_fds(self._ours, 1, 1)
            except ConnectionError:
                answer, descriptors = b"", []
            if answer:
                # The kernel drops the descriptor if this process has no room for one more.
                self._take(socket.socket(fileno=descriptors[0]) if descriptors else None)
            elif not self.lost.done():
                asyncio.get_running_loop().remove_reader(self._ours)
                self.lost.set_result(None)

    def _take(self, made: socket.socket | None) -> None:
        if not self._given_up:
            self._made.put_nowait(made)
            return
        self._given_up -= 1
        if made is not None:
            made.close()


def is_possible() -> bool:
    """Return whether this system has network namespaces."""
    return sys.platform.startswith("linux")
