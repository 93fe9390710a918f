"""The judgements of `radar doctor --cluster`: pure. Each finding names its remedy."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from radar.checks.findings import Finding, ok, problem, unknown, warning
from radar.store.cluster import DEDUPLICATION_SECONDS, DEDUPLICATION_WINDOW

MOST_DELAY_S = 60
SHOWN = 5
CHECK = "cluster"


class Member(NamedTuple):
    """A server as the configuration of the cluster names it."""

    shard: int
    replica: int
    host: str
    internal_replication: bool


class Replica(NamedTuple):
    """One replicated table of one server."""

    host: str
    table: str
    is_readonly: bool
    queue: int
    delay_s: int
    replicas: int
    active: int


def members(name: str, found: Sequence[Member]) -> Finding:
    """Judge the configuration of a cluster."""
    if not found:
        return problem(
            CHECK,
            f"ClickHouse knows no cluster {name}",
            "define it in remote_servers on every server, or set another CLICKHOUSE_CLUSTER",
        )
    shards = Counter(each.shard for each in found)
    words = f"{name} has {len(shards)} shards with {_range(shards.values())} replicas each"
    if not all(each.internal_replication for each in found):
        return problem(
            CHECK,
            f"{words}; a distributed table writes to each replica by itself",
            "set internal_replication to true for every shard in remote_servers",
        )
    if min(shards.values()) < 2:
        return warning(CHECK, f"{words}: nothing takes over", "add a second replica to each shard")
    return ok(CHECK, words)


def servers(found: Sequence[Member], versions: Mapping[str, str]) -> Finding:
    """Judge which servers answer; `versions` holds the version of each that does."""
    check = f"{CHECK} servers"
    if len(versions) < len(found):
        return problem(
            check,
            f"{len(versions)} of {len(found)} servers answer: {_listed(sorted(versions))}",
            "start the others, and let the servers reach each other at the names and native ports"
            " in remote_servers",
        )
    if len(set(versions.values())) > 1:
        words = ", ".join(f"{host} {version}" for host, version in sorted(versions.items()))
        return warning(check, f"versions differ: {words}", "finish the upgrade of ClickHouse")
    return ok(check, f"all {len(versions)} answer, version {', '.join(set(versions.values()))}")


def macros(
    found: Sequence[Member], hosts: Sequence[str], substitutions: Mapping[tuple[str, str], str]
) -> Finding:
    """Judge the macros by which servers know their shard and replica.

    Args:
        found: The configuration of the cluster.
        hosts: The servers that answer.
        substitutions: The values, by server and macro.
    """
    check = f"{CHECK} macros"
    remedy = (
        "set the macros shard and replica on every server: the same shard for replicas of each"
        " other, and another replica for each"
    )
    without = [
        host
        for host in hosts
        if not all(substitutions.get((host, macro)) for macro in ("shard", "replica"))
    ]
    if without:
        return problem(check, f"no macro shard or replica on {_listed(without)}", remedy)
    places = Counter(
        (substitutions[host, "shard"], substitutions[host, "replica"]) for host in hosts
    )
    if twice := [place for place, count in places.items() if count > 1]:
        words = _listed([f"shard {shard} replica {replica}" for shard, replica in twice])
        return problem(check, f"several servers are {words}", remedy)
    shards = {shard for shard, _ in places}
    wanted = {each.shard for each in found}
    if len(hosts) == len(found) and len(shards) != len(wanted):
        return problem(
            check, f"{len(shards)} shards by the macros, {len(wanted)} in remote_servers", remedy
        )
    return ok(check, f"{len(places)} places in {len(shards)} shards, each once")


def keepers(hosts: Sequence[str], sessions: Mapping[str, tuple[int, int]]) -> Finding:
    """Judge the sessions with Keeper: all and expired ones of each server."""
    check = f"{CHECK} Keeper"
    bad = [host for host in hosts if sessions.get(host, (0, 0))[0] <= sessions.get(host, (0, 0))[1]]
    if bad:
        return problem(
            check,
            f"no session with Keeper on {_listed(bad)}: its replicated tables take no insert",
            "start Keeper, and see the section zookeeper of the server's configuration",
        )
    return ok(check, f"{len(hosts)} servers have a session")


def replicas(hosts: Sequence[str], wanted: Sequence[str], found: Sequence[Replica]) -> Finding:
    """Judge the replicated tables.

    Args:
        hosts: The servers that answer.
        wanted: The tables that each must have.
        found: The tables that they have.
    """
    check = f"{CHECK} tables"
    there = {(each.host, each.table) for each in found}
    missing = [f"{table} on {host}" for host in hosts for table in wanted
               if (host, table) not in there]  # fmt: skip
    if missing:
        return problem(
            check,
            f"not replicated: {_listed(missing)}",
            "`radar migrate` with CLICKHOUSE_HOST set to that server, once more if it names missing"
            " tables; a database of a single server stays one: docs/clickhouse-cluster.md",
        )
    if readonly := [f"{each.table} on {each.host}" for each in found if each.is_readonly]:
        return problem(
            check,
            f"read-only: {_listed(readonly)}",
            "repair Keeper, then SYSTEM RESTART REPLICA, or SYSTEM RESTORE REPLICA if Keeper lost"
            " the table",
        )
    if inactive := [
        f"{each.table} on {each.host} ({each.active} of {each.replicas})"
        for each in found
        if each.active < each.replicas
    ]:
        return problem(
            check,
            f"replicas that are not active: {_listed(inactive)}",
            "start them; remove one that never returns with SYSTEM DROP REPLICA",
        )
    if late := [
        f"{each.table} on {each.host} ({each.delay_s} s, {each.queue} in its queue)"
        for each in found
        if each.delay_s > MOST_DELAY_S
    ]:
        return warning(
            check, f"behind: {_listed(late)}", "see last_exception in system.replication_queue"
        )
    return ok(check, f"{len(found)} replicated tables take inserts and keep up")


def windows(definitions: Mapping[tuple[str, str], str]) -> Finding:
    """Judge for how long tables recognise a block; definitions by server and table."""
    check = f"{CHECK} repeated blocks"
    short = [
        f"{table} on {host}"
        for (host, table), definition in definitions.items()
        if _setting(definition, "replicated_deduplication_window") < DEDUPLICATION_WINDOW
        or _setting(definition, "replicated_deduplication_window_seconds") < DEDUPLICATION_SECONDS
    ]
    if not definitions:
        return unknown(check, "no table was found", "`radar migrate`")
    if short:
        return warning(
            check,
            f"recognised for a shorter time than radar asks for: {_listed(short)}",
            "`ALTER TABLE … ON CLUSTER … MODIFY SETTING replicated_deduplication_window ="
            f" {DEDUPLICATION_WINDOW}, replicated_deduplication_window_seconds ="
            f" {DEDUPLICATION_SECONDS}`",
        )
    days = DEDUPLICATION_SECONDS // 86_400
    return ok(check, f"recognised among {DEDUPLICATION_WINDOW:,} blocks for {days} days")


def quorum(option: str, found: Sequence[Member]) -> Finding:
    """Judge how many replicas have a block before its offsets are committed."""
    check = f"{CHECK} quorum"
    fewest = min(Counter(each.shard for each in found).values(), default=1)
    if option == "0":
        words = "an insert is confirmed by one replica: what it loses before the others have it, is"
        words += " stored again from Kafka by an order only"
        if fewest > 2:
            return warning(check, words, "set CLICKHOUSE_INSERT_QUORUM=auto on the workers")
        return ok(check, words)
    needed = fewest // 2 + 1 if option == "auto" else int(option)
    if needed > fewest:
        return problem(
            check,
            f"{needed} replicas must confirm an insert, and a shard has {fewest}: none succeeds",
            f"set CLICKHOUSE_INSERT_QUORUM to {fewest} at most",
        )
    words = f"{needed} of {fewest} replicas confirm an insert"
    if needed == fewest and fewest > 1:
        return warning(
            check,
            f"{words}: workers wait while one is down",
            "add a replica, or lower CLICKHOUSE_INSERT_QUORUM",
        )
    return ok(check, words)


def token(counts: Mapping[str, int]) -> Finding:
    """Judge a test: one block under one token, inserted by one server and repeated by the others.

    Args:
        counts: The rows of each server afterwards; the block has one.
    """
    check = f"{CHECK} tokens"
    remedy = "see whether the servers share one Keeper and the macros are right"
    words = ", ".join(f"{server} has {count}" for server, count in sorted(counts.items()))
    if len(counts) < 2:
        return unknown(
            check,
            "not tested: radar knows one address",
            "name the other servers in CLICKHOUSE_REPLICAS",
        )
    if any(count > 1 for count in counts.values()):
        return problem(check, f"a repeated block is stored twice: {words}", remedy)
    if not all(counts.values()):
        return problem(check, f"a block does not reach every server: {words}", remedy)
    return ok(check, f"a block that {len(counts)} servers inserted under one token is stored once")


def shards(table: str, seen: int, found: Sequence[tuple[str, str, int]]) -> Finding:
    """Judge whether readers see the rows of all shards.

    Args:
        table: The sharded table.
        seen: The rows that readers see.
        found: Shard, server and rows there.
    """
    check = f"{CHECK} {table}"
    by_shard: dict[str, list[int]] = defaultdict(list)
    for shard, _, count in found:
        by_shard[shard].append(count)
    expected = sum(max(counts) for counts in by_shard.values())
    words = f"readers see {seen:,} settled rows of the last hour, the shards have {expected:,}"
    if any(len(set(counts)) > 1 for counts in by_shard.values()):
        each = ", ".join(f"{host} {count:,}" for _, host, count in found)
        return warning(
            check,
            f"replicas of one shard differ: {each}",
            "see absolute_delay in system.replicas, and ask again in some minutes",
        )
    if seen != expected:
        return problem(
            check, words, "compare system.clusters with the macros, and ask again in some minutes"
        )
    if not expected:
        return unknown(check, "no settled row in the last hour", "ask again while radar records")
    return ok(check, words)


def _setting(definition: str, name: str) -> int:
    found = re.search(rf"\b{name} = (\d+)", definition)
    return int(found[1]) if found else 0


def _range(counts: Iterable[int]) -> str:
    values = sorted(set(counts))
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _listed(names: Sequence[str]) -> str:
    more = f", and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
