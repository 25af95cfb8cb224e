"""What a user of kubectl does in an ordinary week, each against the real binary."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.eventually import eventually

from .conftest import BIN, Kubectl


def deployment(name: str, replicas: int = 2, image: str = "shop:1") -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 80}]}]},
            },
        },
    }


def test_version_names_the_emulated_kubernetes(kubectl: Kubectl) -> None:
    assert kubectl.json("version")["serverVersion"]["major"] == "1"


def test_api_resources_list_short_names_and_groups(kubectl: Kubectl) -> None:
    lines = kubectl("api-resources").splitlines()
    rows = {line.split()[0]: line for line in reversed(lines)}  # metrics.k8s.io has pods and nodes, too, and comes last
    assert "deploy" in rows["deployments"] and "apps/v1" in rows["deployments"]
    assert "po" in rows["pods"].split()
    assert "customresourcedefinitions" in rows


def test_a_fresh_cluster_has_what_kubernetes_has(kubectl: Kubectl) -> None:
    namespaces = kubectl("get", "namespaces", "-o", "name").split()
    for name in ("default", "kube-system", "kube-public", "kube-node-lease"):
        assert f"namespace/{name}" in namespaces
    for made in ("service/kubernetes", "configmap/kube-root-ca.crt", "serviceaccount/default"):
        kubectl("wait", "--for=create", made, "--timeout=60s")
    service = kubectl.json("get", "service", "kubernetes")
    assert service["spec"]["clusterIP"] and service["spec"]["ports"][0]["port"] == 443
    assert "BEGIN CERTIFICATE" in kubectl.json("get", "configmap", "kube-root-ca.crt")["data"]["ca.crt"]


def test_apply_waits_scales_and_rolls_out(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=deployment("web"))
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    again = kubectl("-n", namespace, "apply", "-f", "-", stdin=deployment("web"))
    assert again.strip() == "deployment.apps/web unchanged"

    kubectl("-n", namespace, "scale", "deployment/web", "--replicas=3")
    kubectl("-n", namespace, "wait", "deployment/web", "--for=jsonpath={.status.readyReplicas}=3", "--timeout=60s")

    kubectl("-n", namespace, "set", "image", "deployment/web", "web=shop:2")
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    history = kubectl("-n", namespace, "rollout", "history", "deployment/web")
    assert history.count("<none>") == 2
    kubectl("-n", namespace, "rollout", "undo", "deployment/web")
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    image = "jsonpath={.spec.template.spec.containers[0].image}"
    assert kubectl("-n", namespace, "get", "deployment", "web", "-o", image) == "shop:1"


def test_tables_are_those_of_kubernetes(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=deployment("web", 1))
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    pods = kubectl("-n", namespace, "get", "pods").splitlines()
    assert pods[0].split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert pods[1].split()[1:4] == ["1/1", "Running", "0"]
    wide = kubectl("-n", namespace, "get", "pods", "-o", "wide").splitlines()
    assert wide[0].split()[5:7] == ["IP", "NODE"]
    deployments = kubectl("-n", namespace, "get", "deployments").splitlines()
    assert deployments[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert deployments[1].split()[:4] == ["web", "1/1", "1", "1"]


def test_describe_shows_the_events_of_a_pod(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=deployment("web", 1))
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")

    def told(words: str, *what: str) -> None:
        eventually(
            words, lambda: words in kubectl("-n", namespace, "describe", *what)
        )  # Events come after what they tell of

    told("Successfully assigned", "pods", "-l", "app=web")
    told("Scaled up replica set", "deployment", "web")


def test_server_side_apply_and_its_conflict(kubectl: Kubectl, namespace: str) -> None:
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}
    kubectl("-n", namespace, "apply", "--server-side", "-f", "-", stdin=config)
    config["data"] = {"a": "2"}
    refused = kubectl.run("-n", namespace, "apply", "--server-side", "--field-manager=other", "-f", "-", stdin=config)
    assert refused.code == 1 and 'conflict with "kubectl"' in refused.err and ".data.a" in refused.err
    kubectl(
        "-n", namespace, "apply", "--server-side", "--force-conflicts", "--field-manager=other", "-f", "-", stdin=config
    )
    assert kubectl("-n", namespace, "get", "cm", "c", "-o", "jsonpath={.data.a}") == "2"


@pytest.mark.parametrize(
    ("kind", "patch"),
    [
        ("json", [{"op": "add", "path": "/data/b", "value": "2"}]),
        ("merge", {"data": {"b": "2"}}),
        ("strategic", {"data": {"b": "2"}}),
    ],
)
def test_patches(kubectl: Kubectl, namespace: str, kind: str, patch: object) -> None:
    kubectl("-n", namespace, "create", "configmap", "c", "--from-literal=a=1")
    kubectl("-n", namespace, "patch", "configmap", "c", f"--type={kind}", "-p", json.dumps(patch))
    assert kubectl.json("-n", namespace, "get", "configmap", "c")["data"] == {"a": "1", "b": "2"}


def test_strategic_patch_merges_containers_by_name(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=deployment("web", 0))
    patch = {"spec": {"template": {"spec": {"containers": [{"name": "web", "env": [{"name": "A", "value": "1"}]}]}}}}
    kubectl("-n", namespace, "patch", "deployment", "web", "-p", json.dumps(patch))
    container = kubectl.json("-n", namespace, "get", "deployment", "web")["spec"]["template"]["spec"]["containers"]
    assert container[0]["image"] == "shop:1" and container[0]["env"] == [{"name": "A", "value": "1"}]


def test_diff_label_annotate_and_field_selectors(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "configmap", "c", "--from-literal=a=1")
    changed = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "2"}}
    diff = kubectl.run("-n", namespace, "diff", "-f", "-", stdin=changed)
    assert diff.code == 1 and '+  a: "2"' in diff.out
    kubectl("-n", namespace, "label", "configmap", "c", "tier=front")
    assert kubectl("-n", namespace, "get", "cm", "-l", "tier in (front, back)", "-o", "name") == "configmap/c\n"
    assert kubectl("-n", namespace, "get", "cm", "--field-selector=metadata.name=c", "-o", "name") == "configmap/c\n"


def test_explain_reads_the_schema(kubectl: Kubectl) -> None:
    explained = kubectl("explain", "deployment.spec.strategy")
    assert "DeploymentStrategy" in explained and "rollingUpdate" in explained


def test_unknown_fields_are_refused_with_their_path(kubectl: Kubectl, namespace: str) -> None:
    wrong = deployment("web")
    wrong["spec"]["template"]["spec"]["containers"][0]["imagee"] = "x"
    refused = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=wrong)
    assert refused.code == 1
    assert 'unknown field "spec.template.spec.containers[0].imagee"' in refused.err


def test_invalid_objects_name_the_field_and_the_rule(kubectl: Kubectl, namespace: str) -> None:
    wrong = deployment("web")
    wrong["spec"]["selector"]["matchLabels"] = {"app": "other"}
    refused = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=wrong)
    assert refused.code == 1
    assert "`selector` does not match template `labels`" in refused.err
    refused = kubectl.run("-n", namespace, "create", "configmap", "Not_A_Name")
    assert refused.code == 1 and "a lowercase RFC 1123 subdomain must consist of" in refused.err


def test_a_missing_namespace_is_said(kubectl: Kubectl) -> None:
    refused = kubectl.run("-n", "nowhere", "create", "configmap", "c")
    assert refused.code == 1 and 'namespaces "nowhere" not found' in refused.err


def test_deleting_a_namespace_drains_it(kubectl: Kubectl) -> None:
    kubectl("create", "namespace", "doomed")
    kubectl("-n", "doomed", "apply", "-f", "-", stdin=deployment("web"))
    kubectl("delete", "namespace", "doomed", "--timeout=60s")
    gone = kubectl.run("get", "namespace", "doomed")
    assert gone.code == 1 and "NotFound" in gone.err


def test_owned_objects_are_collected(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=deployment("web"))
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("-n", namespace, "delete", "deployment", "web", "--cascade=foreground", "--timeout=60s")
    assert kubectl("-n", namespace, "get", "replicasets,pods", "-o", "name") == ""


def test_orphans_stay(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "apply", "-f", "-", stdin=deployment("web"))
    kubectl("-n", namespace, "rollout", "status", "deployment/web", "--timeout=60s")
    kubectl("-n", namespace, "delete", "deployment", "web", "--cascade=orphan", "--timeout=60s")
    assert "replicaset.apps/web-" in kubectl("-n", namespace, "get", "replicasets", "-o", "name")


def test_jobs_complete(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "job", "once", "--image=shop:1", "--", "true")
    kubectl("-n", namespace, "wait", "job/once", "--for=condition=Complete", "--timeout=60s")
    assert kubectl("-n", namespace, "get", "job", "once", "-o", "jsonpath={.status.succeeded}") == "1"


def test_rbac_refuses_as_kubernetes_words_it(kubectl: Kubectl, namespace: str) -> None:
    user = f"system:serviceaccount:{namespace}:default"
    refused = kubectl.run("-n", namespace, "get", "pods", "--as", user)
    assert refused.code == 1
    assert f'pods is forbidden: User "{user}" cannot list resource "pods" in API group "" ' in refused.err
    assert kubectl.run("-n", namespace, "auth", "can-i", "list", "pods", "--as", user).out.strip() == "no"
    kubectl(
        "-n", namespace, "create", "rolebinding", "view", "--clusterrole=view", f"--serviceaccount={namespace}:default"
    )
    assert kubectl("-n", namespace, "auth", "can-i", "list", "pods", "--as", user).strip() == "yes"
    assert kubectl.run("-n", namespace, "get", "pods", "--as", user).code == 0
    assert "pods" in kubectl("-n", namespace, "auth", "can-i", "--list", "--as", user)


def test_service_account_tokens_authenticate(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "wait", "--for=create", "serviceaccount/default", "--timeout=60s")
    token = kubectl("-n", namespace, "create", "token", "default").strip()
    server = kubectl("config", "view", "--minify", "-o", "jsonpath={.clusters[0].cluster.server}")
    anonymous = ["--kubeconfig", "/dev/null", "--server", server, "--insecure-skip-tls-verify", "--token", token]
    whoami = kubectl.run(*anonymous, "auth", "whoami", "-o", "json")
    assert json.loads(whoami.out)["status"]["userInfo"]["username"] == f"system:serviceaccount:{namespace}:default"
    refused = kubectl.run(*anonymous[:-1], token[:-4] + "AAAA", "auth", "whoami")
    assert refused.code == 1 and "Unauthorized" in refused.err


def test_custom_resources(kubectl: Kubectl, namespace: str) -> None:
    group = "contract.sampan.dev"
    crd = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"boats.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"plural": "boats", "singular": "boat", "kind": "Boat", "shortNames": ["bt"]},
            "versions": [
                {
                    "name": "v1",
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [{"name": "Sails", "type": "integer", "jsonPath": ".spec.sails"}],
                    "schema": {
                        "openAPIV3Schema": {
                            "type": "object",
                            "properties": {
                                "spec": {
                                    "type": "object",
                                    "required": ["sails"],
                                    "properties": {
                                        "sails": {"type": "integer", "minimum": 1},
                                        "rig": {"type": "string", "default": "junk"},
                                    },
                                },
                                "status": {"type": "object", "properties": {"afloat": {"type": "boolean"}}},
                            },
                        }
                    },
                }
            ],
        },
    }
    kubectl("apply", "-f", "-", stdin=crd)
    try:
        kubectl("wait", f"crd/boats.{group}", "--for=condition=Established", "--timeout=60s")
        boat = {
            "apiVersion": f"{group}/v1",
            "kind": "Boat",
            "metadata": {"name": "tanka"},
            "spec": {"sails": 2},
        }
        kubectl("-n", namespace, "apply", "-f", "-", stdin=boat)
        table = kubectl("-n", namespace, "get", "bt").splitlines()
        assert table[0].split() == ["NAME", "SAILS"] and table[1].split() == ["tanka", "2"]
        assert kubectl("-n", namespace, "get", "boat", "tanka", "-o", "jsonpath={.spec.rig}") == "junk"
        boat["spec"] = {"sails": 0}
        refused = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=boat)
        assert refused.code == 1 and "spec.sails" in refused.err and "greater than or equal to 1" in refused.err
        assert "sails" in kubectl("explain", "boat.spec")
    finally:
        kubectl("delete", "crd", f"boats.{group}", "--timeout=60s")


def test_watch_sees_what_happens(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "create", "configmap", "c", "--from-literal=a=1")
    command = [str(BIN / "kubectl"), "--kubeconfig", str(kubectl.kubeconfig), "-n", namespace]
    command += ["get", "configmap", "c", "--watch", "--output-watch-events", "--no-headers"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as watching:
        try:
            assert watching.stdout is not None
            assert watching.stdout.readline().split()[:2] == ["ADDED", "c"]
            kubectl("-n", namespace, "delete", "configmap", "c")
            assert watching.stdout.readline().split()[:2] == ["DELETED", "c"]
        finally:
            watching.kill()


def test_edit_writes_what_the_editor_left(kubectl: Kubectl, namespace: str, tmp_path: Path) -> None:
    kubectl("-n", namespace, "create", "configmap", "c", "--from-literal=a=1")
    editor = tmp_path / "editor"
    editor.write_text('#!/bin/sh\nsed -i \'s/a: .1./a: "2"/\' "$1"\n')
    editor.chmod(0o755)
    edited = kubectl.run("-n", namespace, "edit", "configmap", "c", environment={"KUBE_EDITOR": str(editor)})
    assert edited.code == 0 and "configmap/c edited" in edited.out, edited.err
    assert kubectl("-n", namespace, "get", "cm", "c", "-o", "jsonpath={.data.a}") == "2"
    again = kubectl.run("-n", namespace, "edit", "configmap", "c", environment={"KUBE_EDITOR": "true"})
    assert "Edit cancelled, no changes made" in again.out + again.err


def test_debug_adds_a_container_that_can_be_entered(kubectl: Kubectl, namespace: str) -> None:
    kubectl("-n", namespace, "run", "web", "--image=shop:1")
    kubectl("-n", namespace, "wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
    kubectl("-n", namespace, "debug", "web", "--image=busybox", "--container=look", "--profile=general", "--", "sh")
    running = "jsonpath={.status.ephemeralContainerStatuses[0].state.running}"
    kubectl("-n", namespace, "wait", "pod/web", f"--for={running}", "--timeout=60s")
    assert kubectl("-n", namespace, "exec", "web", "-c", "look", "--", "hostname") == "web\n"
    copied = kubectl("-n", namespace, "debug", "web", "--copy-to=twin", "--set-image=*=shop:2", "--profile=general")
    assert not copied.strip() or "twin" in copied
    assert kubectl("-n", namespace, "get", "pod", "twin", "-o", "jsonpath={.spec.containers[0].image}") == "shop:2"
