"""Bootstrap roles and bindings: what a cluster has, and that a start adds what is missing and takes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import orjson

from sampan.api import policy_roles, policy_system_roles
from sampan.api.local import LocalClient
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
