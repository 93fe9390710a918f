"""A real API server of Kubernetes for tests: Debian's etcd, and kube-apiserver (`make kubernetes`).

It has no controllers and no nodes, so that no pod ever runs. It decodes, validates and admits
objects as that of a cluster does.
"""

import json
import os
import shutil
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from ports import free_port
from support import Process, eventually

HOME = Path(__file__).parents[1] / ".kubernetes"
SERVER = HOME / "kube-apiserver"
CRDS = sorted((HOME / "crds").glob("*.yaml"))
ETCD = shutil.which("etcd")
TOKEN = "a-token-of-the-tests"
START_TIMEOUT_S = 120
NAMESPACE = "recorder"

needs_api_server = pytest.mark.skipif(
    ETCD is None or not SERVER.exists() or not CRDS,
    reason="no etcd, or no .kubernetes/kube-apiserver: make test-kubernetes",
)


class Refused(Exception):
    """The server's refusal of a request."""


@dataclass
class Cluster:
    """The client of a running API server; it collects the warnings of all answers."""

    address: str
    kubeconfig: Path
    client: httpx.Client
    warnings: list[str] = field(default_factory=list)
    _places: dict[tuple[str, str], tuple[str, bool]] = field(default_factory=dict)

    def request(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        """Send a request; raise Refused if the server refuses it."""
        answer = self.client.request(method, path, **options)
        self.warnings += answer.headers.get_list("warning")
        found: dict[str, Any] = answer.json()
        if answer.is_error:
            raise Refused(f"{answer.status_code}: {found.get('message', answer.text)}")
        return found

    def apply(self, given: dict[str, Any], method: str = "PATCH") -> dict[str, Any]:
        """Apply an object (or create it, with POST); unknown and repeated fields are errors."""
        path = self.path(given) + ("" if method == "POST" else "/" + given["metadata"]["name"])
        parameters = {"fieldManager": "tests", "fieldValidation": "Strict"}
        kind = "application/json" if method == "POST" else "application/apply-patch+yaml"
        return self.request(
            method,
            path,
            params=parameters,
            content=json.dumps(given),
            headers={"Content-Type": kind},
        )

    def path(self, given: dict[str, Any]) -> str:
        """Return the path of the kind of an object."""
        version, kind = given["apiVersion"], given["kind"]
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        if (version, kind) not in self._places:
            for each in self.request("GET", root)["resources"]:
                if "/" not in each["name"]:
                    place = (each["name"], each["namespaced"])
                    self._places[version, each["kind"]] = place
        name, namespaced = self._places[version, kind]
        return f"{root}/namespaces/{NAMESPACE}/{name}" if namespaced else f"{root}/{name}"

    def served(self, given: dict[str, Any]) -> bool:
        """Return whether the server serves the kind of an object."""
        try:
            self.path(given)
        except (Refused, KeyError):
            return False
        return True

    def list(self, version: str, kind: str) -> dict[str, dict[str, Any]]:
        """Return the objects of a kind by their names."""
        path = self.path({"apiVersion": version, "kind": kind})
        return {each["metadata"]["name"]: each for each in self.request("GET", path)["items"]}


@contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """Run etcd and kube-apiserver with throw-away keys, the chart's foreign kinds and a namespace.

    The namespace enforces the Pod Security Standard "restricted", and warns of the rest.
    """
    etcd = f"http://127.0.0.1:{free_port()}"
    peers = f"http://127.0.0.1:{free_port()}"
    processes = [
        Process(
            [str(ETCD), f"--data-dir={directory / 'etcd'}", "--name=tests",
             f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
             f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
             f"--initial-cluster=tests={peers}", "--unsafe-no-fsync"],
            directory / "etcd.log",
        )
    ]  # fmt: skip
    key, tokens, certificates = (directory / name for name in ("sa.key", "tokens", "certificates"))
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], capture_output=True, check=True)
    tokens.touch(0o600)
    tokens.write_text(f"{TOKEN},admin,admin,system:masters\n")
    port = free_port()
    address = f"https://127.0.0.1:{port}"
    try:
        eventually(lambda: _answers(f"{etcd}/health"), "etcd answers", START_TIMEOUT_S)
        processes.append(
            Process(
                [str(SERVER), f"--etcd-servers={etcd}", f"--cert-dir={certificates}",
                 "--bind-address=127.0.0.1", f"--secure-port={port}",
                 "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none",
                 f"--token-auth-file={tokens}", "--authorization-mode=RBAC",
                 "--service-cluster-ip-range=10.0.0.0/24",
                 f"--service-account-issuer={address}", f"--service-account-key-file={key}",
                 f"--service-account-signing-key-file={key}"],
                directory / "kube-apiserver.log",
            )
        )  # fmt: skip
        authority = certificates / "apiserver.crt"
        with closing(_client(address, authority, processes[-1])) as client:
            found = Cluster(address, _kubeconfig(directory, address, authority), client)
            _prepare(found)
            yield found
    finally:
        for process in reversed(processes):
            process.end()


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2).is_success
    except httpx.HTTPError:
        return False


def _client(address: str, authority: Path, server: Process) -> httpx.Client:
    eventually(
        lambda: authority.exists() or not server.lives, "the server has keys", START_TIMEOUT_S
    )
    assert server.lives, server.log.read_text()[-5000:]
    context = ssl.create_default_context(cafile=str(authority))
    headers = {"Authorization": f"Bearer {TOKEN}"}
    client = httpx.Client(base_url=address, verify=context, headers=headers, timeout=30)

    def is_ready() -> bool:
        assert server.lives, server.log.read_text()[-5000:]
        try:
            return client.get("/readyz").is_success
        except httpx.HTTPError:
            return False

    eventually(is_ready, "the API server is ready", START_TIMEOUT_S)
    return client


def _kubeconfig(directory: Path, address: str, authority: Path) -> Path:
    path = directory / "kubeconfig"
    path.touch(0o600)
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "tests",
                "clusters": [
                    {
                        "name": "tests",
                        "cluster": {"server": address, "certificate-authority": str(authority)},
                    }
                ],
                "users": [{"name": "admin", "user": {"token": TOKEN}}],
                "contexts": [
                    {
                        "name": "tests",
                        "context": {"cluster": "tests", "user": "admin", "namespace": NAMESPACE},
                    }
                ],
            }
        )
    )
    return path


def _prepare(found: Cluster) -> None:
    levels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    metadata = {"name": NAMESPACE, "labels": levels}
    found.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    # A controller of a cluster makes it.
    found.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}})
    kinds = []
    for path in CRDS:
        given = yaml.safe_load(path.read_text())
        found.apply(given)
        version = next(each["name"] for each in given["spec"]["versions"] if each["served"])
        api = f"{given['spec']['group']}/{version}"
        kinds.append({"apiVersion": api, "kind": given["spec"]["names"]["kind"]})
    eventually(lambda: all(map(found.served, kinds)), "the foreign kinds are served", 60)
    found.warnings.clear()


def helm_environment(kubeconfig: Path, directory: Path) -> dict[str, str]:
    """Return an environment in which helm knows only this cluster."""
    homes = {f"HELM_{name}_HOME": str(directory / name) for name in ("CACHE", "CONFIG", "DATA")}
    return os.environ | homes | {"KUBECONFIG": str(kubeconfig)}
