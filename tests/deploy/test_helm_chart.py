"""The Helm chart: valid for Kubernetes, least rights, and an environment that radar accepts."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

import chart_files
from chart import (
    CHART,
    EVERYTHING,
    EXAMPLES,
    FOREIGN,
    HELM,
    KUBERNETES,
    ROOT,
    VALIDATE,
    containers,
    environment,
    helm,
    needs_helm,
    objects,
    of_kind,
    pods,
    rendered,
)
from radar.consumer.worker import DRAIN_TIMEOUT_S
from radar.datasets import DATASETS
from radar.producer.producer import FINISH_TIMEOUT_S
from radar.settings import load, variables
from support import radar


@pytest.mark.parametrize("path", chart_files.contents(), ids=lambda path: path.name)
def test_generated_files_of_the_chart_follow_from_the_declarations(path: Path) -> None:
    assert path.read_text() == chart_files.contents()[path], "write it again: make generated"


def test_every_option_is_settable_or_left_out_on_purpose() -> None:
    assert set(variables()) == chart_files.covered()


def test_chart_has_the_version_of_the_package() -> None:
    from radar import __version__

    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (__version__, __version__)


@needs_helm
@pytest.mark.parametrize(
    "arguments",
    [[], *([f"--values={path}"] for path in EXAMPLES), EVERYTHING],
    ids=["default", *(path.stem for path in EXAMPLES), "everything"],
)
def test_manifests_obey_the_schemas_of_kubernetes(arguments: list[str], tmp_path: Path) -> None:
    linted = helm("lint", str(CHART), "--strict", f"--kube-version={KUBERNETES}", *arguments)
    assert linted.returncode == 0, linted.stdout
    path = tmp_path / "manifests.yaml"
    path.write_text(rendered(*arguments))
    done = subprocess.run(
        [str(VALIDATE), "--strict", str(path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    said = (done.stdout + done.stderr).splitlines()
    warned = {line.partition("for kind ")[2].split()[0] for line in said if "WARN" in line}
    assert warned == {each["kind"] for each in objects(*arguments)} & FOREIGN
    assert sum(" passed for resource " in line for line in said) > 15


@needs_helm
def test_every_pod_is_restricted_and_is_given_the_time_that_it_needs() -> None:
    found = objects(*EVERYTHING)
    assert len(dict(pods(found))) == 4 + 3 + 3  # producers, workers, and one each of the others
    for name, pod in pods(found):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True, name
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        for container in containers(pod):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]
        if name != "rec-migrations":
            assert pod["terminationGracePeriodSeconds"] > max(DRAIN_TIMEOUT_S, FINISH_TIMEOUT_S)
            (container,) = pod["containers"]
            assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
            assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
            (spread,) = pod["topologySpreadConstraints"]
            assert spread["labelSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "rec"


@needs_helm
def test_workers_have_the_names_of_their_pods_and_stable_places() -> None:
    found = objects()
    sets, budgets = of_kind(found, "StatefulSet"), of_kind(found, "PodDisruptionBudget")
    stored: list[str] = []
    for name, each in sets.items():
        if "-worker-" not in name:
            continue
        (container,) = each["spec"]["template"]["spec"]["containers"]
        assert environment(found, container, f"{name}-0")["WORKER_ID"] == f"{name}-0"
        assert budgets[name]["spec"]["maxUnavailable"] == 1
        assert container["args"][0] == "consume"
        stored += container["args"][1:]
        assert each["spec"]["serviceName"] in of_kind(found, "Service")
    assert sorted(stored) == sorted(DATASETS)


@needs_helm
@pytest.mark.parametrize("arguments", [[], EVERYTHING], ids=["default", "everything"])
def test_radar_accepts_the_environment_of_every_pod(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = objects(*arguments)
    for name in variables():
        monkeypatch.delenv(name, raising=False)
    for pod_name, pod in pods(found):
        mounts = {mount["mountPath"] for each in containers(pod) for mount in each["volumeMounts"]}
        for container in containers(pod):
            given = environment(found, container, f"{pod_name}-0")
            assert set(given) - set(variables()) <= {"POD_NAME"}, pod_name
            with monkeypatch.context() as patch:
                for name, value in given.items():
                    if value.startswith("/certs/"):
                        assert value.rpartition("/")[0] in mounts  # a file of a secret
                    elif name != "POD_NAME":
                        patch.setenv(name, value)
                settings = load()
            if "migrate" in container["args"]:
                assert settings.clickhouse_user == "radar_migrator"
            if container["args"] == ["dashboard"]:
                known = {each.partition("=")[0] for each in settings.monitor_processes}
                assert "rec-worker-trades-0" in known
                assert "rec-wallex-depth-0" in known
    # Helps to see what a process would do with it.
    (dashboard,) = (pod for name, pod in pods(found) if name == "rec-dashboard")
    assert dashboard["containers"][0]["ports"][1]["containerPort"] == settings.dashboard_port


@needs_helm
def test_every_option_reaches_the_pods() -> None:
    values = {"config": dict.fromkeys(chart_files.config_options(), "set")}
    done = subprocess.run(
        [str(HELM), "template", "rec", str(CHART), f"--kube-version={KUBERNETES}", "--values=-"],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    found = [each for each in yaml.safe_load_all(done.stdout) if each]
    data = of_kind(found, "ConfigMap")["rec"]["data"]
    assert {name for name, value in data.items() if value == "set"} == set(values["config"])
    for name in chart_files.secret_options():
        given = f"--set=secretConfig.{name}.name=s,secretConfig.{name}.key=k"
        for _, pod in pods(objects(given)):
            for container in containers(pod):
                (secret,) = (each for each in container["env"] if each["name"] == name)
                assert secret["valueFrom"]["secretKeyRef"] == {"name": "s", "key": "k"}


@needs_helm
@pytest.mark.parametrize(
    "given", ["config.KAFKA_BROKR=a", "config.KAFKA_BROKER=a", "config.DASHBOARD_TOKEN=a"]
)
def test_option_that_is_misspelt_managed_or_secret_is_refused(given: str) -> None:
    done = helm("template", str(CHART), f"--kube-version={KUBERNETES}", f"--set={given}")
    assert done.returncode != 0
    assert given.partition(".")[2].partition("=")[0] in done.stderr


@needs_helm
def test_scaling_is_bounded_by_partitions_and_looks_at_the_right_group() -> None:
    enabled = "workers.trades.autoscaling.enabled=true,workers.trades.autoscaling.max=12"
    for partitions, most in ((3, 3), (24, 12)):
        found = objects(f"--set=kafka.partitions={partitions},{enabled}")
        (scaled,) = of_kind(found, "ScaledObject").values()
        assert scaled["spec"]["maxReplicaCount"] == most
        (trigger,) = scaled["spec"]["triggers"]
        assert trigger["metadata"]["consumerGroup"] == DATASETS["trades"].group
        assert trigger["metadata"]["topic"] == DATASETS["trades"].topic
        assert scaled["spec"]["scaleTargetRef"]["name"] == "rec-worker-trades"
        # Otherwise each upgrade would undo the scaling.
        assert "replicas" not in of_kind(found, "StatefulSet")["rec-worker-trades"]["spec"]


@needs_helm
def test_rules_and_targets_of_prometheus_are_those_of_the_stack() -> None:
    found = objects(
        "--set=monitoring.serviceMonitor.enabled=true,monitoring.prometheusRule.enabled=true"
    )
    (rules,) = of_kind(found, "PrometheusRule").values()
    assert rules["spec"] == yaml.safe_load((ROOT / "deploy/prometheus/rules.yml").read_text())
    (monitor,) = of_kind(found, "ServiceMonitor").values()
    wanted = monitor["spec"]["selector"]["matchLabels"]
    (service,) = (
        each
        for each in of_kind(found, "Service").values()
        if wanted.items() <= each["metadata"]["labels"].items()
    )
    # The rules want job="radar".
    assert service["metadata"]["labels"][monitor["spec"]["jobLabel"]] == "radar"


@needs_helm
def test_tables_are_made_before_the_workers_start() -> None:
    job = of_kind(objects(), "Job")["rec-migrations"]
    assert job["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
    pod = job["spec"]["template"]["spec"]
    assert [each["args"] for each in containers(pod)] == [["topics"], ["migrate"]]
    # The hook comes before the ConfigMap and the other ServiceAccount of the release.
    assert not any("envFrom" in each for each in containers(pod))
    assert pod["serviceAccountName"] == "rec-migrations"
    for command in ("topics", "migrate"):
        known = subprocess.run([*radar(command), "--help"], capture_output=True, check=False)
        assert known.returncode == 0


@needs_helm
def test_network_policies_open_only_what_is_needed() -> None:
    policies = of_kind(objects(), "NetworkPolicy")
    (metrics,) = policies["rec"]["spec"]["ingress"]
    assert metrics["ports"] == [{"port": "metrics", "protocol": "TCP"}]
    ports = {port["port"] for rule in policies["rec"]["spec"]["egress"] for port in rule["ports"]}
    assert ports == {53, 8123, 9092, 9093, 9094, 9100}
    selected = policies["rec-exchanges"]["spec"]["podSelector"]["matchExpressions"][0]["values"]
    assert selected == ["reconcile", "producer-wallex-trades", "producer-wallex-depth"]
