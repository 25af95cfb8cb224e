"""``sampan security`` beside a real API: who can, roles that an audit log asks for, fixes of objects that are there."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from .conftest import BIN, Kubectl


def security(kubectl: Kubectl, *words: str) -> str:
    command = [str(BIN / "sampan"), "security", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_who_can(kubectl: Kubectl, namespace: str) -> None:
    kubectl(
        "-n",
        namespace,
        "create",
        "role",
        "r",
        "--verb=get,delete",
        "--resource=deployments.apps",
        "--resource-name=web",
    )
    kubectl("-n", namespace, "create", "rolebinding", "b", "--role=r", "--user=jane")
    where = ("--kubeconfig", str(kubectl.kubeconfig), "-n", namespace, "-o", "json")
    can = json.loads(security(kubectl, "who-can", "delete", "deploy", *where))["can"]
    jane = next(one for one in can if one["subject"] == "jane")
    assert (jane["scope"], jane["binding"], jane["only"]) == (namespace, f"RoleBinding {namespace}/b", ["web"])
    assert ("Group", "system:masters") in [(one["kind"], one["subject"]) for one in can]
    assert "jane" not in security(kubectl, "who-can", "delete", "deploy", "other", *where)
    assert "system:monitoring" in security(kubectl, "who-can", "get", "/metrics", *where)


def test_a_role_of_an_audit_log_is_enough(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    reference = {"resource": "configmaps", "namespace": namespace, "name": "c"}
    log = [
        {
            "stage": "ResponseComplete",
            "verb": verb,
            "user": {"username": "kim"},
            "objectRef": reference,
            "requestURI": "/",
        }
        for verb in ("get", "patch")
    ]
    (tmp_path / "audit.log").write_text("\n".join(json.dumps(one) for one in log))
    kubectl(
        "apply",
        "-f",
        "-",
        stdin=security(kubectl, "role", "--from-audit", str(tmp_path / "audit.log"), "--user", "kim"),
    )
    for verb, expected in (("get", "yes"), ("patch", "yes"), ("list", "no")):
        said = kubectl.run("-n", namespace, "auth", "can-i", verb, "configmaps", "--as", "kim").out
        assert said.strip() == expected, verb


def test_a_deployment_is_fixed_where_it_is(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "deployment", "web", "--image=shop:1", "--replicas=0")
    where = ("--kubeconfig", str(kubectl.kubeconfig), "-n", namespace)
    patch = security(kubectl, "fix", "deployment/web", *where)
    kubectl("-n", namespace, "patch", "deployment", "web", "--type=json", "-p", patch)
    assert json.loads(security(kubectl, "fix", "deployment/web", *where)) == []
