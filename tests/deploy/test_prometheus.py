"""What Prometheus is given: rules, configuration and metrics, as promtool and the docs see them."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
import yaml

from ports import free_port
from promtool import declared, promtool
from support import Process, eventually, radar

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy" / "prometheus" / "rules.yml"
RULES_TEXT = RULES.read_text()
ALERTS = re.findall(r"- alert: (\w+)", RULES_TEXT)


def test_rules_and_configuration_are_valid() -> None:
    found = promtool("check", "config", RULES.with_name("prometheus.yml"))
    assert f"{len(ALERTS)} rules found" in found


def test_rules_fire_when_they_should_and_are_quiet_otherwise() -> None:
    assert "SUCCESS" in promtool("test", "rules", Path(__file__).with_name("rules_test.yml"))


def test_every_alert_is_tested() -> None:
    tested = set(
        re.findall(r"alertname: (\w+)", (ROOT / "tests/deploy/rules_test.yml").read_text())
    )
    assert set(ALERTS) == tested


@pytest.mark.parametrize("alert", ALERTS)
def test_alert_links_to_its_section(alert: str) -> None:
    link = f"docs/operations.md#{alert.lower()}"
    rule = RULES_TEXT.partition(f"- alert: {alert}\n")[2].partition("- alert:")[0]
    assert f"runbook: {link}\n" in rule
    assert f"\n### {alert}\n" in (ROOT / "docs" / "operations.md").read_text()


def test_links_within_the_operations_lead_somewhere() -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    sections = {
        title.lower().replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= sections


def test_metrics_that_rules_and_docs_name_are_declared() -> None:
    text = RULES_TEXT + re.sub(
        r"radar_(trades|depths|origin|…)\w*", "", (ROOT / "docs/operations.md").read_text()
    )
    unknown = {name for name in re.findall(r"\bradar_\w+", text) if not declared(name)}
    assert not unknown


def test_exposition_of_a_process_is_what_prometheus_expects(tmp_path: Path) -> None:
    port = free_port()
    process = Process(radar("simulate", "--port", "0"), tmp_path / "log", METRICS_PORT=str(port))

    def exposition() -> str:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
                return str(answer.read().decode())
        except OSError:
            return ""

    try:
        eventually(lambda: "radar_ready 1.0" in exposition(), "it is ready")
        text = exposition()
    finally:
        process.end()
    promtool("check", "metrics", text=text)


def test_alertmanager_delivers_by_receivers_that_exist_and_knows_the_alerts() -> None:
    config = yaml.safe_load((ROOT / "deploy" / "alertmanager" / "alertmanager.yml").read_text())
    receivers = {each["name"] for each in config["receivers"]}
    assert config["route"]["receiver"] in receivers
    # `make monitor` looks for exactly this.
    assert config["route"]["receiver"] == "nobody"
    named = re.findall(r'alertname !?=~? "([\w|]+)"', json.dumps(config).replace('\\"', '"'))
    assert named
    assert {name for each in named for name in each.split("|")} <= set(ALERTS)
    # Secrets are in files beside it, which Git ignores.
    for each in config["receivers"]:
        for kind in set(each) - {"name"}:
            for receiver in each[kind]:
                secrets = [name for name in receiver if re.search("url|token|password", name)]
                assert secrets
                assert all(name.endswith("_file") for name in secrets)
    prometheus = yaml.safe_load(RULES.with_name("prometheus.yml").read_text())
    (target,) = prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"]
    assert target == "alertmanager:9093"
