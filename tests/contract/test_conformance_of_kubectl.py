"""What Kubernetes' conformance suite asks of kubectl ([sig-cli]) and no other test here shows.

Source: kubernetes test/conformance/testdata/conformance.yaml. Logs, exec and attach of real pods: ``tests/e2e``.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from .conftest import BIN, Kubectl

TIMEOUT = "--timeout=60s"


def controller(replicas: int = 1) -> dict[str, Any]:
    labels = {"app": "agnhost", "role": "primary"}
    container = {"name": "agnhost-primary", "image": "agnhost:2", "ports": [{"name": "agnhost", "containerPort": 6379}]}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    return {
        "apiVersion": "v1",
        "kind": "ReplicationController",
        "metadata": {"name": "agnhost-primary", "labels": labels},
        "spec": {"replicas": replicas, "selector": labels, "template": template},
    }


def running(kubectl: Kubectl, namespace: str, replicas: int) -> list[str]:
    path = f"--for=jsonpath={{.status.readyReplicas}}={replicas}"
    kubectl("-n", namespace, "wait", "rc/agnhost-primary", path, TIMEOUT)
    return kubectl("-n", namespace, "get", "pods", "-l", "app=agnhost", "-o", "name").split()


def test_versions_and_the_cluster(kubectl: Kubectl) -> None:
    assert "v1" in kubectl("api-versions").split()
    assert "Kubernetes control plane is running at" in kubectl("cluster-info").replace("\x1b[0;32m", "").replace(
        "\x1b[0m", ""
    )
    found = kubectl.json("version")["serverVersion"]
    assert {"major", "minor", "gitVersion", "gitCommit", "buildDate", "goVersion", "platform"} <= set(found)


def test_describe_of_a_controller_and_what_is_around_it(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "-f", "-", stdin=controller())
    kubectl("-n", namespace, "expose", "rc", "agnhost-primary", "--port=6379", "--target-port=agnhost")
    (pod,) = running(kubectl, namespace, 1)
    shown = kubectl("-n", namespace, "describe", pod)
    for wanted in ("Name:", "Namespace:", "Node:", "Labels:", "role=primary", "Status:", "Running", "IP:"):
        assert wanted in shown
    assert "Controlled By:  ReplicationController/agnhost-primary" in shown
    shown = kubectl("-n", namespace, "describe", "rc", "agnhost-primary")
    for wanted in (
        "Selector:",
        "Replicas:",
        "1 current / 1 desired",
        "1 Running / 0 Waiting",
        "Pod Template:",
        "Events:",
    ):
        assert wanted in shown
    shown = kubectl("-n", namespace, "describe", "service", "agnhost-primary")
    for wanted in ("Type:", "ClusterIP", "Port:", "6379/TCP", "agnhost/TCP", "Endpoints:", "Session Affinity:"):
        assert wanted in shown
    node = kubectl("get", "nodes", "-o", "name").split()[0]
    shown = kubectl("describe", node)
    for wanted in ("Annotations:", "CreationTimestamp:", "Conditions:", "MemoryPressure", "Addresses:", "Capacity:"):
        assert wanted in shown
    assert f"Name:         {namespace}" in kubectl("describe", "namespace", namespace)


def test_expose_makes_services_of_controllers_and_services(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "-f", "-", stdin=controller())
    kubectl("-n", namespace, "expose", "rc", "agnhost-primary", "--name=rm2", "--port=1234", "--target-port=6379")
    kubectl("-n", namespace, "expose", "service", "rm2", "--name=rm3", "--port=2345", "--target-port=6379")
    running(kubectl, namespace, 1)
    for name, port in (("rm2", 1234), ("rm3", 2345)):
        made = kubectl.json("-n", namespace, "get", "service", name)["spec"]["ports"][0]
        assert (made["port"], made["targetPort"]) == (port, 6379)
        ready = "--for=jsonpath={.subsets[0].ports[0].port}=6379"
        kubectl("-n", namespace, "wait", f"endpoints/{name}", ready, TIMEOUT)


def test_labels_and_annotations_are_put_and_taken(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "-f", "-", stdin=controller(2))
    pods = running(kubectl, namespace, 2)
    kubectl("-n", namespace, "label", pods[0], "testing-label=testing-label-value")
    assert "testing-label-value" in kubectl("-n", namespace, "get", pods[0], "-L", "testing-label")
    assert kubectl("-n", namespace, "get", "pods", "-l", "testing-label", "-o", "name").split() == [pods[0]]
    kubectl("-n", namespace, "label", pods[0], "testing-label-")
    assert "testing-label-value" not in kubectl("-n", namespace, "get", pods[0], "-L", "testing-label")
    for pod in pods:
        kubectl("-n", namespace, "patch", pod, "-p", '{"metadata":{"annotations":{"x":"y"}}}')
        assert kubectl.json("-n", namespace, "get", pod)["metadata"]["annotations"]["x"] == "y"


def test_a_pod_is_run_replaced_and_not_changed_by_a_dry_run(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "run", "httpd", "--image=httpd:1", "--restart=Never", "--labels=run=httpd")
    # its spec stays from then on
    kubectl("-n", namespace, "wait", "pod/httpd", "--for=condition=PodScheduled", TIMEOUT)
    made = kubectl.json("-n", namespace, "get", "pod", "httpd")
    assert made["spec"]["restartPolicy"] == "Never" and made["spec"]["containers"][0]["image"] == "httpd:1"
    other = {"spec": {"containers": [{"name": "httpd", "image": "busybox:1"}]}}
    kubectl("-n", namespace, "patch", "pod", "httpd", "-p", json.dumps(other), "--dry-run=server")
    assert kubectl.json("-n", namespace, "get", "pod", "httpd")["spec"]["containers"][0]["image"] == "httpd:1"
    made["spec"]["containers"][0]["image"] = "busybox:1"
    del made["metadata"]["resourceVersion"]
    kubectl("-n", namespace, "replace", "-f", "-", stdin=made)
    assert kubectl.json("-n", namespace, "get", "pod", "httpd")["spec"]["containers"][0]["image"] == "busybox:1"
    for field in ("uid", "creationTimestamp", "managedFields"):
        made["metadata"].pop(field, None)
    before = kubectl.json("-n", namespace, "get", "pod", "httpd")["metadata"]["uid"]
    made["spec"].pop("nodeName", None)
    kubectl("-n", namespace, "replace", "--force", "--grace-period=0", "-f", "-", stdin=made)
    assert kubectl.json("-n", namespace, "get", "pod", "httpd")["metadata"]["uid"] != before


def test_a_controller_is_scaled_and_stopped(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "-f", "-", stdin=controller(2))
    assert len(running(kubectl, namespace, 2)) == 2
    for replicas in (1, 2):
        kubectl("-n", namespace, "scale", "rc", "agnhost-primary", f"--replicas={replicas}", "--timeout=1m")
        running(kubectl, namespace, replicas)
    kubectl("-n", namespace, "delete", "rc", "agnhost-primary", "--wait=true", "--cascade=foreground")
    assert kubectl("-n", namespace, "get", "rc,pods", "-l", "app=agnhost", "-o", "name") == ""


def proxied(kubectl: Kubectl, *words: str) -> subprocess.Popen[str]:
    command = [str(BIN / "kubectl"), "--kubeconfig", str(kubectl.kubeconfig), "proxy", *words]
    environment = {**os.environ, "HOME": str(kubectl.kubeconfig.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def test_a_proxy_on_any_port_and_on_a_socket(kubectl: Kubectl, tmp_path: Path) -> None:
    with proxied(kubectl, "--port=0", "--disable-filter") as proxy:
        assert proxy.stdout is not None
        port = int(proxy.stdout.readline().rsplit(":", 1)[1])
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/api/")
        assert "v1" in json.loads(connection.getresponse().read())["versions"]
        proxy.terminate()
    path = tmp_path / "s"
    with proxied(kubectl, f"--unix-socket={path}") as proxy:
        assert proxy.stdout is not None and str(path) in proxy.stdout.readline()
        connection = http.client.HTTPConnection("localhost", timeout=60)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.connect(str(path))
        connection.request("GET", "/api/")
        assert "v1" in json.loads(connection.getresponse().read())["versions"]
        proxy.terminate()


def definition(plural: str, schema: dict[str, Any]) -> dict[str, Any]:
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": plural, "kind": plural.capitalize()}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.conformance.example.com"},
        "spec": {"group": "conformance.example.com", "scope": "Namespaced", "names": names, "versions": [version]},
    }


def custom(plural: str, **fields: Any) -> dict[str, Any]:
    return {
        "apiVersion": "conformance.example.com/v1",
        "kind": plural.capitalize(),
        "metadata": {"name": "one"},
        **fields,
    }


def test_what_a_definition_publishes_is_checked_and_explained(kubectl: Kubectl, namespace: str) -> None:
    text = {"type": "string", "description": "Name of Bar."}
    bar = {"type": "object", "required": ["name"], "properties": {"name": text, "age": {"type": "string"}}}
    bars = {"type": "array", "description": "List of Bars and their specs.", "items": bar}
    spec = {"type": "object", "description": "Specification of Foo", "properties": {"bars": bars}}
    foo = {"type": "object", "description": "Foo CRD for Testing", "properties": {"spec": spec}}
    kept = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    inner = {"type": "object", "properties": {"spec": {**kept, "description": "Specification of Waldo"}}}
    for plural, schema in (("foo", foo), ("root", kept), ("waldo", inner)):
        kubectl("apply", "-f", "-", stdin=definition(plural, schema))
    kubectl("wait", "--for=condition=Established", "crd", "--all", TIMEOUT)
    try:
        good = custom("foo", spec={"bars": [{"name": "test-bar"}]})
        for verb in ("create", "apply"):
            kubectl("-n", namespace, verb, "-f", "-", stdin=good)  # what is wrong is said before that it exists
            for bad, why in (
                (custom("foo", spec={"foo": True}), 'unknown field "spec.foo"'),
                (custom("foo", spec={"bars": [{"age": "10"}]}), "spec.bars[0].name"),
            ):
                done = kubectl.run("-n", namespace, verb, "-f", "-", stdin=bad)
                assert done.code != 0 and why in done.err, done.err
        assert "Foo CRD for Testing" in kubectl("explain", "foo")
        assert "Specification of Foo" in kubectl("explain", "foo.spec")
        assert "List of Bars and their specs." in kubectl("explain", "foo.spec.bars")
        assert "Name of Bar." in kubectl("explain", "foo.spec.bars.name")
        assert kubectl.run("explain", "foo.spec.bars2").code != 0
        for plural, where in (("root", {"a": {"b": [{"c": "d"}]}}), ("waldo", {"spec": {"a": {"b": 1}}})):
            kubectl("-n", namespace, "create", "-f", "-", stdin=custom(plural, **where))
            kubectl("-n", namespace, "apply", "-f", "-", stdin=custom(plural, **where))
            assert plural.capitalize() in kubectl("explain", plural)
        assert "Specification of Waldo" in kubectl("explain", "waldo.spec")
    finally:
        kubectl("delete", "crd", *(f"{plural}.conformance.example.com" for plural in ("foo", "root", "waldo")))


def test_the_ca_is_in_every_namespace_whatever_happens_to_it(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "wait", "--for=create", "configmap/kube-root-ca.crt", "--timeout=60s")
    first = kubectl.json("-n", namespace, "get", "configmap", "kube-root-ca.crt")
    kubectl("-n", namespace, "delete", "configmap", "kube-root-ca.crt")
    kubectl("-n", namespace, "wait", "--for=create", "configmap/kube-root-ca.crt", "--timeout=60s")
    again = kubectl.json("-n", namespace, "get", "configmap", "kube-root-ca.crt")
    assert again["data"] == first["data"] and again["metadata"]["uid"] != first["metadata"]["uid"]
    kubectl("-n", namespace, "patch", "configmap", "kube-root-ca.crt", "-p", '{"data":{"ca.crt":""}}')
    deadline = time.monotonic() + 60  # kubectl wait takes no value with "=" in it, which base64 may end with
    while kubectl.json("-n", namespace, "get", "configmap", "kube-root-ca.crt")["data"] != first["data"]:
        assert time.monotonic() < deadline, "it was not put right"


def test_a_circle_of_owners_is_collected(kubectl: Kubectl, namespace: str) -> None:
    pods = [f"pod{number}" for number in (1, 2, 3)]
    for pod in pods:
        kubectl("-n", namespace, "run", pod, "--image=one")
    made = {pod: kubectl.json("-n", namespace, "get", "pod", pod)["metadata"]["uid"] for pod in pods}
    for pod, owner in (("pod1", "pod3"), ("pod2", "pod1"), ("pod3", "pod2")):
        reference = {"apiVersion": "v1", "kind": "Pod", "name": owner, "uid": made[owner], "controller": True}
        reference["blockOwnerDeletion"] = True
        kubectl("-n", namespace, "patch", "pod", pod, "-p", json.dumps({"metadata": {"ownerReferences": [reference]}}))
    kubectl("-n", namespace, "delete", "pod", "pod1", "--wait=false", "--cascade=foreground")
    kubectl("-n", namespace, "wait", "--for=delete", *(f"pod/{pod}" for pod in pods), TIMEOUT)


def test_what_has_another_owner_outlives_the_first(kubectl: Kubectl, namespace: str) -> None:
    first, second = controller(4), controller(0)
    second["metadata"]["name"] = "stays"
    second["spec"]["selector"] = {"app": "other"}
    second["spec"]["template"]["metadata"]["labels"] = {"app": "other"}
    kubectl("-n", namespace, "create", "-f", "-", stdin=first)
    kubectl("-n", namespace, "create", "-f", "-", stdin=second)
    pods = running(kubectl, namespace, 4)
    uid = kubectl.json("-n", namespace, "get", "rc", "stays")["metadata"]["uid"]
    reference = {"apiVersion": "v1", "kind": "ReplicationController", "name": "stays", "uid": uid}
    patch = json.dumps([{"op": "add", "path": "/metadata/ownerReferences/-", "value": reference}])
    for pod in pods[:2]:
        kubectl("-n", namespace, "patch", pod, "--type=json", "-p", patch)
    kubectl("-n", namespace, "delete", "rc", "agnhost-primary", "--cascade=foreground", "--wait=true", TIMEOUT)
    left = kubectl.json("-n", namespace, "get", "pods", "-l", "app=agnhost")["items"]
    assert sorted(f"pod/{pod['metadata']['name']}" for pod in left) == sorted(pods[:2])
    assert not [pod for pod in left if "deletionTimestamp" in pod["metadata"]]
    assert [ref["name"] for ref in left[0]["metadata"]["ownerReferences"]] == ["stays"]
