"""Fetches that wait: a message wakes those of its partition, and no other."""

from radar.local.publish_events import PublishEvents

A, B, C = b"a", b"b", b"c"


def test_message_sets_only_the_events_of_its_partitions() -> None:
    events = PublishEvents()
    of_a, of_both, of_any = (
        events.expect(places) for places in (frozenset({A}), frozenset({A, B}), None)
    )
    events.published(frozenset({C}))
    assert [each.is_set() for each in (of_a, of_both, of_any)] == [False, False, True]
    events.published(frozenset({B, C}))
    assert [each.is_set() for each in (of_a, of_both)] == [False, True]
    events.published(frozenset({A}))
    assert of_a.is_set()


def test_message_of_unknown_partitions_sets_all() -> None:
    events = PublishEvents()
    expected = [events.expect(places) for places in (frozenset({A}), frozenset({B}), None)]
    events.published(None)
    assert all(each.is_set() for each in expected)


def test_event_that_is_forgotten_is_set_no_more_and_leaves_the_others() -> None:
    events = PublishEvents()
    gone, stays = events.expect(frozenset({A, B})), events.expect(frozenset({B}))
    events.forget(frozenset({A, B}), gone)
    events.published(frozenset({A, B}))
    assert not gone.is_set()
    assert stays.is_set()
    events.forget(frozenset({B}), stays)
    anything = events.expect(None)
    events.forget(None, anything)
    events.published(None)
    assert not anything.is_set()
