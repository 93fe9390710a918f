"""Queries of `radar doctor --cluster`: about the servers of a cluster, and a test of tokens."""

from radar.store.cluster import SHARDED, Cluster, local

MEMBERS = (
    "SELECT shard_num, replica_num, host_name, internal_replication FROM system.clusters"
    " WHERE cluster = {cluster:String} ORDER BY shard_num, replica_num"
)
# Rows that arrived lately and are not changed any more. FINAL counts them alike before and after
# they collapse.
_SETTLED = "received_at BETWEEN now64(6) - INTERVAL 70 MINUTE AND now64(6) - INTERVAL 10 MINUTE"


def servers(cluster: Cluster) -> str:
    """Return the query of the names and versions of the servers that answer."""
    return f"SELECT hostName() AS host, version() FROM {_everywhere(cluster, 'one')} ORDER BY host"


def macros(cluster: Cluster) -> str:
    """Return the query of the macros of each server."""
    return (
        f"SELECT hostName() AS host, macro, substitution FROM {_everywhere(cluster, 'macros')}"
        " WHERE macro IN ('shard', 'replica') ORDER BY host, macro"
    )


def keepers(cluster: Cluster) -> str:
    """Return the query of the sessions of each server with Keeper, and of those that expired."""
    return (
        "SELECT hostName() AS host, count(), countIf(is_expired)"
        f" FROM {_everywhere(cluster, 'zookeeper_connection')} GROUP BY host ORDER BY host"
    )


def replicas(cluster: Cluster) -> str:
    """Return the query of the replicated tables of each server."""
    return (
        "SELECT hostName() AS host, table, is_readonly, queue_size, absolute_delay,"
        f" total_replicas, active_replicas FROM {_everywhere(cluster, 'replicas')}"
        " WHERE database = {database:String} ORDER BY host, table"
    )


def definitions(cluster: Cluster) -> str:
    """Return the query of the definitions of the tables that hold rows, of each server."""
    return (
        "SELECT hostName() AS host, name, create_table_query"
        f" FROM {_everywhere(cluster, 'tables')}"
        " WHERE database = {database:String} AND engine LIKE '%MergeTree' ORDER BY host, name"
    )


def counts(cluster: Cluster, table: str) -> str:
    """Return the query of the settled rows of a sharded table, on each server with its shard."""
    return (
        "SELECT getMacro('shard') AS shard, hostName() AS host, count()"
        f" FROM clusterAllReplicas('{cluster.name}', `{cluster.database}`, {local(table)}) FINAL"
        f" WHERE {_SETTLED} GROUP BY shard, host ORDER BY shard, host"
    )


def count(table: str) -> str:
    """Return the query of the settled rows that readers see."""
    return f"SELECT count() FROM {table} FINAL WHERE {_SETTLED}"


COUNTED = tuple(SHARDED)


def scratch_table(name: str) -> str:
    """Return the statement that creates a table for the test of tokens, as migrations do."""
    return (
        f"CREATE TABLE IF NOT EXISTS {name} (n UInt64) ENGINE = MergeTree ORDER BY n"
        " SETTINGS non_replicated_deduplication_window = 100"
    )


def drop_scratch_table(cluster: Cluster, name: str) -> str:
    """Return the statement that removes that table from all servers."""
    return f"DROP TABLE IF EXISTS {name} ON CLUSTER `{cluster.name}` SYNC"


def scratch_rows(name: str) -> str:
    """Return the query of the number of its rows on one server."""
    return f"SELECT count() FROM {name}"


def _everywhere(cluster: Cluster, table: str) -> str:
    return f"clusterAllReplicas('{cluster.name}', system, {table})"
