"""The Helm chart as Helm renders it, for tests; `make test-chart` builds helm."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[1]
CHART = ROOT / "deploy" / "helm" / "radar"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
BUILT = ROOT / ".venv-chart" / "bin"
HELM = shutil.which("helm", path=f"{BUILT}{os.pathsep}{os.environ['PATH']}")
VALIDATE = shutil.which("kubernetes-validate", path=f"{BUILT}{os.pathsep}{os.environ['PATH']}")
KUBERNETES = "1.34.0"
# Kinds of operators, of which the schemas of Kubernetes know nothing.
FOREIGN = {"ScaledObject", "ServiceMonitor", "PrometheusRule"}
EVERYTHING = [
    *(f"--values={path}" for path in EXAMPLES),
    "--set=producers.exchanges={wallex,binance},producers.replicas=2",
]

needs_helm = pytest.mark.skipif(
    HELM is None or VALIDATE is None, reason="no helm and no kubernetes-validate: make test-chart"
)


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(HELM), *arguments], capture_output=True, text=True, check=False, timeout=120
    )


def rendered(*arguments: str) -> str:
    done = helm("template", "rec", str(CHART), "--namespace=n", f"--kube-version={KUBERNETES}",
                *arguments)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(*arguments: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all(rendered(*arguments)) if each]


def of_kind(found: list[dict[str, Any]], kind: str) -> dict[str, dict[str, Any]]:
    return {each["metadata"]["name"]: each for each in found if each["kind"] == kind}


def pods(found: list[dict[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    for each in found:
        if each["kind"] in {"StatefulSet", "Deployment", "Job"}:
            yield each["metadata"]["name"], each["spec"]["template"]["spec"]


def containers(pod: dict[str, Any]) -> list[dict[str, Any]]:
    return [*pod.get("initContainers", []), *pod["containers"]]


def environment(found: list[dict[str, Any]], container: dict[str, Any], pod: str) -> dict[str, str]:
    """Return the variables of a container as Kubernetes would set them; secrets are made up."""
    given: dict[str, str] = {}
    for source in container.get("envFrom", []):
        given |= of_kind(found, "ConfigMap")[source["configMapRef"]["name"]]["data"]
    for each in container["env"]:
        if "fieldRef" in each.get("valueFrom", {}):
            given[each["name"]] = pod
        elif "secretKeyRef" in each.get("valueFrom", {}):
            given[each["name"]] = "a-secret-that-is-long-enough"
        else:
            given[each["name"]] = each["value"].replace("$(POD_NAME)", pod)
    return given
