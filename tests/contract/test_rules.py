"""CEL as a user of kubectl meets it: a CRD with rules, and a policy."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from .conftest import Kubectl

RULES = [
    {"rule": "self.min <= self.max", "messageExpression": "self.min > 9 ? 'far above max' : 'above max'"},
    {"rule": "self.max >= oldSelf.max", "message": "max only grows", "fieldPath": ".max"},
]


def definition(rules: list[dict[str, Any]]) -> dict[str, Any]:
    number = {"type": "integer"}
    spec = {"type": "object", "properties": {"min": number, "max": number}, "x-kubernetes-validations": rules}
    schema = {"type": "object", "properties": {"spec": {**spec, "required": ["min", "max"]}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "ranges.rules.example.com"},
        "spec": {
            "group": "rules.example.com",
            "scope": "Namespaced",
            "names": {"plural": "ranges", "singular": "range", "kind": "Range", "listKind": "RangeList"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def a_range(least: int, most: int) -> dict[str, Any]:
    spec = {"min": least, "max": most}
    return {"apiVersion": "rules.example.com/v1", "kind": "Range", "metadata": {"name": "r"}, "spec": spec}


def test_rules_of_a_definition(kubectl: Kubectl, namespace: str) -> None:
    wrong = kubectl.run("apply", "-f", "-", stdin=definition([{"rule": "self.mim > 0"}]))
    assert wrong.code == 1 and "undefined field 'mim'" in wrong.err
    kubectl("apply", "-f", "-", stdin=definition(RULES))
    try:
        kubectl("-n", namespace, "apply", "-f", "-", stdin=a_range(1, 5))
        above = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=a_range(7, 6))
        assert above.code == 1 and above.err.strip() == ('The Range "r" is invalid: spec: Invalid value: above max')
        smaller = kubectl.run("-n", namespace, "apply", "-f", "-", stdin=a_range(1, 3))
        assert smaller.code == 1 and "spec.max: Invalid value: " in smaller.err and "max only grows" in smaller.err
        kubectl("-n", namespace, "apply", "-f", "-", stdin=a_range(1, 9))
    finally:
        kubectl("delete", "crd", "ranges.rules.example.com")


@pytest.fixture
def policy(kubectl: Kubectl, namespace: str) -> Iterator[str]:
    """A policy and its binding, for the test's namespace only."""
    name = f"few-{uuid.uuid4().hex[:6]}"
    rule = {
        "apiGroups": ["apps"],
        "apiVersions": ["v1"],
        "operations": ["CREATE", "UPDATE"],
        "resources": ["deployments"],
    }
    told = "'at most ' + string(variables.most) + ', not ' + string(object.spec.replicas)"
    here = {"matchLabels": {"kubernetes.io/metadata.name": namespace}}
    common = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    spec = {
        "matchConstraints": {"resourceRules": [rule]},
        "variables": [{"name": "most", "expression": "5"}],
        "validations": [{"expression": "object.spec.replicas <= variables.most", "messageExpression": told}],
    }
    bound = {"policyName": name, "validationActions": ["Deny"], "matchResources": {"namespaceSelector": here}}
    kubectl("apply", "-f", "-", stdin={**common, "kind": "ValidatingAdmissionPolicy", "spec": spec})
    kubectl("apply", "-f", "-", stdin={**common, "kind": "ValidatingAdmissionPolicyBinding", "spec": bound})
    yield name
    kubectl("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", name)


def test_a_policy_denies(kubectl: Kubectl, namespace: str, policy: str) -> None:
    kubectl("-n", namespace, "create", "deployment", "small", "--image=shop:1", "--replicas=2")
    big = kubectl.run("-n", namespace, "create", "deployment", "big", "--image=shop:1", "--replicas=9")
    why = f"ValidatingAdmissionPolicy '{policy}' with binding '{policy}' denied request: at most 5, not 9"
    assert big.code == 1 and why in big.err
    table = kubectl("get", "validatingadmissionpolicies", policy).splitlines()
    assert table[0].split() == ["NAME", "VALIDATIONS", "PARAMKIND", "AGE"]
    assert table[1].split()[:3] == [policy, "1", "<unset>"]
