"""Who owns what, as kubectl shows it: server-side apply after client-side apply, edits, diffs, and schemas of every form."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

from .conftest import BIN, Kubectl


def config_map(**data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": data}


def managers(kubectl: Kubectl, namespace: str) -> dict[str, str]:
    found = kubectl.json("-n", namespace, "get", "configmap/settings", "--show-managed-fields")
    return {entry["manager"]: entry["operation"] for entry in found["metadata"]["managedFields"]}


def test_client_side_apply_goes_over_to_server_side_apply(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=config_map(a="1", b="1"))
    assert managers(kubectl, namespace) == {"kubectl-client-side-apply": "Update"}
    kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=config_map(a="2"))
    found = kubectl.json("-n", namespace, "get", "configmap/settings")
    assert found["data"] == {"a": "2"}
    owners = managers(kubectl, namespace)
    assert owners["kubectl"] == "Apply" and "kubectl-client-side-apply" not in owners
    # and back: the annotation was kept true
    kubectl("-n", namespace, "apply", "-f", "-", stdin=config_map(c="3"))
    assert kubectl.json("-n", namespace, "get", "configmap/settings")["data"] == {"c": "3"}


def test_a_conflict_is_forced_or_given_up(kubectl: Kubectl, namespace: str) -> None:
    apply = ("-n", namespace, "apply", "--server-side", "-f", "-")
    kubectl(*apply, "--field-manager=one", stdin=config_map(a="1"))
    refused = kubectl.run(*apply, "--field-manager=two", stdin=config_map(a="2"))
    assert refused.code == 1 and 'conflict with "one": .data.a' in refused.err
    kubectl(*apply, "--field-manager=two", "--force-conflicts", stdin=config_map(a="2"))
    assert managers(kubectl, namespace) == {"two": "Apply"}


def test_an_applied_field_that_does_not_exist(kubectl: Kubectl, namespace: str) -> None:
    wrong = {**config_map(a="1"), "dota": {}}
    refused = kubectl.run("-n", namespace, "apply", "--server-side", "--validate=false", "-f", "-", stdin=wrong)
    assert refused.code == 1 and ".dota: field not declared in schema" in refused.err


def test_edit_in_an_editor(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    kubectl("-n", namespace, "create", "configmap", "settings", "--from-literal=a=1")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/a: "1"/a: "2"/\' "$1"\n')
    editor.chmod(0o755)
    command = [str(BIN / "kubectl"), "--kubeconfig", str(kubectl.kubeconfig), "-n", namespace]
    environment = {**os.environ, "EDITOR": str(editor), "HOME": str(tmp_path)}
    done = subprocess.run(
        [*command, "edit", "configmap/settings"], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0 and "configmap/settings edited" in done.stdout, done.stderr
    assert kubectl.json("-n", namespace, "get", "configmap/settings")["data"] == {"a": "2"}
    assert managers(kubectl, namespace)["kubectl-edit"] == "Update"


def test_diff_changes_nothing(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=config_map(a="1"))
    for how in ((), ("--server-side", "--force-conflicts")):
        different = kubectl.run("-n", namespace, "diff", *how, "-f", "-", stdin=config_map(a="2"))
        assert different.code == 1 and '+  a: "2"' in different.out, different.err
    assert kubectl.json("-n", namespace, "get", "configmap/settings")["data"] == {"a": "1"}
    assert kubectl.run("-n", namespace, "diff", "-f", "-", stdin=config_map(a="1")).code == 0


def test_raw_documents_in_their_forms(kubectl: Kubectl) -> None:
    swagger = json.loads(kubectl("get", "--raw", "/openapi/v2"))
    assert "io.k8s.api.apps.v1.Deployment" in swagger["definitions"]
    index = json.loads(kubectl("get", "--raw", "/openapi/v3"))
    assert "apis/apps/v1" in index["paths"]
    assert "rollingUpdate" in kubectl("explain", "deployment.spec.strategy")
