"""The gateway's Helm chart: judged by Helm, and installed in a cluster that has no gateway of its own, with real pods.

The pods have busybox for an image, and the machine's Python with this sampan by volumes: no registry is needed.
"""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ..unit.gateway.certificates import pair
from .conftest import Helm, busybox_archive
from .eventually import eventually
from .test_gateway_anywhere import Replica
from .up_down_cluster import Cluster, new_cluster, unable

ROOT = Path(__file__).parents[2]
CHART = str(ROOT / "charts/gateway")
OBJECTS = """
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: default}
spec: {gatewayClassName: sampan, listeners: [{name: http, port: 80, protocol: HTTP}]}
---
apiVersion: gateway.sampan.dev/v1alpha1
kind: Plugin
metadata: {name: hello, namespace: default}
spec:
  isolation: Process
  source: |
    def request(request):
        return request.respond(200, "hello from the pod\\n")
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: hello, namespace: default}
spec:
  parentRefs: [{name: front}]
  rules:
    - filters: [{type: ExtensionRef, extensionRef: {group: gateway.sampan.dev, kind: Plugin, name: hello}}]
      backendRefs: [{name: kubernetes, port: 443}]
"""


def rendered(helm: Helm, *words: str) -> dict[str, dict[str, Any]]:
    """Return what the chart makes, by kind and name."""
    text = helm("template", "gateway", CHART, "--namespace", "sampan-gateway", *words)
    return {f"{one['kind']} {one['metadata']['name']}": one for one in yaml.safe_load_all(text) if one}


def test_helm_finds_nothing_wrong(helm: Helm) -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", CHART)
    assert "replicas" in helm("template", CHART, "--set", "replicas=0", code=1)
    refused = helm("template", CHART, "--set", "replica=3", code=1)
    assert "replica" in refused and "values don't meet the specifications" in refused


def test_the_chart_has_the_rights_of_the_example(helm: Helm) -> None:
    """One list of rights, in two places: that of the manifests is tried against an API that refuses what is not in it."""
    manifests = yaml.safe_load_all((ROOT / "examples/gateway-anywhere/gateway.yaml").read_text())
    example = {one["kind"]: one for one in manifests if "Role" in one["kind"]}

    def rights(*roles: dict[str, Any]) -> set[tuple[str, str, str]]:
        rules = [rule for role in roles for rule in role["rules"]]
        return {
            (group, resource, verb)
            for rule in rules
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for verb in rule["verbs"]
        }

    made = rendered(helm)
    name = "sampan-gateway-gateway"
    assert rights(made[f"ClusterRole {name}"], made["Role gateway"]) == rights(example["ClusterRole"], example["Role"])
    fewer = rendered(helm, "--set", "crds.install=false")
    assert not any(group == "apiextensions.k8s.io" for group, *_ in rights(fewer[f"ClusterRole {name}"]))
    assert "--kinds=there" in fewer["Deployment gateway"]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert "PodDisruptionBudget gateway" not in rendered(helm, "--set", "replicas=1")


SECRETS = """
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: NAMESPACE}
spec:
  gatewayClassName: sampan
  listeners: [{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: pair}]}}]
"""


def test_secrets_are_read_where_the_chart_says_and_nowhere_else(
    helm: Helm, tmp_path: Path, start_server: Callable[..., Any]
) -> None:
    """Against an API that refuses what the chart's rules do not allow: all Secrets of the cluster, for one."""
    server = start_server(tmp_path / "api")
    account = "system:serviceaccount:sampan-gateway:gateway"
    words = ("--namespace", "sampan-gateway", "--set", "secretNamespaces={open,default}")
    made = [one for one in yaml.safe_load_all(helm("template", "gateway", CHART, *words)) if one]
    (deployment,) = (one for one in made if one["kind"] == "Deployment")
    arguments = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    narrow = next(one for one in arguments if one.startswith("--secret"))

    def kubectl(*words: str, text: str = "", code: int = 0) -> str:
        command = ["kubectl", "--kubeconfig", str(server.kubeconfig), *words]
        done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stderr
        return done.stdout.strip()

    def may(verb: str, namespace: str, code: int) -> str:
        return kubectl("auth", "can-i", verb, "secrets", "-n", namespace, "--as", account, code=code)

    def resolved(namespace: str) -> Any:
        found = json.loads(kubectl("-n", namespace, "get", "gateway", "front", "-o", "json"))
        listeners = found.get("status", {}).get("listeners") or [{}]
        return next((one for one in listeners[0].get("conditions", ()) if one["type"] == "ResolvedRefs"), {})

    for namespace in ("sampan-gateway", "open", "closed"):
        kubectl("create", "namespace", namespace)
    kubectl("apply", "-f", "-", text=yaml.safe_dump_all(one for one in made if "Role" in one["kind"]))
    assert (may("list", "open", 0), may("watch", "closed", 1), may("list", "sampan-gateway", 1)) == ("yes", "no", "no")
    replica = Replica(4, server.user_kubeconfig(account, ("system:serviceaccounts",)), tmp_path, narrow)
    try:
        eventually("the kinds are there", lambda: "gateways" in kubectl("api-resources", "-o", "name"))
        for name, content in zip(("cert", "key"), pair("a.example"), strict=True):
            (tmp_path / name).write_bytes(content)
        for namespace in ("open", "closed"):
            kubectl("apply", "-f", "-", text=SECRETS.replace("NAMESPACE", namespace))
            files = (f"--cert={tmp_path / 'cert'}", f"--key={tmp_path / 'key'}")
            kubectl("-n", namespace, "create", "secret", "tls", "pair", *files)
        eventually("what may be read is", lambda: resolved("open").get("status") == "True")
        told = "Secret closed/pair: this gateway reads no Secrets of that namespace, only of default, open"
        eventually("what may not is told", lambda: resolved("closed").get("message") == told)
        assert resolved("closed")["status"] == "False" and resolved("closed")["reason"] == "InvalidCertificateRef"
        label = "gateway.sampan.dev/limits"
        counts = ("-n", "sampan-gateway", "get", "endpointslices", "-l", label, "-o", "name")
        eventually("it shares limits by the Secret that it makes", lambda: bool(kubectl(*counts)))
        assert "forbidden" not in replica.log.read_text()
    finally:
        replica.end()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if unable():
        pytest.skip(unable())
    directory = tmp_path_factory.mktemp("chart")
    cluster = new_cluster(directory)
    try:
        cluster.up("--gateway", "none")
        archive = directory / "busybox.tar"
        busybox_archive(archive)
        cluster.sampan("image", "load", "--name", cluster.name, str(archive))
        yield cluster
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)


def machine(values: Path) -> None:
    """Write the values that give pods this machine's Python, and this sampan, instead of an image of it."""
    folders = {"/usr", "/lib", "/lib64", "/bin", str(ROOT / "src"), sys.prefix, sys.base_prefix}
    folders = {
        str(Path(folder).resolve()) if folder not in ("/lib", "/lib64", "/bin") else folder for folder in folders
    }
    kept = sorted(one for one in folders if not any(one != other and one.startswith(f"{other}/") for other in folders))
    kept = [folder for folder in kept if Path(folder).is_dir() and folder != "/bin"]
    account = {"runAsUser": 0, "runAsGroup": 0, "runAsNonRoot": False}
    content = {
        "image": {"repository": "busybox", "tag": "1"},
        "command": [sys.executable, "-m", "sampan.cli.main"],
        "extraEnv": [{"name": "PYTHONPATH", "value": str(ROOT / "src")}, {"name": "PATH", "value": "/usr/bin:/bin"}],
        "podSecurityContext": {**account, "fsGroup": None},
        "securityContext": {"capabilities": {"drop": ["ALL"], "add": ["DAC_OVERRIDE"]}},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}},
        "extraVolumes": [{"name": f"v{i}", "hostPath": {"path": folder}} for i, folder in enumerate(kept)],
        "extraVolumeMounts": [
            {"name": f"v{i}", "mountPath": folder, "readOnly": True} for i, folder in enumerate(kept)
        ],
    }
    values.write_text(yaml.safe_dump(content))


def test_the_pods_meet_the_strictest_standard(helm: Helm, cluster: Cluster, tmp_path: Path) -> None:
    label = {"pod-security.kubernetes.io/enforce": "restricted"}
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "strict", "labels": label}}
    template = rendered(helm)["Deployment gateway"]["spec"]["template"]
    pod = {"apiVersion": "v1", "kind": "Pod", **template, "metadata": {"name": "gateway", "namespace": "strict"}}
    pod["spec"]["serviceAccountName"] = "default"
    for name, obj in (("namespace", namespace), ("pod", pod)):
        (tmp_path / f"{name}.json").write_text(json.dumps(obj))
    cluster.kubectl("apply", "-f", str(tmp_path / "namespace.json"))
    eventually("the account is there", lambda: "default" in cluster.kubectl("-n", "strict", "get", "sa"), 30)
    assert "created (server dry run)" in cluster.kubectl("apply", "--dry-run=server", "-f", str(tmp_path / "pod.json"))


def test_the_chart_serves_in_a_real_cluster(helm: Helm, cluster: Cluster, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    machine(values)
    words = ("--namespace", "sampan-gateway", "-f", str(values))
    kubeconfig = str(cluster.kubeconfig)
    helm("install", "gateway", CHART, *words, "--create-namespace", "--wait", "--timeout=150s", KUBECONFIG=kubeconfig)
    (tmp_path / "objects.yaml").write_text(OBJECTS)
    cluster.kubectl("apply", "-f", str(tmp_path / "objects.yaml"))

    def address() -> str:
        return cluster.kubectl("get", "gateway", "front", "-o", "jsonpath={.status.addresses[0].value}").strip()

    eventually("the Gateway has an address", lambda: bool(address()), 60)
    found = address()

    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection(found, timeout=5)
        try:
            connection.request("GET", "/")
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            return 0, ""
        finally:
            connection.close()

    eventually("the plugin answers", lambda: ask() == (200, "hello from the pod\n"), 60)

    def slices() -> list[Any]:
        replicas = cluster.kubectl("get", "endpointslices", "-l", "gateway.sampan.dev/replica", "-o", "json")
        return list(json.loads(replicas)["items"])

    eventually("each replica has one", lambda: len(slices()) == 2)
    helm("upgrade", "gateway", CHART, *words, "--set", "replicas=1", "--wait", "--timeout=150s", KUBECONFIG=kubeconfig)
    eventually("it answers on", lambda: ask() == (200, "hello from the pod\n"))
    helm("uninstall", "gateway", "--namespace", "sampan-gateway", "--wait", KUBECONFIG=kubeconfig)
    eventually("nobody answers", lambda: ask()[0] == 0, 60)
