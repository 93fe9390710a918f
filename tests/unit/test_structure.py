"""The rules of the house: which module may import what, and what no file may say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
MODULES = {
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__"): path
    for path in SOURCE.rglob("*.py")
}

# Each client library lives behind one module (the simulator is a server of its own).
IMPORTERS = {
    "confluent_kafka": {
        *("radar.kafka.client", "radar.kafka.cluster"),
        *("radar.kafka.group_reader", "radar.kafka.publisher", "radar.kafka.refusals"),
        "radar.kafka.unreadable",
    },
    "clickhouse_connect": {"radar.store.client"},
    "chdb": {"chdb_server.engine"},
    "websockets": {"radar.producer.connection", "radar_simulator.server"},
    # Those that would use the environment's proxies for radar's own addresses, if they are asked
    # to reach one: `http.client` does not.
    "httpx": {"radar.producer.rest"},
    "urllib.request": set(),
    "requests": set(),
    "aiohttp": set(),
    "urllib3": set(),
    "noida_db": {"radar.local.broker"},
    "simdjson": {"radar.codec.batch_decoder"},
    "xxhash": {"radar.consumer.run"},
    "pydantic_settings": {"radar.settings"},
    "pyarrow": {"radar.client"},
    "prompt_toolkit": {"radar.reading.shell"},
    "starlette": {
        *("radar.ui.web.app", "radar.ui.web.guard", "chdb_server.server"),
    },
    "uvicorn": {
        *("radar.ui.web.app", "chdb_server.server"),
        "chdb_server.connections",
    },
    "textual": {"radar.ui.terminal.app"},
}

# The order of the data: a place may import from those that it names, and from errors.
MAY_IMPORT = {
    "radar.errors": set(),
    "radar.text": set(),
    "radar.origin": set(),
    "radar.secret_file": set(),
    "radar.data_folder": set(),
    "radar.decimals": set(),
    "radar.records": set(),
    "radar.codec.message_format": {"radar.decimals", "radar.records"},
    "radar.codec.byte_grid": {"radar.decimals"},
    "radar.codec.batch_decoder": {
        "radar.codec.message_format",
        "radar.decimals",
        "radar.records",
        "radar.codec.byte_grid",
    },
    "radar.datasets": {"radar.codec.message_format", "radar.codec.batch_decoder"},
    "radar.settings": {"radar.secret_file"},
    "radar.tls": set(),
    "radar.kafka": {"radar.origin", "radar.settings", "radar.tls"},
    "radar.exchanges": {
        "radar.records",
        "radar.datasets",
        "radar.codec.message_format",
        "radar.decimals",
    },
    "radar.producer": {
        *(
            "radar.exchanges",
            "radar.records",
            "radar.codec.message_format",
            "radar.datasets",
            "radar.kafka",
        ),
        *("radar.settings", "radar.observe", "radar.tls", "radar.origin"),
    },
    "radar.consumer": {
        *(
            "radar.codec.batch_decoder",
            "radar.datasets",
            "radar.store",
            "radar.kafka",
            "radar.settings",
        ),
        *("radar.observe", "radar.origin"),
    },
    "radar.store": {
        *(
            "radar.codec.batch_decoder",
            "radar.datasets",
            "radar.codec.byte_grid",
            "radar.origin",
            "radar.settings",
        ),
    },
    # Facts come from everywhere; what measures and tells health knows nothing of them.
    "radar.status.collect": {
        *("radar.kafka", "radar.datasets", "radar.settings", "radar.store"),
        *("radar.observe", "radar.status.kafka_facts"),
    },
    "radar.status.kafka_facts": {
        *("radar.consumer", "radar.kafka", "radar.datasets", "radar.observe"),
    },
    "radar.ui.terminal": {
        *("radar.datasets", "radar.settings", "radar.observe", "radar.status.collect"),
    },
    "radar.observe": {"radar.kafka", "radar.datasets", "radar.settings", "radar.store"},
    "radar.checks.coverage": {"radar.store"},
    "radar.addresses": {"radar.settings"},
    "radar.process": set(),
    # Is given what observes the pipeline, so that it needs nothing of Kafka.
    "radar.ui.web": {
        *("radar.addresses", "radar.observe", "radar.checks.coverage", "radar.settings"),
        *("radar.process", "radar.secret_file", "radar.store", "radar.data_folder"),
    },
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def place(module: str) -> str | None:
    return next((known for known in MAY_IMPORT if f"{module}.".startswith(f"{known}.")), None)


@pytest.mark.parametrize("library", IMPORTERS)
def test_library_is_imported_only_behind_its_module(library: str) -> None:
    found = {
        module
        for module, path in MODULES.items()
        if any(f"{name}.".startswith(f"{library}.") for name in imports(path))
    }
    assert found <= IMPORTERS[library]


@pytest.mark.parametrize("module", [module for module in MODULES if place(module)])
def test_module_imports_only_what_its_place_may(module: str) -> None:
    own = place(module)
    assert own is not None
    allowed = MAY_IMPORT[own] | {own, "radar.errors", "radar.text"}
    for name in imports(MODULES[module]):
        if name.startswith("radar.") and name in MODULES:
            assert place(name) in allowed, f"{module} imports {name}"


def test_environment_is_read_only_by_the_settings() -> None:
    # Child processes inherit it, and the supervisor names itself in it.
    allowed = {
        *("radar.settings", "radar.process", "radar.local.supervisor"),
        "radar.local.forkserver",
        *("radar.local.broker", "chdb_server.__main__"),
    }
    readers = {
        module
        for module, path in MODULES.items()
        if re.search(r"os\.(environ|getenv)", path.read_text())
    }
    assert readers <= allowed


def test_lock_files_name_no_address() -> None:
    for path in (
        *SOURCE.parent.glob("requirements*.txt"),
        SOURCE.parent / "benchmarks" / "quix" / "requirements.txt",
    ):
        text = path.read_text()
        assert "--hash=sha256:" in text
        assert not re.search(r"https?://|--index|--find-links|file:", text)
