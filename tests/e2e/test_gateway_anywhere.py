"""``sampan gateway run --kubeconfig``: two replicas for an API that is somebody else's, as the manifests let them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from .eventually import eventually

MANIFESTS = Path(__file__).parents[2] / "examples/gateway-anywhere/gateway.yaml"
GATEWAY = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: default}
spec: {gatewayClassName: sampan, listeners: [{name: http, port: 80, protocol: HTTP}]}
"""


class Replica:
    def __init__(self, number: int, kubeconfig: Path, directory: Path, *more: str) -> None:
        self.name = f"replica-{number}"
        self.log = directory / f"{self.name}.log"
        command = ["gateway", "run", "--kubeconfig", str(kubeconfig), "--address", f"127.0.0.{number + 10}"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "sampan.cli.main", *command, "--advertise", f"192.0.2.{number}", *more],
                stdout=log,
                stderr=log,
                env={**os.environ, "POD_NAME": self.name, "POD_NAMESPACE": "sampan-gateway"},
            )

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(60) == 0, self.log.read_text()


def test_two_replicas_serve_and_one_writes(tmp_path: Path, start_server: Callable[..., Any]) -> None:
    server = start_server(tmp_path / "api")
    user = "system:serviceaccount:sampan-gateway:gateway"

    def kubectl(*words: str, text: str = "") -> str:
        command = ["kubectl", "--kubeconfig", str(server.kubeconfig), *words]
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=True).stdout

    def endpoints() -> set[str]:
        found = kubectl("get", "endpointslices", "-l", "gateway.sampan.dev/replica", "-o", "json")
        return {piece["endpoints"][0]["addresses"][0] for piece in json.loads(found)["items"]}

    def counting() -> set[str]:
        path = "jsonpath={.items[*].metadata.labels.gateway\\.sampan\\.dev/replica}"
        label = "gateway.sampan.dev/limits"
        return set(kubectl("-n", "sampan-gateway", "get", "endpointslices", "-l", label, "-o", path).split())

    def leader(lease: str = "sampan-gateway") -> str:
        path = "jsonpath={.spec.holderIdentity}"
        return kubectl("-n", "sampan-gateway", "get", "lease", lease, "--ignore-not-found", "-o", path)

    def accepted() -> str:
        path = "jsonpath={.status.conditions[?(@.type=='Accepted')].status}"
        return kubectl("get", "gateway", "front", "-o", path)

    kubectl("apply", "-f", str(MANIFESTS))
    kubeconfig = server.user_kubeconfig(user, ("system:serviceaccounts",))
    replicas = [Replica(1, kubeconfig, tmp_path)]
    try:
        eventually("the first leads", lambda: leader() == "replica-1")
        kubectl("apply", "-f", "-", text=GATEWAY)
        eventually("the Gateway is accepted", lambda: accepted() == "True")
        eventually("the Service leads to its Envoy", lambda: endpoints() == {"192.0.2.1"})
        replicas.append(Replica(2, kubeconfig, tmp_path))
        eventually("it leads to both", lambda: endpoints() == {"192.0.2.1", "192.0.2.2"})
        eventually("they count together", lambda: counting() == {"replica-1", "replica-2"})
        replicas.pop(0).end()
        eventually("it leads to the second only", lambda: endpoints() == {"192.0.2.2"})
        eventually("it counts alone", lambda: counting() == {"replica-2"})
        eventually("the second leads", lambda: leader() == "replica-2")
        kubectl("apply", "-f", "-", text=GATEWAY.replace("front", "other"))
        path = "jsonpath={.status.conditions[?(@.type=='Accepted')].status}"
        eventually("it writes statuses", lambda: kubectl("get", "gateway", "other", "-o", path) == "True")
        replicas.append(Replica(3, kubeconfig, tmp_path, "--class", "edge"))
        kubectl("apply", "-f", "-", text=GATEWAY.replace("front", "third").replace("sampan", "edge"))
        eventually("a Gateway of another class is another's", lambda: endpoints() == {"192.0.2.2", "192.0.2.3"})
        eventually("who writes its status", lambda: kubectl("get", "gateway", "third", "-o", path) == "True")
        assert leader("sampan-gateway.edge") == "replica-3" and leader() == "replica-2"
        assert not {"forbidden", "not shared"} & set(re.findall("forbidden|not shared", replicas[0].log.read_text()))
    finally:
        for replica in replicas:
            replica.end()


def test_advertise_is_needed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sampan.cli.main", "gateway", "run", "--kubeconfig", str(tmp_path / "none")]
    environment = {key: value for key, value in os.environ.items() if key != "POD_IP"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode != 0 and done.stderr.startswith("sampan: ")


@pytest.fixture(autouse=True)
def _no_pod(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("POD_IP", "POD_NAME", "POD_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)


def test_namespaces_of_secrets_are_namespaces() -> None:
    command = [sys.executable, "-m", "sampan.cli.main", "gateway", "run", "--secret-namespaces", "shop,,A"]
    for more, problem in (
        (["--kubeconfig", "none"], "--secret-namespaces: ''"),
        (["--config", "."], "are for --kubeconfig"),
    ):
        done = subprocess.run([*command, *more], capture_output=True, text=True, timeout=60)
        assert done.returncode == 2 and problem in done.stderr


@pytest.mark.parametrize(("word", "problem"), [("Edge", "lower case"), ("a.b", "must not contain dots")])
def test_a_class_has_a_name_of_its_own(word: str, problem: str) -> None:
    command = [sys.executable, "-m", "sampan.cli.main", "gateway", "run", "--kubeconfig", "none", "--class", word]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and "--class" in done.stderr and problem in done.stderr
