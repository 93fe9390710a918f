"""Where a partition goes on, and what is lost: each difference of log, group and database."""

import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest
from confluent_kafka import Uuid

from radar.consumer.accounting import CommitMetadata, Decision, Situation, decide
from radar.consumer.batch import Plan
from radar.consumer.progress import Former, Order, Progress

ID = "zJq6m2CcT0mX3Yk1uQ0v7A"
OURS = CommitMetadata(ID, 2)


@dataclass
class Rows:
    """The offsets that are rows."""

    offsets: set[int] = field(default_factory=set)

    def last(self, first: int, end: int) -> int | None:
        return max((each for each in self.offsets if first <= each < end), default=None)

    def first_missing(self, first: int, end: int) -> int:
        return next((each for each in range(first, end) if each not in self.offsets), end)


def decision(rows: Iterable[int] = (), **facts: Any) -> Decision:
    defaults: dict[str, Any] = {"low": 0, "high": 100, "committed": None, "metadata": None}
    return decide(Situation(3, ID, **(defaults | facts)), Rows(set(rows)))


def gaps(found: Decision) -> list[tuple[str, int, int]]:
    return [(gap.cause, gap.first, gap.last) for gap in found.gaps]


@pytest.mark.parametrize(
    "metadata",
    [
        CommitMetadata(ID, 0),
        CommitMetadata("", 7),
        CommitMetadata(ID, 12, Plan(4, 90)),
        CommitMetadata(ID, 1, Plan(4, 90), 120),
    ],
)
def test_metadata_survive_a_commit(metadata: CommitMetadata) -> None:
    assert CommitMetadata.parse(str(metadata)) == metadata


def test_metadata_survive_with_every_id_that_the_client_can_give_a_topic() -> None:
    chance = random.Random(1)
    for _ in range(1000):
        topic_id = str(Uuid(chance.getrandbits(63), chance.getrandbits(63)))
        metadata = CommitMetadata(topic_id, 0, Plan(4, 90))
        assert CommitMetadata.parse(str(metadata)) == metadata


@pytest.mark.parametrize("metadata", ["Q|4|90|x|0|7|new", "P|4|90|" + "x" * 65 + "|0", "\x00"])
def test_metadata_that_cannot_be_read_may_stand_for_rows(metadata: str) -> None:
    found = decision(
        committed=50, metadata=CommitMetadata.parse(metadata), progress=Progress(50, 2)
    )
    assert (found.start, found.plan, found.maybe_stored_to) == (50, None, 99)


def test_metadata_of_an_older_radar_is_a_plan_without_a_topic() -> None:
    assert CommitMetadata.parse("P|4|90") == CommitMetadata(None, 0, Plan(4, 90))
    assert CommitMetadata.parse("") is None


def test_nothing_differs_when_commit_and_database_agree() -> None:
    found = decision(range(50), committed=50, metadata=OURS, progress=Progress(50, 2))
    assert (found.start, found.generation, found.maybe_stored_to) == (50, 2, -1)
    assert (found.gaps, found.notice) == ([], "")


def test_open_plan_of_another_worker_is_kept() -> None:
    found = decision(
        range(50),
        committed=50,
        metadata=CommitMetadata(ID, 2, Plan(50, 70)),
        progress=Progress(50, 2),
    )
    assert found.plan == Plan(50, 70)


def test_offsets_that_are_read_again_do_not_count_as_accounted_for() -> None:
    # A log that went back is read from its beginning, and the database is then replaced by a copy.
    again = decision(
        range(50), committed=60, metadata=OURS, progress=Progress(60, 2), low=20, high=55
    )
    assert (again.start, again.maybe_stored_to) == (20, 59)
    copied = Progress(again.start, again.generation)
    after = decision(
        range(30),
        committed=55,
        metadata=CommitMetadata(ID, 3),
        progress=copied,
        low=20,
        high=55,
    )
    assert after.start == 30


def test_rows_that_were_stored_after_a_database_went_back_hide_none_before_them() -> None:
    rows = [*range(40), *range(50, 60)]
    found = decision(rows, committed=60, metadata=OURS, progress=Progress(40, 2))
    assert (found.start, found.maybe_stored_to, found.gaps) == (40, 59, [])


def test_what_may_be_stored_is_handed_on_with_the_plan() -> None:
    metadata = CommitMetadata(ID, 2, Plan(50, 70), 90)
    found = decision(range(50), committed=50, metadata=metadata, progress=Progress(50, 2))
    assert (found.plan, found.maybe_stored_to) == (Plan(50, 70), 90)
    recreated = decision(committed=50, metadata=metadata._replace(topic_id="other"), former_end=70)
    assert recreated.maybe_stored_to == 99


def test_new_group_reads_from_the_beginning_without_a_notice() -> None:
    found = decision()
    assert (found.start, found.gaps, found.notice) == (0, [], "")
    assert decision(progress=Progress(0)).notice == ""


def test_offsets_deleted_before_the_first_worker_came_are_a_gap() -> None:
    assert gaps(decision(low=20)) == [("deleted_by_kafka", 0, 19)]


def test_offsets_deleted_before_they_were_stored_are_a_gap() -> None:
    found = decision(range(50), committed=50, metadata=OURS, progress=Progress(50, 2), low=60)
    assert (found.start, gaps(found)) == (60, [("deleted_by_kafka", 50, 59)])


def test_offsets_deleted_after_they_were_stored_are_no_gap() -> None:
    found = decision(range(80), committed=50, metadata=OURS, progress=Progress(80, 2), low=60)
    assert (found.start, gaps(found), found.maybe_stored_to) == (60, [], 79)


def test_topic_of_another_id_is_read_from_its_beginning() -> None:
    found = decision(committed=50, metadata=CommitMetadata("other", 2), former_end=70)
    assert (found.start, gaps(found)) == (0, [("topic_recreated", 50, 69)])
    assert (found.gaps[0].topic_id, found.gaps[0].extent) == ("other", "unknown")


def test_topic_whose_group_went_with_it_is_known_from_the_database() -> None:
    found = decision(former=Former("other", 50))
    assert (found.start, gaps(found)) == (0, [("topic_recreated", 50, 50)])
    # The next worker finds that the new topic is accounted for already.
    assert gaps(decision(former=Former("other", 50), progress=Progress(0))) == []


def test_group_set_back_stores_again_under_a_new_generation() -> None:
    found = decision(range(50), committed=10, progress=Progress(50, 2))
    assert (found.start, found.generation, found.maybe_stored_to) == (10, 3, 49)
    assert found.gaps == []


def test_worker_goes_on_with_a_range_that_another_began_to_store_again() -> None:
    found = decision(
        range(50), committed=30, metadata=CommitMetadata(ID, 3), progress=Progress(50, 3)
    )
    assert (found.start, found.generation, found.maybe_stored_to) == (30, 3, 49)
    assert found.notice == ""


def test_group_set_forward_is_a_gap() -> None:
    found = decision(range(52), committed=90, progress=Progress(50, 2))
    assert (found.start, gaps(found)) == (90, [("group_moved", 52, 89)])


def test_deleted_group_reads_all_again_and_inserts_what_is_missing() -> None:
    found = decision(range(50), progress=Progress(50, 2))
    assert (found.start, found.generation, found.maybe_stored_to) == (0, 3, 49)


def test_database_restored_from_an_older_copy_stores_the_rest_again() -> None:
    found = decision(range(32), committed=50, metadata=OURS, progress=Progress(30, 2))
    assert (found.start, found.maybe_stored_to, gaps(found)) == (32, 49, [])


def test_database_restored_after_kafka_deleted_the_rest_is_a_gap() -> None:
    found = decision(range(32), committed=50, metadata=OURS, progress=Progress(30, 2), low=40)
    assert (found.start, gaps(found)) == (40, [("restored_database", 32, 39)])


def test_empty_database_stores_all_again() -> None:
    assert decision(committed=50, metadata=OURS).start == 0
    assert decision(committed=50).start == 0  # a radar of before has committed it


def test_commit_of_an_older_radar_is_kept() -> None:
    found = decision(range(50), committed=50)
    assert (found.start, found.gaps, found.notice) == (50, [], "")


@pytest.mark.parametrize("committed", [101, 90])
def test_log_that_went_back_is_read_again(committed: int) -> None:
    """Beyond its end, or refused by Kafka, because the log has grown again."""
    found = decision(
        range(committed),
        committed=committed,
        metadata=OURS,
        progress=Progress(committed, 2),
        is_invalid=True,
        former_end=110,
    )
    assert (found.start, gaps(found)) == (0, [("log_truncated", committed, 109)])
    assert found.maybe_stored_to >= 99


def test_order_goes_back_and_keeps_what_the_comparison_found() -> None:
    order = Order(3, 20, 29, 1)
    found = decision(range(50), committed=50, metadata=OURS, progress=Progress(50, 2), order=order)
    assert (found.start, found.generation, found.maybe_stored_to) == (20, 3, 49)
    deleted = decision(
        range(50), committed=50, metadata=OURS, progress=Progress(50, 2), order=order, low=60
    )
    assert (deleted.start, gaps(deleted)) == (60, [("deleted_by_kafka", 50, 59)])
