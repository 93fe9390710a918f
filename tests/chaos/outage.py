"""A long outage of ClickHouse, and nothing else: `python -m chaos.outage --help`, from `tests`.

Workers must wait it out in their group, without a restart and without growing, and drain what
has piled up in Kafka afterwards. Prints what they needed, and fails if anything is lost or doubled.
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from chaos.rig import Rig
from chaos.schedule import Setup
from chaos.verdict import judge
from radar.datasets import TRADES
from radar.kafka import Cluster

WARM_UP_S = 30.0
MEGABYTE = 1024 * 1024


def resident_bytes(rig: Rig) -> dict[str, int]:
    """Return the resident memory of each worker."""
    found = {}
    for name, part in rig.parts.items():
        if "worker" in name and part.process is not None:
            status = Path(f"/proc/{part.process.pid}/status").read_text()
            found[name] = int(status.split("VmRSS:")[1].split()[0]) * 1024
    return found


def waiting(rig: Rig) -> int:
    """Return how many trades wait in Kafka."""
    lags = Cluster(rig.settings()).lag(TRADES.topic, TRADES.group)
    return sum(lag.messages for lag in lags)


async def peaks(rig: Rig, seconds: float) -> dict[str, int]:
    """Return the most memory that each worker had within so many seconds."""
    deadline_s, most = time.monotonic() + seconds, resident_bytes(rig)
    while time.monotonic() < deadline_s:
        await asyncio.sleep(1)
        most = {name: max(most[name], now) for name, now in resident_bytes(rig).items()}
    return most


async def run(setup: Setup, directory: Path, kafka_home: Path | None, outage_s: float) -> bool:
    """Run an outage, print the figures; tell whether all is well."""
    async with Rig(setup, directory, kafka_home) as rig:
        before = await peaks(rig, WARM_UP_S)
        began_s = time.monotonic()
        outage = asyncio.create_task(rig.parts["clickhouse"].kill(outage_s))
        during = await peaks(rig, outage_s)
        await outage
        piled_up = await asyncio.to_thread(waiting, rig)
        ended_s = time.monotonic()
        while await asyncio.to_thread(waiting, rig) > setup.trades_per_s * 2:
            await asyncio.sleep(0.2)
        drained_s = time.monotonic() - ended_s
        after = await peaks(rig, 10)
        deaths = {name: dict(part.deaths) for name, part in rig.parts.items() if part.deaths}
        problems = await rig.settle()
        verdict = await asyncio.to_thread(judge, rig)
    # The death that was asked for is none.
    deaths.pop("clickhouse", None)
    figures: dict[str, Any] = {
        "outage_s": round(ended_s - began_s),
        "trades_per_s": setup.trades_per_s,
        "trades_waiting_at_its_end": piled_up,
        "drained_within_s": round(drained_s, 1),
        "worker_mb_before": {name: each // MEGABYTE for name, each in before.items()},
        "worker_mb_during": {name: each // MEGABYTE for name, each in during.items()},
        "worker_mb_after": {name: each // MEGABYTE for name, each in after.items()},
        "deaths": deaths,
        "problems": problems,
        "verdict": asdict(verdict),
    }
    print(json.dumps(figures, indent=1), flush=True)
    return verdict.exact and not problems and not deaths


def main() -> None:
    """Run the outage that the command line asks for; exit code 1 if anything went wrong."""
    parser = argparse.ArgumentParser(prog="chaos.outage", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--trades-per-second", type=float, default=500)
    parser.add_argument("--kafka-home", type=Path, help="Apache Kafka; else the embedded broker")
    options = parser.parse_args()
    logging.disable(logging.CRITICAL)
    setup = Setup(
        seed=1,
        kafka_nodes=1 if options.kafka_home else 0,
        group_protocol="classic",
        static_members=True,
        producers=1,
        redundant_connections=1,
        workers=2,
        partitions=3,
        symbols=40,
        trades_per_s=options.trades_per_second,
        depth_per_s=100,
        depth_interval_s=0.5,
        batch_size=500,
        batch_timeout_s=1,
        duration_s=0,
        faults=0,
    )
    directory = Path(tempfile.mkdtemp(prefix="radar-outage-"))
    try:
        well = asyncio.run(run(setup, directory, options.kafka_home, options.seconds))
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    sys.exit(0 if well else 1)


if __name__ == "__main__":
    main()
