"""Errors, named by the reaction that they call for.

Library errors are translated into these at the module that imports the library, with
`raise … from`. Every message is one line that a person can act on.
"""


class RadarError(Exception):
    """Base of every error that radar raises on purpose."""

    exit_code = 1


class ConfigurationError(RadarError):
    """Something the operator set is wrong: stop at once and say what is allowed."""

    exit_code = 2


class NotRunning(RadarError):
    """Nothing of radar runs where a command looks for it: start it, or name another place."""


class FeedLost(RadarError):
    """The connection to the exchange is gone or useless: reconnect.

    Attributes:
        reason: One word from a bounded set, usable as a metric label.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class ExchangeUnavailable(RadarError):
    """The exchange's REST interface does not answer as documented: retry with backoff."""


class InvalidFrame(RadarError):
    """A frame is not what the exchange documents: count it and drop it."""


class InvalidMessage(RadarError):
    """A Kafka message cannot become a row: send it to the dead letters with the reason.

    Attributes:
        reason: One word from a bounded set, usable as a metric label.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class TooManyInvalid(RadarError):
    """Too many messages are bad for accidents: halt the partition and call a person.

    Something else is wrong, a schema or a producer; the dead letters would only hide it.
    """


class BrokerUnavailable(RadarError):
    """Kafka does not answer, or answers that it cannot serve now: retry with backoff."""


class OffsetSilent(BrokerUnavailable):
    """Kafka sends neither a message nor an error for one offset: let the operator decide."""


class BufferFull(RadarError):
    """The producer's buffer is full: stop reading the exchange until there is room."""


class CommitRejected(RadarError):
    """Kafka did not accept a commit: do not insert; go back to the poll loop."""


class WorkerFenced(RadarError):
    """Another worker took this one's identity or place: exit without inserting."""


class NameTaken(WorkerFenced):
    """Another worker runs under this one's WORKER_ID: exit, and give each a name of its own."""

    exit_code = 2


class ClientHangs(RadarError):
    """A library does not come back: end the process; who watches over it starts another."""


class StoreUnavailable(RadarError):
    """ClickHouse does not answer or cannot store now: pause the partition and retry."""


class StoreNeedsRepair(StoreUnavailable):
    """ClickHouse refuses until a person repairs something: name it at once, retry slowly."""


class BlockTooLarge(StoreUnavailable):
    """A block is larger than ClickHouse, or what stands before it, takes: insert it in halves.

    Attributes:
        is_stored_in_part: Whether rows of the block may be stored nevertheless.
    """

    def __init__(self, message: str, *, is_stored_in_part: bool) -> None:
        super().__init__(message)
        self.is_stored_in_part = is_stored_in_part


class InsertCutOff(StoreUnavailable):
    """The connection broke during an insert; if it always does, the block may be too large."""


class StoreRejected(RadarError):
    """ClickHouse refused the rows themselves: find the bad row and dead-letter it."""


class QueryFailed(RadarError):
    """ClickHouse refused a query: show its message to the person who asked."""


class InvalidRequest(RadarError):
    """What a caller asks for cannot be asked so: say what is allowed."""

    exit_code = 2


class UnknownMarket(InvalidRequest):
    """Nothing of a market is recorded: name similar ones."""


class InvalidPeriod(InvalidRequest):
    """A period ends before it begins, or begins in the future: say so."""
