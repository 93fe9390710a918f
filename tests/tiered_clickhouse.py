"""A ClickHouse with a disk in object storage: `tiered_clickhouse.py ENDPOINT BUCKET …`.

It is the embedded server with the volumes of deploy/clickhouse/tiered.xml and the disk of
deploy/examples/backups-s3.xml, and without the sandbox, which forbids connections. With `--backups`
its user may make backups. The further arguments are those of `python -m chdb_server`.
"""

import sys
from pathlib import Path
from typing import Any
from unittest import mock
from xml.etree import ElementTree

from chdb_server import __main__, config
from object_store import KEY, SECRET

DEPLOY = Path(__file__).parents[1] / "deploy"


def storage(endpoint: str, bucket: str) -> str:
    """Return the storage configuration of the compose stack, with an address and credentials."""
    found = ElementTree.parse(DEPLOY / "clickhouse" / "tiered.xml").getroot()
    secret = ElementTree.parse(DEPLOY / "examples" / "cold-credentials.xml").getroot()
    disk = found.find("storage_configuration/disks/cold")
    credentials = secret.find("storage_configuration/disks/cold")
    assert disk is not None
    assert credentials is not None
    # ClickHouse merges the files of its configuration.
    disk.extend(credentials)
    values = {
        "endpoint": f"{endpoint}/{bucket}/cold/",
        "access_key_id": KEY,
        "secret_access_key": SECRET,
    }
    for name, value in values.items():
        (each,) = disk.findall(name)
        each.attrib.clear()
        each.text = value
    (configuration,) = found
    backups = ElementTree.parse(DEPLOY / "examples" / "backups-s3.xml").getroot()
    for each in backups.iter():
        if each.tag in values:
            each.text = values[each.tag].replace("/cold/", "/backups/")
    (disks,), allowed = backups
    (disk_of_backups,) = disks
    configuration[0].append(disk_of_backups)
    return "".join(
        ElementTree.tostring(each, encoding="unicode") for each in (configuration, allowed)
    )


def main(endpoint: str, bucket: str, *arguments: str) -> int:
    made = config._server

    def with_tiers(path: Path, users: Path, memory_limit_bytes: int, _backups: Any) -> str:
        text = made(path, users, memory_limit_bytes, None)
        return text.replace("</clickhouse>", f"{storage(endpoint, bucket)}</clickhouse>")

    # No client of the embedded server may choose a disk.
    fixed = tuple(each for each in config._FIXED if each != "merge_tree_storage_policy")
    with (
        mock.patch.object(config, "_server", with_tiers),
        mock.patch.object(config, "_FIXED", fixed),
        mock.patch.object(__main__, "_confine"),
    ):
        return __main__.run(list(arguments))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
