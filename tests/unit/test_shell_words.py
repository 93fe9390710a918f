"""What the shell takes for a statement, and what it completes."""

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from chdb_server.statement import split
from radar.errors import StoreUnavailable
from radar.reading.shell import Word, Words, is_leaving, is_unfinished

WORDS: list[Word] = [
    ("SELECT", "keyword", ""),
    ("trades", "table", "radar"),
    ("trade_id", "column", "trades"),
    ("symbol", "column", "trades"),
    ("symbol", "column", "order_book"),
    ("levels", "column", "orderbook_depth"),
    ("toStartOfMinute", "function", ""),
]


def completed(text: str) -> list[str]:
    words = Words(lambda: WORDS)
    words.load()
    return [each.text for each in words.get_completions(Document(text), CompleteEvent())]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", []),
        ("SELECT ", []),
        ("sel", ["SELECT"]),
        ("SELECT tr", ["trades", "trade_id"]),
        ("SELECT count() FROM TR", ["trades", "trade_id"]),
        ("SELECT t", ["trades", "trade_id", "toStartOfMinute"]),
        ("SELECT trades.", ["symbol", "trade_id"]),
        ("SELECT trades.s", ["symbol"]),
        ("SELECT (sy", ["symbol"]),
        ("SELECT nothing.s", []),
        ("SELECT 1;\nsel", ["SELECT"]),
    ],
)
def test_completion_offers_tables_columns_and_words(text: str, words: list[str]) -> None:
    assert completed(text) == words


def test_completion_without_an_answer_offers_nothing() -> None:
    def load() -> list[Word]:
        raise StoreUnavailable("gone")

    words = Words(load)
    words.load()
    assert list(words.get_completions(Document("sel"), CompleteEvent())) == []


@pytest.mark.parametrize(
    ("sql", "statements", "rest"),
    [
        ("SELECT 1;", ["SELECT 1"], ""),
        ("SELECT 1; SELECT\n2 ;", ["SELECT 1", "SELECT\n2"], ""),
        ("SELECT 1", [], "SELECT 1"),
        ("SELECT ';' || \";\" || `;`;", ["SELECT ';' || \";\" || `;`"], ""),
        ("SELECT 1; -- all; of it", ["SELECT 1"], ""),
        ("SELECT 1 -- one;\n+ 1;", ["SELECT 1 -- one;\n+ 1"], ""),
        ("SELECT /* ; */ 1;", ["SELECT /* ; */ 1"], ""),
        ("SELECT 'begun;", [], "SELECT 'begun;"),
        ("SELECT /* begun;", [], "SELECT /* begun;"),
        ("SELECT 'it''s;';;", ["SELECT 'it''s;'"], ""),
        (" \n", [], ""),
    ],
)
def test_split_ends_statements_at_semicolons(sql: str, statements: list[str], rest: str) -> None:
    assert split(sql.encode()) == ([each.encode() for each in statements], rest.encode())


@pytest.mark.parametrize(
    ("text", "unfinished"),
    [("", False), ("SELECT", True), ("SELECT 1;", False), ("\\q", False), ("exit", False)],
)
def test_enter_goes_on_in_a_new_line_until_the_semicolon(text: str, unfinished: bool) -> None:
    assert is_unfinished(text) is unfinished


@pytest.mark.parametrize("text", ["\\q", " exit ", "quit;", "QUIT"])
def test_shell_is_left_by_words(text: str) -> None:
    assert is_leaving(text)
    assert not is_leaving(f"SELECT {text}")
