"""The command lines of the documentation run, as a reader types them.

Lines of shell blocks are copied from the pages word for word, with the assignments above them in
their block, into a shell in a folder that looks like a checkout. Only ports, past days and
durations differ. tests/unit/test_documented_lines.py parses all lines, also those that run
elsewhere.
"""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

import documented
import object_store
from documented import ROOT, Line
from ports import free_port
from radar.addresses import answers
from radar.settings import variables
from support import eventually

LINES = [line for line in documented.lines() if not documented.runs_elsewhere(line)]
# Lines by their beginnings: those that a running pipeline answers, and those with a test below.
PROGRAM = r"(?:\.venv/bin/)?radar "
ENDING = (
    rf"{PROGRAM}(?:status|lag|verify|doctor|coverage|reconcile|query|shell|export|topics|migrate"
    r"|version|backfill|reparse)\b|echo |curl -u |curl -H [^-]*$"
)
ASSIGNING = r"export |knows="
DEMO, UP = r"make demo$", r"(?:EXCHANGES=[\w,]+ )?(?:make|\.venv/bin/radar) up$"
BRIEF = r"(?:EXCHANGES=[\w,]+ )?\.venv/bin/radar up --simulate --duration "
MONITOR, DASHBOARD = rf"{PROGRAM}monitor", rf"{PROGRAM}dashboard"
EVENTS = r"curl .* -N "
REPLAY, SPEED, RECORD_REPLAY = rf"{PROGRAM}replay", r"curl '.*/replay/", "RADAR_DATA_DIR=.radar-rep"
BACKUP, RESTORE = rf"{PROGRAM}backup create", rf"{PROGRAM}backup restore"
GIT = "git checkout "
OTHERS = (
    *(ASSIGNING, DEMO, UP, BRIEF, MONITOR, DASHBOARD, EVENTS, REPLAY, SPEED, RECORD_REPLAY),
    *(BACKUP, RESTORE, GIT),
)
BUCKET = "documented"
LIMIT_S = 300  # of one command; the machine may be shared
NIGHTLY = pytest.mark.slow("README.md", "QUICKSTART.md", "DEPLOYMENT.md", "docs", "src/radar/cli")
KAFKA = pytest.mark.embedded_kafka("about the documentation")


def matching(*patterns: str) -> list[Line]:
    """Return the lines that begin with one of these; each pattern must have one."""
    assert all(any(re.match(each, line.text) for line in LINES) for each in patterns)
    return [line for line in LINES if any(re.match(each, line.text) for each in patterns)]


def the(pattern: str) -> Line:
    """Return the only line that begins so."""
    (line,) = matching(pattern)
    return line


def test_every_line_has_a_test() -> None:
    left = [line for line in LINES if not re.match("|".join((ENDING, *OTHERS)), line.text)]
    assert left == [], "run these lines in a test here"


class Checkout:
    """A folder that looks like a checkout after `make setup`, and the environment of its shells."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        documented.copy_checkout(folder)
        (folder / ".venv").mkdir()
        (folder / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
        (folder / ".venv" / ".installed").touch()
        (folder / "bin").mkdir()
        (folder / "bin" / "radar").symlink_to(Path(sys.prefix) / "bin" / "radar")
        self.kafka, self.clickhouse, self.dashboard, self.replay = (free_port() for _ in range(4))
        self.environment = {
            name: value for name, value in os.environ.items() if name not in variables()
        } | {
            "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join(
                (str(ROOT / "src"), *filter(None, [os.environ.get("PYTHONPATH")]))
            ),
            "HOME": str(folder),
            "KAFKA_BROKER": f"127.0.0.1:{self.kafka}",
            "CLICKHOUSE_PORT": str(self.clickhouse),
            "DASHBOARD_PORT": str(self.dashboard),
        }

    def script(self, line: Line) -> str:
        """Return a line with the assignments above it, and with the ports of this checkout."""
        script = "\n".join((*line.before, line.text))
        for port, own in ((8123, self.clickhouse), (8080, self.dashboard), (8766, self.replay)):
            script = script.replace(f":{port}", f":{own}")
        return script

    def run(
        self, script: str, *, entered: str = "", **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        """Run a script of the shell to its end."""
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environment | environment,
            input=entered,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_S,
        )

    @contextlib.contextmanager
    def running(self, script: str, **environment: str) -> Iterator["Running"]:
        """Run a script while the block runs."""
        running = Running(script, self.folder, self.environment | environment)
        try:
            yield running
        finally:
            running.close()


class Running:
    """A script in a terminal of its own; Ctrl-C ends it."""

    def __init__(self, script: str, folder: Path, environment: dict[str, str]) -> None:
        self._ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (40, 160))
        self._process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=folder,
            env=environment | {"TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            # Ctrl-C reaches whoever has this as its terminal, as it does for a person.
            preexec_fn=_take_terminal,
        )
        os.close(theirs)
        os.set_blocking(self._ours, False)
        self._shown = b""

    @property
    def shown(self) -> str:
        """Everything that was shown so far, without colours and movements of the cursor."""
        with contextlib.suppress(OSError):  # nothing more yet, or it has ended
            while chunk := os.read(self._ours, 65536):
                self._shown += chunk
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self._shown.decode(errors="replace"))

    def shows(self, text: str) -> None:
        self.until(lambda: text in self.shown, f"{text!r} is shown")

    def until(self, condition: Callable[[], bool], what: str) -> None:
        def holds() -> bool:
            shown = self.shown
            held = condition()
            assert held or self._process.poll() is None, shown[-3000:]
            return held

        eventually(holds, what, LIMIT_S, 0.3)

    def press(self, keys: str) -> int:
        """Press keys that end the program; return its exit code."""
        os.write(self._ours, keys.encode())
        eventually(
            lambda: bool(self.shown) and self._process.poll() is not None, "it ends", LIMIT_S
        )
        return int(self._process.returncode)

    def close(self) -> None:
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            try:
                self._process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
                self._process.wait(10)
        os.close(self._ours)


CTRL_C = "\x03"


def _take_terminal() -> None:
    import fcntl

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


def stored(checkout: Checkout, *sources: str, **environment: str) -> Callable[[], bool]:
    """Return whether trades and books of these exchanges are stored."""
    sql = (
        "SELECT arraySort(arrayIntersect((SELECT groupUniqArray(toString(source)) FROM trades),"
        " (SELECT groupUniqArray(toString(source)) FROM order_book)))"
    )
    wanted = "[" + ",".join(f"'{each}'" for each in sorted(sources)) + "]"

    def holds() -> bool:
        time.sleep(1)  # each question starts a process
        done = checkout.run(f'.venv/bin/radar query "{sql}" --format TSV', **environment)
        return done.stdout.strip() == wanted

    return holds


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Checkout]:
    """Provide a checkout in which `make demo` runs, with three exchanges."""
    checkout = Checkout(tmp_path_factory.mktemp("demo") / "radar")
    # All markets of the first exchange, and of the others those that the pages name.
    checkout.environment |= {
        "EXCHANGES": "wallex,binance,kraken",
        "BINANCE_SYMBOLS": "BTCUSDT,ETHUSDT",
        "KRAKEN_SYMBOLS": "BTC/USD,ETH/USD",
    }
    with checkout.running(checkout.script(the(DEMO))) as running:
        running.until(stored(checkout, "wallex", "binance", "kraken"), "rows are stored")
        yield checkout
        running.press(CTRL_C)
        assert "lost 0" in running.shown


@pytest.fixture(scope="module")
def exchanges(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Provide options that lead to simulated exchanges in the place of the real ones."""
    checkout = Checkout(tmp_path_factory.mktemp("exchanges") / "radar")
    options: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name in ("wallex", "nobitex", "binance"):
            script = f".venv/bin/radar simulate --exchange {name} --port 0 --history-trades 200"
            running = stack.enter_context(checkout.running(script))
            running.shows("_REST_URL=")
            # The names for one exchange do not hold beside others.
            shown = running.shown.replace("EXCHANGE_", f"{name.upper()}_")
            options |= dict(re.findall(r"(\w+_URL)=(\S+)", shown))
        yield options


@pytest.fixture
def surroundings(
    demo: Checkout, exchanges: dict[str, str], object_store_process: object_store.Store
) -> dict[str, str]:
    """Provide the options of the exchanges and of an object store, and the file of a recipe."""
    recipe = re.search(
        r"```sql\n((?:(?!```).)* AS delta(?:(?!```).)*)```",
        documented.PAGES["docs/recipes.md"],
        re.DOTALL,
    )
    assert recipe is not None
    (demo.folder / "delta.sql").write_text(recipe[1])
    with contextlib.suppress(object_store_process.client.exceptions.BucketAlreadyOwnedByYou):
        object_store_process.bucket(BUCKET)
    s3 = object_store.CREDENTIALS | {"S3_ENDPOINT_URL": object_store_process.endpoint}
    return {**exchanges, **s3}


@NIGHTLY
@KAFKA
@pytest.mark.timeout(900)
@pytest.mark.parametrize("line", matching(ENDING), ids=lambda line: line.text[:70])
def test_line_succeeds_beside_a_running_pipeline(
    line: Line, demo: Checkout, surroundings: dict[str, str]
) -> None:
    script = demo.script(line).replace("BUCKET", BUCKET).replace("…", "0")
    # Only these ask exchanges: a simulated pipeline compares nothing with others.
    used = surroundings if re.search(" backfill |s3://", script) else {}
    done = demo.run(script, entered="SELECT count() FROM trades;\n", **used)
    # 3: the simulated minute holds no evidence of the period that the example names.
    fine = {0, 3} if re.search("reconcile|coverage", script) else {0}
    assert done.returncode in fine, done.stdout[-1000:] + done.stderr[-1000:]
    assert "Traceback" not in done.stderr
    assert done.stdout or line.text.startswith("echo ")


@NIGHTLY
@KAFKA
@pytest.mark.timeout(900)
def test_screens_and_pages_of_a_running_pipeline_open(demo: Checkout) -> None:
    with demo.running(demo.script(the(MONITOR))) as running:
        running.shows("EVERYTHING FLOWS")
        assert running.press("q") == 0
    events = demo.run(f"{demo.script(the(EVENTS)).replace('curl', 'timeout 20 curl -s')}")
    assert "event: book" in events.stdout
    for line in matching(DASHBOARD):
        port = free_port()
        script = demo.script(line).replace("--port 8090", f"--port {port}")
        with demo.running(script, DASHBOARD_PORT=str(port)) as running:
            running.until(lambda port=port: answers("127.0.0.1", port), "it answers")  # type: ignore[misc]
            assert running.press(CTRL_C) == 0
    refused = demo.run(the(BACKUP).text)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "simulated data has no backups" in refused.stderr


@NIGHTLY
@KAFKA
@pytest.mark.timeout(900)
def test_replay_of_a_recorded_day_is_recorded_again(demo: Checkout) -> None:
    today = datetime.now(UTC).date().isoformat()
    script = demo.script(the(REPLAY)).replace("2026-11-28", today)
    script = script.replace("09:30", "00:00").replace("16:00", "23:59")
    copy = {
        "KAFKA_BROKER": f"127.0.0.1:{free_port()}",
        "CLICKHOUSE_PORT": str(free_port()),
        "DASHBOARD_PORT": "0",
    }
    with demo.running(f"{script} --port {demo.replay}") as replay:
        replay.shows("waiting at")
        with demo.running(demo.script(the(RECORD_REPLAY)), **copy) as running:
            running.shows("binance-depth")
            replay.shows("playing at")
            # What subscribes after the end sees nothing: both producers, each with two markets.
            status = demo.script(the(SPEED)).replace("speed?value=max", "status")
            eventually(
                lambda: '"subscriptions": 4' in demo.run(status).stdout, "all follow", LIMIT_S, 1
            )
            done = demo.run(demo.script(the(SPEED)))
            assert (done.returncode, '"speed":"max"' in done.stdout.replace(" ", "")) == (0, True)
            holds = stored(demo, "binance", RADAR_DATA_DIR=".radar-replay", **copy)
            running.until(holds, "the replay is stored")
            running.press(CTRL_C)
        replay.press(CTRL_C)


@NIGHTLY
@KAFKA
@pytest.mark.timeout(900)
def test_a_pipeline_records_exchanges_and_is_restored(
    exchanges: dict[str, str], tmp_path: Path
) -> None:
    checkout = Checkout(tmp_path / "radar")
    checkout.environment |= exchanges
    ups = sorted(matching(UP), key=lambda line: len(line.text))
    assert [re.findall("EXCHANGES=(.*) ", line.text.partition(" make")[0] + " ") for line in ups]
    with checkout.running(checkout.script(ups[0])) as running:
        running.until(stored(checkout, "wallex"), "rows are stored")
        made = checkout.run(the(BACKUP).text)
        assert made.returncode == 0, made.stderr
        assert made.stdout.startswith("made ")
        refused = checkout.run(the(RESTORE).text, entered="y\n")
        assert "stop it" in refused.stderr
        running.press(CTRL_C)
    restored = checkout.run(the(RESTORE).text, entered="y\n")
    assert restored.returncode == 0, restored.stderr
    assert "restored " in restored.stdout
    for line in ups[1:]:
        (named,) = re.findall(r"EXCHANGES=([\w,]+)", line.text)
        with checkout.running(checkout.script(line)) as running:
            running.until(stored(checkout, *named.split(",")), "rows are stored")
            eventually(
                lambda: checkout.run("radar verify").returncode == 0, "all is stored", LIMIT_S, 1
            )
            running.press(CTRL_C)


@NIGHTLY
@KAFKA
@pytest.mark.timeout(900)
@pytest.mark.parametrize("line", matching(BRIEF), ids=lambda line: line.text)
def test_a_brief_simulated_run_loses_nothing(line: Line, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "radar")
    brief = re.sub(r"--duration \d+", "--duration 3", line.text)
    done = checkout.run(brief)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr
    assert "lost 0" in done.stdout


@NIGHTLY
def test_the_version_before_the_baseline_can_be_checked_out(tmp_path: Path) -> None:
    if (ROOT / ".git" / "shallow").exists():
        pytest.skip("a shallow clone has no older version")
    subprocess.run(["git", "clone", "--quiet", "--shared", ROOT, tmp_path / "radar"], check=True)
    checkout, back = matching(GIT)
    for line in (checkout, back):
        done = subprocess.run(
            ["bash", "-c", line.text],
            cwd=tmp_path / "radar", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        baseline = (
            tmp_path / "radar" / "src" / "radar" / "store" / "migrations" / "0020_baseline.sql"
        )
        assert baseline.exists() == (line is back)
