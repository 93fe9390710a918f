"""Trades of two connections that deliver the same market."""

from radar.producer.redundancy import MAX_WAITING, WAIT_US, Deliveries, Redundancy

START = 1_700_000_000_000_000


def test_each_connection_counts_the_shared_trades_and_those_of_its_own() -> None:
    redundancy = Redundancy(lambda symbol: 2)
    one, other = Deliveries(), Deliveries()
    for n in range(10):
        if n != 3:
            redundancy.take(f"t{n}", "BTCUSDT", one, START + n)
        if n not in (5, 7):
            redundancy.take(f"t{n}", "BTCUSDT", other, START + n + 20)
    assert (one.alone, other.alone) == (0, 0), "the other may still bring them"
    redundancy.settle(START + WAIT_US + 100)
    assert (one.both, one.alone) == (7, 2)
    assert (other.both, other.alone) == (7, 1)


def test_a_repetition_on_one_connection_is_no_second_delivery() -> None:
    redundancy = Redundancy(lambda symbol: 2)
    one = Deliveries()
    redundancy.take("t", "BTCUSDT", one, START)
    redundancy.take("t", "BTCUSDT", one, START + 1)
    redundancy.settle(START + WAIT_US)
    assert (one.both, one.alone) == (0, 1)


def test_a_third_connection_counts_for_itself_only() -> None:
    redundancy = Redundancy(lambda symbol: 3)
    three = [Deliveries() for _ in range(3)]
    for each in three:
        redundancy.take("t", "BTCUSDT", each, START)
    redundancy.settle(START + WAIT_US)
    assert [(each.both, each.alone) for each in three] == [(1, 0)] * 3


def test_a_trade_of_the_only_connection_proves_no_loss_of_another() -> None:
    redundancy = Redundancy(lambda symbol: 1)
    one = Deliveries()
    redundancy.take("t", "BTCUSDT", one, START)
    redundancy.settle(START + WAIT_US)
    assert (one.both, one.alone) == (0, 0)


def test_waiting_trades_are_bounded_and_survive_a_clock_that_is_set_back() -> None:
    redundancy = Redundancy(lambda symbol: 2)
    one = Deliveries()
    for n in range(MAX_WAITING + 10):
        redundancy.take(f"t{n}", "BTCUSDT", one, START)
    assert one.alone == 10
    redundancy.settle(START - 1_000_000)
    assert one.alone == MAX_WAITING + 10
