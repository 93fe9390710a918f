"""`radar doctor --cluster`: reads the facts about a cluster; `cluster_findings.py` judges them.

It creates one table of its own in the database, inserts a row by each server, and drops the table.
"""

import secrets
import time
from collections.abc import Iterator
from contextlib import suppress

import numpy as np

from radar.checks import cluster_findings as findings
from radar.checks.cluster_findings import Member, Replica
from radar.checks.findings import Finding, problem, unknown
from radar.codec.batch_decoder import Column
from radar.errors import QueryFailed, RadarError, StoreUnavailable
from radar.settings import Settings
from radar.store.client import Store
from radar.store.cluster import EVERY_REPLICA, Cluster, local
from radar.store.queries import cluster as queries
from radar.store.replicas import Server, servers
from radar.store.schema import newest

ANSWER_TIMEOUT_S = 15.0
# A block reaches the other replicas in a fraction of a second.
REPLICATED_WITHIN_S = 10.0
_LOOK_AGAIN_S = 0.2


def examine(settings: Settings) -> Iterator[Finding]:
    """Check a cluster; each check blocks for some seconds at most.

    A server that does not answer is a finding, not an error.
    """
    store = Store(settings, timeout_s=ANSWER_TIMEOUT_S)
    if store.cluster is None:
        yield problem(
            findings.CHECK,
            "CLICKHOUSE_CLUSTER is empty: radar uses one server",
            "set it to the name of the cluster, as the workers have it",
        )
        return
    try:
        yield from _examine(settings, store, store.cluster)
    except (QueryFailed, StoreUnavailable) as error:
        yield problem(
            findings.CHECK,
            str(error),
            "see docs/clickhouse-cluster.md for the rights that this user needs",
        )
    finally:
        store.close()


def _examine(settings: Settings, store: Store, cluster: Cluster) -> Iterator[Finding]:
    members = [
        Member(int(shard), int(replica), str(host), bool(internal))
        for shard, replica, host, internal in store.rows(queries.MEMBERS, {"cluster": cluster.name})
    ]
    yield findings.members(cluster.name, members)
    if not members:
        return
    database = {"database": cluster.database}
    versions = dict(store.rows(queries.servers(cluster), None, EVERY_REPLICA))
    hosts = sorted(versions)
    yield findings.servers(members, versions)
    macros = store.rows(queries.macros(cluster), None, EVERY_REPLICA)
    yield findings.macros(members, hosts, {(host, macro): value for host, macro, value in macros})
    sessions = store.rows(queries.keepers(cluster), None, EVERY_REPLICA)
    yield findings.keepers(
        hosts, {host: (int(count), int(expired)) for host, count, expired in sessions}
    )
    rows = store.rows(queries.replicas(cluster), database, EVERY_REPLICA)
    yield findings.replicas(
        hosts,
        [local(table) for table in newest().tables],
        [
            Replica(str(host), str(table), bool(readonly), *map(int, counts))
            for host, table, readonly, *counts in rows
        ],
    )
    defined = store.rows(queries.definitions(cluster), database, EVERY_REPLICA)
    wanted = {local(table) for table in newest().tables}
    yield findings.windows({(host, table): sql for host, table, sql in defined if table in wanted})
    yield findings.quorum(settings.clickhouse_insert_quorum, members)
    yield token(settings)
    for table in queries.COUNTED:
        counts = store.rows(queries.counts(cluster, table), None, EVERY_REPLICA)
        ((seen,),) = store.rows(queries.count(table))
        yield findings.shards(
            table, int(seen), [(str(shard), str(host), int(count)) for shard, host, count in counts]
        )


def token(settings: Settings) -> Finding:
    """Insert a block by one server, repeat it by the others, and count its rows on each; blocks.

    Servers that do not replicate each other would each have one row after an insert by each. So the
    block is repeated only when it has reached every server.
    """
    named = servers(settings)
    stores = {str(server): _store_of(settings, server) for server in named}
    name = f"radar_doctor_{secrets.token_hex(4)}"
    first = next(iter(stores.values()))
    assert first.cluster is not None  # noqa: S101 - for the type checker; the caller knows
    try:
        first.command(queries.scratch_table(name))
        block = [(1, [Column("n", "UInt64", np.array([1], np.uint64))])]
        first.insert(name, block, name)
        counts = _counted(stores, name)
        if all(counts.values()):
            for store in stores.values():
                store.insert(name, block, name)
            counts = _counted(stores, name)
        return findings.token(counts)
    except RadarError as error:
        return unknown(
            f"{findings.CHECK} tokens",
            f"not tested: {error}",
            "give this user the right to create and drop tables, or ask as the user of migrations",
        )
    finally:
        with suppress(RadarError):
            first.server_command(
                queries.drop_scratch_table(first.cluster, f"`{first.database}`.{name}")
            )
        for store in stores.values():
            store.close()


def _counted(stores: dict[str, Store], name: str) -> dict[str, int]:
    deadline_s = time.monotonic() + REPLICATED_WITHIN_S
    while True:
        counts = {
            server: int(store.rows(queries.scratch_rows(name))[0][0])
            for server, store in stores.items()
        }
        if all(counts.values()) or time.monotonic() > deadline_s:
            return counts
        time.sleep(_LOOK_AGAIN_S)


def _store_of(settings: Settings, server: Server) -> Store:
    alone = {
        "clickhouse_host": server.host,
        "clickhouse_port": server.port,
        "clickhouse_replicas": (),
    }
    return Store(settings.model_copy(update=alone), timeout_s=ANSWER_TIMEOUT_S)
