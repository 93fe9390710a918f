"""The exchange's volumes of 24 hours, compared with the recorded trades.

    ask       at most each hour: keep the answer of the exchange
    compare   once all trades of the answer are stored: keep the verdict, and weigh the stored
              proofs of these 24 hours again

An answer that waits for its comparison is in the database, so a restart loses none.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

import structlog

from radar.checks.exchange_requests import ExchangeRequests
from radar.checks.proof import Day, DayVerdict, Evidence, Interval, Span, State, weighed
from radar.checks.volume_comparison import DAY_US, Reason, Volumes, Windows, compare, windows
from radar.clock import unix_us
from radar.datasets import TRADES
from radar.errors import ExchangeUnavailable
from radar.exchanges.base import Exchange
from radar.exchanges.common.day_volumes import DayVolumes, read_day_volumes
from radar.settings import Settings
from radar.store import day_volumes as table
from radar.store import proofs
from radar.store.client import Store
from radar.store.day_volumes import DayVolumeRow
from radar.store.proofs import ProofRow
from radar.store.retention import retention_days
from radar.telemetry import metrics

ASK_EVERY_US = 3_600_000_000
# An answer that has waited for longer, because no process ran, stays without a comparison.
LONGEST_WAIT_US = DAY_US
# Trades of 24 hours and of the margin must not have expired.
LEAST_DAYS = 2
WRONG = (DayVerdict.SHORT, DayVerdict.DIFFERENT)
# Proofs of so many markets are read at once.
MARKETS_AT_ONCE = 100

_log = structlog.get_logger()


class VolumeEvidence:
    """The volumes of one exchange.

    Attributes:
        trouble: Why the exchange was not asked; empty: it was, or it is not time yet.
    """

    def __init__(
        self, settings: Settings, store: Store, exchange: Exchange, requests: ExchangeRequests
    ) -> None:
        """Prepare; no request is sent yet."""
        self._delay_us = int(settings.reconcile_delay_seconds * 1e6)
        self._store = store
        self._exchange = exchange
        self._requests = requests
        offered = bool(exchange.day_volumes_path)
        self.trouble = "" if offered else f"{exchange.name} offers no volumes of 24 hours"

    async def renew(self) -> None:
        """Compare the answers that have waited for long enough, and ask for new ones.

        Raises:
            StoreUnavailable: ClickHouse does not answer.
            QueryFailed: It refuses a query.
            StoreRejected: It refuses rows.
        """
        if not self._exchange.day_volumes_path:
            return
        self.compare()
        await self.ask()

    async def ask(self) -> None:
        """Ask for the volumes of all markets and keep the answer, at most each hour.

        Raises:
            StoreUnavailable: ClickHouse does not answer.
            QueryFailed: It refuses the query.
            StoreRejected: It refuses the rows.
        """
        name = self._exchange.name
        if unix_us() - table.newest_asked_us(self._store, name) < ASK_EVERY_US:
            return
        kept_days = retention_days(self._store, TRADES.table)
        if kept_days is not None and kept_days < LEAST_DAYS:
            self.trouble = f"trades are kept for one day: set RETENTION_DAYS to {LEAST_DAYS}"
            return
        try:
            markets = await self._requests.markets()
            self.trouble = self._requests.other_origin
            if self.trouble:
                return
            asked_at_us = 0

            def path() -> str:
                nonlocal asked_at_us
                asked_at_us = unix_us()
                return self._exchange.day_volumes_path

            def take(body: bytes, now_us: int) -> tuple[DayVolumes, int]:
                rows = self._exchange.day_volume_rows(body)
                return read_day_volumes(rows, markets.values()), now_us

            cost_s = self._exchange.day_volumes_cost_s
            answer, answered_at_us = await self._requests.send.ask(path, cost_s, take)
        except ExchangeUnavailable as error:
            self.trouble = str(error)
            _log.warning("no volumes to compare", exchange=name, detail=str(error))
            return
        if answer.invalid:
            _log.warning("invalid volumes", exchange=name, count=answer.invalid)
        if not any(each.amount for each in answer.volumes):
            self.trouble = f"{name} reports no volume of any market"
            return
        now_us = unix_us()
        recorded = proofs.judged(self._store, name, now_us - DAY_US, now_us)
        least_us, most_us = self._requests.clock_ahead_us()
        possible = windows(asked_at_us - most_us, answered_at_us - least_us)
        rows = [
            DayVolumeRow(
                each.symbol, asked_at_us, possible.inner, possible.outer, each.amount, each.places
            )
            for each in answer.volumes
            if (TRADES.name, each.symbol) in recorded
        ]
        table.save(self._store, name, rows, unix_us())

    def compare(self) -> None:
        """Compare the answers whose trades are all stored by now.

        Raises:
            StoreUnavailable: ClickHouse does not answer.
            QueryFailed: It refuses a query.
            StoreRejected: It refuses rows.
        """
        until_us = unix_us() - self._delay_us
        waiting = table.waiting(
            self._store, self._exchange.name, until_us - LONGEST_WAIT_US, until_us
        )
        for _, rows in groupby(waiting, key=lambda row: row.asked_at_us):
            self._compare(list(rows))

    def _compare(self, rows: Sequence[DayVolumeRow]) -> None:
        """Compare the volumes of one answer."""
        name = self._exchange.name
        possible = Windows(Span(*rows[0].inner), Span(*rows[0].outer))
        spans = {
            "narrowest": possible.narrowest,
            "inner": possible.inner,
            "outer": possible.outer,
            "widest": possible.widest,
        }
        recorded = table.recorded(self._store, name, spans)
        judged = proofs.judged(self._store, name, *possible.widest)
        done: list[DayVolumeRow] = []
        for first in range(0, len(rows), MARKETS_AT_ONCE):
            some = rows[first : first + MARKETS_AT_ONCE]
            known = self._proofs([row.symbol for row in some], possible.inner)
            for row in some:
                first_us, until_us = judged.get((TRADES.name, row.symbol), (0, 0))
                of_market = known.get(row.symbol, [])
                volumes = Volumes(*recorded.get(row.symbol, ()))
                whole = first_us <= possible.widest.begin_us and row.inner[1] <= until_us
                verdict, reason = _judge(row, volumes, of_market, whole=whole)
                done.append(
                    row._replace(
                        inner_volume=volumes.inner,
                        outer_volume=volumes.outer,
                        result=str(verdict or table.UNKNOWN),
                        reason=str(reason),
                    )
                )
                if verdict is not None and not reason:
                    self._weigh(of_market, Day(possible.inner, verdict))
        table.save(self._store, name, done, unix_us())
        counts = Counter(table.UNKNOWN if row.reason else row.result for row in done)
        for result in (*DayVerdict, table.UNKNOWN):
            metrics.DAY_VOLUMES.labels(name, str(result)).set(counts[result])
        for row in done:
            if row.result in WRONG and not row.reason:
                _log.warning(
                    "another volume of 24 hours",
                    exchange=name,
                    symbol=row.symbol,
                    claimed=str(row.claimed),
                    recorded=str(row.inner_volume),
                )

    def _proofs(self, symbols: Sequence[str], span: Span) -> Mapping[str, list[ProofRow]]:
        """Return the stored proofs of a time by market."""
        found: dict[str, list[ProofRow]] = defaultdict(list)
        for row in table.stored_proofs(self._store, self._exchange.name, symbols, *span):
            found[row.symbol].append(row)
        return found

    def _weigh(self, rows: Sequence[ProofRow], day: Day) -> None:
        """Store the proofs of a market again that a verdict changes."""
        changed = []
        for row in rows:
            before = list(intervals_of(row))
            after = weighed(before, [day])
            if after != before:
                changed.append(with_intervals(row, after))
        proofs.save(self._store, changed, unix_us())


def _judge(
    row: DayVolumeRow, recorded: Volumes, known: Sequence[ProofRow], *, whole: bool
) -> tuple[DayVerdict | None, Reason]:
    """Return the verdict of a market, and why it proves nothing.

    Args:
        row: The exchange's volume.
        recorded: The recorded volumes.
        known: The stored proofs of the time.
        whole: The market was recorded for all of the time, with or without gaps.
    """
    if not whole:
        return None, Reason.YOUNG
    verdict, reason = compare(row.claimed, row.places, recorded)
    if verdict is None:
        return verdict, reason
    begin_us, end_us = row.inner
    within = [
        each
        for proof in known
        for each in intervals_of(proof)
        if each.begin_us < end_us and each.end_us > begin_us
    ]
    is_missing = any(each.state is State.MISSING for each in within)
    if verdict is DayVerdict.EQUAL and is_missing:
        return verdict, Reason.CONTRADICTED
    has_gaps = any(
        each.state is State.UNVERIFIABLE and each.evidence is Evidence.SESSIONS for each in within
    )
    if verdict is DayVerdict.SHORT and (is_missing or has_gaps):
        return verdict, Reason.EXPLAINED
    return verdict, Reason.NONE


def intervals_of(row: ProofRow) -> Iterator[Interval]:
    """Yield the intervals of a stored proof."""
    lists = (row.begins_us, row.ends_us, row.states, row.causes, row.evidence, row.missing)
    for begin_us, end_us, state, cause, evidence, missing in zip(*lists, strict=True):
        yield Interval(
            int(begin_us), int(end_us), State(state), str(cause), Evidence(evidence), int(missing)
        )


def with_intervals(row: ProofRow, intervals: Sequence[Interval]) -> ProofRow:
    """Return a proof with other intervals."""
    return row._replace(
        begins_us=[each.begin_us for each in intervals],
        ends_us=[each.end_us for each in intervals],
        states=[str(each.state) for each in intervals],
        causes=[each.cause for each in intervals],
        evidence=[str(each.evidence) for each in intervals],
        missing=[each.missing for each in intervals],
    )
