"""The Helm chart at a real API server: accepted without a warning, installed, upgraded.

`make test-kubernetes` compiles the server and fetches the definitions of foreign kinds.
"""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart import CHART, EVERYTHING, EXAMPLES, FOREIGN, HELM, needs_helm, objects, of_kind
from kubernetes_api import NAMESPACE, Cluster, Refused, cluster, helm_environment, needs_api_server

pytestmark = [needs_api_server, needs_helm, pytest.mark.timeout(300)]
OPTIONAL = [
    "--set=monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true",
    *(f"--set=workers.{name}.autoscaling.enabled=true" for name in ("trades", "depth")),
]
CASES = {
    "default": [],
    **{path.stem: [f"--values={path}"] for path in EXAMPLES},
    "everything": [*EVERYTHING, *OPTIONAL],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with cluster(tmp_path_factory.mktemp("kubernetes")) as found:
        yield found


def delete_all(server: Cluster, given: list[dict[str, Any]]) -> None:
    for each in given:
        path = f"{server.path(each)}/{each['metadata']['name']}"
        server.request("DELETE", path, params={"propagationPolicy": "Background"})


@pytest.mark.parametrize("arguments", CASES.values(), ids=CASES)
def test_every_object_is_accepted_without_a_warning(arguments: list[str], server: Cluster) -> None:
    server.warnings.clear()
    given = objects(*arguments)
    for each in given:
        server.apply(each)
    assert server.warnings == []
    for each in given:
        assert each["metadata"]["name"] in server.list(each["apiVersion"], each["kind"])
    delete_all(server, given)


def test_foreign_kinds_are_among_the_accepted(server: Cluster) -> None:
    assert {each["kind"] for each in objects(*CASES["everything"])} >= FOREIGN


def test_pods_of_every_template_are_admitted_under_the_restricted_standard(
    server: Cluster,
) -> None:
    """No controller makes them here, so the test does."""
    given = objects(*CASES["everything"])
    accounts = of_kind(given, "ServiceAccount")
    server.warnings.clear()
    for each in accounts.values():
        server.apply(each)
    made = []
    for each in given:
        if each["kind"] in {"StatefulSet", "Deployment", "Job"}:
            template = each["spec"]["template"]
            metadata = {**template["metadata"], "name": f"{each['metadata']['name']}-0"}
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
            made.append({**pod, "spec": template["spec"]})
            server.apply(made[-1], "POST")
    assert len(made) == 4 + 3 + 3  # producers, workers, and one each of the others
    assert server.warnings == []
    delete_all(server, [*made, *accounts.values()])


def test_a_pod_that_may_be_root_is_refused_here(server: Cluster) -> None:
    (dashboard,) = of_kind(objects(), "Deployment").values()
    spec = {**dashboard["spec"]["template"]["spec"], "serviceAccountName": "default"}
    del spec["securityContext"]
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "root"}, "spec": spec}
    with pytest.raises(Refused, match="violates PodSecurity"):
        server.apply(pod, "POST")


def test_a_warning_of_the_server_is_seen_here(server: Cluster) -> None:
    (dashboard,) = of_kind(objects(), "Deployment").values()
    del dashboard["spec"]["template"]["spec"]["securityContext"]
    server.warnings.clear()
    server.apply(dashboard)
    (warning,) = server.warnings
    assert "would violate PodSecurity" in warning
    delete_all(server, [dashboard])


@pytest.mark.parametrize(
    ("kind", "change", "refusal"),
    [
        ("StatefulSet", {"replica": 1}, "replica"),
        ("ScaledObject", {"maxReplicas": 1}, "maxReplicas"),
        ("ServiceMonitor", {"endpoint": []}, "endpoint"),
    ],
)
def test_a_misspelt_field_is_refused_here(
    kind: str, change: dict[str, Any], refusal: str, server: Cluster
) -> None:
    each = next(iter(of_kind(objects(*CASES["everything"]), kind).values()))
    with pytest.raises(Refused, match=refusal):
        server.apply({**each, "spec": {**each["spec"], **change}})


def helm(server: Cluster, directory: Path, *arguments: str) -> str:
    """Run helm against the server; return its output, in which it repeats the server's warnings.

    Hooks are left out, because no controller completes a job here.
    """
    done = subprocess.run(
        [str(HELM), *arguments, f"--namespace={NAMESPACE}"],
        env=helm_environment(server.kubeconfig, directory),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warn" not in done.stderr.lower(), done.stderr
    return done.stdout


def test_helm_installs_upgrades_rolls_back_and_uninstalls(server: Cluster, tmp_path: Path) -> None:
    newer = tmp_path / "radar"
    shutil.copytree(CHART, newer)
    about = yaml.safe_load((newer / "Chart.yaml").read_text())
    (newer / "Chart.yaml").write_text(
        yaml.safe_dump(about | {"version": "9.9.9", "appVersion": "9.9.9"})
    )

    def images() -> set[str]:
        found = server.list("apps/v1", "StatefulSet").values()
        pods = [each["spec"]["template"]["spec"] for each in found]
        return {container["image"] for pod in pods for container in pod["containers"]}

    def workers() -> int:
        found: int = server.list("apps/v1", "StatefulSet")["rec-worker-trades"]["spec"]["replicas"]
        return found

    helm(server, tmp_path, "install", "rec", str(CHART), "--no-hooks")
    before = images()
    # Selectors and names of governing services never change, or the upgrade would be refused.
    helm(server, tmp_path, "upgrade", "rec", str(newer), "--no-hooks", *EVERYTHING, *OPTIONAL[:1])
    assert images().isdisjoint(before)
    assert "rec-binance-trades" in server.list("apps/v1", "StatefulSet")
    helm(
        server,
        tmp_path,
        "upgrade",
        "rec",
        str(newer),
        "--no-hooks",
        "--set=workers.trades.replicas=12",
    )
    assert workers() == 12
    assert "rec-binance-trades" not in server.list("apps/v1", "StatefulSet")
    helm(server, tmp_path, "rollback", "rec", "1", "--no-hooks")
    assert (images(), workers()) == (before, 3)
    helm(server, tmp_path, "uninstall", "rec", "--no-hooks")
    assert server.list("apps/v1", "StatefulSet") == {}
