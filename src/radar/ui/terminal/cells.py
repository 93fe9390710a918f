"""The boundary between foreign text and the screen. Pure.

A plain string is markup to the libraries that draw. `[/x]` ends a style that never began, which is
an error, and `[link=…]` makes a link. So every string becomes a `Text`, which has no markup.
"""

from rich.text import Text

from radar.text import is_printable, printable

MAX_CHARACTERS = 500


def cell(content: str | Text, style: str = "") -> Text:
    """Return text that shows its characters as they are; the styles of a `Text` stay."""
    if isinstance(content, str):
        return Text(printable(content, MAX_CHARACTERS), style=style)
    if is_printable(content.plain) and len(content.plain) <= MAX_CHARACTERS:
        return content
    return Text(printable(content.plain, MAX_CHARACTERS), style=content.style)
