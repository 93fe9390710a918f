"""Foreign text, made safe to show.

Text from an exchange, Kafka, a database or a browser may hold control characters, which a terminal
or a log reader would execute instead of showing. Every place that shows such text passes it through
`printable`.
"""

import codecs
import re
from collections.abc import Iterable, Iterator, Sequence

DEFAULT_LIMIT = 200
ELLIPSIS = "…"
SHOWN_NAMES = 3

# Python calls these printable, yet they are invisible: two names could look the same. They are the
# combining joiner, Hangul fillers, Khmer vowels, Mongolian and other variation selectors, and the
# blank Braille pattern.
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u2800\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def printable(text: str, limit: int = DEFAULT_LIMIT) -> str:
    r"""Return text of one line in which every character is visible and has no effect.

    Control characters (C0, DEL, C1), line breaks, characters that change the direction of text,
    invisible ones, surrogates, and those that are private or not assigned become `\xNN`, `\uNNNN`
    or `\UNNNNNNNN`. Markup of rich, HTML or a shell is plain text here and is left as it is.

    Args:
        text: The foreign text.
        limit: Most characters that are returned, at least 1; a longer text ends with "…".
    """
    if len(text) <= limit and is_printable(text):
        return text
    cut = len(text) > limit
    shown = [each if is_printable(each) else _escaped(each) for each in text[:limit]]
    # An escape is longer than its character; none is cut in the middle.
    length = sum(map(len, shown))
    while length > limit - cut:
        length -= len(shown.pop())
        cut = True
    return "".join(shown) + (ELLIPSIS if cut else "")


# Text that clients and server add to ClickHouse's error, some of it several times.
_CODES = re.compile(r"(Code: \d+\. )DB::\w*Exception: (?:Code: \d+\. DB::Exception: )*")
_NAMES = re.compile(r"(\([A-Z_]+\))(?:\. \1)+")
_AROUND = re.compile(
    r"^Received ClickHouse exception.*?server response: | \(version [^()]*(?:\([^()]*\))?\)"
    r"| \(for url [^()]*\)"
)


def clickhouse_words(text: str) -> str:
    """Return an error of ClickHouse without the text that its client and server add."""
    return _NAMES.sub(r"\1", _CODES.sub(r"\1", _AROUND.sub("", text))).strip()


def printable_lines(text: str) -> str:
    """Return a text of several lines with every other control character escaped."""
    if is_printable(text.replace("\n", "").replace("\t", "")):
        return text
    return "".join(
        each if each in "\n\t" or is_printable(each) else _escaped(each) for each in text
    )


def printable_chunks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Apply `printable_lines` to UTF-8 that arrives in pieces, and escape bad bytes."""
    decoder = codecs.getincrementaldecoder("utf-8")("backslashreplace")
    for chunk in chunks:
        yield printable_lines(decoder.decode(chunk)).encode()
    yield printable_lines(decoder.decode(b"", final=True)).encode()


def is_printable(text: str) -> bool:
    """Return whether a text has no character that `printable` escapes, whatever its length."""
    return text.isprintable() and (text.isascii() or _INVISIBLE.search(text) is None)


def _escaped(character: str) -> str:
    code = ord(character)
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def host_port(host: str, port: int) -> str:
    """Return HOST:PORT, with an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def without_password(text: str) -> str:
    """Mask user and password in a URL."""
    return re.sub(r"//[^/@]*@", "//********@", text)


def some_of(names: Sequence[str]) -> str:
    """Return the first few names, and a sign that there are more."""
    more = ", …" if len(names) > SHOWN_NAMES else ""
    return ", ".join(names[:SHOWN_NAMES]) + more
