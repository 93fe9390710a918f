"""What a run is made of and what goes wrong when, drawn from a seed. Pure."""

import dataclasses
import random
from dataclasses import dataclass
from typing import NamedTuple

CRASH_POINTS = (
    *("AFTER_POLL", "AFTER_DEAD_LETTERS", "AFTER_PLAN"),
    *("DURING_INSERT", "AFTER_INSERT", "AFTER_COMMIT"),
)


@dataclass(frozen=True)
class Setup:
    """One run.

    Attributes:
        seed: Of the market, of the faults and of this setup.
        kafka_nodes: Nodes of Apache Kafka; 0 is the embedded broker.
        group_protocol: `classic` or `consumer` (KIP-848).
        static_members: Whether workers keep their place in the group under a fixed name.
        producers: Whole producers of each dataset, all recording everything.
        redundant_connections: Connections per shard of each producer.
        workers: Workers of trades.
        partitions: Of each topic.
        symbols: Markets.
        trades_per_s: On the exchange.
        depth_per_s: On the exchange.
        depth_interval_s: Snapshots of a book are published at most this often.
        batch_size: Rows that make a batch due.
        batch_timeout_s: Age that makes a batch due.
        duration_s: How long faults happen.
        faults: How many.
        exchange: Whose protocol the simulated exchange speaks.
        depth_workers: Workers of depth; 0 is one less than of trades, at least one.
        silence_timeout_s: Producers replace a connection that is silent for so long.
    """

    seed: int
    kafka_nodes: int
    group_protocol: str
    static_members: bool
    producers: int
    redundant_connections: int
    workers: int
    partitions: int
    symbols: int
    trades_per_s: float
    depth_per_s: float
    depth_interval_s: float
    batch_size: int
    batch_timeout_s: float
    duration_s: float
    faults: int
    exchange: str = "wallex"
    depth_workers: int = 0
    silence_timeout_s: float = 3

    @property
    def recent_trades(self) -> int:
        """What the exchange's REST tells per market.

        The trades of four minutes; of the busiest market, of three or so. A producer that is
        killed loses what it had received but not published, so this must outlast its absence,
        with Kafka down and everything slow: what REST no longer tells is not promised. And every
        connection that is opened costs reading it, twice.
        """
        return max(200, int(240 * self.trades_per_s / self.symbols))

    def names(self, role: str) -> list[str]:
        """Return the names of the processes of a role."""
        counts = {
            "trades-worker": self.workers,
            "depth-worker": self.depth_workers or max(1, self.workers - 1),
            "trades-producer": self.producers,
            "depth-producer": self.producers,
            "kafka": max(1, self.kafka_nodes),
        }
        return [f"{role}-{n + 1}" for n in range(counts[role])]


class Fault(NamedTuple):
    """Something that goes wrong.

    `seconds` is how long it lasts: until a killed process is started again, a stopped one goes on,
    a link is healed. `detail` tells variants apart.
    """

    at_s: float
    name: str
    target: str
    seconds: float
    detail: str


class Danger(NamedTuple):
    """A fault that can be drawn."""

    name: str
    targets: tuple[str, ...]
    weight: float
    shortest_s: float
    longest_s: float
    details: tuple[str, ...] = ("",)


def draw_setup(seed: int, *, kafka_nodes: int | None, scale: float) -> Setup:
    """Draw a run; `scale` multiplies the rates. `kafka_nodes` None draws 1 or 3."""
    chance = random.Random(f"setup {seed}")
    low = seed % 5 == 0  # every fifth run is slow: batches are due by their age
    nodes = chance.choice((1, 3)) if kafka_nodes is None else kafka_nodes
    producers = chance.choice((1, 2))
    # Two producers publish everything twice, and three nodes write it three times.
    scale /= (1, 1.6)[producers - 1] * (1.25 if nodes == 3 else 1)
    connections = chance.choice((1, 1, 2))
    scale /= (1, 1.25)[connections - 1]
    trades_per_s = chance.uniform(150, 400) if low else chance.uniform(1000, 1500)
    return Setup(
        seed=seed,
        kafka_nodes=nodes,
        group_protocol=chance.choice(("classic", "classic", "consumer")) if nodes else "classic",
        static_members=chance.random() < 0.6 or not nodes,
        producers=producers,
        redundant_connections=connections,
        workers=chance.choice((2, 3)),
        partitions=chance.choice((3, 4)),
        symbols=chance.choice((40, 60, 80)),
        trades_per_s=round(trades_per_s * scale, 1),
        depth_per_s=round(chance.uniform(250, 500) * scale, 1),
        depth_interval_s=chance.choice((0.0, 0.1, 1.0)),
        batch_size=chance.choice((50, 500) if low else (500, 2000, 5000)),
        batch_timeout_s=chance.choice((0.2, 0.5, 1.0)),
        duration_s=0.0,
        faults=0,
    )


# The exchanges with a socket for trades: how many a second it makes at most. Without numbers, REST
# offers only the newest trades again, and a killed producer must find what it had not published.
_RATES = {
    "binance": 300.0,
    "kraken": 200.0,
    "okx": 200.0,
    "nobitex": 5.0,
    "bitpin": 20.0,
    "ramzinex": 10.0,
    "exir": 10.0,
    "coinbase": 200.0,
}
_MARKETS = 12
EXCHANGES = ("wallex", *_RATES)


def of_an_exchange(setup: Setup) -> Setup:
    """Draw the exchange of a run, within what its REST offers again."""
    name = random.Random(f"exchange {setup.seed}").choice(EXCHANGES)
    if name == "wallex":
        return setup
    return dataclasses.replace(
        setup,
        exchange=name,
        symbols=min(setup.symbols, _MARKETS),
        trades_per_s=min(setup.trades_per_s, _RATES[name]),
        depth_per_s=min(setup.depth_per_s, 200.0),
    )


def dangers(setup: Setup, *, small_disk: bool) -> list[Danger]:
    """Return what can go wrong in a run."""
    workers = (*setup.names("trades-worker"), *setup.names("depth-worker"))
    producers = (*setup.names("trades-producer"), *setup.names("depth-producer"))
    found = [
        Danger("kill worker", workers, 10, 0.1, 2),
        Danger("crash worker", workers, 14, 4, 8, CRASH_POINTS),
        Danger("stop and continue worker", workers, 6, 0.5, 12),
        Danger("restart worker", workers, 4, 0.1, 1),
        Danger("kill producer", producers, 6, 0.1, 2),
        Danger("stop and continue producer", producers, 4, 0.5, 6),
        Danger("restart producer", producers, 2, 0.1, 1),
        Danger("cut exchange link", producers, 6, 0.0, 1.5),
        Danger("delay exchange link", producers, 4, 1, 4, ("0.02", "0.1")),
        Danger("exchange kick", ("exchange",), 6, 0, 0, ("goodbye", "cut", "cut one")),
        Danger("exchange stall", ("exchange",), 3, 1, 4),
        Danger("exchange half-open", ("exchange",), 3, 1, 6),
        Danger("exchange garbage", ("exchange",), 5, 0, 0),
        Danger("exchange resend", ("exchange",), 4, 2, 6),
        Danger("exchange refuse", ("exchange",), 3, 0.5, 2),
        Danger("exchange rest error", ("exchange",), 3, 0.5, 3),
        Danger("bad messages", ("trades", "depth"), 6, 0, 0),
        Danger("kill clickhouse", ("clickhouse",), 5, 0.1, 3),
        Danger("restart clickhouse", ("clickhouse",), 2, 0.1, 1),
        Danger("stop and continue clickhouse", ("clickhouse",), 4, 0.5, 8),
        Danger("clickhouse refuses", ("clickhouse link",), 4, 0.5, 5),
        Danger("clickhouse hangs", ("clickhouse link",), 4, 1, 8),
        Danger("clickhouse breaks off an insert", ("clickhouse link",), 10, 0.3, 0.8),
        Danger("clickhouse's answer is lost", ("clickhouse link",), 10, 0.3, 0.8),
        Danger("delay clickhouse link", ("clickhouse link",), 4, 1, 3, ("0.05", "0.3")),
        Danger("table is missing", ("trades table", "depth table"), 4, 0.5, 3),
    ]
    if small_disk:
        found.append(Danger("clickhouse's disk is full", ("clickhouse disk",), 4, 1, 4))
    if setup.kafka_nodes:
        nodes = tuple(setup.names("kafka"))
        found += [
            Danger("kill kafka", nodes, 3, 0.1, 3),
            Danger("restart kafka", nodes, 1.5, 0.1, 1),
            Danger("stop and continue kafka", nodes, 3, 0.5, 6),
            Danger("cut kafka link", nodes, 6, 0.0, 2),
            Danger("kafka hangs", nodes, 3, 1, 5),
            Danger("delay kafka link", nodes, 4, 1, 3, ("0.02", "0.1")),
        ]
    if setup.kafka_nodes > 1:
        found += [
            Danger("move leaders", ("leaders",), 5, 0, 0),
            Danger("kill all of kafka", ("all of kafka",), 0.7, 0.5, 2),
        ]
    return found


def draw_faults(setup: Setup, *, small_disk: bool) -> list[Fault]:
    """Draw the faults of a run in order; two never meet on the same target."""
    chance = random.Random(f"faults {setup.seed}")
    possible = dangers(setup, small_disk=small_disk)
    busy_until_s: dict[str, float] = {}
    faults: list[Fault] = []
    step_s = setup.duration_s / max(1, setup.faults)
    for number in range(setup.faults):
        at_s = step_s * (number + chance.random())
        free = [
            (danger, targets)
            for danger in possible
            if (targets := [t for t in danger.targets if busy_until_s.get(t, 0) <= at_s])
        ]
        ((danger, targets),) = chance.choices(free, [danger.weight for danger, _ in free])
        target = chance.choice(targets)
        seconds = chance.uniform(danger.shortest_s, danger.longest_s)
        detail = chance.choice(danger.details)
        faults.append(Fault(at_s, danger.name, target, seconds, detail))
        for each in harmed(target, setup):
            busy_until_s[each] = at_s + seconds + 0.5
    return sorted(faults)


def harmed(target: str, setup: Setup) -> list[str]:
    """Return every target that a fault on this one is also a fault on."""
    return [target, *setup.names("kafka")] if target == "all of kafka" else [target]
