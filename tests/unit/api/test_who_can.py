"""Who can: subjects by bindings, limits by names and namespaces, aggregated roles, roundabout ways."""

from __future__ import annotations

from typing import Any

import pytest

from sampan.api.rbac import Policy
from sampan.api.who_can import Asked, roundabout, who_can

JANE = {"kind": "User", "name": "jane"}
BOT = {"kind": "ServiceAccount", "name": "bot"}
READ = {"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}


def role(name: str, *rules: dict[str, Any], namespace: str = "", **more: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": more.pop("labels", {}), **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "rules": list(rules), **more}


def binding(of: str, *subjects: dict[str, Any], namespace: str = "", cluster_role: bool = True) -> dict[str, Any]:
    reference = {"kind": "ClusterRole" if cluster_role else "Role", "name": of}
    metadata = {"name": f"{of}s", **({"namespace": namespace} if namespace else {})}
    return {"metadata": metadata, "roleRef": reference, "subjects": list(subjects)}


def policy(roles: list[Any], bindings: list[Any]) -> Policy:
    whole = {one["metadata"]["name"]: one for one in roles if "namespace" not in one["metadata"]}
    local = {
        (one["metadata"]["namespace"], one["metadata"]["name"]): one for one in roles if "namespace" in one["metadata"]
    }
    clusterwide = [one for one in bindings if "namespace" not in one["metadata"]]
    return Policy(whole, local, clusterwide, [one for one in bindings if "namespace" in one["metadata"]])


def found(known: Policy, asked: Asked) -> list[tuple[str, str, tuple[str, ...]]]:
    return [(one.subject, one.scope, one.only) for one in who_can(known, asked)]


def test_everywhere_and_in_namespaces() -> None:
    known = policy(
        [role("reader", READ), role("own", READ, namespace="shop")],
        [
            binding("reader", JANE),
            binding("reader", BOT, namespace="shop"),
            binding("own", {"kind": "Group", "name": "g"}, namespace="shop", cluster_role=False),
            binding("gone", JANE),
        ],
    )
    get = Asked("get", "", "secrets")
    everywhere = ("jane", "", ())
    assert found(known, get._replace(namespace="shop")) == [everywhere, ("shop/bot", "shop", ()), ("g", "shop", ())]
    assert found(known, get._replace(namespace="other")) == [everywhere]
    assert len(found(known, get)) == 3, "asked for no namespace, all count"
    assert not found(known, Asked("delete", "", "secrets"))


def test_names_subresources_and_paths() -> None:
    known = policy(
        [
            role("one", {**READ, "resourceNames": ["web", "db"]}),
            role("logs", {"verbs": ["get"], "apiGroups": [""], "resources": ["pods/log"]}),
            role("paths", {"verbs": ["get"], "nonResourceURLs": ["/metrics", "/logs/*"]}),
        ],
        [binding("one", JANE), binding("logs", BOT, namespace="shop"), binding("paths", BOT, JANE)],
    )
    assert found(known, Asked("get", "", "secrets")) == [("jane", "", ("db", "web"))]
    assert found(known, Asked("get", "", "secrets", name="db")) == [("jane", "", ())]
    assert found(known, Asked("get", "", "secrets", name="x")) == []
    assert found(known, Asked("get", "", "pods", "log")) == [("shop/bot", "shop", ())]
    assert found(known, Asked("get", "", "pods")) == []
    assert [subject for subject, *_ in found(known, Asked("get", path="/logs/x"))] == ["/bot", "jane"]


def test_aggregated_roles_count() -> None:
    selector = {"clusterRoleSelectors": [{"matchLabels": {"to": "all"}}]}
    known = policy(
        [role("all", aggregationRule=selector), role("part", READ, labels={"to": "all"})], [binding("all", JANE)]
    )
    assert found(known, Asked("get", "", "secrets")) == [("jane", "", ())]


@pytest.mark.parametrize(
    ("rule", "may"),
    [
        ({"verbs": ["escalate"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}, "escalate roles"),
        ({"verbs": ["bind"], "apiGroups": ["*"], "resources": ["clusterroles"]}, "bind clusterroles"),
        ({"verbs": ["impersonate"], "apiGroups": [""], "resources": ["groups"]}, "impersonate groups"),
    ],
)
def test_who_could_take_it(rule: dict[str, Any], may: str) -> None:
    known = policy(
        [role("reader", READ), role("hop", rule)], [binding("reader", JANE), binding("hop", JANE, BOT, namespace="a")]
    )
    direct = list(who_can(known, Asked("get", "", "secrets")))
    assert [(way, one.subject) for way, one in roundabout(known, direct)] == [(may, "a/bot")]
