"""What callers make up is remembered within bounds of bytes, not of numbers: names, tokens, roles and texts are long."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.authn.known import CACHED_BYTES, cache, weight
from sampan.api.authz.coverage import Held
from sampan.api.flowcontrol.control import KNOWN_BYTES
from sampan.api.rbac import CACHED_BYTES as RBAC_BYTES
from sampan.api.rbac import Grants, RbacAuthorizer, path_allows, rule_allows
from sampan.api.request import Attributes, User
from sampan.api.resources import addresses, checking, cron_jobs, quantities
from sampan.schema import jsonpath, patterns, selectors
from sampan.schema.remembering import LONGEST, remembered

from .conftest import Caller


def test_answers_about_long_texts_are_not_kept() -> None:
    asked: list[str] = []

    @remembered(10)
    def length(text: str) -> int:
        asked.append(text)
        return len(text)

    for text in ("a", "a", "b" * LONGEST, "b" * LONGEST, "c" * (LONGEST + 1), "c" * (LONGEST + 1)):
        assert length(text) == len(text)
    assert [len(text) for text in asked] == [1, LONGEST, LONGEST + 1, LONGEST + 1]


@pytest.mark.parametrize(
    "function",
    [
        checking.good_label,
        checking.good_subdomain,
        addresses.family,
        quantities.amount,
        quantities.resource_messages,
        cron_jobs.schedule_error,
        selectors.parse_label_selector,
        patterns.compile_pattern,
        jsonpath.compile_path,
    ],
)
def test_no_function_of_what_is_sent_keeps_a_long_text(function: Any) -> None:
    before = function.kept.cache_info()
    for number in range(3):
        with contextlib.suppress(ValueError):
            function("a" * (5000 + number))
    assert function.kept.cache_info() == before


def test_users_are_remembered_within_bytes() -> None:
    kept = cache()
    for number in range(1000):
        user = User(f"user-{number}", tuple(f"group-{'x' * 200}-{index}" for index in range(100)))
        kept.put(number, user, weight(user))
    assert 0 < len(kept) <= CACHED_BYTES // 25_000
    assert kept.get(999) is not None


async def test_what_many_users_may_is_remembered_within_bytes(whole: Caller) -> None:
    authorizer = whole.api.authorizer.modes[1] if len(whole.api.authorizer.modes) > 1 else whole.api.authorizer.modes[0]
    assert isinstance(authorizer, RbacAuthorizer)
    rules = [{"verbs": ["get"], "apiGroups": [""], "resources": [f"things{index}" for index in range(900)]}]
    path = "/apis/rbac.authorization.k8s.io/v1"
    await whole("POST", f"{path}/clusterroles", {"metadata": {"name": "wide"}, "rules": rules})
    binding = {
        "metadata": {"name": "wide"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "wide"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "all"}],
    }
    assert (await whole("POST", f"{path}/clusterrolebindings", binding))[0] == 201
    for number in range(200):
        at = Attributes(User(f"user-{number}", ("all",)), "get", "", "", "v1", "things7")
        assert authorizer.authorize(at)[0]
    assert 0 < len(authorizer._users) <= RBAC_BYTES // (900 * 200)
    control = whole.api.flow_control
    assert control is not None
    for number in range(200):
        control.flow_of(Attributes(User("u" * 100_000 + str(number), ("g",)), "get", "", "", "v1", "pods"))
    assert len(control._flows) <= KNOWN_BYTES // 100_000 + 1


# a rule is three lists: of a thousand each it stands for a billion permissions, which nobody may write out

THOUSAND = [f"x{number}" for number in range(1000)]
BILLION = {"verbs": THOUSAND, "apiGroups": THOUSAND, "resources": THOUSAND}


async def test_a_rule_of_a_billion_permissions_is_judged(whole: Caller) -> None:
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    role = {"metadata": {"name": "billion"}, "rules": [BILLION]}
    assert (await whole("POST", f"{path}/roles", role))[0] == 201
    made = {
        "metadata": {"name": "billion"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "billion"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "jane"}],
    }
    assert (await whole("POST", f"{path}/rolebindings", made))[0] == 201
    jane = whole.as_user("jane")
    code, status = await jane("POST", f"{path}/roles", {**role, "metadata": {"name": "mine"}})
    assert code == 403 and "cannot create resource" in status["message"]
    manager = {"verbs": ["create"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"]}
    await whole("PUT", f"{path}/roles/billion", {**role, "rules": [BILLION, manager]})
    assert (await jane("POST", f"{path}/roles", {**role, "metadata": {"name": "mine"}}))[0] == 201
    more = {**BILLION, "verbs": [*THOUSAND, "delete"]}
    code, status = await jane("POST", f"{path}/roles", {"metadata": {"name": "more"}, "rules": [more]})
    assert code == 403 and "is attempting to grant RBAC permissions not currently held" in status["message"]


def test_a_rule_of_many_permissions_allows_what_it_says() -> None:
    grants = Grants()
    grants.add({**BILLION, "resources": [*THOUSAND, "pods/log", "*/status"]}, "b")
    for verb, group, resource, subresource, allowed in [
        ("x1", "x2", "x3", "", True),
        ("x1", "x2", "pods", "log", True),
        ("x1", "x2", "pods", "", False),
        ("x1", "x2", "anything", "status", True),
        ("get", "x2", "x3", "", False),
        ("x1", "", "x3", "", False),
    ]:
        at = Attributes(User("u"), verb, "", group, "v1", resource, subresource)
        assert bool(grants.allow(at)) is allowed


words = st.lists(st.sampled_from(["a", "b", "*"]), max_size=2)
rules = st.fixed_dictionaries(
    {
        "verbs": words,
        "apiGroups": words,
        "resources": st.lists(st.sampled_from(["a", "b", "a/x", "*/x", "*"]), max_size=2),
        "resourceNames": words,
        "nonResourceURLs": st.lists(st.sampled_from(["/a", "/a/*", "/a/b", "*"]), max_size=2),
    }
)


@given(rules, st.lists(rules, max_size=4))
def test_a_rule_is_covered_where_each_of_its_permissions_is(wanted: Any, held: list[Any]) -> None:
    def permissions() -> Any:
        for verb in wanted["verbs"]:
            for url in wanted["nonResourceURLs"]:
                yield any(path_allows(rule, verb, url) for rule in held)
            for group in wanted["apiGroups"]:
                for resource in wanted["resources"]:
                    main, _, sub = resource.partition("/")
                    for name in wanted["resourceNames"] or [""]:
                        yield any(rule_allows(rule, verb, group, main, sub, name) for rule in held)

    assert Held(held).cover(wanted) is all(permissions())
