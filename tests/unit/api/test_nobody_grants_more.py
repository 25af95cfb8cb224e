"""Who may write RBAC objects comes to no more than he holds: not by labels, aggregation, or roles that are not there yet."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.rbac import aggregated
from tests.unit.api.conftest import Caller

GROUP = "rbac.authorization.k8s.io"
RBAC = f"/apis/{GROUP}/v1"
EVERYTHING = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}, {"nonResourceURLs": ["*"], "verbs": ["*"]}]
GATHER = {"clusterRoleSelectors": [{"matchLabels": {"gather": "me"}}]}


def role(name: str, rules: list[Any], **fields: Any) -> dict[str, Any]:
    labels = fields.pop("labels", {})
    return {"metadata": {"name": name, "labels": labels}, "rules": rules, **fields}


def binding(name: str, to: str, user: str) -> dict[str, Any]:
    reference = {"apiGroup": GROUP, "kind": "ClusterRole", "name": to}
    return {"metadata": {"name": name}, "roleRef": reference, "subjects": [{"kind": "User", "name": user}]}


@pytest.fixture
async def manager(whole: Caller) -> Caller:
    """Who writes ClusterRoles and their bindings, and holds nothing else."""
    verbs = ["get", "create", "update", "patch"]
    rules = [{"apiGroups": [GROUP], "resources": ["clusterroles", "clusterrolebindings"], "verbs": verbs}]
    assert (await whole("POST", f"{RBAC}/clusterroles", role("manager", rules)))[0] == 201
    assert (await whole("POST", f"{RBAC}/clusterrolebindings", binding("bob", "manager", "bob")))[0] == 201
    return whole.as_user("bob")


async def patched(caller: Caller, name: str, patch: dict[str, Any]) -> tuple[int, Any]:
    media = {"content-type": "application/merge-patch+json"}
    return await caller("PATCH", f"{RBAC}/clusterroles/{name}", patch, media)


async def test_a_label_does_not_bring_a_stronger_role_into_ones_own(whole: Caller, manager: Caller) -> None:
    await whole("POST", f"{RBAC}/clusterroles", role("gathered", [], aggregationRule=GATHER))
    label = {"metadata": {"labels": {"gather": "me"}}}
    code, status = await patched(manager, "cluster-admin", label)
    assert code == 403 and "permissions not currently held" in status["message"]
    assert (await patched(manager, "manager", label))[0] == 200  # what he holds himself
    assert (await patched(manager, "cluster-admin", {"metadata": {"finalizers": ["example.com/f"]}}))[0] == 200


async def test_only_who_holds_everything_aggregates(whole: Caller, manager: Caller) -> None:
    for code, status in (
        await manager("POST", f"{RBAC}/clusterroles", role("mine", [], aggregationRule=GATHER)),
        await patched(manager, "manager", {"aggregationRule": GATHER}),
    ):
        assert code == 403 and "must have cluster-admin privileges to use an aggregationRule" in status["message"]
    await whole("POST", f"{RBAC}/clusterroles", role("all", EVERYTHING))
    await whole("POST", f"{RBAC}/clusterrolebindings", binding("ann", "all", "ann"))
    ann = whole.as_user("ann")
    assert (await ann("POST", f"{RBAC}/clusterroles", role("hers", [], aggregationRule=GATHER)))[0] == 201


async def test_a_role_that_is_not_there_yet_is_bound_by_nobody_who_may_not_bind(whole: Caller, manager: Caller) -> None:
    code, status = await manager("POST", f"{RBAC}/clusterrolebindings", binding("later", "later", "bob"))
    assert code == 404 and f'clusterroles.{GROUP} "later" not found' in status["message"]
    assert (await whole("POST", f"{RBAC}/clusterrolebindings", binding("later", "later", "bob")))[0] == 201


def test_roles_that_gather_each_other_are_read_once() -> None:
    """Each of thirty selects all of them: paths between them are beyond number."""
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    labels = {"gather": "me"}
    roles = [role(f"r{number}", [], labels=labels, aggregationRule=GATHER) for number in range(30)]
    assert aggregated(roles[0], [*roles, role("pods", rules, labels=labels)]) == rules
