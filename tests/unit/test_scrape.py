"""Totals and rates over restarts of processes."""

from radar.status.rates import WINDOW_S, Window
from radar.status.scrape import STARTED_AT, Totals

ROWS = ("radar_rows_total", "trades")


def test_totals_of_a_restarted_process_go_on() -> None:
    totals = Totals()
    for value in (10.0, 25.0, 5.0, 7.0):  # restarted after 25
        totals.add("worker", {ROWS: value})
    assert totals.total(*ROWS) == 32


def test_totals_of_several_processes_are_summed() -> None:
    totals = Totals()
    totals.add("a", {ROWS: 3.0})
    totals.add("b", {ROWS: 4.0})
    assert totals.total(*ROWS) == 7


def test_totals_of_a_process_that_does_not_answer_stay() -> None:
    totals = Totals()
    totals.add("a", {ROWS: 3.0})
    totals.add("a", {})
    totals.add("a", {ROWS: 5.0})
    assert totals.total(*ROWS) == 5


def test_totals_gauges_are_the_newest_values() -> None:
    totals = Totals()
    connections = ("radar_connections", "depth")
    totals.add("a", {connections: 3.0})
    totals.add("a", {connections: 2.0})
    assert totals.gauge(*connections, ["a"]) == 2
    assert totals.gauge(*connections, []) == 0


def test_totals_of_a_process_that_counted_further_after_its_restart_go_on() -> None:
    totals = Totals()
    totals.add("worker", {ROWS: 10.0, STARTED_AT: 1.0})
    totals.add("worker", {ROWS: 15.0, STARTED_AT: 2.0})
    assert totals.total(*ROWS) == totals.of("worker", *ROWS) == 25


def test_window_rate_is_the_change_over_its_span() -> None:
    window = Window()
    assert window.rate("rows") is None
    for second in range(60):
        window.add(float(second), {"rows": second * 7.0 if second > 30 else 0.0})
    assert window.rate("rows") == 7
    window.add(59 + WINDOW_S, {"rows": 59 * 7.0})
    assert window.rate("rows") == 0


def test_window_number_that_appears_counts_from_then() -> None:
    window = Window()
    window.add(0, {})
    window.add(1, {"rows": 5_000_000.0})
    assert window.rate("rows") is None
    window.add(3, {"rows": 5_000_020.0})
    assert window.rate("rows") == 10


def test_window_number_that_vanished_has_no_rate() -> None:
    window = Window()
    window.add(0, {"lag": 4.0})
    window.add(1, {"lag": 2.0})
    assert window.rate("lag") == -2
    window.add(2, {})
    assert window.rate("lag") is None
