"""The smallest roles for what an audit log tells: they allow all of it, and nothing else."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.security.audit_roles import Use, roles, rules, users, uses

ME = "system:serviceaccount:shop:bot"


def event(verb: str, resource: str = "pods", code: int = 200, user: str = ME, **more: Any) -> dict[str, Any]:
    reference = {"resource": resource, "namespace": "shop", "name": "web", **more}
    return {
        "stage": "ResponseComplete",
        "verb": verb,
        "user": {"username": user},
        "objectRef": reference,
        "requestURI": "/x",
        "responseStatus": {"code": code},
    }


def made(*events: dict[str, Any], denied: bool = False, names: bool = False) -> list[dict[str, Any]]:
    return list(roles(uses(events, ME, denied=denied, names=names), ME, "bot"))


def test_one_role_a_namespace_with_its_binding() -> None:
    log = [
        event("get"),
        event("list"),
        event("get", "configmaps"),
        event("list", "configmaps"),
        event("get", subresource="log"),
    ]
    log += [
        event("get", "nodes", namespace=""),
        event("get", user="other", resource="secrets"),
        event("create", "jobs", apiGroup="batch"),
    ]
    cluster, cluster_binding, role, binding = made(*log)
    assert (cluster["kind"], cluster["rules"]) == (
        "ClusterRole",
        [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}],
    )
    assert role["metadata"] == {"name": "bot", "namespace": "shop"}
    assert role["rules"] == [
        {"apiGroups": [""], "resources": ["configmaps", "pods"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods/log"], "verbs": ["get"]},
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]},
    ]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "bot", "namespace": "shop"}]
    assert cluster_binding["roleRef"] == {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bot"}


def test_names_when_asked_for_but_not_for_collections() -> None:
    role, _ = made(event("get"), event("list"), names=True)
    assert [(rule.get("resourceNames"), rule["verbs"]) for rule in role["rules"]] == [
        (None, ["list"]),
        (["web"], ["get"]),
    ]


def test_what_was_refused_counts_only_when_asked_for() -> None:
    log = (event("delete", code=403), event("get", code=401), event("get", code=404))
    assert made(*log)[0]["rules"][0]["verbs"] == ["get"]
    assert made(*log, denied=True)[0]["rules"][0]["verbs"] == ["delete", "get"]


def test_paths_and_impersonation() -> None:
    path = {"stage": "ResponseComplete", "verb": "get", "user": {"username": "admin"}, "requestURI": "/metrics?x=1"}
    log = [{**path, "impersonatedUser": {"username": ME}}, {**path, "user": {"username": ME}, "requestURI": "/api/v1"}]
    assert made(*log)[0]["rules"] == [{"nonResourceURLs": ["/metrics"], "verbs": ["get"]}]
    assert users(log) == {ME: 2}


USES = st.builds(
    Use,
    st.just(""),
    st.sampled_from(["", "apps"]),
    st.sampled_from(["a", "b", "c/log"]),
    st.sampled_from(["get", "list", "update"]),
    st.sampled_from(["", "x", "y"]),
    st.just(""),
)


def granted(found: list[dict[str, Any]], one: Use) -> bool:
    return any(
        one.group in rule["apiGroups"]
        and one.resource in rule["resources"]
        and one.verb in rule["verbs"]
        and ("resourceNames" not in rule or one.name in rule["resourceNames"])
        for rule in found
    )


@given(st.lists(USES, max_size=12))
def test_all_of_it_and_nothing_else(seen: list[Use]) -> None:
    found = rules(seen)
    everything = [
        Use("", group, resource, verb, name, "")
        for group in ("", "apps")
        for resource in ("a", "b", "c/log")
        for verb in ("get", "list", "update")
        for name in ("", "x", "y")
    ]
    for one in everything:
        wanted = one in seen or one._replace(name="") in seen
        assert granted(found, one) is wanted
