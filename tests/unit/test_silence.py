"""When a partition counts as silent although its log goes on."""

from radar.consumer.silence import LONGEST_LOOK_S, SILENT_S, PartitionSilence


def test_partition_that_brings_nothing_of_what_waits_is_silent_after_a_while() -> None:
    silence = PartitionSilence()
    looks = [silence.check(n * 0.5, waits=True) for n in range(20)]
    assert looks.index(True) == SILENT_S / 0.5
    assert all(looks[looks.index(True) :])


def test_partition_without_waiting_messages_is_never_silent() -> None:
    silence = PartitionSilence()
    assert not any(silence.check(float(n), waits=False) for n in range(100))


def test_message_ends_a_silence() -> None:
    silence = PartitionSilence()
    for n in range(100):
        if n % 4 == 0:
            silence.end()
        assert not silence.check(float(n), waits=True)


def test_time_in_which_the_worker_did_not_look_does_not_count() -> None:
    """A worker that was held up by a slow database has no evidence against a partition."""
    silence = PartitionSilence()
    assert not silence.check(0, waits=True)
    assert not silence.check(600, waits=True)
    assert not silence.check(1200, waits=True)
    assert 2 * LONGEST_LOOK_S < SILENT_S
