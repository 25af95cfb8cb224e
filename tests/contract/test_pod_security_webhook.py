"""Pod Security by the webhook, beside an API that has no such plugin: refusals, warnings, namespaces, exemptions, its end."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import foreign_server
from tests.conftest import start_api_server

from .conftest import BIN, Kubectl

P = "pod-security.kubernetes.io/"
WEBHOOK = 'admission webhook "pods.pod-security.sampan.dev" denied the request'


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """kubectl of an API without the PodSecurity plugin, with the webhook beside it."""
    directory = tmp_path_factory.mktemp("webhook")
    with without_plugin(directory) as kubectl:
        sampan, beside = str(BIN / "sampan"), ["--kubeconfig", str(kubectl.kubeconfig)]
        (directory / "config.yaml").write_text("exemptions: {usernames: [root], namespaces: [spared]}\n")
        serve = [sampan, "security", "webhook", "--config", str(directory / "config.yaml")]
        subprocess.run(
            [sampan, "security", "webhook", "--exemptions", *beside], check=True, capture_output=True, timeout=60
        )
        served = subprocess.Popen([*serve, *beside], stdout=subprocess.PIPE, text=True)
        assert served.stdout is not None and served.stdout.readline().startswith("serving https://127.0.0.1:")
        yield kubectl
        served.terminate()
        assert served.wait(60) == 0
        assert "pod-security" not in kubectl("get", "validatingwebhookconfigurations")


@contextmanager
def without_plugin(directory: Path) -> Iterator[Kubectl]:
    if foreign_server.wanted():
        server = start_api_server(directory, flags={"disable-admission-plugins": "PodSecurity"})
        yield Kubectl(server.kubeconfig)
        server.process.terminate()
        return
    (directory / "api.yaml").write_text("disable-admission-plugins: PodSecurity\n")
    kubectl = Kubectl(directory / "kubeconfig")
    sampan, name = str(BIN / "sampan"), f"webhook-{uuid.uuid4().hex[:6]}"
    common = ["--name", name, "--kubeconfig", str(kubectl.kubeconfig)]
    up = [sampan, "up", "--pods=none", "--api-config", str(directory / "api.yaml"), *common]
    try:
        assert subprocess.run(up, capture_output=True, timeout=120).returncode == 0
        yield kubectl
    finally:
        subprocess.run([sampan, "down", *common], capture_output=True, timeout=120)


@pytest.fixture
def strict(bare: Kubectl) -> str:
    """A namespace that enforces baseline and warns of restricted."""
    name = f"n-{uuid.uuid4().hex[:6]}"
    labels = {f"{P}enforce": "baseline", f"{P}warn": "restricted"}
    bare(
        "apply",
        "-f",
        "-",
        stdin={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}},
    )
    bare("-n", name, "wait", "serviceaccount/default", "--for=create", "--timeout=60s")
    return name


def pod(name: str, **spec: Any) -> dict[str, Any]:
    whole = {"containers": [{"name": "c", "image": "i"}], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "labels": {"app": name}}, "spec": whole}


def test_it_says_what_the_plugin_says(bare: Kubectl, strict: str) -> None:
    refused = bare.run("-n", strict, "apply", "-f", "-", stdin=pod("bad", hostPID=True))
    assert refused.code == 1
    said = 'pods "bad" is forbidden: violates PodSecurity "baseline:latest": host namespaces (hostPID=true)'
    assert f"{WEBHOOK}: {said}" in refused.err
    warned = bare.run("-n", strict, "apply", "-f", "-", stdin=pod("good"))
    assert warned.code == 0
    assert 'Warning: would violate PodSecurity "restricted:latest": allowPrivilegeEscalation != false' in warned.err
    workload = bare.run("-n", strict, "create", "deployment", "web", "--image=i")
    assert workload.code == 0 and 'would violate PodSecurity "restricted:latest"' in workload.err
    root = ("-n", strict, "--as=root", "--as-group=system:masters")
    assert bare.run(*root, "apply", "-f", "-", stdin=pod("exempt", hostPID=True)).code == 0


def test_namespaces_are_judged_too(bare: Kubectl, strict: str) -> None:
    bare("-n", strict, "apply", "-f", "-", stdin=pod("early"))
    labelled = bare.run("label", "namespace", strict, "--overwrite", f"{P}enforce=restricted")
    assert labelled.code == 0 and f'existing pods in namespace "{strict}" violate the new PodSecurity' in labelled.err
    wrong = bare.run("label", "namespace", strict, "--overwrite", f"{P}enforce=strict")
    assert wrong.code == 1 and "must be one of privileged, baseline, restricted" in wrong.err


def test_one_check_for_one_workload(bare: Kubectl, strict: str) -> None:
    spec = {
        "selector": {"matchLabels": {"app": "agent"}},
        "checks": ["hostNamespaces"],
        "reason": "sees the node's processes",
    }
    exemption = {
        "apiVersion": "security.sampan.dev/v1",
        "kind": "PodSecurityExemption",
        "metadata": {"name": "agent"},
        "spec": spec,
    }
    bare("-n", strict, "apply", "-f", "-", stdin=exemption)
    assert bare.run("-n", strict, "apply", "-f", "-", stdin=pod("agent", hostPID=True)).code == 0
    assert bare.run("-n", strict, "apply", "-f", "-", stdin=pod("other", hostPID=True)).code == 1
    assert "sees the node's processes" in bare("-n", strict, "get", "psx")
    odd = {**exemption, "spec": {**spec, "checks": ["everything"]}}
    assert bare.run("-n", strict, "apply", "-f", "-", stdin=odd).code == 1


def test_what_is_no_review_is_told_so(bare: Kubectl) -> None:
    listed = json.loads(bare("get", "validatingwebhookconfigurations", "-o", "json"))["items"]
    (url,) = {one["clientConfig"]["url"] for item in listed for one in item["webhooks"] if "sampan" in one["name"]}
    sent = subprocess.run(["curl", "-ks", "-d", "{}", url], capture_output=True, text=True, timeout=60)
    assert sent.stdout == "this is no AdmissionReview"
