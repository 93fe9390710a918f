"""`radar query` and `radar shell`, from a terminal and from a program."""

import os
import pty
import re
import subprocess
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cases import PLACES, RUNNING
from market_data import insert_market
from radar.reading.statements import binary_format
from support import eventually, radar, run_command

if TYPE_CHECKING:
    from radar.settings import Settings
    from radar.store.client import Store

NEWEST = (
    "SELECT symbol, price FROM trades WHERE symbol = 'USDTTMN' ORDER BY event_time DESC LIMIT 1"
)


@pytest.fixture(params=PLACES)
def market(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the commands find a database that runs, or data that nothing runs on."""
    if request.param == RUNNING:
        store: Store = request.getfixturevalue("store")
        insert_market(store)
        return
    settings: Settings = request.getfixturevalue("copied_at_rest")
    monkeypatch.setenv("CLICKHOUSE_PORT", str(settings.clickhouse_port))
    monkeypatch.setenv("RADAR_DATA_DIR", str(settings.radar_data_dir))


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self._master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (40, 120))
        # A terminal that tells where its cursor is would have to be simulated as well.
        own = {"HOME": str(home), "TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1"}
        self._process = subprocess.Popen(
            radar(*arguments), stdin=slave, stdout=slave, stderr=slave, env=os.environ | own
        )
        os.close(slave)
        os.set_blocking(self._master, False)
        self._shown = ""

    @property
    def shown(self) -> str:
        """Everything that was shown so far, without colours and movements of the cursor."""
        try:
            while chunk := os.read(self._master, 65536):
                self._shown += chunk.decode(errors="replace")
        except OSError:
            pass  # nothing more yet, or the command has ended
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown)

    @property
    def raw(self) -> str:
        """Everything that was shown when `shown` was last asked for, as it came."""
        return self._shown

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def shows(self, text: str, times: int = 1) -> None:
        eventually(lambda: self.shown.count(text) >= times, f"{text!r} is shown")

    def wait(self) -> int:
        # Who does not read lets the command wait.
        eventually(lambda: bool(self.shown) and self._process.poll() is not None, "it ends")
        return self._process.wait()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._master)


@pytest.fixture
def open_terminal(tmp_path: Path) -> Iterator[Callable[..., Terminal]]:
    """Run commands in terminals; they are ended with the test."""
    opened: list[Terminal] = []

    def run(*arguments: str) -> Terminal:
        opened.append(Terminal(tmp_path, *arguments))
        return opened[-1]

    yield run
    for terminal in opened:
        terminal.end()


def run(*arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
    return run_command(*arguments, entered=text)


def test_query_in_a_pipe_is_for_machines(market: None) -> None:
    done = run("query", NEWEST)
    assert (done.returncode, done.stdout, done.stderr) == (0, "USDTTMN\t31800\n", "")
    assert run("query", NEWEST, "--format", "CSVWithNames").stdout == (
        '"symbol","price"\n"USDTTMN",31800\n'
    )
    assert run("query", f"{NEWEST} FORMAT JSONEachRow;  -- as lines").stdout == (
        '{"symbol":"USDTTMN","price":31800}\n'
    )


def test_query_in_a_terminal_is_a_table(
    market: None, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal("query", NEWEST)
    assert terminal.wait() == 0
    assert re.search(r"┌─symbol──┬─price─┐\r\n1\. │ USDTTMN │ 31800 │", terminal.shown)


@pytest.mark.parametrize(
    ("sql", "code", "line"),
    [
        (
            "SELECT * FROM nothing_there",
            1,
            r"radar: Code: 60\. .*nothing_there.* \(UNKNOWN_TABLE\)",
        ),
        ("SELEC 1", 1, r"radar: Code: 62\. .*Syntax error.*"),
        ("SELECT 1; SELECT 2", 1, r"radar: .*Multi-statements are not allowed.*"),
        (" ; -- nothing", 2, "radar: the query is empty"),
    ],
)
def test_query_that_is_wrong_fails_in_one_line(
    market: None, sql: str, code: int, line: str
) -> None:
    done = run("query", sql)
    assert (done.returncode, done.stdout) == (code, "")
    assert re.fullmatch(line, done.stderr.strip()), done.stderr


def test_query_that_fails_half_way_fails_in_one_line(market: None) -> None:
    done = run("query", "SELECT number, throwIf(number = 3000000) FROM numbers(4000000)")
    assert done.returncode == 1
    assert re.fullmatch(r"radar: .*(FUNCTION_THROW_IF|the answer broke off).*\n", done.stderr)


def test_shell_in_a_pipe_runs_statements_until_one_fails(market: None) -> None:
    statements = f"{NEWEST};\nSELECT\n';';\nSELECT * FROM nothing_there; SELECT 3"
    done = run("shell", text=statements)
    assert (done.returncode, done.stdout) == (1, "USDTTMN\t31800\n;\n")
    assert re.fullmatch(r"radar: Code: 60\..*\n", done.stderr)


def test_shell_changes_what_may_be_changed(market: None) -> None:
    made = "CREATE TABLE notes (n UInt8) ENGINE = MergeTree ORDER BY n; INSERT INTO notes VALUES"
    statements = f"{made} (1), (2);\nINSERT INTO notes SELECT n + 5 FROM notes;"
    done = run("shell", text=statements)
    assert done.returncode == 1
    assert "add --write" in done.stderr
    assert run("query", "EXISTS notes").stdout == "0\n"
    done = run("shell", "--write", text=statements)
    assert (done.returncode, done.stderr) == (0, "")
    assert run("query", "SELECT groupArray(n) FROM (SELECT n FROM notes ORDER BY n)").stdout == (
        "[1,2,6,7]\n"
    )


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE trades_master",
        "SELECT ‘'’; DROP TABLE trades_master; SELECT ‘'’",
        "INSERT INTO schema_migrations SELECT * FROM schema_migrations",
        "ALTER TABLE trades_master DELETE WHERE 1",
        "TRUNCATE TABLE trades_master",
        "CREATE TABLE made (n UInt8) ENGINE = Memory",
        "KILL QUERY WHERE 1",
    ],
)
def test_query_changes_nothing_unless_told(market: None, sql: str) -> None:
    before = run("query", NEWEST).stdout
    done = run("query", sql)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert run("query", NEWEST).stdout == before


def test_query_asks_a_person_before_it_deletes(
    market: None, open_terminal: Callable[..., Terminal]
) -> None:
    assert run("query", "--write", "CREATE TABLE gone (n UInt8) ENGINE = Memory").returncode == 0
    for answer, still in (("no", "1\n"), ("yes", "0\n")):
        terminal = open_terminal("query", "--write", "DROP TABLE gone")
        terminal.shows("Type yes to run it")
        terminal.type(f"{answer}\n")
        terminal.wait()
        assert run("query", "EXISTS gone").stdout == still


def test_shell_in_a_terminal_answers_completes_and_remembers(
    market: None, tmp_path: Path, open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal("shell")
    terminal.shows("leaves.")
    terminal.type("SELECT symbol, price FROM trades\rWHERE price = 31800")
    terminal.type(";\r")
    terminal.shows("│ USDTTMN │ 31800 │")
    terminal.type("SELECT * FROM nothing_there;\r")
    terminal.shows("(UNKNOWN_TABLE)")
    # Words are loaded while the prompt is there already.
    terminal.type("SELECT 'completed' FROM order_book_")
    eventually(lambda: completes(terminal, "order_book_at"), "the name of the view is completed")
    terminal.type("\x03")
    terminal.type("\\q\r")
    assert terminal.wait() == 0
    history = (tmp_path / ".radar_history").read_text()
    assert "+SELECT symbol, price FROM trades\n+WHERE price = 31800;" in history
    again = open_terminal("shell")
    again.shows("leaves.")
    again.type("SELECT symbol\x1b[A")
    again.shows("WHERE price = 31800")
    again.type("\r")
    again.shows("│ USDTTMN │ 31800 │")
    again.type("\\q\r")
    assert again.wait() == 0


def completes(terminal: Terminal, word: str) -> bool:
    terminal.type("\t")
    return word in terminal.shown


def test_query_reads_files_standard_input_and_parameters(market: None, tmp_path: Path) -> None:
    newest = NEWEST.replace("'USDTTMN'", "{symbol:String}")
    sql = f"-- the newest price\n{newest};\nSELECT ';'; -- end"
    file = tmp_path / "newest.sql"
    file.write_text(sql)
    for given, text in ((("--file", str(file)), ""), (("-",), sql)):
        done = run("query", *given, "--param", "symbol=USDTTMN", text=text)
        assert (done.returncode, done.stdout, done.stderr) == (0, "USDTTMN\t31800\n;\n", "")
    day = "SELECT {day:Date}, {at:DateTime64(3, 'UTC')}, {text:String}"
    done = run(
        "query",
        day,
        "-p",
        "day=2026-11-20T12",
        "-p",
        "at=2026-11-20T12:30+03:30",
        "-p",
        "text=a=b ' {c:D}",
    )
    assert done.stdout == "2026-11-20\t2026-11-20 09:00:00.000\ta=b \\' {c:D}\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["SELECT {a:UInt8}"], "add --param a=VALUE"),
        (["SELECT {at:UInt8}", "--param", "ta=1"], "no placeholder of this name: use at"),
        (["SELECT 1", "--param", "at=1"], "write {at:String} in it"),
        (["SELECT 1", "--param", "at"], "symbol=BTCUSDT"),
        (["SELECT {at:DateTime}", "--param", "at=noon"], "is no time"),
        (["SELECT open FROM candles"], "SELECT * FROM candles(interval_s = 60, start ="),
        (["SELECT c.open FROM candles AS c"], "candles needs parameters"),
        (["SELECT * FROM candles(start = '2026-01-01')"], "candles needs interval_s: SELECT"),
        (["SELECT 1", "--file", "any"], "not both"),
        (["--file", "not_there"], "--file not_there: No such file"),
        ([], "give a query"),
        (["-"], "the query is empty"),
    ],
)
def test_query_without_its_parameters_names_them(
    store: "Store", arguments: list[str], words: str
) -> None:
    done = run("query", *arguments)
    assert done.returncode in (1, 2)
    assert done.stdout == ""
    assert words in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("where", [["--format", "Parquet"], ["FORMAT ArrowStream"]])
def test_query_writes_no_binary_format_to_a_terminal(
    store: "Store", where: list[str], open_terminal: Callable[..., Terminal]
) -> None:
    sql = "SELECT 1"
    arguments = [sql, *where] if where[0].startswith("--") else [f"{sql} {where[0]}"]
    terminal = open_terminal("query", *arguments)
    assert terminal.wait() == 2
    assert "is binary and no terminal can show it" in terminal.shown
    assert subprocess.run(radar("query", *arguments), capture_output=True, check=True).stdout


def test_every_binary_format_of_the_database_is_known(store: "Store") -> None:
    rows = store.rows("SELECT name FROM system.formats WHERE is_output AND NOT is_tty_friendly")
    names = [str(name) for (name,) in rows]
    assert "Parquet" in names
    assert [name for name in names if binary_format("SELECT 1", name) != name] == []
    assert binary_format("SELECT 1", "CSV") is None
    assert binary_format("INSERT INTO t FORMAT Parquet ", "") is None


def test_shell_describes_tables_and_views(market: None) -> None:
    done = run("shell", text="help\n\\d\nSELECT 1;\n\\d order_book_at\n\\d Gaps;\nSELECT\n2")
    assert (done.returncode, done.stderr) == (0, "")
    text = done.stdout
    assert r"\d NAME" in text
    assert re.search(r"view +candles\(interval_s, start, end\) +a market and an interval", text)
    assert "\n1\nview order_book_at: one row is the book of a market" in text
    assert "  at                DateTime64(6, 'UTC')\n" in text
    assert re.search(
        r"bid_prices +Array\(Float64\) +Prices of bids, best level first \[quote", text
    )
    example = re.search(r"example: (SELECT \* FROM order_book_at.*);", text)
    assert example
    assert "table gaps: one row is a gap" in text
    assert text.endswith("\n2\n")
    wrong = run("shell", text="\\d tradez\nSELECT 1")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "there is no table or view 'tradez': use trades" in wrong.stderr


def test_shell_in_a_terminal_has_help(
    store: "Store", open_terminal: Callable[..., Terminal]
) -> None:
    terminal = open_terminal("shell")
    terminal.shows("leaves.")
    terminal.type("\\d vwap\r")
    terminal.shows("example: SELECT * FROM vwap(start =")
    terminal.type("help\r")
    terminal.shows("docs/recipes.md")
    terminal.type("\\d nothing_there\r")
    terminal.shows("there is no table or view")
    terminal.type("\\q\r")
    assert terminal.wait() == 0


def test_rows_do_nothing_to_a_terminal(
    market: None, open_terminal: Callable[..., Terminal]
) -> None:
    hostile = "SELECT char(27) || ']0;PWNED' || char(7) || char(27) || '[8mhidden' AS text"
    shown = r"\x1b]0;PWNED\x07\x1b[8mhidden"
    for options in ((), ("--format", "TabSeparatedRaw")):
        terminal = open_terminal("query", hostile, *options)
        assert terminal.wait() == 0
        assert shown in terminal.shown
        assert "\x1b" not in terminal.raw
    assert run("query", hostile, "--format", "TabSeparatedRaw").stdout.startswith("\x1b]0;PWNED")
    shell = open_terminal("shell")
    shell.shows("leaves.")
    shell.type(f"{hostile};\r")
    shell.shows(shown)
    assert "\x1b]0;PWNED" not in shell.raw
