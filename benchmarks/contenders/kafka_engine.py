"""ClickHouse's Kafka table engine with a materialized view into radar's own tables.

Variants differ in who parses the messages: the input format (JSONEachRow), or SQL on lines. One
reads the packed snapshots that radar publishes; the others read JSON.
Sources: ClickHouse documentation "Kafka table engine", "Input formats", "JSON functions",
"Type conversion functions".
"""

import contextlib
from dataclasses import dataclass

from benchmarks.data import json_topic
from radar.datasets import Dataset
from radar.errors import QueryFailed
from radar.store.client import Store

_NAME = "LowCardinality(String)"
_SIDES = {"trades": "Enum8(''buy'' = 1, ''sell'' = 2)", "depth": "Enum8(''bid'' = 1, ''ask'' = 2)"}
_MEMBERS = {
    "trades": (
        ("trade_id", "UUID"),
        *((name, _NAME) for name in ("source", "symbol", "base", "quote")),
        ("side", _SIDES["trades"]),
        ("price", "Decimal(38, 18)"),
        ("base_amount", "Decimal(38, 18)"),
        ("event_time_ms", "Int64"),
        ("received_at_us", "Int64"),
    ),
    "depth": (
        *((name, _NAME) for name in ("source", "symbol", "base", "quote")),
        ("side", _SIDES["depth"]),
        ("prices", "Array(Float64)"),
        ("quantities", "Array(Float64)"),
        ("received_at_us", "Int64"),
    ),
}
_TIMES = {
    "event_time_ms": "fromUnixTimestamp64Milli({}, 'UTC') AS event_time",
    "received_at_us": "fromUnixTimestamp64Micro({}, 'UTC') AS received_at",
}
_POSITION = "_partition AS kafka_partition, _offset AS kafka_offset"


@dataclass(frozen=True)
class Tuning:
    """Settings of the engine that matter for speed."""

    block: int
    consumers: int = 1
    flush_interval_ms: int = 500
    poll_timeout_ms: int = 100

    def sql(self, broker: str, topic: str, group: str) -> str:
        """Return the engine's settings."""
        values = {
            "kafka_broker_list": f"'{broker}'",
            "kafka_topic_list": f"'{topic}'",
            "kafka_group_name": f"'{group}'",
            "kafka_num_consumers": str(self.consumers),
            "kafka_thread_per_consumer": str(int(self.consumers > 1)),
            "kafka_max_block_size": str(self.block),
            "kafka_poll_max_batch_size": str(self.block),
            "kafka_flush_interval_ms": str(self.flush_interval_ms),
            "kafka_poll_timeout_ms": str(self.poll_timeout_ms),
        }
        return ", ".join(f"{name} = {value}" for name, value in values.items())


def create(
    store: Store, dataset: Dataset, variant: str, tuning: Tuning, broker: str, group: str
) -> None:
    """Start to stream; it ends with the database."""
    topic, input_format = json_topic(dataset), "LineAsString"
    if variant == "json":
        input_format = "JSONEachRow"
        members, view = _json(dataset)
    elif variant == "packed":
        topic, input_format = dataset.topic, "RawBLOB"
        members, view = "message String", _packed()
    else:
        members, view = _raw(dataset, variant)
    # The embedded engine creates the table and says that it has not.
    with contextlib.suppress(QueryFailed):
        store.command(
            f"CREATE TABLE queue ({members}) ENGINE = Kafka"
            f" SETTINGS {tuning.sql(broker, topic, group)}, kafka_format = '{input_format}'"
        )
    store.command(f"CREATE MATERIALIZED VIEW queue_to_table TO {dataset.table} AS {view}")


def _json(dataset: Dataset) -> tuple[str, str]:
    members = _MEMBERS[dataset.name]
    columns = ", ".join(f"{name} {type_}" for name, type_ in members).replace("''", "'")
    selected = ", ".join(_TIMES.get(name, "{}").format(name) for name, _ in members)
    return columns, f"SELECT {selected}, {_POSITION} FROM queue"


def _raw(dataset: Dataset, variant: str) -> tuple[str, str]:
    """Parse in SQL: `tuple` reads JSON into one typed tuple, `split` cuts the text at its quotes.

    `split` relies on the order of the members and checks nothing, which no one should do with
    messages of others; it is here because it is the fastest.
    """
    members = _MEMBERS[dataset.name]
    if variant == "tuple":
        inner = ", ".join(f"{name} {type_}" for name, type_ in members)
        selected = ", ".join(
            _TIMES[name].format(f"m.{name}") if name in _TIMES else f"m.{name} AS {name}"
            for name, _ in members
        )
        parsed = f"JSONExtract(message, 'Tuple({inner})') AS m"
    else:
        selected = ", ".join(
            _piece(dataset, name, number) for number, (name, _) in enumerate(members)
        )
        parsed = "splitByChar('\"', message) AS p"
    return "message String", f"WITH {parsed} SELECT {selected}, {_POSITION} FROM queue"


def _packed() -> str:
    """Read radar's packed snapshots: the object as JSON, the numbers behind it as they are."""
    head = ", ".join(f"{name} {type_}" for name, type_ in _MEMBERS["depth"][:5])
    selected = ", ".join(f"m.{name} AS {name}" for name, _ in _MEMBERS["depth"][:5])
    received = _TIMES["received_at_us"].format("reinterpretAsInt64(substring(message, eol + 1, 8))")
    levels = ", ".join(
        f"reinterpret(substring(message, {start}, half), 'Array(Float64)') AS {name}"
        for name, start in (("prices", "eol + 33"), ("quantities", "eol + 33 + half"))
    )
    return (
        "WITH position(message, '\\n') AS eol, intDiv(length(message) - eol - 32, 2) AS half,"
        f" JSONExtract(substring(message, 1, eol - 1), 'Tuple({head})') AS m"
        f" SELECT {selected}, {levels}, {received}, {_POSITION} FROM queue"
    )


def _piece(dataset: Dataset, name: str, number: int) -> str:
    """Cut one member out of the pieces between the quotes, as the messages are written now."""
    # v and kind come first; a text has four pieces, what is not a text has two.
    if dataset.name == "trades":
        at = 10 + 4 * number if number < 8 else 41 + 2 * (number - 8)
    else:
        at = 10 + 4 * number if number < 5 else 29 + 2 * (number - 5)
    piece = f"p[{at}]"
    if name in _TIMES:
        digits = 13 if name.endswith("ms") else 16
        return _TIMES[name].format(f"toInt64(substring({piece}, 2, {digits}))")
    if name == "trade_id":
        return f"toUUID({piece}) AS trade_id"
    if name in ("price", "base_amount"):
        return f"toDecimal128({piece}, 18) AS {name}"
    if name in ("prices", "quantities"):
        return (
            f"JSONExtract(substring({piece}, 2, length({piece}) - 2), 'Array(Float64)') AS {name}"
        )
    if name == "side":
        return f"CAST({piece}, '{_SIDES[dataset.name]}') AS side"
    return f"toLowCardinality({piece}) AS {name}"
