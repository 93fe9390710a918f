"""The instruments of an export for nautilus_trader."""

from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow.parquet as pq

from radar.reading.formats.base import Day
from radar.reading.formats.nautilus import Catalogue, instrument_path
from radar.store.queries import export_formats as queries

MARKET = ("wallex", "USDTTMN")


def day(number: int, *datasets: str) -> Day:
    moment = datetime(2026, 7, number, tzinfo=UTC)
    return Day(*MARKET, date(2026, 7, number), moment, frozenset(datasets))


def test_numbers_of_a_market_and_day_are_read_once_for_all_its_files(tmp_path: Path) -> None:
    read: list[str] = []

    def ask(
        sql: str,
        output_format: str,
        parameters: Mapping[str, str] | None = None,
        settings: Mapping[str, str] | None = None,
    ) -> Iterator[bytes]:
        if sql == queries.CURRENCIES:
            yield b'["USDT","TMN"]\n'
        else:
            read.append((parameters or {})["day"])
            yield b'[2,%d,"100","10"]\n' % len(read)

    days = [day(1, "trades"), day(2, "trades"), day(1, "depth"), day(2, "depth")]
    list(Catalogue().prepare(ask, tmp_path, days))
    assert sorted(read) == ["2026-07-01", "2026-07-02"]
    (row,) = pq.read_table(instrument_path(tmp_path, MARKET)).to_pylist()
    assert (row["price_precision"], row["size_precision"]) == (2, 2)
