"""kubectl top, get and describe of what pods and nodes use, and how an APIService of one's own goes before."""

from __future__ import annotations

import json
from typing import Any

from tests.e2e.eventually import eventually

from .conftest import Kubectl


def pod(name: str, cpu: str, memory: str) -> dict[str, Any]:
    usage = {"sim.sampan.dev/usage-cpu": cpu, "sim.sampan.dev/usage-memory": memory}
    containers = [{"name": f"{name}-{number}", "image": "i"} for number in (1, 2)]
    metadata = {"name": name, "labels": {"app": name}, "annotations": usage}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers}}


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_top_of_pods_and_nodes(kubectl: Kubectl, namespace: str) -> None:
    items = [pod("small", "50m", "200Mi"), pod("large", "2", "100Mi")]
    kubectl("apply", "-n", namespace, "-f", "-", stdin={"apiVersion": "v1", "kind": "List", "items": items})
    kubectl("wait", "-n", namespace, "pod", "--all", "--for=condition=Ready", "--timeout=60s")

    def by_cpu() -> list[list[str]]:
        """Empty, with an error, until they have been measured."""
        return rows(kubectl.run("top", "pod", "-n", namespace, "--sort-by=cpu", "--no-headers").out)

    expected = [["large", "4000m", "200Mi"], ["small", "100m", "400Mi"]]
    eventually("both are measured", lambda: by_cpu() == expected)
    by_memory = rows(kubectl("top", "pod", "-n", namespace, "--sort-by=memory", "--no-headers"))
    assert [row[0] for row in by_memory] == ["small", "large"]
    split = rows(kubectl("top", "pod", "-n", namespace, "--containers", "--no-headers"))
    assert ["large", "large-2", "2000m", "100Mi"] in split
    assert rows(kubectl("top", "pod", "-n", namespace, "--sum"))[-1] == ["4100m", "600Mi"]
    assert rows(kubectl("top", "pod", "-n", namespace, "-l", "app=small", "--no-headers"))[0][0] == "small"
    (node,) = rows(kubectl("top", "node", "--no-headers"))
    assert int(node[1].removesuffix("m")) >= 4100
    shown = rows(kubectl("get", "pods.metrics.k8s.io", "-n", namespace))
    assert shown[0] == ["NAME", "CPU", "MEMORY", "WINDOW"]
    assert ["large", "4", "200Mi", "1.000s"] in shown
    summary = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node[0]}/proxy/stats/summary"))
    assert summary["node"]["nodeName"] == node[0]


def test_a_metrics_server_of_ones_own_goes_before(kubectl: Kubectl) -> None:
    name = "v1beta1.metrics.k8s.io"
    service = {"spec": {"service": {"name": "metrics-server", "namespace": "kube-system"}}}
    assert kubectl("get", "apiservice", name, "--no-headers").split()[1:3] == ["Local", "True"]
    kubectl("patch", "apiservice", name, "--type=merge", "-p", json.dumps(service))
    try:
        kubectl("wait", f"apiservice/{name}", "--for=condition=Available=False", "--timeout=60s")
        assert "ServiceNotFound" in kubectl("get", "apiservice", name, "-o", "yaml")
    finally:
        kubectl("delete", "apiservice", name)
    assert kubectl("get", "apiservice", name, "--no-headers").split()[1:3] == ["Local", "True"]
    kubectl("get", "--raw", f"/apis/metrics.k8s.io/{name.partition('.')[0]}/nodes")
