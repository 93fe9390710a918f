"""Whether data moves: what every page says beside its own content. Pure."""

from typing import Literal

from msgspec import Struct

from radar.status.judgement import MOVES_S, OLD_S, SILENT_S
from radar.status.model import Overview

State = Literal["moves", "still", "silent", "unknown"]
"""Still: no new row for a while, which may be normal. Silent: longer than that is. Unknown: nothing
proves what ClickHouse holds."""

DATASETS = ("trades", "depth")


class DatasetPulse(Struct, frozen=True):
    """The newest row of a dataset."""

    dataset: str
    newest_at_s: float | None  # Unix time of its receipt; None: there is none
    state: State


class Pulse(Struct, frozen=True):
    """Whether data moves."""

    at_s: float  # Unix time
    state: State
    datasets: list[DatasetPulse]
    database_age_s: float | None  # age of the newest answer of ClickHouse; None: there is none
    moves_s: float = MOVES_S  # without an answer for longer, ClickHouse stands still


def pulse(overview: Overview) -> Pulse:
    """Return whether data moves, as the facts about the pipeline show."""
    now_s = overview.at_s
    database = next((each for each in overview.probes if each.subject == "clickhouse"), None)
    age_s = None if database is None else database.age_s
    is_known = (
        age_s is not None
        and age_s <= MOVES_S
        and overview.clickhouse_error is None
        and overview.tables_at_s is not None
        and now_s - overview.tables_at_s <= MOVES_S + OLD_S
    )
    newest = {each.dataset: each.newest_at_s for each in overview.tables}
    silent = {each.dataset for each in overview.flows if each.silent}
    datasets = [
        DatasetPulse(
            dataset,
            newest.get(dataset),
            _state(
                None if (at_s := newest.get(dataset)) is None else _age_s(overview, at_s),
                dataset in silent,
            )
            if is_known
            else "unknown",
        )
        for dataset in DATASETS
    ]
    return Pulse(now_s, _worst([each.state for each in datasets]), datasets, age_s)


def _age_s(overview: Overview, newest_at_s: float) -> float:
    """Return how old the newest row was when ClickHouse named it."""
    return (overview.tables_at_s or overview.at_s) - newest_at_s


def _state(age_s: float | None, is_silent: bool) -> State:
    if is_silent or age_s is None or age_s > SILENT_S:
        return "silent"
    return "moves" if age_s <= MOVES_S else "still"


def _worst(states: list[State]) -> State:
    order: tuple[State, ...] = ("unknown", "silent", "still", "moves")
    return min(states, key=order.index)
