"""The commands for dead letters: `radar dlq …`."""

import base64
import re
import shlex
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from radar.cli.arguments import (
    AsJson,
    DatasetName,
    confirm,
    datasets_named,
    say,
    say_json,
    settings_for,
)
from radar.cli.required_services import require
from radar.errors import InvalidRequest, RadarError
from radar.periods import EXAMPLES, parse_time
from radar.text import printable, printable_chunks

if TYPE_CHECKING:
    from collections.abc import Sequence

    from radar.consumer.dlq.reader import DeadLetter, DeadLetterReader, DeadLetterState, Selection
    from radar.settings import Settings

SHOWN_CHARACTERS = 100
SHOWN_STILL_BAD = 10
MAX_NAME_CHARACTERS = 300

app = typer.Typer(
    no_args_is_help=True,
    help="List, show, replay or purge dead letters: messages that could not become rows.",
)

DatasetOption = Annotated[DatasetName | None, typer.Option("--dataset", help="Only this dataset.")]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Only with this reason: schema, json, amount, rejected, …")
]
SinceOption = Annotated[
    str,
    typer.Option(
        "--from", "--since", help=f"Only newer than this (UTC): {EXAMPLES}.", metavar="TIME"
    ),
]


@app.command("list")
def list_letters(
    *,
    dataset: DatasetOption = None,
    reason: ReasonOption = "",
    since: SinceOption = "",
    everything: Annotated[
        bool, typer.Option("--all", help="Also list replayed dead letters.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
) -> None:
    """List dead letters: place, reason and beginning of each message."""
    from radar.consumer.dlq.reader import DeadLetterReader, DeadLetterState
    from radar.kafka import Cluster

    selection = _selection(reason, since, ())
    settings = settings_for("dlq")
    require(settings, kafka=True)
    cluster = Cluster(settings)
    count, foreign = 0, []
    for each in datasets_named(dataset):
        letters = DeadLetterReader(cluster, each)
        foreign += _foreign(each.dead_letter_topic, letters)
        for letter, state in letters:
            if not selection.holds(letter) or (
                state is not DeadLetterState.OPEN and not everything
            ):
                continue
            count += 1
            if as_json:
                say_json(_facts(letter) | {"state": state.value}, indent=None)
            else:
                done = "" if state is DeadLetterState.OPEN else f"  ({state.value})"
                say(f"{_word(letter.name)}  {letter.sent_at}  {letter.detail}{done}")
                say(f"    {_beginning(letter.payload)}")
    if not as_json:
        typer.echo(f"{count:,} dead letters" if count != 1 else "1 dead letter")
    for line in foreign:
        typer.echo(line, err=as_json)


@app.command()
def show(
    letter: Annotated[
        str, typer.Argument(help="Name of a dead letter, TOPIC:PARTITION:OFFSET, as in `list`.")
    ],
    *,
    raw: Annotated[
        bool, typer.Option("--raw", help="Print only the payload, byte for byte.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show the reason, place, key and payload of one dead letter."""
    settings = settings_for("dlq")
    _check_name(letter)
    require(settings, kafka=True)
    for each, state in _named(settings, [letter]):
        if raw:
            raw_bytes = [each.payload]
            shown = printable_chunks(raw_bytes) if sys.stdout.isatty() else raw_bytes
            sys.stdout.buffer.writelines(shown)
        elif as_json:
            say_json(_facts(each) | {"state": state.value})
        else:
            cut = f", of {each.payload_bytes:,} before it was cut" if each.is_cut else ""
            say(
                f"letter:  {_word(each.name)} ({state.value})",
                f"sent:    {each.sent_at}",
                f"reason:  {each.reason}",
                f"detail:  {each.detail}",
                f"key:     {_text(each.key)}",
                f"payload: {len(each.payload):,} bytes{cut}",
                "",
            )
            typer.echo(_text(each.payload))


@app.command()
def replay(
    letters: Annotated[
        list[str] | None,
        typer.Argument(help="Names as in `list`; default: all that the options select."),
    ] = None,
    *,
    dataset: DatasetOption = None,
    reason: ReasonOption = "",
    since: SinceOption = "",
) -> None:
    """Store dead letters as rows, after you have corrected the cause.

    Each message becomes the row that it would have been, with its original place in Kafka. It is
    stored only once, even if you interrupt and repeat the replay. Messages that are still bad stay
    dead letters; the exit code is then 1.
    """
    from radar.consumer.dlq.replay import StillBad
    from radar.consumer.dlq.replay import replay as run
    from radar.store.client import Store

    settings = settings_for("dlq")
    selection = _selection(reason, since, letters or ())
    for name in letters or ():
        _check_name(name)
    require(settings, kafka=True, clickhouse=True)
    if letters:
        _named(settings, letters)
    store, stored = Store(settings), 0
    still_bad: list[StillBad] = []
    bad_count = 0
    try:
        for each in datasets_named(dataset):
            for block in run(settings, each, store, selection):
                stored += len(block.stored)
                bad_count += len(block.still_bad)
                still_bad += block.still_bad[: SHOWN_STILL_BAD - len(still_bad)]
    finally:
        store.close()
    for bad in still_bad:
        say(f"still bad: {_word(bad.letter.name)}: {bad.reason}")
    if bad_count > len(still_bad):
        typer.echo(f"still bad: {bad_count - len(still_bad):,} more")
    typer.echo(f"{stored:,} replayed, {bad_count:,} still bad")
    if bad_count:
        raise typer.Exit(1)


@app.command()
def purge(
    *,
    dataset: DatasetOption = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Delete dead letters for good, also those that were never stored. Asks first."""
    from radar.consumer.dlq.reader import DeadLetterReader
    from radar.consumer.dlq.replay import purge as run
    from radar.kafka import Cluster

    settings = settings_for("dlq")
    require(settings, kafka=True)
    datasets = datasets_named(dataset)
    if not yes:
        cluster = Cluster(settings)
        count = sum(1 for each in datasets for _ in DeadLetterReader(cluster, each).open())
        names = ", ".join(each.name for each in datasets)
        confirm(
            f"Delete all dead letters of {names}? {count:,} of them are not stored anywhere else."
        )
    for each in datasets:
        typer.echo(f"{each.dead_letter_topic}: purged {run(settings, each):,} open dead letters")


def _foreign(topic: str, letters: "DeadLetterReader") -> list[str]:
    """Describe the messages of a dead-letter topic that radar has not written."""
    if not letters.foreign_count:
        return []
    summary = (
        f"{topic}: {letters.foreign_count:,} foreign messages, which radar has not written and"
        " never replays; `radar dlq purge` deletes them"
    )
    places = (
        f"    {topic}[{each.place[0]}] offset {each.place[1]}: {each.why}"
        for each in letters.foreign
    )
    return [summary, *places]


def _check_name(name: str) -> None:
    topics = [dataset.topic for dataset in datasets_named(None)]
    topic, _, place = name.partition(":")
    if topic not in topics or not re.fullmatch(r"\d+:\d+", place):
        raise InvalidRequest(
            f"{name!r} is no name of a dead letter: write TOPIC:PARTITION:OFFSET as"
            f" `radar dlq list` does, e.g. {topics[0]}:0:17"
        )


def _named(
    settings: "Settings", names: "Sequence[str]"
) -> "list[tuple[DeadLetter, DeadLetterState]]":
    """Return the dead letters of these names, whatever their state; each must exist."""
    from radar.consumer.dlq.reader import DeadLetterReader
    from radar.kafka import Cluster

    cluster = Cluster(settings)
    found = [
        (letter, state)
        for dataset in datasets_named(None)
        if any(name.startswith(f"{dataset.topic}:") for name in names)
        for letter, state in DeadLetterReader(cluster, dataset)
        if letter.name in names
    ]
    if unknown := set(names) - {letter.name for letter, _ in found}:
        raise RadarError(
            f"there is no dead letter {min(unknown)}: `radar dlq list --all` names them"
        )
    return found


def _selection(reason: str, since: str, names: "Sequence[str]") -> "Selection":
    from radar.consumer.dlq.reader import Selection

    since_s = parse_time(since, datetime.now(UTC)).timestamp() if since else 0
    return Selection(reason, int(since_s * 1000), frozenset(names))


def _facts(letter: "DeadLetter") -> dict[str, Any]:
    facts: dict[str, Any] = {
        "letter": letter.name,
        "topic": letter.topic,
        "partition": letter.partition,
        "offset": letter.offset,
        "sent_at": letter.sent_at,
        "reason": letter.reason,
        "detail": letter.detail,
        "key": letter.key.decode(errors="replace"),
        "payload_bytes": letter.payload_bytes,
        "cut": letter.is_cut,
    }
    try:
        return facts | {"payload": letter.payload.decode()}
    except UnicodeDecodeError:
        return facts | {"payload_base64": base64.b64encode(letter.payload).decode()}


def _beginning(payload: bytes) -> str:
    return printable(
        payload[: 4 * SHOWN_CHARACTERS].decode(errors="backslashreplace"), SHOWN_CHARACTERS
    )


def _text(data: bytes) -> str:
    """Return bytes as text of one line that cannot control a terminal."""
    text = data.decode(errors="backslashreplace")
    return printable(text, 10 * len(text) + 1)


def _word(name: str) -> str:
    """Return a name quoted for copying into a command: a shell takes it as one word."""
    return shlex.quote(printable(name, MAX_NAME_CHARACTERS))
