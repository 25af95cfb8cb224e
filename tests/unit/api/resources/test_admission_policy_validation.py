"""What is said of admission policies, their bindings and match conditions that are refused: all of it at once."""

from __future__ import annotations

from typing import Any

import pytest

from .conftest import causes, declared

GROUP = "admissionregistration.k8s.io"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
UNDECLARED = "compilation failed: ERROR: <input>:1:{column}: undeclared reference to '{name}' (in container '')"


def policy(**spec: Any) -> dict[str, Any]:
    spec = {"matchConstraints": {"resourceRules": [RULE]}, "validations": [{"expression": "true"}], **spec}
    return {"kind": "ValidatingAdmissionPolicy", "metadata": {"name": "p"}, "spec": spec}


def told(obj: dict[str, Any], old: dict[str, Any] | None = None, minor: int = 37) -> dict[str, str]:
    """Return field → the first line of what is said of it."""
    found = causes(declared(obj["kind"], GROUP, minor=minor), obj, old)
    return {field: message.partition("\n")[0] for field, message in found.items()}


def test_expressions_are_judged_beside_all_else() -> None:
    made = policy(
        failurePolicy="X",
        matchConditions=[{"name": "a b", "expression": " no "}, {"name": "c", "expression": "1"}],
        variables=[{"name": "1", "expression": "x + 1"}, {"name": "v", "expression": "1"}],
        validations=[{"expression": "variables.v", "messageExpression": "authorizer", "message": "\n"}],
        auditAnnotations=[{"key": "k", "valueExpression": " variables.w"}],
    )
    found = told(made)
    assert found.pop("spec.matchConditions[0].name").startswith('Invalid value: "a b": name part must consist of')
    assert found == {
        "spec.failurePolicy": 'Unsupported value: "X": supported values: "Fail", "Ignore"',
        "spec.matchConditions[0].expression": f'Invalid value: "no": {UNDECLARED.format(column=1, name="no")}',
        "spec.matchConditions[1].expression": 'Invalid value: "1": must evaluate to bool but got int',
        "spec.variables[0].name": 'Invalid value: "1": must be a valid CEL identifier',
        "spec.variables[0].expression": f'Invalid value: "x + 1": {UNDECLARED.format(column=1, name="x")}',
        "spec.validations[0].expression": 'Invalid value: "variables.v": must evaluate to bool but got int',
        "spec.validations[0].messageExpression": 'Invalid value: "authorizer": '
        + UNDECLARED.format(column=1, name="authorizer"),
        "spec.validations[0].message": r'Invalid value: "\n": must be non-empty if specified',
        "spec.auditAnnotations[0].valueExpression": 'Invalid value: " variables.w": compilation failed: ERROR: '
        "<input>:1:10: undefined field 'w'",
    }


def test_without_variables_there_is_no_variable_of_that_name() -> None:
    found = told(policy(validations=[{"expression": "variables.x == 1"}]))
    assert found == {
        "spec.validations[0].expression": 'Invalid value: "variables.x == 1": '
        + UNDECLARED.format(column=1, name="variables")
    }


@pytest.mark.parametrize(("params", "refused"), [(None, False), ({"apiVersion": "v1", "kind": "ConfigMap"}, True)])
def test_match_conditions_that_stay_are_not_judged_again(params: Any, refused: bool) -> None:
    """Unless what they may name has changed."""
    old = policy(matchConditions=[{"name": "a", "expression": "nonsense"}])
    new = policy(matchConditions=[{"name": "a", "expression": "nonsense"}], paramKind=params, failurePolicy="Ignore")
    assert bool(told(new, old)) is refused


def test_a_mutation_is_compiled_where_the_rest_is_wrong() -> None:
    mutation = {"patchType": "JSONPatch", "jsonPatch": {"expression": "x"}}
    made = policy(mutations=[mutation], reinvocationPolicy="X")
    del made["spec"]["validations"]
    found = told({**made, "kind": "MutatingAdmissionPolicy"})
    assert found == {
        "spec.mutations[0].jsonPatch.expression": f'Invalid value: "x": {UNDECLARED.format(column=1, name="x")}',
        "spec.reinvocationPolicy": 'Unsupported value: "X": supported values: "IfNeeded", "Never"',
    }


@pytest.mark.parametrize(
    ("minor", "said"),
    [
        (26, {}),
        (27, {"spec.validationActions": "Required value: at least one validation action is required"}),
        (36, {"spec.validationActions": "Required value: at least one validation action is required"}),
        (37, {"spec.validationActions": "Required value"}),
    ],
)
def test_a_binding_says_what_to_do(minor: int, said: dict[str, str]) -> None:
    binding = {"kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "b"}, "spec": {}}
    assert told(binding, minor=minor) == {"spec.policyName": "Required value", **said}


def test_the_status_of_a_policy_is_judged_alone() -> None:
    made = policy(failurePolicy="X")
    made["status"] = {"typeChecking": {"expressionWarnings": [{"fieldRef": " ", "warning": ""}]}}
    found = causes(declared(made["kind"], GROUP), made, made, "status")
    path = "status.typeChecking.expressionWarnings[0]"
    assert found == {f"{path}.warning": "Required value", f"{path}.fieldRef": "Required value"}


def webhook(expression: str, timeout: int = 1) -> dict[str, Any]:
    made = {
        "name": "a.example.com",
        "clientConfig": {"url": "https://example.com"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "timeoutSeconds": timeout,
        "matchConditions": [{"name": "c", "expression": expression}],
    }
    return {"kind": "ValidatingWebhookConfiguration", "metadata": {"name": "w"}, "webhooks": [made]}


def test_match_conditions_of_a_webhook() -> None:
    path = "webhooks[0].matchConditions[0].expression"
    nonsense = f'Invalid value: "nonsense": {UNDECLARED.format(column=1, name="nonsense")}'
    assert told(webhook("nonsense ")) == {path: nonsense}
    assert told(webhook("  ")) == {path: "Required value"}
    assert told(webhook("nonsense", timeout=2), webhook("nonsense")) == {}
    assert told(webhook("nonsense"), webhook("true")) == {path: nonsense}
