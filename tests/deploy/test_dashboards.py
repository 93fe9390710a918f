"""The dashboards: every query names what there is, and every one of the market is answered."""

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from promtool import declared, promtool
from radar.codec import message_format
from radar.consumer.chunk import decode_chunk
from radar.consumer.messages import Messages
from radar.datasets import DEPTH, GAPS, TRADES, WATCHES
from radar.records import BookSide, DepthSnapshot, Gap, GapCause, SessionReport, Trade, TradeSide
from radar.settings import Settings
from radar.store.client import Store
from radar.telemetry import metrics
from support import Consumed

ROOT = Path(__file__).parents[2] / "deploy" / "grafana"
DASHBOARDS = {path.stem: json.loads(path.read_text()) for path in ROOT.glob("dashboards/*.json")}
MACROS = {
    r"\$__timeFilter\((\w+)\)": r"\1 >= toDateTime({from_s}) AND \1 <= toDateTime({to_s})",
    r"\$__timeInterval\((\w+)\)": r"toStartOfInterval(toDateTime(\1), INTERVAL 20 second)",
    r"\$\{symbol\}": "USDTTMN",
}


def targets(dashboard: str) -> Iterator[tuple[str, dict[str, Any]]]:
    for panel in DASHBOARDS[dashboard]["panels"]:
        for target in panel.get("targets", ()):
            yield f"{panel['title']} {target['refId']}", target


PROMQL = {name: target["expr"] for name, target in targets("pipeline")}
SQL = {name: target["rawSql"] for name, target in targets("market")} | {
    variable["name"]: variable["query"] for variable in DASHBOARDS["market"]["templating"]["list"]
}


def replaced(sql: str) -> str:
    for macro, text in MACROS.items():
        sql = re.sub(macro, text, sql)
    assert "$" not in sql, sql
    now_s = int(time.time())
    return sql.replace("{from_s}", str(now_s - 3600)).replace("{to_s}", str(now_s + 1))


@pytest.fixture
def market(store: Store) -> Store:
    """Provide one trade, both sides of a book, a gap and the watch before it."""
    now_us = time.time_ns() // 1000
    names = {"source": "wallex", "symbol": "USDTTMN", "base": "USDT", "quote": "TMN"}
    times = {"event_time_ms": now_us // 1000, "received_at_us": now_us}
    trade = Trade(side=TradeSide.BUY, price="31704.5", base_amount="2", **names, **times)  # type: ignore[arg-type]
    values = {
        TRADES: [message_format.encode_trade(trade, f"{1:032x}")],
        DEPTH: [],
        GAPS: [],
        WATCHES: [],
    }
    for side, prices in ((BookSide.BID, (31700.0, 31600.0)), (BookSide.ASK, (31705.0, 31800.0))):
        book = DepthSnapshot(
            side=side,
            prices=prices,
            quantities=(3.0, 4.0),
            received_at_us=now_us,
            **names,  # type: ignore[arg-type]
        )
        values[DEPTH].append(message_format.encode_depth(book))
    gap = Gap(
        source="wallex",
        record_kind="trades",
        cause=GapCause.SILENT,
        symbols=("USDTTMN",),
        began_at_us=now_us - 5_000_000,
        ended_at_us=now_us,
        repaired=True,
        received_at_us=now_us,
    )
    values[GAPS].append(message_format.encode_gap(gap))
    watch = SessionReport(
        source="wallex",
        record_kind="trades",
        connection="0f",
        symbols=("USDTTMN",),
        began_at_us=now_us - 9_000_000,
        ended_at_us=now_us - 5_000_000,
        end_reason="silent",
        interval_ms=0,
        received_at_us=now_us,
    )
    values[WATCHES].append(message_format.encode_session(watch))
    for dataset, encoded in values.items():
        messages = [Consumed(at, value) for at, value in enumerate(encoded)]
        parts = decode_chunk(dataset, 0, Messages.of(messages)).parts
        store.insert(dataset.table, [(len(p.messages), p.columns) for p in parts], dataset.name)
    return store


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_dashboard_has_known_sources_and_panels_that_do_not_overlap(dashboard: str) -> None:
    sources = set(
        re.findall(r"uid: (\w+)", (ROOT / "provisioning/datasources/radar.yml").read_text())
    )
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARDS[dashboard]["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert max(x for x, _ in cells) < 24
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] in sources
    ids = [panel["id"] for panel in DASHBOARDS[dashboard]["panels"]]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize("panel", PROMQL)
def test_pipeline_panel_names_metrics_that_are_declared(panel: str) -> None:
    names = set(re.findall(r"\bradar_\w+", PROMQL[panel]))
    assert all(map(declared, names)), names


def test_every_metric_is_in_the_pipeline_dashboard() -> None:
    shown = " ".join(PROMQL.values())
    assert [each.name for each in metrics.DECLARED if each.name not in shown] == ["radar_alive"]


def test_pipeline_panels_are_valid_promql(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    lines = ["groups:", "  - name: panels", "    rules:"]
    for number, query in enumerate(PROMQL.values()):
        lines += [f"      - record: panel_{number}", f"        expr: {json.dumps(query)}"]
    rules.write_text("\n".join(lines))
    assert f"{len(PROMQL)} rules found" in promtool("check", "rules", rules)


@pytest.fixture
def ask(market: Store, store_settings: Settings) -> Callable[[str], httpx.Response]:
    """Provide what asks the market as one who may only read."""

    def ask(sql: str) -> httpx.Response:
        return httpx.post(
            f"http://127.0.0.1:{store_settings.clickhouse_port}/",
            params={"database": market.database, "readonly": "1", "default_format": "JSONEachRow"},
            content=sql,
            timeout=30,
        )

    assert "READONLY" in ask("CREATE TABLE t (n UInt8) ENGINE = Memory").text
    return ask


@pytest.mark.parametrize("panel", SQL)
def test_market_panel_is_answered_to_who_may_only_read(
    panel: str, ask: Callable[[str], httpx.Response]
) -> None:
    answer = ask(replaced(SQL[panel]))
    assert answer.status_code == 200, answer.text
    rows = [json.loads(line) for line in answer.text.splitlines()]
    assert rows
    assert all(value is not None for value in rows[0].values())


def test_market_panels_show_the_price_the_book_and_the_gap(
    ask: Callable[[str], httpx.Response],
) -> None:
    candle = ask(replaced(SQL["Price A"])).json()
    assert (candle["open"], candle["close"], candle["volume"]) == (31704.5, 31704.5, 2)
    best = json.loads(ask(replaced(SQL["Order book, newest A"])).text.splitlines()[0])
    assert (best["bid"], best["bid_quantity"]) == (31700, 3)
    assert (best["ask"], best["ask_quantity"]) == (31705, 3)
    gap = ask(replaced(SQL["What was missed A"])).json()
    assert (gap["seconds"], gap["cause"], gap["markets"]) == (5, "silent", 1)
