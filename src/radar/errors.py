"""Errors, each named after the reaction that it demands.

The module that imports a library translates its errors into these, with `raise … from`. Every
message is one line with the next action.

    RadarError
      ConfigurationError          stop, name the option
      NotRunning                  stop, name the command that starts radar
      InvalidRequest              answer the person who asked
        UnknownMarket
        InvalidPeriod
      QueryFailed                 show the database's message
      BackupFailed                show the reason, try again later
      ObjectStorageFailed         show the reason, try again later
        ObjectChanged
      FeedLost                    reconnect
      ExchangeUnavailable         retry with backoff
      InvalidFrame                count and drop the frame
      InvalidMessage              send the message to the dead letters
      TooManyInvalid              halt the partition
      BufferFull                  stop reading the socket
      BrokerUnavailable           retry
        OffsetSilent
      CommitRejected              plan again
      WorkerFenced                end the worker
        NameTaken
      ClientHangs                 end the process
      StoreUnavailable            pause the partition and retry
        StoreNeedsRepair          retry slowly, name the repair
        BlockTooLarge             divide the block
        InsertCutOff              retry, then divide the block
      StoreRejected               halve the request until the bad rows stand alone
"""


class RadarError(Exception):
    """Base of every error that radar raises on purpose."""

    exit_code = 1


class ConfigurationError(RadarError):
    """An option is wrong: stop at once and name the allowed values."""

    exit_code = 2


class NotRunning(RadarError):
    """A command finds no running radar: start it, or name another address."""


class FeedLost(RadarError):
    """The connection to the exchange is lost or useless: reconnect.

    Attributes:
        reason: One word from a bounded set, usable as a metric label.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class ExchangeUnavailable(RadarError):
    """The exchange's REST interface does not answer as documented: retry with backoff."""


class InvalidFrame(RadarError):
    """A frame contradicts the exchange's documentation: count it and drop it."""


class InvalidMessage(RadarError):
    """A Kafka message cannot become a row: send it to the dead-letter topic with the reason.

    Attributes:
        reason: One word from a bounded set, usable as a metric label.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason


class TooManyInvalid(RadarError):
    """Too many messages are bad to be an accident: halt the partition and alert a person.

    A schema or a producer is wrong; dead letters would only hide that.
    """


class BrokerUnavailable(RadarError):
    """Kafka does not answer, or cannot serve now: retry with backoff."""


class OffsetSilent(BrokerUnavailable):
    """Kafka sends neither a message nor an error for one offset: let the operator decide."""


class BufferFull(RadarError):
    """The producer's buffer is full: stop reading the exchange until there is room."""


class CommitRejected(RadarError):
    """Kafka refused a commit: do not insert; return to the poll loop."""


class WorkerFenced(RadarError):
    """Another worker owns this one's WORKER_ID or partitions: exit without inserting."""


class NameTaken(WorkerFenced):
    """Another worker runs under this one's WORKER_ID: exit, and give each its own name."""

    exit_code = 2


class ClientHangs(RadarError):
    """A library call does not return: end the process; its supervisor starts another."""


class StoreUnavailable(RadarError):
    """ClickHouse does not answer or cannot store now: pause the partition and retry."""


class StoreNeedsRepair(StoreUnavailable):
    """ClickHouse refuses until a person acts: name the cause at once, retry slowly."""


class BlockTooLarge(StoreUnavailable):
    """A block is too large for ClickHouse or its proxy: divide it, and plan each half.

    Attributes:
        is_stored_in_part: Whether rows of the block may be stored nevertheless.
    """

    def __init__(self, message: str, *, is_stored_in_part: bool) -> None:
        super().__init__(message)
        self.is_stored_in_part = is_stored_in_part


class InsertCutOff(StoreUnavailable):
    """The connection broke during an insert; if this repeats, the block may be too large."""


class StoreRejected(RadarError):
    """ClickHouse refused the rows themselves: find the bad row and dead-letter it."""


class QueryFailed(RadarError):
    """ClickHouse refused a query: show its message to the user."""


class BackupFailed(RadarError):
    """A backup or a restore did not succeed: show the reason; what was there before is there."""


class ObjectStorageFailed(RadarError):
    """Object storage does not answer or refuses: show the reason."""


class ObjectChanged(ObjectStorageFailed):
    """Another process has written an object meanwhile: do not replace it."""


class InvalidRequest(RadarError):
    """A request is wrong: name the allowed form."""

    exit_code = 2


class UnknownMarket(InvalidRequest):
    """A market has no records: name similar ones."""


class InvalidPeriod(InvalidRequest):
    """A period ends before it begins, or begins in the future: name the mistake."""
