"""The official Python client and a kopf operator, unmodified, against a cluster with a simulated node."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import kubernetes
import pytest

from .conftest import Kubectl

OPERATOR = """
import kopf

@kopf.on.create("", "v1", "configmaps", labels={"greet": kopf.PRESENT})
def greet(spec, name, patch, **_):
    patch.setdefault("data", {})["greeting"] = f"hello {name}"
"""


@pytest.fixture
def api(kubectl: Kubectl) -> kubernetes.client.CoreV1Api:
    return kubernetes.client.CoreV1Api(kubernetes.config.new_client_from_config(str(kubectl.kubeconfig)))


def test_the_official_client_writes_reads_and_watches(api: kubernetes.client.CoreV1Api, namespace: str) -> None:
    client = kubernetes.client
    body = client.V1ConfigMap(metadata=client.V1ObjectMeta(name="c", labels={"a": "b"}), data={"k": "1"})
    created = api.create_namespaced_config_map(namespace, body)
    assert created.metadata.uid and created.data == {"k": "1"}
    seen = []
    watch = kubernetes.watch.Watch()
    for event in watch.stream(api.list_namespaced_config_map, namespace, label_selector="a=b", timeout_seconds=60):
        seen.append((event["type"], event["object"].data["k"]))
        if len(seen) == 1:
            api.patch_namespaced_config_map("c", namespace, {"data": {"k": "2"}})
        else:
            watch.stop()
    assert seen == [("ADDED", "1"), ("MODIFIED", "2")]
    with pytest.raises(client.ApiException) as refused:
        api.read_namespaced_config_map("nope", namespace)
    assert refused.value.status == 404 and "NotFound" in refused.value.body


def test_a_kopf_operator(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    (tmp_path / "operator.py").write_text(OPERATOR)
    log = (tmp_path / "log").open("w")
    command = [
        sys.executable,
        "-m",
        "kopf",
        "run",
        "--standalone",
        "--namespace",
        namespace,
        str(tmp_path / "operator.py"),
    ]
    operator = subprocess.Popen(
        command, stdout=log, stderr=log, env={"KUBECONFIG": str(kubectl.kubeconfig), "PATH": "/usr/bin:/bin"}
    )
    try:
        kubectl("-n", namespace, "create", "configmap", "world")
        kubectl("-n", namespace, "label", "configmap", "world", "greet=yes")
        deadline = time.monotonic() + 90
        while kubectl("-n", namespace, "get", "cm", "world", "-o", "jsonpath={.data.greeting}") != "hello world":
            assert operator.poll() is None and time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.1)
    finally:
        operator.terminate()
        operator.wait(60)
        log.close()
