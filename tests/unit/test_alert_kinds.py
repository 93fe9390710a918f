"""A kind of alert judges as the rule of Prometheus of its name, and leads to its remedy."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from radar.alerts import kinds
from radar.alerts.kinds import KINDS, Kind
from radar.status import judgement

ROOT = Path(__file__).resolve().parents[2]
RULES: dict[str, Any] = {
    rule["alert"]: rule
    for group in yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())["groups"]
    for rule in group["rules"]
}
SECONDS = {"s": 1, "m": 60, "h": 3600}
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.rule], ids=lambda kind: kind.name)
def test_kind_has_the_severity_and_the_delay_of_its_rule(kind: Kind) -> None:
    rule = RULES[kind.rule]
    assert kind.critical == (rule["labels"]["severity"] == "critical")
    delay = rule.get("for", "0s")
    assert kind.hold_s == int(delay[:-1]) * SECONDS[delay[-1]]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_kind_leads_to_a_section_of_the_operations(kind: Kind) -> None:
    anchors = {
        title.lower().replace(" ", "-")
        for title in re.findall(r"^#+ (.+)$", OPERATIONS, re.MULTILINE)
    }
    assert kind.link.removeprefix("docs/operations.md#") in anchors


def test_names_are_single() -> None:
    assert len({kind.name for kind in KINDS}) == len(KINDS)


def test_rules_have_the_thresholds_of_the_judgement() -> None:
    def expression(kind: Kind) -> str:
        return str(RULES[kind.rule]["expr"])

    assert expression(kinds.STALL).endswith(f"> {judgement.SILENT_S:g}")
    assert expression(kinds.OLD_LAG).endswith(f"> {judgement.OLD_LAG_S:g}")
    assert f"[{judgement.RETRIES_S / 60:g}m]" in expression(kinds.INSERTS)
    assert f"[{judgement.RECENT_GAP_S / 60:g}m]" in expression(kinds.GAP)
    assert expression(kinds.DISK_FILLS).endswith(f"< {judgement.DISK_FILLS_SHARE:g}")
    assert expression(kinds.DISK_FULL).endswith(f"< {judgement.DISK_FULL_BYTES}")
