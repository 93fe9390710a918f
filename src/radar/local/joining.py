"""Keeps deployments apart: `radar up` records into foreign stores only with `--join`.

A store that `radar up` did not start and that holds radar's data already belongs to another data
folder, unless this folder has recorded into it before. An address in a copied `.env` is no order to
join it. The folder remembers foreign stores only: at the address of its own store, another
deployment's store may run later.
"""

import contextlib
import json
import re
import secrets
import threading
from pathlib import Path

from radar.datasets import TRADES
from radar.errors import ConfigurationError, QueryFailed
from radar.kafka import Cluster
from radar.store.client import Store
from radar.store.queries.checks import TABLE_IDENTITY

FILE = "joined.json"
ID_FILE = "deployment.id"
ID_CHARACTERS = 8


class Joining:
    """The foreign stores that one data folder records into. The methods block."""

    def __init__(self, data_dir: Path, *, wanted: bool) -> None:
        """Read which stores the folder has joined before.

        Args:
            data_dir: The data folder.
            wanted: Whether the operator gave `--join`.
        """
        self._file = data_dir / FILE
        self._wanted = wanted
        self._writing = threading.Lock()  # both stores are prepared at once
        self._joined: set[str] = set()
        # An unreadable file counts as none: the operator has to confirm again.
        with contextlib.suppress(OSError, ValueError, TypeError):
            self._joined = set(map(str, json.loads(self._file.read_text())))

    def check(self, option: str, address: str, data: str | None) -> None:
        """Refuse to record into the data of another deployment.

        Args:
            option: Names the address of the store.
            address: The address of the store.
            data: The identity of radar's data there; None if there is none.

        Raises:
            ConfigurationError: It is another deployment's, and `--join` was not given.
        """
        if data is None or self._wanted or _name(address, data) in self._joined:
            return
        raise ConfigurationError(
            f"{address} holds the data of another deployment: set another {option}, or run"
            " `radar up --join` once to record into it from now on"
        )

    def remember(self, address: str, data: str | None) -> None:
        """Record that the folder uses a foreign store.

        Raises:
            OSError: The data folder cannot be written.
        """
        if data is None or (name := _name(address, data)) in self._joined:
            return
        with self._writing:
            self._joined.add(name)
            draft = self._file.with_suffix(".tmp")
            draft.write_text(json.dumps(sorted(self._joined)))
            draft.replace(self._file)


def deployment_id(data_dir: Path) -> str:
    """Return the unique name of a data folder's deployment, created once.

    Raises:
        OSError: The data folder cannot be read or written.
    """
    file = data_dir / ID_FILE
    with contextlib.suppress(FileNotFoundError):
        if re.fullmatch(f"[0-9a-f]{{{ID_CHARACTERS}}}", known := file.read_text().strip()):
            return known
    draft = file.with_suffix(".tmp")
    draft.write_text(made := secrets.token_hex(ID_CHARACTERS // 2))
    draft.replace(file)
    return made


def _name(address: str, data: str) -> str:
    # The embedded broker gives every topic the same ID.
    return f"{address} {data}"


def data_in_kafka(cluster: Cluster) -> str | None:
    """Return the identity of radar's topics; None if there are none; blocks.

    Raises:
        BrokerUnavailable: The broker did not answer.
    """
    return cluster.topic_id(TRADES.topic) if cluster.topics([TRADES.topic]) else None


def data_in_clickhouse(store: Store) -> str | None:
    """Return the identity of radar's tables; None if there are none; blocks.

    Raises:
        StoreUnavailable: The server did not answer.
    """
    try:
        rows = store.rows(
            TABLE_IDENTITY,
            {"table": TRADES.table},
        )
    except QueryFailed:
        return None  # there is no database yet, or the migration reports why it is unusable
    return str(rows[0][0]) if rows else None
