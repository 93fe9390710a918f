"""What `radar doctor --cluster` concludes from the facts about a cluster."""

import pytest

from radar.checks import cluster_findings as findings
from radar.checks.cluster_findings import Member, Replica
from radar.checks.findings import Finding, State

TWO = [Member(1, 1, "a", True), Member(1, 2, "b", True)]
FOUR = [*TWO, Member(2, 1, "c", True), Member(2, 2, "d", True)]
THREE = [*TWO, Member(1, 3, "e", True)]


def replica(
    host: str, *, is_readonly: bool = False, queue: int = 0, delay_s: int = 0, active: int = 2
) -> Replica:
    return Replica(host, "t", is_readonly, queue, delay_s, 2, active)


def state(finding: Finding) -> str:
    assert finding.remedy or finding.state is State.OK
    return str(finding.state)


@pytest.mark.parametrize(
    ("members", "wanted"),
    [
        (FOUR, "ok"),
        ([], "problem"),
        (TWO[:1], "warning"),
        ([TWO[0], TWO[1]._replace(internal_replication=False)], "problem"),
    ],
)
def test_configuration_of_the_cluster(members: list[Member], wanted: str) -> None:
    assert state(findings.members("main", members)) == wanted


@pytest.mark.parametrize(
    ("versions", "wanted"),
    [
        ({"a": "25.8", "b": "25.8"}, "ok"),
        ({"a": "25.8", "b": "25.9"}, "warning"),
        ({"a": "25.8"}, "problem"),
        ({}, "problem"),
    ],
)
def test_servers_that_answer(versions: dict[str, str], wanted: str) -> None:
    assert state(findings.servers(TWO, versions)) == wanted


def places(*names: tuple[str, str, str]) -> dict[tuple[str, str], str]:
    shards = {(host, "shard"): shard for host, shard, _ in names}
    return shards | {(host, "replica"): name for host, _, name in names}


@pytest.mark.parametrize(
    ("substitutions", "wanted"),
    [
        (places(("a", "1", "a"), ("b", "1", "b"), ("c", "2", "a"), ("d", "2", "b")), "ok"),
        (places(("a", "1", "a"), ("b", "1", "a"), ("c", "2", "a"), ("d", "2", "b")), "problem"),
        (places(("a", "1", "a"), ("b", "1", "b"), ("c", "1", "c"), ("d", "1", "d")), "problem"),
        (places(("a", "1", "a"), ("b", "1", "b"), ("c", "2", "a")), "problem"),
    ],
    ids=["each place once", "one place twice", "one shard less", "none on d"],
)
def test_macros(substitutions: dict[tuple[str, str], str], wanted: str) -> None:
    assert state(findings.macros(FOUR, list("abcd"), substitutions)) == wanted


@pytest.mark.parametrize(
    ("sessions", "wanted"),
    [
        ({"a": (1, 0), "b": (2, 1)}, "ok"),
        ({"a": (1, 0)}, "problem"),
        ({"a": (1, 0), "b": (1, 1)}, "problem"),
    ],
)
def test_sessions_with_keeper(sessions: dict[str, tuple[int, int]], wanted: str) -> None:
    assert state(findings.keepers(["a", "b"], sessions)) == wanted


@pytest.mark.parametrize(
    ("of_b", "wanted", "words"),
    [
        ([replica("b")], "ok", "2 replicated tables"),
        ([], "problem", "not replicated: t on b"),
        ([replica("b", is_readonly=True)], "problem", "read-only: t on b"),
        ([replica("b", active=1)], "problem", "t on b (1 of 2)"),
        ([replica("b", delay_s=61, queue=7)], "warning", "61 s, 7 in its queue"),
        ([replica("b", delay_s=60)], "ok", "keep up"),
    ],
)
def test_replicated_tables(of_b: list[Replica], wanted: str, words: str) -> None:
    finding = findings.replicas(["a", "b"], ["t"], [replica("a"), *of_b])
    assert state(finding) == wanted
    assert words in finding.detail


@pytest.mark.parametrize(
    ("blocks", "seconds", "wanted"),
    [(100_000, 604_800, "ok"), (100_000, 3600, "warning"), (1000, 604_800, "warning")],
)
def test_window_of_deduplication(blocks: int, seconds: int, wanted: str) -> None:
    definition = (
        f"CREATE TABLE t SETTINGS replicated_deduplication_window = {blocks},"
        f" replicated_deduplication_window_seconds = {seconds}"
    )
    assert state(findings.windows({("a", "t"): definition})) == wanted


def test_window_of_the_servers_default_is_shorter() -> None:
    assert state(findings.windows({("a", "t"): "CREATE TABLE t"})) == "warning"


def test_window_without_tables_is_unknown() -> None:
    assert state(findings.windows({})) == "unknown"


@pytest.mark.parametrize(
    ("option", "members", "wanted"),
    [
        ("0", TWO, "ok"),
        ("0", THREE, "warning"),
        ("auto", THREE, "ok"),
        ("auto", TWO, "warning"),
        ("2", THREE, "ok"),
        ("3", TWO, "problem"),
    ],
)
def test_quorum(option: str, members: list[Member], wanted: str) -> None:
    assert state(findings.quorum(option, members)) == wanted


@pytest.mark.parametrize(
    ("counts", "wanted"),
    [
        ({"a": 1, "b": 1}, "ok"),
        ({"a": 2, "b": 2}, "problem"),
        ({"a": 1, "b": 0}, "problem"),
        ({"a": 1}, "unknown"),
    ],
)
def test_block_inserted_by_several_servers(counts: dict[str, int], wanted: str) -> None:
    assert state(findings.token(counts)) == wanted


@pytest.mark.parametrize(
    ("seen", "found", "wanted"),
    [
        (30, [("1", "a", 10), ("1", "b", 10), ("2", "c", 20)], "ok"),
        (10, [("1", "a", 10), ("1", "b", 10), ("2", "c", 20)], "problem"),
        (30, [("1", "a", 10), ("1", "b", 9), ("2", "c", 20)], "warning"),
        (0, [], "unknown"),
        (5, [], "problem"),
    ],
)
def test_rows_of_all_shards(seen: int, found: list[tuple[str, str, int]], wanted: str) -> None:
    assert state(findings.shards("trades_master", seen, found)) == wanted
