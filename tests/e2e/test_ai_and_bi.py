"""Programs of others read the database with the settings that docs/ai-and-bi.md shows."""

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from installed import locked_python, run
from market_data import MONDAY, insert, trade, us
from ports import free_port
from radar.addresses import answers
from radar.codec import message_format
from radar.datasets import TRADES
from radar.settings import load
from radar.store.client import Store
from radar.store.migrate import migrate
from support import Process, eventually

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "tests" / "tools"
LOCKED = ROOT / "requirements-bi.txt"
DRIVER = ROOT / "scripts" / "jdbc.pom.xml"
ENVIRONMENT = ROOT / ".venv-bi"
PAGE = (ROOT / "docs" / "ai-and-bi.md").read_text()
PASSWORD = "a-word"
PRICE = "31704.000000000000000001"  # more digits than a double has
READ = f"SELECT symbol, toString(price) FROM trades WHERE price = toDecimal128('{PRICE}', 18)"
WRITES = (
    "INSERT INTO radar.store_origin SELECT * FROM radar.store_origin",
    "CREATE TABLE radar.other (a Int8) ENGINE = Memory",
    "DROP TABLE radar.trades_master",
)

pytestmark = [
    pytest.mark.slow,
    pytest.mark.embedded_kafka("about readers of ClickHouse"),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def tools() -> Path:
    """Provide the Python that has the programs; it installs them once for each lock."""
    return locked_python(ENVIRONMENT, LOCKED, DRIVER)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Run the embedded ClickHouse with a password and one trade; return its HTTP port."""
    folder = tmp_path_factory.mktemp("clickhouse")
    port = free_port()
    command = [sys.executable, "-m", "radar.local.clickhouse"]
    server = Process(
        [*command, "--path", str(folder / "data"), "--port", str(port)],
        folder / "log",
        CLICKHOUSE_PASSWORD=PASSWORD,
    )
    try:
        eventually(lambda: answers("127.0.0.1", port), "ClickHouse answers")
        store = Store(load(clickhouse_port=port, clickhouse_password=PASSWORD))
        migrate(store, 90)
        traded = trade(us(MONDAY) // 1000, us(MONDAY), PRICE)
        insert(store, TRADES, [message_format.encode_trade(traded, f"{1:032x}")], "one")
        yield port
        # Nobody has written.
        assert store.rows("SELECT count() FROM trades") == [(1,)]
        store.close()
    finally:
        server.end()


def documented(begin: str, port: int) -> str:
    """Return the URL of the page that begins so, with the values of this test."""
    (url,) = re.findall(rf"^{re.escape(begin)}\S+$", PAGE, re.MULTILINE)
    return str(url).replace("PASSWORD", PASSWORD).replace(":8123/", f":{port}/")


def test_assistant_reads_by_mcp_and_cannot_write(tools: Path, port: int, tmp_path: Path) -> None:
    (config,) = re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)
    server = json.loads(config)["mcpServers"]["radar"]
    assert server["command"] == "mcp-clickhouse"
    values = {"CLICKHOUSE_PORT": str(port), "CLICKHOUSE_PASSWORD": PASSWORD}
    calls = [
        'list_tables={"database": "radar", "like": "trades"}',
        *(f"run_query={json.dumps({'query': text})}" for text in (READ, *WRITES)),
    ]
    words = (tools, PROGRAMS / "run_mcp.py", *calls)
    output = run(*words, folder=tmp_path, environment=server["env"] | values)
    found = json.loads(next(line for line in output.splitlines() if line.startswith("{")))
    assert found["tools"] == ["list_databases", "list_tables", "run_query"]
    assert all(f"`{name}`" in PAGE for name in found["tools"])
    tables, read, *written = found["answers"]
    assert [each["name"] for each in json.loads(tables["text"])["tables"]] == ["trades"]
    assert json.loads(read["text"])["rows"] == [["USDTTMN", PRICE]]
    assert len(written) == len(WRITES)
    for each in written:
        assert each["failed"]
        assert "(READONLY)" in each["text"]


def test_sqlalchemy_reads_and_cannot_write(tools: Path, port: int, tmp_path: Path) -> None:
    url = documented("clickhousedb://", port)
    output = run(tools, PROGRAMS / "run_sqlalchemy.py", url, READ, *WRITES, folder=tmp_path)
    found: dict[str, Any] = json.loads(output.splitlines()[0])
    assert {"trades", "markets", "order_book", "trades_master"} <= set(found["tables"])
    assert found["columns"]["price"] == "Decimal(38, 18)"
    read, *written = found["answers"]
    assert read == [["USDTTMN", PRICE]]
    assert len(written) == len(WRITES)
    assert all("(READONLY)" in each for each in written)


def test_jdbc_reads_and_cannot_write(tools: Path, port: int, tmp_path: Path) -> None:
    assert tools.exists()
    if shutil.which("mvn") is None or shutil.which("java") is None:
        pytest.skip("there is no Maven or no Java")
    libraries = ENVIRONMENT / "jdbc"
    if not any(libraries.glob("clickhouse-jdbc-*.jar")):
        goal = ("dependency:copy-dependencies", f"-DoutputDirectory={libraries}")
        run("mvn", "--quiet", "--batch-mode", "--file", DRIVER, *goal, folder=tmp_path)
    url = documented("jdbc:clickhouse://", port)
    program = ("java", "-cp", f"{libraries}/*", PROGRAMS / "RunJdbc.java")
    output = run(*program, url, "default", PASSWORD, READ, *WRITES, folder=tmp_path)
    lines = output.splitlines()
    assert "table trades" in lines
    assert "column price" in lines
    assert f"row USDTTMN {PRICE}" in lines
    errors = [line for line in lines if line.startswith("error")]
    assert len(errors) == len(WRITES)
    assert all("(READONLY)" in line for line in errors)
