"""Decides whether a browser's request was meant for the server that received it. Pure.

A page anywhere on the web can point a name of its own at this machine (DNS rebinding). Or it can
send a request whose answer it cannot read. But it cannot choose the headers `Host` and
`Sec-Fetch-Site` that browsers then send.
"""

import ipaddress
import re
from collections.abc import Iterable

# Names, IPv4 addresses and IPv6 addresses in brackets, each with or without a port.
_HOST = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|([A-Za-z0-9_.-]{1,253}))(?::[0-9]{1,5})?")
_URL = re.compile(r"https?://([^/?#@\\\s]+)(?:[/?#].*)?")
_OTHER_SITES = ("cross-site", "same-site")


def host_name(headers: Iterable[str]) -> str:
    """Return the name or address in the Host headers of a request, in small letters, no brackets.

    Empty if there is not exactly one header, or if it is malformed.
    """
    given = tuple(headers)
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if found is None:
        return ""
    if found[1] is None:
        return str(found[2]).lower()
    try:
        return str(ipaddress.IPv6Address(found[1]))
    except ValueError:
        return ""


def is_address(name: str) -> bool:
    """Return whether a name is an IP address: only a page from that address has such a name."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Return whether a name is `localhost` or a loopback address; sends no DNS request."""
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


def is_bare(name: str) -> bool:
    """Return whether a name has no dot, as containers' names: such a name cannot be registered."""
    return bool(name) and "." not in name and ":" not in name


def canonical(name: str) -> str:
    """Return a name or address in the form of `host_name`."""
    name = name.strip("[]").lower()
    return str(ipaddress.ip_address(name)) if is_address(name) else name


def is_own_page(url: str, host: str) -> bool:
    """Return whether an origin or a URL is of the server that a Host header names.

    The origin `null` is no server's: sandboxed pages and files have it.
    """
    parts = _URL.fullmatch(url)
    return parts is not None and parts[1].lower() == host.lower()


def is_from_another_site(fetch_site: str) -> bool:
    """Return whether `Sec-Fetch-Site` shows that another page sent a request."""
    return fetch_site.strip().lower() in _OTHER_SITES
