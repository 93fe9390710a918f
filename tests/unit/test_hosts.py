"""Which requests of browsers were meant for the server that received them."""

import pytest

from bounded_http import hosts


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        (["localhost"], "localhost"),
        (["LocalHost:80"], "localhost"),
        (["[::0001]:80"], "::1"),
        ([], ""),
        ([""], ""),
        (["a", "a"], ""),
        (["evil.example@localhost"], ""),
        (["localhost:80:80"], ""),
        (["localhost:999999"], ""),
        (["local host"], ""),
        (["localhost\n"], ""),
        (["[::1"], ""),
        (["[localhost]"], ""),
        (["::1"], ""),
    ],
)
def test_host_name_is_strict(headers: list[str], name: str) -> None:
    assert hosts.host_name(headers) == name


@pytest.mark.parametrize(
    ("url", "own"),
    [
        ("http://localhost:80", True),
        ("https://LOCALHOST:80/path?query#x", True),
        ("null", False),
        ("", False),
        ("//localhost:80", False),
        ("file://localhost:80", False),
        ("http://localhost", False),
        ("http://a@localhost:80", False),
        ("http://evil.example\\@localhost:80", False),
        ("http://localhost:80@evil.example/", False),
        ("http://localhost:80.evil.example/", False),
    ],
)
def test_own_page_is_of_the_same_host_and_port(url: str, own: bool) -> None:
    assert hosts.is_own_page(url, "localhost:80") is own


@pytest.mark.parametrize("host", ["", "null"])
def test_no_host_owns_the_origin_null(host: str) -> None:
    assert not hosts.is_own_page("null", host)
