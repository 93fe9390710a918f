"""`radar shell`: an SQL prompt with completion and history.

Every statement runs by itself, as with `radar query`: the running database answers, or the shell
opens the embedded data for that moment. So `radar up` may start and end while the shell is open.
The state of a session (SET, USE, temporary tables) ends with its statement.
"""

import contextlib
import json
import re
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.history import FileHistory
from prompt_toolkit.lexers import PygmentsLexer
from pygments.lexers.sql import SqlLexer

from chdb_server.statement import split
from radar.errors import RadarError
from radar.reading.query import TABLE_FORMAT, TABLE_SETTINGS, ask, may_run
from radar.reading.shell_commands import answer_to, divide, is_command
from radar.reading.statements import binary_format, statements
from radar.settings import Settings
from radar.store.queries import reading as queries
from radar.text import printable, printable_chunks

HISTORY = ".radar_history"


MOST_SHOWN = 200
MAX_ERROR_CHARACTERS = 2000
MAX_LINE_CHARACTERS = 1000
# A word at the end, and the name before its point.
_AT_CURSOR = re.compile(r"(?:(\w+)\.)?(\w*)$")
_LEAVE = ("\\q", "exit", "quit")
_HELP = r"End a statement with ; and Enter. Tab completes, \d lists tables, help helps, \q leaves."
Word = tuple[str, str, str]
"""A word, its kind, and the table or database that it belongs to."""


def run(settings: Settings, *, write: bool = False) -> None:
    """Read statements and show the answers until the user leaves; blocks.

    Statements from a pipe run without a prompt, and stop at the first error.

    Args:
        settings: The options, with the address of the database.
        write: Let statements change data; the shell asks before one that deletes.

    Raises:
        StoreUnavailable: No server runs and there is no embedded data.
        QueryFailed: ClickHouse refuses a statement that came through a pipe.
    """
    if not sys.stdin.isatty():
        _run_piped(settings, sys.stdin.read(), write=write)
        return
    # Reports a missing database at once, and in one line.
    _rows(settings, queries.ANSWER)
    words = Words(lambda: _load(settings))
    threading.Thread(target=words.load, daemon=True).start()
    session: PromptSession[str] = PromptSession(
        f"{settings.clickhouse_db}> ",
        prompt_continuation=lambda width, _line, _wrap: ". ".rjust(width),
        multiline=Condition(lambda: is_unfinished(get_app().current_buffer.text)),
        completer=words,
        complete_in_thread=True,
        complete_while_typing=False,
        lexer=PygmentsLexer(SqlLexer),
        history=FileHistory(str(_private_history())),
        enable_history_search=True,
    )
    print(_HELP)  # noqa: T201
    while True:
        try:
            text = session.prompt()
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
        if is_leaving(text):
            return
        if is_command(text):
            _obey(settings, text)
            continue
        complete, rest = split(text.encode())
        for statement in [*complete, rest.strip()]:
            if statement and not _show(settings, statement.decode(), write=write):
                break


def _private_history() -> Path:
    """Return the file of earlier statements, which may hold secrets; only its owner may read it."""
    path = Path.home() / HISTORY
    with contextlib.suppress(OSError):
        path.touch(0o600)
        path.chmod(0o600)
    return path


def is_unfinished(text: str) -> bool:
    """Return whether Enter begins a new line: a statement has begun and no semicolon ends it."""
    return bool(split(text.encode())[1].strip()) and not (is_leaving(text) or is_command(text))


def is_leaving(text: str) -> bool:
    r"""Return whether a text means to leave: \q, exit or quit."""
    return text.strip(" \t\n;").lower() in _LEAVE


def _obey(settings: Settings, text: str) -> None:
    """Print the answer to a command of the shell, or its error in one line."""
    try:
        for line in answer_to(text, lambda sql: _rows(settings, sql)):
            print(printable(line, MAX_LINE_CHARACTERS))  # noqa: T201
    except RadarError as error:
        print(printable(str(error), MAX_ERROR_CHARACTERS), file=sys.stderr)  # noqa: T201


class Words(Completer):
    """Completes the word at the cursor; knows no words until `load` has ended.

    Behind `trades.` it offers the columns of that table, elsewhere all words.
    """

    def __init__(self, load: Callable[[], Iterable[Word]]) -> None:
        self._load = load
        self._words: list[Word] = []

    def load(self) -> None:
        """Read the words from the database; blocks. Without an answer it completes no words."""
        try:
            found = set(self._load())
        except RadarError:
            return
        self._words = sorted(found, key=lambda word: (queries.WORD_ORDER.index(word[1]), word))

    def get_completions(
        self, document: Document, complete_event: CompleteEvent
    ) -> Iterator[Completion]:
        """Yield words that begin as the one before the cursor, tables and columns first."""
        match = _AT_CURSOR.search(document.text_before_cursor)
        table, typed = match.groups() if match else (None, "")
        if not typed and not table:
            return
        shown: set[str] = set()
        for word, context, belongs in self._words:
            if word in shown or not word.lower().startswith(typed.lower()):
                continue
            if table and (context != "column" or belongs != table):
                continue
            shown.add(word)
            yield Completion(word, -len(typed), display_meta=context)
            if len(shown) == MOST_SHOWN:
                return


def _load(settings: Settings) -> list[Word]:
    return [(word, context, belongs) for word, context, belongs in _rows(settings, queries.WORDS)]


def _rows(settings: Settings, sql: str) -> list[list[str]]:
    answer = b"".join(ask(settings, sql, "JSONCompactStringsEachRow"))
    return [json.loads(line) for line in answer.splitlines()]


def _show(settings: Settings, sql: str, *, write: bool) -> bool:
    """Print the answer to a statement, or its error in one line, and the time it took."""
    if write and not may_run(sql.encode()):
        print("no change was made", file=sys.stderr)  # noqa: T201
        return False
    began_s = time.perf_counter()
    if name := binary_format(sql, ""):
        print(f"{name} is binary and no terminal can show it", file=sys.stderr)  # noqa: T201
        return False
    try:
        answer = ask(settings, sql, TABLE_FORMAT, query_settings=TABLE_SETTINGS, write=write)
        for chunk in printable_chunks(answer):
            sys.stdout.buffer.write(chunk)
        sys.stdout.flush()
    except RadarError as error:
        print(printable(str(error), MAX_ERROR_CHARACTERS), file=sys.stderr)  # noqa: T201
        return False
    except KeyboardInterrupt:
        print("cancelled", file=sys.stderr)  # noqa: T201
        return False
    print(f"{time.perf_counter() - began_s:.3f} s")  # noqa: T201
    return True


def _run_piped(settings: Settings, text: str, *, write: bool) -> None:
    if not text.strip():
        _rows(settings, queries.ANSWER)  # an empty input is fine, a missing database is not
    for each in divide(text):
        if is_command(each):
            for line in answer_to(each, lambda sql: _rows(settings, sql)):
                print(printable(line, MAX_LINE_CHARACTERS), flush=True)  # noqa: T201
            continue
        for statement in statements(each.encode()):
            answer = ask(settings, statement, "TabSeparated", write=write)
            for chunk in printable_chunks(answer) if sys.stdout.isatty() else answer:
                sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
