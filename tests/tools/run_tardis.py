"""Read files of tardis.dev's layouts with both programs, in the environment that has them.

Arguments: the folder, an exchange, and a file of hftbacktest with the events of one of its markets,
before the quoted name of that market. Prints a JSON object.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from hftbacktest.data.utils import tardis
from hftbacktest.types import DEPTH_CLEAR_EVENT
from nautilus_trader.adapters.tardis.loaders import TardisCSVDataLoader


def loaded(path: Path, kind: str) -> int:
    """Return how many records nautilus_trader reads."""
    loader = TardisCSVDataLoader()
    if kind == "trades":
        return len(loader.load_trades(path))
    if kind == "incremental_book_L2":
        return len(loader.load_deltas(path))
    return len(loader.load_depth10(path, levels=int(kind.rpartition("_")[2])))


def rows(events: Any) -> list[tuple[Any, ...]]:
    """Return events in a fixed order; how much a clear removes is each converter's choice."""
    is_clear = events["ev"] & 0xFF == DEPTH_CLEAR_EVENT
    px = np.where(is_clear, 0, events["px"])
    columns = (events["ev"], events["exch_ts"], events["local_ts"], px, events["qty"])
    return sorted(zip(*(column.tolist() for column in columns), strict=True))


def main() -> None:
    folder, exchange, npz, symbol = Path(sys.argv[1]), *sys.argv[2:]
    entries = json.loads((folder / "manifest.json").read_text())["files"]
    counts = {
        name: loaded(folder / name, entry["kind"])
        for name, entry in entries.items()
        if entry["exchange"] == exchange
    }
    files = [
        f"{path}"
        for kind in ("trades", "incremental_book_L2")
        for path in folder.glob(f"{exchange}_{kind}_*_{symbol}.csv.gz")
    ]
    converted = tardis.convert(files, buffer_size=1_000_000, ss_buffer_size=10_000)
    ours = np.load(npz)["data"]
    same = rows(converted) == rows(ours)
    print(json.dumps({"counts": counts, "converted": len(converted), "same": same}))


main()
