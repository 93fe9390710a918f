"""Messages that the embedded broker may delete: old committed ones, and no others."""

import pytest

from radar.kafka import Lag
from radar.local import trimming
from radar.local.trimming import KEPT_RECORDS, KEPT_S, Trimming


def lags(committed: int | None, start: int = 0, end: int = 1_000_000) -> dict[str, list[Lag]]:
    return {"trades": [Lag(3, start, end, committed)]}


def test_message_is_kept_for_a_while_after_it_was_committed() -> None:
    trim = Trimming()
    assert trim.deletable(lags(100), 0.0) == {}
    assert trim.deletable(lags(200), KEPT_S - 1) == {}
    assert trim.deletable(lags(300), KEPT_S) == {"trades": {3: 100}}
    assert trim.deletable(lags(300, start=100), 2 * KEPT_S - 2) == {}
    assert trim.deletable(lags(300, start=100), 2 * KEPT_S - 1) == {"trades": {3: 200}}
    assert trim.deletable(lags(300, start=200), 9 * KEPT_S) == {"trades": {3: 300}}


def test_message_that_is_not_committed_is_kept() -> None:
    trim = Trimming()
    trim.deletable(lags(100), 0.0)
    assert trim.deletable(lags(None), KEPT_S) == {}
    trim.deletable(lags(100), 2 * KEPT_S)
    assert trim.deletable(lags(40), 3 * KEPT_S) == {"trades": {3: 40}}, "the offset was set back"


def test_partition_keeps_no_more_than_so_many_messages() -> None:
    committed = KEPT_RECORDS + 7
    assert Trimming().deletable(lags(committed), 0.0) == {"trades": {3: 7}}


def test_trimming_remembers_no_more_than_the_kept_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trimming, "KEPT_S", 10.0)
    trim = Trimming()
    for n in range(1000):
        trim.deletable(lags(n), float(n))
    assert len(trim._seen) == 11
