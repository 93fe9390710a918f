"""The start configuration of the embedded ClickHouse: its limits, and the rights of its user.

The engine has one user, and every client over HTTP is that user. So no client can use a right that
the grants below omit, with any method, setting or SQL: read or write files, open URLs, run
commands, query other servers, create dictionaries (whose source may be a command), stop the engine.

Sources: ClickHouse documentation "Server settings", "GRANT statement", "Constraints on settings",
"Settings profiles"; src/Access/Common/AccessType.h for the rights that a grant includes.
"""

import fcntl
import os
import tempfile
import time
import uuid
from pathlib import Path
from xml.sax.saxutils import escape

from chdb_server.errors import DataUnavailable, PathInUse

MIB = 1 << 20
_LOOK_AGAIN_S = 0.2
DEFAULT_MEMORY_LIMIT_BYTES = 4096 * MIB
READ_TIME_LIMIT_S = 600
MAX_QUERY_BYTES = MIB  # of SQL without the data of an INSERT; ClickHouse's default is a quarter

_GRANTS = (
    *("SELECT", "INSERT", "ALTER", "SHOW", "CHECK", "OPTIMIZE", "TRUNCATE", "KILL QUERY"),
    *("CREATE DATABASE", "CREATE TABLE", "CREATE VIEW", "CREATE FUNCTION"),
    *("DROP DATABASE", "DROP TABLE", "DROP VIEW", "DROP FUNCTION", "UNDROP TABLE"),
    *("SYSTEM MERGES", "SYSTEM TTL MERGES", "SYSTEM FLUSH LOGS"),
)

# Settings that name a file, an address or another language than SQL: no client may change them.
_FIXED = (
    "dialect",
    "format_schema",
    "output_format_schema",
    "format_template_row",
    "format_template_resultset",
    "format_avro_schema_registry_url",
    "merge_tree_disk",
    "merge_tree_storage_policy",
    "merge_tree_table_disk",
    # Its other parser of JSON overflows the stack where the JSON is deep, and ends the engine.
    "allow_simdjson",
)

# The only disk that a backup may be written to or read from.
BACKUPS_DISK = "backups"

# chDB's overlay of a database and the machine's files; the user has no rights in it.
_OVERLAY = "_overlay"

# Settings that hold bounds, and the largest values that a request may set.
_GREATEST = {
    "max_query_size": MAX_QUERY_BYTES,
    "max_parser_depth": 1000,
    "max_execution_time": READ_TIME_LIMIT_S,
    "max_threads": 64,
    "max_insert_threads": 64,
    "max_untracked_memory": 64 * MIB,
    "max_temporary_data_on_disk_size_for_query": 8192 * MIB,
}

_LEAST = {"max_execution_time": 0.001}


def query_memory_bytes(memory_limit_bytes: int) -> int:
    """Return how much memory one query may use, of the memory for all."""
    return memory_limit_bytes // 2


def prepare(
    path: Path,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    backups: Path | None = None,
    wait_s: float = 0,
) -> Path:
    """Create the data folder and write the configuration beside it; return that file; blocks.

    The configuration is not in the data folder, because the engine may write there. With a folder
    `backups`, the user may back up to it and restore from it, as to the disk BACKUPS_DISK.

    Args:
        path: The data folder.
        memory_limit_bytes: Bound for all queries and merges together.
        backups: The folder of backups; None: there are none.
        wait_s: How long to wait for another process that has the data folder open.

    Raises:
        PathInUse: Another process has the data folder open.
        DataUnavailable: The folder cannot be created or written.
    """
    path = path.resolve()
    folder = path.with_name(f"{path.name}.config")
    try:
        for each in (path, folder, *([backups] if backups else [])):
            each.mkdir(mode=0o700, parents=True, exist_ok=True)
        _wait_until_unused(path, wait_s)
        _make_default_database(path)
        users = folder / "users.xml"
        _write(users, _users(memory_limit_bytes, with_backups=backups is not None))
        server = folder / "server.xml"
        _write(server, _server(path, users, memory_limit_bytes, backups))
    except OSError as error:
        raise DataUnavailable(f"cannot open the data folder {path}: {error.strerror}") from error
    return server


def _wait_until_unused(path: Path, wait_s: float) -> None:
    """Wait while another ClickHouse uses the folder; raise PathInUse if it does not leave it."""
    deadline_s = time.monotonic() + wait_s
    while True:
        try:
            return _refuse_if_in_use(path)
        except PathInUse:
            if time.monotonic() >= deadline_s:
                raise
        time.sleep(_LOOK_AGAIN_S)


def _refuse_if_in_use(path: Path) -> None:
    """Raise PathInUse if another ClickHouse locks the file `status`, which names its process."""
    try:
        descriptor = os.open(path / "status", os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        content = os.read(descriptor, 100).decode(errors="replace")
        owner = content.splitlines()[0].lower() if content else "another process"
        raise PathInUse(f"the data folder {path} is in use by another process ({owner})") from error
    finally:
        os.close(descriptor)


def _make_default_database(path: Path) -> None:
    """Make `default` a plain database before the engine starts, with its existing tables.

    chDB's own is an overlay of a database and the machine's files: it looks for each table in the
    files first, which the grants below refuse. It finds its tables by a link, which would load them
    a second time. The engine creates that link again, so it is removed before each start.
    """
    metadata = path / "metadata"
    metadata.mkdir(mode=0o700, exist_ok=True)
    link, definition = metadata / "default", metadata / "default.sql"
    if not definition.exists():
        known = link.readlink().name if link.is_symlink() else str(uuid.uuid4())
        _write(definition, f"ATTACH DATABASE _ UUID '{known}'\nENGINE = Atomic\n")
    if link.is_symlink():
        link.unlink()


def _write(path: Path, text: str) -> None:
    descriptor, draft = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    Path(draft).replace(path)


def _server(path: Path, users: Path, memory_limit_bytes: int, backups: Path | None) -> str:
    """Return server settings for a laptop; ClickHouse's defaults suit a large machine.

    Caches are bounds, not reservations.
    """
    values = {
        "max_server_memory_usage": memory_limit_bytes,
        "mark_cache_size": 256 * MIB,
        "primary_index_cache_size": 256 * MIB,
        "index_mark_cache_size": 64 * MIB,
        "compiled_expression_cache_size": 32 * MIB,
        "user_files_path": f"{escape(str(path))}/user_files/",
        "default_database": _OVERLAY,  # see `_make_default_database`
    }
    lines = "".join(f"  <{name}>{value}</{name}>\n" for name, value in values.items())
    directory = f"<users_xml><path>{escape(str(users))}</path></users_xml>"
    disk = _backups_disk(backups) if backups else ""
    return (
        f"<clickhouse>\n{lines}  <user_directories>{directory}</user_directories>\n{disk}"
        "</clickhouse>\n"
    )


def _backups_disk(folder: Path) -> str:
    place = f"<type>local</type><path>{escape(str(folder.resolve()))}/</path>"
    return (
        f"  <storage_configuration><disks><{BACKUPS_DISK}>{place}</{BACKUPS_DISK}></disks>"
        "</storage_configuration>\n"
        f"  <backups><allowed_disk>{BACKUPS_DISK}</allowed_disk></backups>\n"
    )


def _users(memory_limit_bytes: int, *, with_backups: bool) -> str:
    greatest = _GREATEST | {"max_memory_usage": query_memory_bytes(memory_limit_bytes)}
    constraints = "".join(
        [
            *(f"<{name}><readonly/></{name}>" for name in _FIXED),
            # Zero would mean no bound.
            *(
                f"<{name}><min>{_LEAST.get(name, 1)}</min><max>{most}</max></{name}>"
                for name, most in greatest.items()
            ),
        ]
    )
    bounds = "".join(f"<{name}>{most}</{name}>" for name, most in _DEFAULTS.items())
    grants = [f"GRANT {', '.join(_GRANTS)} ON *.*"]
    if with_backups:
        # The engine asks for rights to any disk; by its configuration it takes only this one.
        grants += ["GRANT BACKUP ON *.*", "GRANT READ, WRITE ON DISK"]
    queries = "".join(f"<query>{each}</query>" for each in grants)
    return f"""<clickhouse>
  <profiles><default>{bounds}<constraints>{constraints}</constraints></default></profiles>
  <users><default>
    <no_password/><networks><ip>127.0.0.1</ip><ip>::1</ip></networks>
    <profile>default</profile><quota>default</quota>
    <grants>{queries}</grants>
  </default></users>
  <quotas><default/></quotas>
</clickhouse>
"""


# For settings whose own default is no bound.
_DEFAULTS = {
    "max_temporary_data_on_disk_size_for_query": _GREATEST[
        "max_temporary_data_on_disk_size_for_query"
    ],
}
