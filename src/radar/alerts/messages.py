"""Messages about conditions, in plain words. Pure.

A message holds text from exchanges, Kafka and databases. A chat or a mail program would follow its
links and markup, so such characters become harmless ones.
"""

from collections import Counter
from typing import Literal, NamedTuple

from radar.alerts.tracker import Digest, Event
from radar.clock import utc_text
from radar.status.bottleneck import duration
from radar.text import printable

MAX_TEXT_CHARACTERS = 240
MAX_NAME_CHARACTERS = 60
# Services cut longer texts; Discord takes 2,000 characters.
MAX_BODY_CHARACTERS = 1900
COUNTS_CHARACTERS = 120  # of the lines behind the shown events
# The services read these as markup, mentions or links.
_HARMLESS = str.maketrans({"<": "‹", ">": "›", "@": "＠", "[": "(", "]": ")", "`": "'", "*": "∗"})
_WORDS = {"begins": "PROBLEM", "lasts": "STILL", "over": "OVER"}


class Message(NamedTuple):
    """A message to people."""

    title: str
    body: str
    kind: Literal["failure", "warning", "success", "info"]


def harmless(text: str, limit: int = MAX_TEXT_CHARACTERS) -> str:
    """Return foreign text as one line without markup, mentions and links."""
    return printable(text.translate(_HARMLESS).replace("://", ":／／"), limit)


def compose(digest: Digest, machine: str, *, simulated: bool) -> Message:
    """Write one message about all events of a digest; the worst first, a storm as a count.

    Args:
        digest: The events.
        machine: The name of this machine.
        simulated: Whether the exchange is simulated.
    """
    events = digest.events
    counts = Counter(event.change for event in events)
    if len(events) == 1:
        (event,) = events
        kind, subject = event.condition.key
        what = f"{_WORDS[event.change]}: {kind.words} ({subject})"
    else:
        words = {"begins": "new", "lasts": "lasting", "over": "over"}
        found = [f"{counts[each]} {word}" for each, word in words.items() if counts[each]]  # type: ignore[index]
        what = f"{len(events)} conditions: {', '.join(found)}"
    where = harmless(machine, MAX_NAME_CHARACTERS)
    title = f"radar on {where}{' (simulated exchange)' if simulated else ''}: {harmless(what)}"
    parts: list[str] = []
    for event in events:
        part = _describe(event)
        if (
            sum(len(each) + 2 for each in parts) + len(part)
            > MAX_BODY_CHARACTERS - COUNTS_CHARACTERS
        ):
            break
        parts.append(part)
    if len(events) > len(parts):
        parts.append(f"and {len(events) - len(parts)} more: radar status lists all.")
    if digest.passed:
        parts.append(f"{digest.passed} more conditions came and passed meanwhile.")
    return Message(title, "\n\n".join(parts), _kind(events))


def trial_message(machine: str) -> Message:
    """Return the message of `radar alerts test`."""
    where = harmless(machine, MAX_NAME_CHARACTERS)
    return Message(
        f"radar on {where}: test",
        "This is the test message of radar alerts test. Alerts of this machine arrive here.",
        "info",
    )


def _describe(event: Event) -> str:
    kind, text = event.condition.key.kind, harmless(event.condition.text)
    if event.change == "over":
        subject = harmless(event.condition.key.subject)
        return f"OVER after {duration(event.lasted_s)}: {kind.over} ({subject}). Before: {text}"
    since = f"since {utc_text(event.since_s)}"
    if event.change == "lasts":
        since += f", for {duration(event.lasted_s)}"
    return f"{_WORDS[event.change]}: {text}\n{since}\nto do: {kind.remedy} ({kind.link})"


def _kind(events: list[Event]) -> Literal["failure", "warning", "success"]:
    present = [event.condition.key.kind for event in events if event.change != "over"]
    if not present:
        return "success"
    return "failure" if any(kind.critical for kind in present) else "warning"
