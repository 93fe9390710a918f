"""Writes the files of the Helm chart that follow from declarations: `make generated`.

Options become the schema of the chart's values, so that a misspelt one is refused; datasets become
the topics and groups that scaling looks at; the alert rules are those of deploy/prometheus.
"""

import json
from pathlib import Path
from typing import Any

import yaml

from radar.datasets import DATASETS
from radar.settings import allowed, fields, file_variable, is_secret

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "radar"
# The chart sets these itself, from values of their own or from the pod.
MANAGED = {
    *("KAFKA_BROKER", "KAFKA_SECURITY_PROTOCOL", "KAFKA_SASL_MECHANISM", "KAFKA_SASL_USERNAME"),
    *("KAFKA_SSL_CA_FILE", "KAFKA_SSL_CERTIFICATE_FILE", "KAFKA_SSL_KEY_FILE"),
    *("KAFKA_NUM_PARTITIONS", "CLICKHOUSE_HOST", "CLICKHOUSE_PORT", "CLICKHOUSE_DB"),
    *("CLICKHOUSE_SECURE", "CLICKHOUSE_CA_FILE", "CLICKHOUSE_USER", "EXCHANGES", "EXCHANGE"),
    *("WORKER_ID", "MONITOR_PROCESSES", "DASHBOARD_HOST", "DASHBOARD_PORT", "DASHBOARD_HOSTS"),
    *("METRICS_HOST", "METRICS_PORT", "METRICS_HOSTS"),
}
# Secrets that values of their own name.
MANAGED_SECRETS = {"CLICKHOUSE_PASSWORD", "DASHBOARD_TOKEN", "KAFKA_SASL_PASSWORD"}
# Only of `radar up`, which is no process of a cluster, and of backups, which need a disk of theirs.
LOCAL = {
    *("KAFKA_HOME", "TRADES_WORKERS", "DEPTH_WORKERS", "RADAR_DATA_DIR", "LOG_FILE_BYTES"),
    *("BACKUP_DIR", "BACKUP_DISK", "BACKUP_EVERY_HOURS", "BACKUP_FULL_DAYS", "BACKUP_KEEP_DAYS"),
}


def config_options() -> list[str]:
    """Return the options that the value `config` takes."""
    names = [name.upper() for name in fields() if not is_secret(name)]
    return [name for name in names if name not in MANAGED | LOCAL]


def secret_options() -> list[str]:
    """Return the options that the value `secretConfig` takes."""
    names = [name.upper() for name in fields() if is_secret(name)]
    return [name for name in names if name not in MANAGED_SECRETS]


def schema() -> str:
    """Return values.schema.json."""
    place = {
        "type": "object",
        "required": ["name", "key"],
        "additionalProperties": False,
        "properties": {"name": {"type": "string"}, "key": {"type": "string"}},
    }
    scalar = ["string", "number", "boolean"]
    options: dict[str, Any] = {
        name: {"type": scalar, "description": f"Allowed: {allowed(name.lower())}."}
        for name in config_options()
    }
    found = {
        "$schema": "https://json-schema.org/draft-07/schema#",
        "title": "Values of the chart radar",
        "type": "object",
        "properties": {
            "config": {"type": "object", "additionalProperties": False, "properties": options},
            "secretConfig": {
                "type": "object",
                "additionalProperties": False,
                "properties": dict.fromkeys(secret_options(), place),
            },
            "workers": {
                "type": "object",
                "additionalProperties": {
                    "type": "object",
                    "required": ["datasets", "replicas"],
                    "properties": {
                        "datasets": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"enum": list(DATASETS)},
                        },
                        "replicas": {"type": "integer", "minimum": 0},
                    },
                },
            },
        },
    }
    return json.dumps(found, indent=2) + "\n"


def datasets() -> str:
    """Return files/datasets.yaml: topic and group of each dataset."""
    return yaml.safe_dump(
        {name: {"topic": each.topic, "group": each.group} for name, each in DATASETS.items()}
    )


def contents() -> dict[Path, str]:
    """Return the content of each generated file."""
    return {
        CHART / "values.schema.json": schema(),
        CHART / "files" / "datasets.yaml": datasets(),
        CHART / "files" / "rules.yml": (ROOT / "deploy" / "prometheus" / "rules.yml").read_text(),
    }


def covered() -> set[str]:
    """Return every variable that the chart can set, or leaves out on purpose."""
    files = {file_variable(name) for name in fields() if is_secret(name)}  # the pods have secrets
    return {*config_options(), *secret_options(), *MANAGED, *MANAGED_SECRETS, *LOCAL, *files}


if __name__ == "__main__":
    for path, text in contents().items():
        path.write_text(text)
