"""Whether data moves, as every page says it."""

from typing import Any

import pytest
from msgspec.structs import replace

from observed import NOW_S, flow, overview, probe
from radar.status.judgement import MOVES_S, SILENT_S
from radar.status.model import Overview
from radar.ui.web.pulse import pulse


def aged(trades_s: float, depth_s: float, **changes: Any) -> Overview:
    """Return an overview whose newest rows are so old."""
    ages = {"trades": trades_s, "depth": depth_s}
    made = overview(tables_at_s=NOW_S, **changes)
    tables = [
        replace(each, newest_at_s=NOW_S - ages.get(each.dataset, 0.0)) for each in made.tables
    ]
    return replace(made, tables=tables)


@pytest.mark.parametrize(
    ("trades_s", "depth_s", "state", "slow"),
    [
        (1, 1, "moves", []),
        (MOVES_S, MOVES_S, "moves", []),
        (MOVES_S + 1, 1, "still", ["trades"]),
        (1, SILENT_S + 1, "silent", ["depth"]),
        (SILENT_S + 1, MOVES_S + 1, "silent", ["trades"]),
    ],
)
def test_page_is_live_only_while_the_newest_rows_of_each_dataset_are_young(
    trades_s: float, depth_s: float, state: str, slow: list[str]
) -> None:
    found = pulse(aged(trades_s, depth_s))
    assert found.state == state
    assert [each.dataset for each in found.datasets if each.state == state][: len(slow)] == (
        slow or []
    )
    assert [each.newest_at_s for each in found.datasets] == [NOW_S - trades_s, NOW_S - depth_s]


def test_dataset_that_is_judged_silent_is_silent_here_too() -> None:
    made = aged(1, 1)
    flows = [replace(flow(each.dataset), silent=each.dataset == "depth") for each in made.flows]
    assert pulse(replace(made, flows=flows)).state == "silent"


def test_rows_are_as_old_as_they_were_when_clickhouse_named_them() -> None:
    made = replace(aged(10, 10), tables_at_s=NOW_S - 9)
    assert pulse(made).state == "moves"


@pytest.mark.parametrize(
    "changes",
    [
        {"probes": []},
        {"probes": [probe("clickhouse", age_s=MOVES_S + 1)]},
        {"probes": [probe("clickhouse", age_s=None)]},
        {"clickhouse_error": "ClickHouse does not answer"},
        {"tables_at_s": None},
        {"tables_at_s": NOW_S - 100},
    ],
)
def test_without_evidence_of_clickhouse_nothing_is_live(changes: dict[str, Any]) -> None:
    found = pulse(replace(aged(1, 1), **changes))
    assert found.state == "unknown"
    assert {each.state for each in found.datasets} == {"unknown"}
