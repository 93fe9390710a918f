"""The files beside the code that name each dataset."""

import re
from pathlib import Path
from xml.etree import ElementTree

import yaml

from corpus import version_1
from radar.datasets import Dataset

ROOT = Path(__file__).parents[1]


def missing_places(dataset: Dataset) -> list[str]:
    """Return what deployment files, tests and documents lack of a dataset, as work to do."""
    grant = f"GRANT SELECT, INSERT ON radar.{dataset.table}"
    tree = ElementTree.parse(ROOT / "deploy" / "clickhouse" / "users.xml")
    grants = [query.text for query in tree.iterfind("users/radar_writer/grants/query")]
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"].values()
    commands = [service.get("command") or [] for service in services]
    is_stored = any(each[:1] == ["consume"] and dataset.name in each for each in commands)
    relation = dataset.view.removesuffix(" FINAL")
    is_documented = re.search(rf"`{relation}`", (ROOT / "docs" / "queries.md").read_text())
    found = [
        (grant in grants, f"deploy/clickhouse/users.xml: add to radar_writer: {grant}"),
        (is_stored, f"docker-compose.yml: add {dataset.name} to the command of a consumer"),
        (is_documented, f"docs/queries.md: describe `{relation}`"),
        (
            dataset.name in version_1.MESSAGES,
            f"tests/corpus: freeze messages and rules of {dataset.name}",
        ),
    ]
    return [work for is_there, work in found if not is_there]
