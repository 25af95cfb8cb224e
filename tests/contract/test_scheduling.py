"""What people see of scheduling and of certificates with the real kubectl; the scheduler by itself."""

from __future__ import annotations

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.eventually import eventually

from .conftest import BIN, Kubectl


def pod(name: str, cpu: str = "1", **spec: Any) -> dict[str, Any]:
    container = {"name": "c", "image": "shop:1", "resources": {"requests": {"cpu": cpu}}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container], **spec}}


def test_describe_says_why_a_pod_has_no_node(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod("huge", "1000000"))
    kubectl("-n", namespace, "wait", "pod/huge", "--for=condition=PodScheduled=false", "--timeout=60s")
    kubectl("-n", namespace, "wait", "--for=jsonpath={.status.conditions[0].reason}=Unschedulable", "pod/huge")
    reason = (
        "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
        "1 Preemption is not helpful for scheduling."
    )
    conditions = kubectl.json("-n", namespace, "get", "pod", "huge")["status"]["conditions"]
    assert conditions[0]["message"] == reason
    events = "get", "events", "--field-selector=reason=FailedScheduling"
    kubectl("-n", namespace, "wait", "events", "--all", "--for=create", "--timeout=60s")
    eventually("why is told", lambda: reason in kubectl("-n", namespace, *events))
    described = kubectl("-n", namespace, "describe", "pod", "huge")
    assert "FailedScheduling" in described and "default-scheduler" in described and reason in described
    assert "Pending" in kubectl("-n", namespace, "get", "pod", "huge")


def test_a_gated_pod_says_so_until_its_gate_goes(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod("gated", schedulingGates=[{"name": "example.org/wait"}]))
    assert "SchedulingGated" in kubectl("-n", namespace, "get", "pod", "gated")
    patch = json.dumps([{"op": "remove", "path": "/spec/schedulingGates"}])
    kubectl("-n", namespace, "patch", "pod", "gated", "--type=json", "-p", patch)
    kubectl("-n", namespace, "wait", "pod/gated", "--for=condition=Ready", "--timeout=60s")


def test_the_scheduler_runs_by_itself(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    config = tmp_path / "scheduler.json"
    config.write_text(
        json.dumps(
            {
                "apiVersion": "kubescheduler.config.k8s.io/v1",
                "kind": "KubeSchedulerConfiguration",
                "leaderElection": {"resourceName": "alone", "resourceNamespace": namespace},
                "profiles": [{"schedulerName": "alone"}],
            }
        )
    )
    command = [
        str(BIN / "sampan"),
        "scheduler",
        "serve",
        "--kubeconfig",
        str(kubectl.kubeconfig),
        "--config",
        str(config),
    ]
    kubectl("-n", namespace, "apply", "-f", "-", stdin=pod("ours", schedulerName="alone"))
    alone = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        kubectl("-n", namespace, "wait", "pod/ours", "--for=condition=Ready", "--timeout=60s")
        lease = kubectl.json("-n", namespace, "get", "lease", "alone")
        assert lease["spec"]["holderIdentity"].endswith(f"_{alone.pid}")
        kubectl("-n", namespace, "wait", "events", "--all", "--for=create", "--timeout=60s")
    finally:
        alone.terminate()
        errors = alone.communicate(timeout=60)[1]
    assert alone.returncode == 0 and "Traceback" not in errors
    lease = kubectl.json("-n", namespace, "get", "lease", "alone")
    assert not lease["spec"].get("holderIdentity"), "another need not wait for the end of the term"


def test_a_certificate_asked_for_approved_and_used(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "team"), x509.NameAttribute(NameOID.COMMON_NAME, "jane")]
    )
    asked = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(key, hashes.SHA256())
    request = base64.b64encode(asked.public_bytes(serialization.Encoding.PEM)).decode()
    spec = {"signerName": "kubernetes.io/kube-apiserver-client", "request": request, "usages": ["client auth"]}
    made = {
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": namespace},
    }
    kubectl("apply", "-f", "-", stdin={**made, "spec": spec})
    assert "Pending" in kubectl("get", "csr", namespace)
    kubectl("certificate", "approve", namespace)
    kubectl("wait", f"csr/{namespace}", "--for=jsonpath={.status.certificate}", "--timeout=60s")
    assert "Approved,Issued" in kubectl("get", "csr", namespace)
    certificate = base64.b64decode(kubectl.json("get", "csr", namespace)["status"]["certificate"])
    (tmp_path / "jane.crt").write_bytes(certificate)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "jane.key").write_bytes(private)
    home = tmp_path / "kubeconfig"
    home.write_bytes(kubectl.kubeconfig.read_bytes())
    jane = Kubectl(home)
    jane(
        "config",
        "set-credentials",
        "jane",
        f"--client-certificate={tmp_path}/jane.crt",
        f"--client-key={tmp_path}/jane.key",
    )
    jane("config", "set-context", "--current", "--user=jane")
    who = json.loads(jane("auth", "whoami", "-o", "json"))["status"]["userInfo"]
    assert (who["username"], who["groups"]) == ("jane", ["team", "system:authenticated"])
    kubectl("delete", "csr", namespace)


def test_cluster_info_is_there_to_join_by(kubectl: Kubectl) -> None:
    kubectl("-n", "kube-public", "wait", "configmap/cluster-info", "--for=create", "--timeout=60s")
    found = json.loads(kubectl.json("-n", "kube-public", "get", "configmap", "cluster-info")["data"]["kubeconfig"])
    cluster = found["clusters"][0]["cluster"]
    assert cluster["server"].startswith("https://")
    assert b"BEGIN CERTIFICATE" in base64.b64decode(cluster["certificate-authority-data"])
