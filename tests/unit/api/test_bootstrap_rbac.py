"""Bootstrap roles and bindings: what a cluster has, and that a start adds what is missing and takes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api import policy_roles, policy_system_roles
from sampan.api.local import LocalClient
from sampan.api.rbac import path_allows, rule_allows
from sampan.api.rbac_reconciling import reconciled
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api

ADMIN = User("admin", ("system:masters", "system:authenticated"))
RBAC = "/apis/rbac.authorization.k8s.io/v1"


def named(objects: Any, name: str) -> dict[str, Any]:
    return dict(next(obj for obj in objects if obj["metadata"]["name"] == name))


def test_missing_rules_and_subjects_are_added_and_nothing_is_taken() -> None:
    wanted = named(policy_roles.cluster_roles(), "system:kube-scheduler")
    stored = copy.deepcopy(wanted)
    assert reconciled(stored, wanted) is None
    extra = {"apiGroups": ["acme.com"], "resources": ["things"], "verbs": ["get"]}
    stored["rules"] = [extra, *stored["rules"][2:]]
    stored["metadata"]["labels"] = {"mine": "yes"}
    changed = reconciled(stored, wanted)
    assert changed is not None and changed["rules"][0] == extra
    assert all(rule in changed["rules"] for rule in wanted["rules"])
    assert changed["metadata"]["labels"] == {"kubernetes.io/bootstrapping": "rbac-defaults", "mine": "yes"}
    stored["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] = "false"
    assert reconciled(stored, wanted) is None


def test_a_wider_rule_lacks_nothing() -> None:
    wanted = named(policy_roles.cluster_roles(), "system:node-proxier")
    everything = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    assert reconciled({**wanted, "rules": [everything]}, wanted) is None


def test_bindings() -> None:
    wanted = named(policy_roles.bindings(), "system:public-info-viewer")
    mine = {"kind": "User", "apiGroup": "rbac.authorization.k8s.io", "name": "jane"}
    changed = reconciled({**copy.deepcopy(wanted), "subjects": [mine]}, wanted)
    assert changed is not None and changed["subjects"] == [mine, *wanted["subjects"]]
    other = {**copy.deepcopy(wanted), "roleRef": {**wanted["roleRef"], "name": "other"}, "subjects": [mine]}
    changed = reconciled(other, wanted)
    assert changed is not None and (changed["roleRef"], changed["subjects"]) == (wanted["roleRef"], wanted["subjects"])


async def test_a_start_brings_an_old_cluster_up_to_date(throwaway_pki: Path, tmp_path: Path) -> None:
    config = ApiConfig(pki_dir=throwaway_pki, store_path=tmp_path / "store.db")
    api = await open_api(config)
    admin = LocalClient(api, ADMIN)
    for obj in policy_system_roles.objects():
        plural = obj["kind"].lower() + "s"
        namespace = obj["metadata"].get("namespace")
        where = f"/namespaces/{namespace}/{plural}" if namespace else f"/{plural}"
        assert (await admin.raw("GET", f"{RBAC}{where}/{obj['metadata']['name']}"))[0] == 200
    await admin.raw("DELETE", f"{RBAC}/clusterroles/system:kube-dns")
    role = orjson.loads((await admin.raw("GET", f"{RBAC}/clusterroles/system:discovery"))[1])
    assert (await admin.raw("PUT", f"{RBAC}/clusterroles/system:discovery", body={**role, "rules": []}))[0] == 200
    binding = orjson.loads((await admin.raw("GET", f"{RBAC}/clusterrolebindings/system:basic-user"))[1])
    await admin.raw("PUT", f"{RBAC}/clusterrolebindings/system:basic-user", body={**binding, "subjects": []})
    await api.close()
    api = await open_api(config)
    admin = LocalClient(api, ADMIN)
    assert (await admin.raw("GET", f"{RBAC}/clusterroles/system:kube-dns"))[0] == 200
    again = orjson.loads((await admin.raw("GET", f"{RBAC}/clusterroles/system:discovery"))[1])
    assert again["rules"] == role["rules"] and again["metadata"]["uid"] == role["metadata"]["uid"]
    jane = LocalClient(api, User("jane", ("system:authenticated",)))
    assert (await jane.raw("GET", "/apis"))[0] == 200
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectRulesReview",
        "spec": {"namespace": "default"},
    }
    assert (await jane.raw("POST", "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", body=review))[0] == 201
    await api.close()


def rules_of(version: int, name: str) -> list[Any]:
    return list(named(policy_roles.cluster_roles(version), name)["rules"])


def grants(version: int, name: str, verb: str, group: str, resource: str) -> bool:
    main, _, sub = resource.partition("/")
    return any(rule_allows(rule, verb, group, main, sub, "x") for rule in rules_of(version, name))


@pytest.mark.parametrize(
    ("role", "verb", "group", "resource", "first"),
    [
        ("view", "list", "resource.k8s.io", "resourceclaims", 34),
        ("edit", "create", "resource.k8s.io", "resourceclaimtemplates", 34),
        ("system:node", "get", "", "serviceaccounts", 34),
        ("system:node", "list", "certificates.k8s.io", "clustertrustbundles", 37),
        ("system:basic-user", "create", "authentication.k8s.io", "selfsubjectreviews", 27),
        ("system:monitoring", "get", "", "nodes/metrics", 34),
        ("system:kubelet-api-admin", "get", "", "nodes/configz", 33),
        ("system:node-proxier", "list", "networking.k8s.io", "servicecidrs", 33),
        ("system:kube-scheduler", "list", "coordination.k8s.io", "leasecandidates", 31),
        ("edit", "create", "coordination.k8s.io", "leases", 25),
        ("view", "list", "extensions", "ingresses", 25),
    ],
)
def test_roles_grow_with_the_version(role: str, verb: str, group: str, resource: str, first: int) -> None:
    for version in range(25, 38):
        assert grants(version, role, verb, group, resource) is (version >= first), version


@pytest.mark.parametrize(("path", "first"), [("/metrics/slis", 26), ("/statusz", 36), ("/flagz", 36), ("/metrics", 25)])
def test_paths_of_monitoring(path: str, first: int) -> None:
    for version in range(25, 38):
        found = any(path_allows(rule, "get", path) for rule in rules_of(version, "system:monitoring"))
        assert found is (version >= first), version


def test_the_role_of_nodes_is_no_wider_than_kubernetes() -> None:
    """What our agent reads beyond it is the authorizer's affair."""
    assert not grants(37, "system:node", "list", "networking.k8s.io", "networkpolicies")
    assert any(
        rule_allows(rule, "list", "networking.k8s.io", "networkpolicies", "", "") for rule in policy_roles.node_rules()
    )


def test_trust_bundles_are_read_by_accounts_when_there_are_any() -> None:
    name = "system:cluster-trust-bundle-discovery"
    assert name not in [role["metadata"]["name"] for role in policy_roles.cluster_roles(36)]
    assert named(policy_roles.bindings(37), name)["subjects"][0]["name"] == "system:serviceaccounts"
