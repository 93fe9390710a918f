"""The judgements of `radar doctor`: pure. Each finding names its remedy."""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from radar.clock import MOST_OFFSET_S
from radar.process import LEAST_OPEN_FILES
from radar.status.judgement import MOST_SKEW_S
from radar.store.expiry import rules_in
from radar.text import printable

MEBIBYTE = 1024 * 1024
# The tables refuse inserts below 128 MiB; there must be room to act before that.
LEAST_FREE_BYTES = 512 * MEBIBYTE
FEW_FREE_BYTES = 5 * 1024 * MEBIBYTE
SHOWN_STUCK = 5
OLDEST_CLICKHOUSE = (24, 3)


class State(StrEnum):
    """How bad a finding is."""

    OK = "ok"
    UNKNOWN = "unknown"  # there is no evidence
    WARNING = "warning"  # it works, but not as well or not for long
    PROBLEM = "problem"  # a service does not work, or messages will be lost


class Finding(NamedTuple):
    """The result of one check.

    Attributes:
        check: The name of the check.
        state: How bad the result is.
        detail: The observed facts.
        remedy: The next action; empty if none is needed.
    """

    check: str
    state: State
    detail: str
    remedy: str = ""


class TopicFacts(NamedTuple):
    """A topic as the brokers have it.

    Attributes:
        partitions: How many.
        replicas: Of the partition with the fewest.
        out_of_sync: How many replicas are behind or gone.
        options: Its configuration, as far as the brokers return it.
    """

    partitions: int
    replicas: int
    out_of_sync: int
    options: Mapping[str, str]


class TopicRequirements(NamedTuple):
    """The options' requirements for topics."""

    partitions: int
    replicas: int
    retention_ms: int
    message_bytes: int
    in_sync: int = 1  # replicas that must have a message before Kafka acknowledges it


def ok(check: str, detail: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(check, State.OK, detail)


def warning(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that should be looked at."""
    return Finding(check, State.WARNING, detail, remedy)


def problem(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding that must be repaired."""
    return Finding(check, State.PROBLEM, detail, remedy)


def disk(check: str, free_bytes: int, total_bytes: int, where: str) -> Finding:
    """Judge the free space of a disk."""
    share = free_bytes / max(1, total_bytes)
    detail = f"{free_bytes / 1024**3:,.1f} GiB free ({share:.0%}) at {where}"
    remedy = "make room, or lower RETENTION_DAYS and run `radar migrate`"
    if free_bytes < LEAST_FREE_BYTES:
        return problem(check, detail, remedy)
    return warning(check, detail, remedy) if free_bytes < FEW_FREE_BYTES else ok(check, detail)


def open_files(soft: int, hard: int) -> Finding:
    """Judge how many files a process may open."""
    if soft < LEAST_OPEN_FILES:
        # radar raises its own limit as far as the hard one.
        limit = min(hard, 65536)
        remedy = f"`ulimit -n {limit}` before radar starts"
        if limit < LEAST_OPEN_FILES:
            remedy = "raise the hard limit of this user (limits.conf, LimitNOFILE= of systemd)"
        return warning("open files", f"a process may open {soft:,} only", remedy)
    return ok("open files", f"a process may open {soft:,}")


_SYNCHRONISE = (
    "run a time service: `timedatectl set-ntp true`, or chrony; in a container, on its host"
)


def unknown(check: str, detail: str, remedy: str) -> Finding:
    """Return a finding without evidence; the remedy is how to get some."""
    return Finding(check, State.UNKNOWN, detail, remedy)


def synchronisation(is_synchronised: bool | None, max_error_s: float, why_unknown: str) -> Finding:
    """Judge whether a time service keeps this machine's clock right, as the kernel says."""
    check = "clock synchronisation"
    if is_synchronised is None:
        remedy = "ask the host's time service: `timedatectl`, `chronyc tracking`"
        return unknown(check, f"the kernel does not say ({why_unknown})", remedy)
    if not is_synchronised:
        return warning(check, "no time service synchronises this machine's clock", _SYNCHRONISE)
    detail = f"a time service keeps the clock right to {max_error_s:.3f} s"
    return (
        warning(check, detail, _SYNCHRONISE) if max_error_s > MOST_OFFSET_S else ok(check, detail)
    )


def exchange_clock(check: str, offset_s: float | None, uncertainty_s: float) -> Finding:
    """Judge how far this machine's clock is ahead of an exchange's; None: unknown."""
    if offset_s is None:
        remedy = "check this machine's clock otherwise: `timedatectl`"
        return unknown(check, "the exchange's answers carry no time", remedy)
    where = "ahead of" if offset_s > 0 else "behind"
    detail = f"{abs(offset_s):.1f} s {where} the exchange's, ± {uncertainty_s:.1f} s"
    if (least_s := abs(offset_s) - uncertainty_s) <= MOST_OFFSET_S:
        return ok(check, detail)
    judge = problem if least_s > MOST_SKEW_S else warning
    return judge(check, detail, _SYNCHRONISE)


def clock(check: str, ahead_s: float, other: str, tolerance_s: float = MOST_SKEW_S) -> Finding:
    """Judge how far this machine's clock is ahead of another's."""
    direction = "ahead of" if ahead_s > 0 else "behind"
    detail = f"{abs(ahead_s):.1f} s {direction} {other}"
    if abs(ahead_s) > tolerance_s:
        remedy = "synchronise this machine's clock (`timedatectl set-ntp true`), or the other's"
        return problem(check, detail, remedy)
    return ok(check, detail)


def topics(
    found: Mapping[str, TopicFacts], names: Sequence[str], wanted: TopicRequirements
) -> list[Finding]:
    """Judge topics: one finding for each defect, else one in all."""
    findings: list[Finding] = []
    if missing := [name for name in names if name not in found]:
        detail = f"missing: {', '.join(missing)}"
        findings.append(
            warning("topics", detail, "`radar topics` creates them, as does `radar up`")
        )
    for name in names:
        if name in found:
            findings += _topic(name, found[name], wanted)
    return findings or [
        ok("topics", f"all {len(names)} are there, with the settings of the options")
    ]


def _topic(name: str, facts: TopicFacts, wanted: TopicRequirements) -> list[Finding]:
    findings = []
    if "compact" in facts.options.get("cleanup.policy", "delete"):
        findings.append(
            problem(
                f"topic {name}",
                "it is compacted: Kafka deletes messages that have the same key as a newer one",
                _alter(name, "cleanup.policy=delete"),
            )
        )
    size = _integer(facts.options.get("max.message.bytes"))
    if size is not None and size < wanted.message_bytes:
        findings.append(
            problem(
                f"topic {name}",
                f"max.message.bytes is {size:,}: larger messages are refused and lost",
                _alter(name, f"max.message.bytes={wanted.message_bytes}"),
            )
        )
    retention_ms = _integer(facts.options.get("retention.ms"))
    if retention_ms is not None and 0 <= retention_ms < wanted.retention_ms:
        hours, least = retention_ms / 3_600_000, wanted.retention_ms / 3_600_000
        findings.append(
            warning(
                f"topic {name}",
                f"it keeps messages for {hours:g} h, KAFKA_RETENTION_HOURS asks for {least:g}",
                _alter(name, f"retention.ms={wanted.retention_ms}"),
            )
        )
    if facts.partitions < wanted.partitions:
        findings.append(
            warning(
                f"topic {name}",
                f"{facts.partitions} partitions, KAFKA_NUM_PARTITIONS is {wanted.partitions}",
                "`radar topics --grow`",
            )
        )
    if facts.out_of_sync:
        findings.append(
            warning(
                f"topic {name}",
                f"{facts.out_of_sync} replicas are out of sync",
                "see whether all brokers run and have room on their disks",
            )
        )
    if facts.replicas < wanted.replicas:
        findings.append(
            warning(
                f"topic {name}",
                f"{facts.replicas} replicas, KAFKA_REPLICATION_FACTOR is {wanted.replicas}",
                "`kafka-reassign-partitions` adds replicas to a topic that exists",
            )
        )
    in_sync = _integer(facts.options.get("min.insync.replicas"))
    if in_sync is not None and in_sync < min(wanted.in_sync, facts.replicas):
        findings.append(
            warning(
                f"topic {name}",
                f"min.insync.replicas is {in_sync}: Kafka may acknowledge a message that only"
                f" {'one broker has' if in_sync == 1 else f'{in_sync} brokers have'}",
                _alter(name, f"min.insync.replicas={wanted.in_sync}"),
            )
        )
    if in_sync is not None and in_sync >= facts.replicas > 1:
        findings.append(
            warning(
                f"topic {name}",
                f"min.insync.replicas is {in_sync} of {facts.replicas} replicas: the loss of one"
                " broker stops every producer",
                _alter(name, f"min.insync.replicas={facts.replicas - 1}"),
            )
        )
    return findings


def _alter(topic: str, assignment: str) -> str:
    return (
        f"`kafka-configs --alter --entity-type topics --entity-name {topic}"
        f" --add-config {assignment}`"
    )


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"-?\d+", text) else None


def unstored(deleted: Mapping[str, int]) -> Finding:
    """Judge the messages that Kafka has deleted before they were stored, by topic."""
    if lost := {topic: count for topic, count in deleted.items() if count}:
        words = ", ".join(f"{topic} {count:,}" for topic, count in lost.items())
        return problem(
            "retention",
            f"Kafka has deleted messages before they were stored: {words}",
            "start workers, and raise the topic's retention.ms above the longest outage",
        )
    return ok("retention", "Kafka has everything that is not stored yet")


def delivery_gaps(lost: Mapping[str, int], causes: Sequence[str]) -> Finding:
    """Judge the lost offsets without an acknowledgement, by dataset."""
    if not lost:
        return ok("delivery gaps", "no offset is lost without an acknowledgement")
    words = ", ".join(f"{dataset} {count:,}" for dataset, count in lost.items())
    dataset = next(iter(lost))
    return problem(
        "delivery gaps",
        f"offsets are lost ({', '.join(causes)}): {words}",
        f"`radar verify` names them; `radar restore {dataset} all` stores the messages in Kafka,"
        f" `radar acknowledge {dataset} all --reason TEXT` gives up the rest",
    )


def dead_letters(open_letters: Mapping[str, int], foreign: Mapping[str, int]) -> Finding:
    """Judge the open dead letters, and foreign messages between them, by dataset."""
    if strangers := {dataset: count for dataset, count in foreign.items() if count}:
        words = ", ".join(f"{dataset} {count:,}" for dataset, count in strangers.items())
        remedy = "find out who may write there; `radar dlq list` names them, `radar dlq purge`"
        return warning(
            "dead letters",
            f"messages between the dead letters that radar has not written: {words}",
            f"{remedy} deletes them",
        )
    if found := {dataset: count for dataset, count in open_letters.items() if count}:
        words = ", ".join(f"{dataset} {count:,}" for dataset, count in found.items())
        remedy = "`radar dlq list`; repair the cause, then `radar dlq replay`"
        return warning("dead letters", f"messages that are no rows: {words}", remedy)
    return ok("dead letters", "none")


def unreadable(stuck: Sequence[tuple[str, str, int, int, str]]) -> Finding:
    """Judge partitions that stand at a batch which no client can read.

    Args:
        stuck: Dataset, topic, partition, offset and reason of each.
    """
    if not stuck:
        return ok("batches", "the next message of every partition can be read")
    words = "; ".join(
        f"partition {partition} of {topic} stands at offset {offset}: the batch there cannot be"
        f" read ({printable(reason)})"
        for _, topic, partition, offset, reason in stuck[:SHOWN_STUCK]
    )
    more = f"; and {len(stuck) - SHOWN_STUCK} more" if len(stuck) > SHOWN_STUCK else ""
    dataset, _, partition, offset, _ = stuck[0]
    return problem(
        "batches",
        f"{words}{more}",
        f"skip it with: radar skip {dataset} {partition} {offset} --reason TEXT",
    )


def clickhouse_version(version: str) -> Finding:
    """Judge the version of ClickHouse."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_CLICKHOUSE:
        oldest = ".".join(map(str, OLDEST_CLICKHOUSE))
        return problem("ClickHouse version", version, f"update it to {oldest} or newer")
    return ok("ClickHouse version", version)


def schema(pending: Sequence[int], unknown: Sequence[int]) -> Finding:
    """Judge the migrations of a database."""
    if unknown:
        return problem(
            "schema",
            f"the database has migration {max(unknown):04}, which this radar does not know",
            "install the newer radar",
        )
    if pending:
        detail = f"{len(pending)} migrations are not applied, from {min(pending):04} on"
        return warning("schema", detail, "`radar migrate`, as workers do when they start")
    return ok("schema", "up to date")


def missing_schema(missing: Sequence[str]) -> Finding:
    """Judge objects of the migrations that are missing or different now."""
    return problem(
        "schema",
        "; ".join(missing),
        "`radar migrate` recreates it and reports the losses; `radar migrate --repair` changes"
        " types of columns as well",
    )


def right(database: str, name: str, refused: str, *, some: bool) -> Finding:
    """Judge a table that this user may not insert into.

    Args:
        database: Its database.
        name: The table.
        refused: Why, in the server's words.
        some: Whether the user may insert into other tables of radar; then it is a worker's user.
    """
    judge = problem if some else warning
    return judge(
        f"table {name}",
        f"this user may not insert: {refused}",
        f"for workers: `GRANT SELECT, INSERT ON {database}.{name}`",
    )


def table(
    name: str,
    definition: str,
    retention_days: int,
    option: str = "RETENTION_DAYS",
    cold_after_days: int = 0,
) -> list[Finding]:
    """Judge a table by its definition; no finding if it is right."""
    check = f"table {name}"
    findings = []
    engine = re.search(r"ENGINE = (\w+)", definition)
    if engine is None or "Replacing" not in engine[1]:
        findings.append(
            problem(
                check,
                f"its engine is {engine[1] if engine else 'unknown'}: deliveries of the same"
                " message do not collapse",
                "make it anew by `radar migrate` in a new database, and copy the rows",
            )
        )
    replicated = engine is not None and engine[1].startswith(("Replicated", "Shared"))
    window = re.search(r"non_replicated_deduplication_window = (\d+)", definition)
    if not replicated and (window is None or int(window[1]) == 0):
        findings.append(
            problem(
                check,
                "it does not recognise a block that is inserted again",
                f"`ALTER TABLE {name} MODIFY SETTING non_replicated_deduplication_window = 100000`",
            )
        )
    rules = rules_in(definition)
    if rules.delete_days != retention_days:
        kept = "for ever" if rules.delete_days is None else f"{rules.delete_days} days"
        findings.append(
            warning(
                check,
                f"rows are kept {kept}, {option} is {retention_days}",
                "`radar migrate`, with the same options as the workers",
            )
        )
    wanted = cold_after_days if 0 < cold_after_days < retention_days else None
    if rules.move_days != wanted:
        moved = "never move" if rules.move_days is None else f"move after {rules.move_days} days"
        findings.append(
            warning(
                check,
                f"rows {moved}, COLD_AFTER_DAYS is {cold_after_days}",
                "`radar migrate`, with the same options as the workers",
            )
        )
    return findings
