"""Totals over restarts of processes."""

from radar.observe.scrape import Totals

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
