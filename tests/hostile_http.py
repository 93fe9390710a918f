"""Clients of an HTTP server that send odd bytes, send them slowly, or read no answer."""

import socket
import time

Address = tuple[str, int]


def answer(address: Address, data: bytes, timeout_s: float = 15) -> bytes:
    """Send bytes; return everything until the server closes the connection."""
    with socket.create_connection(address, timeout_s) as connection:
        return _all(connection, data)


def _all(connection: socket.socket, data: bytes) -> bytes:
    received = b""
    try:
        connection.sendall(data)
        while piece := connection.recv(65536):
            received += piece
    except (BrokenPipeError, ConnectionResetError):
        pass
    return received


def open_s(address: Address, data: bytes, after: bytes = b"", timeout_s: float = 15) -> float:
    """Send bytes, and a second later some more; return how long the server kept the connection.

    Raises:
        TimeoutError: The server has not closed the connection in time.
    """
    began_s = time.monotonic()
    with socket.create_connection(address, timeout_s) as connection:
        connection.sendall(data)
        if after:
            time.sleep(1)
        _all(connection, after)
    return time.monotonic() - began_s


def drips_s(address: Address, data: bytes, drip: bytes, timeout_s: float = 15) -> float:
    """Send bytes, then a few more ten times a second; return when the server closed."""
    began_s = time.monotonic()
    with socket.create_connection(address, timeout_s) as connection:
        connection.sendall(data)
        connection.settimeout(0.1)
        while time.monotonic() - began_s < timeout_s:
            try:
                connection.sendall(drip)
                if connection.recv(65536) == b"":
                    break
            except TimeoutError:
                continue
            except (BrokenPipeError, ConnectionResetError):
                break
        else:
            raise TimeoutError
    return time.monotonic() - began_s


def sent_bytes(address: Address, begin: bytes, piece: bytes, count: int) -> int:
    """Send a piece again and again; return how much the server took before it closed."""
    sent = 0
    with socket.create_connection(address, 10) as connection:
        try:
            connection.sendall(begin)
            for _ in range(count):
                connection.sendall(piece)
                sent += len(piece)
        except (BrokenPipeError, ConnectionResetError):
            return sent
    return sent
