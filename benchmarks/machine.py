"""On what a benchmark ran."""

import os
import platform
import tempfile
import time
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    *("radar", "chdb-core", "clickhouse-connect", "confluent-kafka", "faststream", "msgspec"),
    *("noida-db", "websockets"),
)


def describe(broker: str) -> dict[str, str]:
    """Return the machine and the versions, as text by name."""
    with Path("/proc/meminfo").open() as file:
        memory_gib = int(file.readline().split()[1]) / 1024**2
    versions = {name: _version(name) for name in _PACKAGES}
    return {
        "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory_gib:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": " ".join(f"{each:.1f}" for each in os.getloadavg()),
        "data in": _file_system(Path(tempfile.gettempdir())),
        "broker": broker,
        "Python": platform.python_version(),
        "Quix Streams": _version_of_quix(),
    } | versions


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _file_system(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [mount for mount in mounts if folder.resolve().is_relative_to(mount[1])]
    return max(above, key=lambda mount: len(mount[1]))[2]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _version_of_quix() -> str:
    folders = Path(".venv-quix").glob("lib/*/site-packages/quixstreams-*.dist-info")
    return next((folder.name.split("-")[1].removesuffix(".dist") for folder in folders), "none")
