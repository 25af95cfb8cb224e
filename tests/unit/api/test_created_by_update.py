"""What an update or an apply creates, and who may; which kinds need a resourceVersion."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.resources import declarations
from sampan.api.resources.updating import CONDITIONAL, CREATED
from tests.unit.api.conftest import Caller

LEASES = "/apis/coordination.k8s.io/v1/namespaces/default/leases"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
APPLY = {"content-type": "application/apply-patch+yaml"}


def lease(name: str = "a", **metadata: Any) -> dict[str, Any]:
    spec = {"holderIdentity": "me", "leaseDurationSeconds": 15}
    return {
        "kind": "Lease",
        "apiVersion": "coordination.k8s.io/v1",
        "metadata": {"name": name, **metadata},
        "spec": spec,
    }


async def holder(whole: Caller, user: str, group: str, resource: str, *verbs: str) -> Caller:
    rules = [{"apiGroups": [group], "resources": [resource], "verbs": list(verbs)}]
    subjects = [{"kind": "User", "name": user}]
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": user}
    assert (await whole("POST", f"{RBAC}/clusterroles", {"metadata": {"name": user}, "rules": rules}))[0] == 201
    bound = {"metadata": {"name": user}, "roleRef": reference, "subjects": subjects}
    assert (await whole("POST", f"{RBAC}/clusterrolebindings", bound))[0] == 201
    return whole.as_user(user)


def test_every_kind_named_is_declared() -> None:
    declared = {f"{resource.plural}.{resource.group}" for resource in declarations()}
    assert declared >= CREATED and declared >= CONDITIONAL


async def test_an_update_creates_a_lease(whole: Caller) -> None:
    code, made = await whole("PUT", f"{LEASES}/a", lease(resourceVersion="7"))
    assert code == 201 and made["metadata"]["uid"] and made["metadata"]["namespace"] == "default"
    assert made["metadata"]["managedFields"][0]["operation"] == "Update"
    made["spec"]["holderIdentity"] = "you"
    code, changed = await whole("PUT", f"{LEASES}/a", made)
    assert code == 200 and changed["metadata"]["uid"] == made["metadata"]["uid"]


async def test_one_that_names_the_object_it_means_does_not(whole: Caller) -> None:
    code, status = await whole("PUT", f"{LEASES}/a", lease(uid="b7"))
    assert code == 409 and "Precondition failed: UID in precondition: b7, UID in object meta: " in status["message"]
    assert (await whole("GET", f"{LEASES}/a"))[0] == 404


async def test_what_is_created_is_judged(whole: Caller) -> None:
    bad = lease()
    bad["spec"]["leaseDurationSeconds"] = -1
    code, status = await whole("PUT", f"{LEASES}/a", bad)
    assert code == 422 and status["details"]["causes"][0]["field"] == "spec.leaseDurationSeconds"
    assert (await whole("PUT", f"{LEASES}/b", lease()))[0] == 400
    code, _ = await whole("PUT", f"{LEASES}/a?dryRun=All", lease())
    assert code == 201 and (await whole("GET", f"{LEASES}/a"))[0] == 404


@pytest.mark.parametrize(
    ("path", "obj"),
    [
        ("/api/v1/namespaces/default/configmaps/a", {"metadata": {"name": "a"}}),
        (
            "/apis/policy/v1/namespaces/default/poddisruptionbudgets/a",
            {"metadata": {"name": "a"}, "spec": {"selector": {"matchLabels": {"a": "b"}}}},
        ),
    ],
)
async def test_other_kinds_must_be_there(whole: Caller, path: str, obj: dict[str, Any]) -> None:
    assert (await whole("PUT", path, obj))[0] == 404


async def test_a_lease_is_not_changed_without_its_version(whole: Caller) -> None:
    await whole("POST", LEASES, lease())
    code, status = await whole("PUT", f"{LEASES}/a", lease())
    assert code == 422
    assert status["message"] == (
        'leases.coordination.k8s.io "a" is invalid: metadata.resourceVersion: '
        "Invalid value: 0: must be specified for an update"
    )
    patch = {"spec": {"holderIdentity": "you"}}
    merge = {"content-type": "application/merge-patch+json"}
    assert (await whole("PATCH", f"{LEASES}/a", patch, merge))[0] == 200


async def test_who_may_update_but_not_create(whole: Caller) -> None:
    ann = await holder(whole, "ann", "coordination.k8s.io", "leases", "get", "update", "patch")
    for method, query, headers in (("PUT", "", {}), ("PATCH", "?fieldManager=m", APPLY)):
        code, status = await ann(method, f"{LEASES}/a{query}", lease(), headers)
        assert code == 403, (method, status)
        assert 'User "ann" cannot create resource "leases" in API group "coordination.k8s.io"' in status["message"]
    await whole("POST", LEASES, lease())
    assert (await ann("PATCH", f"{LEASES}/a?fieldManager=m&force=true", lease(), APPLY))[0] == 200


async def test_an_update_grants_no_more_than_one_holds(whole: Caller) -> None:
    bob = await holder(whole, "bob", "rbac.authorization.k8s.io", "clusterroles", "create", "update")
    everything = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}]
    code, status = await bob("PUT", f"{RBAC}/clusterroles/x", {"metadata": {"name": "x"}, "rules": everything})
    assert code == 403 and "permissions not currently held" in status["message"]
