"""ValidatingAdmissionPolicy and MutatingAdmissionPolicy through the API."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.server import ApiConfig, open_api

from .conftest import Answer, Asgi, HeaderAuthenticator

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
CONFIG_MAP_RULE = {
    "apiGroups": [""],
    "apiVersions": ["v1"],
    "operations": ["CREATE", "UPDATE"],
    "resources": ["configmaps"],
}
DEPLOYMENT_RULE = {**CONFIG_MAP_RULE, "apiGroups": ["apps"], "resources": ["deployments"]}
PLURALS = {
    "ValidatingAdmissionPolicy": "validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
    "MutatingAdmissionPolicy": "mutatingadmissionpolicies",
    "MutatingAdmissionPolicyBinding": "mutatingadmissionpolicybindings",
}


@pytest.fixture
async def api(throwaway_pki: Path) -> AsyncIterator[Api]:
    made = await open_api(ApiConfig(pki_dir=throwaway_pki))
    made.authenticator = HeaderAuthenticator()
    yield made
    await made.close()


@pytest.fixture
def http(api: Api) -> Asgi:
    return Asgi(api)


def config_map(name: str = "cm", data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": data or {"k": "v"}}


def deployment(name: str = "web", replicas: int = 1) -> dict[str, Any]:
    container = {"name": "c", "image": "nginx"}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [container]}}
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec}


async def write(http: Asgi, kind: str, name: str, **spec: Any) -> Answer:
    body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
    return await http("POST", f"{REGISTRATION}/{PLURALS[kind]}", body)


async def policy(http: Asgi, *validations: Any, actions: Any = ("Deny",), binding: Any = None, **spec: Any) -> None:
    """Write a validating policy and its binding."""
    rules = [one if isinstance(one, dict) else {"expression": one} for one in validations]
    match = spec.pop("matchConstraints", {"resourceRules": [CONFIG_MAP_RULE]})
    made = await write(http, "ValidatingAdmissionPolicy", "p", matchConstraints=match, validations=rules, **spec)
    assert made.status == 201, made.json
    kind = "ValidatingAdmissionPolicyBinding"
    bound = await write(http, kind, "b", policyName="p", validationActions=list(actions), **(binding or {}))
    assert bound.status == 201, bound.json


async def mutate(http: Asgi, *mutations: str, rule: Any = CONFIG_MAP_RULE, binding: Any = None, **spec: Any) -> None:
    """Write a mutating policy of JSON patches (``[…``) and configurations, and its binding."""
    made = [
        {"patchType": "JSONPatch", "jsonPatch": {"expression": text}}
        if text.startswith("[")
        else {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}
        for text in mutations
    ]
    kind, match = "MutatingAdmissionPolicy", {"resourceRules": [rule]}
    spec = {"matchConstraints": match, "mutations": made, "reinvocationPolicy": "Never", **spec}
    written = await write(http, kind, "m", **spec)
    assert written.status == 201, written.json
    assert (await write(http, f"{kind}Binding", "mb", policyName="m", **(binding or {}))).status == 201


async def test_a_policy_denies_as_soon_as_it_is_bound(http: Asgi) -> None:
    assert (await http("POST", CONFIGMAPS, config_map("before"))).status == 201
    await policy(http, {"expression": "'team' in object.data", "message": "a team is needed"})
    refused = await http("POST", CONFIGMAPS, config_map())
    why = "ValidatingAdmissionPolicy 'p' with binding 'b' denied request: a team is needed"
    assert refused.status == 422
    assert refused.json["reason"] == "Invalid"
    assert refused.json["message"] == f'configmaps "cm" is forbidden: {why}'
    assert refused.json["details"] == {"name": "cm", "kind": "configmaps", "causes": [{"message": why}]}
    assert (await http("POST", CONFIGMAPS, config_map(data={"team": "a"}))).status == 201
    assert (await http("DELETE", f"{REGISTRATION}/validatingadmissionpolicybindings/b")).status == 200
    assert (await http("POST", CONFIGMAPS, config_map("after"))).status == 201


async def test_messages_reasons_and_variables(http: Asgi) -> None:
    told = "'has %d keys'.format([variables.size])"
    keys = {"name": "keys", "expression": "object.data.map(k, k)"}
    rule = {"expression": "variables.size < 2", "messageExpression": told, "reason": "Forbidden"}
    await policy(http, rule, variables=[keys, {"name": "size", "expression": "variables.keys.size()"}])
    refused = await http("POST", CONFIGMAPS, config_map(data={"a": "1", "b": "2"}))
    assert (refused.status, refused.json["reason"]) == (403, "Forbidden")
    assert refused.json["message"].endswith("denied request: has 2 keys")


@pytest.mark.parametrize(("failure_policy", "status"), [("Fail", 422), ("Ignore", 201)])
async def test_an_expression_that_fails(http: Asgi, failure_policy: str, status: int) -> None:
    await policy(http, "object.nope == 1", failurePolicy=failure_policy)
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == status
    if status == 422:
        assert answer.json["message"].endswith("expression 'object.nope == 1' resulted in error: no such key: nope")


async def test_warnings_and_audit(api: Api, http: Asgi) -> None:
    annotation = {"key": "who", "valueExpression": "'made by ' + request.userInfo.username"}
    await policy(http, "false", actions=("Warn", "Audit"), auditAnnotations=[annotation])
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == 201
    words = "Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': failed expression: false"
    assert answer.headers["warning"] == f'299 - "{words}"'
    kept: dict[str, str] = {}
    plugin = next(one for one in api.admission if type(one).__name__ == "ValidatingAdmissionPolicy")
    original = plugin.validate

    async def validate(admission: Any) -> None:
        await original(admission)
        kept.update(admission.audit_annotations)

    plugin.validate = validate
    api.chain.forget()
    await http("POST", CONFIGMAPS, config_map("other"))
    assert kept["p/who"] == "made by admin"
    (failure,) = json.loads(kept["validation.policy.admission.k8s.io/validation_failure"])
    assert failure == {
        "message": "failed expression: false",
        "policy": "p",
        "binding": "b",
        "expressionIndex": 0,
        "validationActions": ["Warn", "Audit"],
    }


IN_DEFAULT = {"kubernetes.io/metadata.name": "default"}


@pytest.mark.parametrize(
    ("constraints", "refused"),
    [
        ({"resourceRules": [CONFIG_MAP_RULE]}, True),
        ({"resourceRules": [{**CONFIG_MAP_RULE, "operations": ["UPDATE"]}]}, False),
        ({"resourceRules": [{**CONFIG_MAP_RULE, "resourceNames": ["cm"]}]}, True),
        ({"resourceRules": [{**CONFIG_MAP_RULE, "resourceNames": ["x"]}]}, False),
        ({"resourceRules": [CONFIG_MAP_RULE], "excludeResourceRules": [{**CONFIG_MAP_RULE, "resourceNames": ["cm"]}]}, False),
        ({"resourceRules": [CONFIG_MAP_RULE], "objectSelector": {"matchLabels": {"a": "b"}}}, True),
        ({"resourceRules": [CONFIG_MAP_RULE], "objectSelector": {"matchLabels": {"a": "c"}}}, False),
        ({"resourceRules": [CONFIG_MAP_RULE], "namespaceSelector": {"matchLabels": IN_DEFAULT}}, True),
        ({"resourceRules": [CONFIG_MAP_RULE], "namespaceSelector": {"matchLabels": {"x": "y"}}}, False),
        ({"resourceRules": [{**CONFIG_MAP_RULE, "apiGroups": ["*"], "apiVersions": ["*"], "resources": ["*"]}]}, True),
    ],
)  # fmt: skip
async def test_what_a_policy_is_for(http: Asgi, constraints: dict[str, Any], refused: bool) -> None:
    await policy(http, "false", matchConstraints=constraints)
    answer = await http("POST", CONFIGMAPS, config_map(labels={"a": "b"}))
    assert (answer.status == 422) is refused


async def test_a_binding_narrows_a_policy(http: Asgi) -> None:
    await policy(http, "false", binding={"matchResources": {"objectSelector": {"matchLabels": {"a": "b"}}}})
    assert (await http("POST", CONFIGMAPS, config_map("free"))).status == 201
    assert (await http("POST", CONFIGMAPS, config_map(labels={"a": "b"}))).status == 422


async def test_match_conditions_the_namespace_and_the_authorizer(http: Asgi) -> None:
    await policy(
        http,
        "namespaceObject.metadata.name == 'other'",
        "authorizer.requestResource.check('approve').allowed()",
        matchConditions=[{"name": "not-free", "expression": "!('free' in object.data)"}],
    )
    assert (await http("POST", CONFIGMAPS, config_map("free", {"free": "1"}))).status == 201
    assert (await http("POST", CONFIGMAPS, config_map())).status == 422


async def test_deletions_are_seen(http: Asgi) -> None:
    rule = {**CONFIG_MAP_RULE, "operations": ["DELETE"]}
    await policy(http, "object == null && oldObject.data.keep != 'yes'", matchConstraints={"resourceRules": [rule]})
    await http("POST", CONFIGMAPS, config_map("kept", {"keep": "yes"}))
    await http("POST", CONFIGMAPS, config_map("free", {"keep": "no"}))
    assert (await http("DELETE", f"{CONFIGMAPS}/kept")).status == 422
    assert (await http("DELETE", f"{CONFIGMAPS}/free")).status == 200


CONFIG_PARAMS = {"apiVersion": "v1", "kind": "ConfigMap"}


async def test_parameters_by_name(http: Asgi) -> None:
    reference = {"name": "limit", "namespace": "default", "parameterNotFoundAction": "Deny"}
    await policy(
        http,
        "object.spec.replicas <= int(params.data.max)",
        paramKind=CONFIG_PARAMS,
        binding={"paramRef": reference},
        matchConstraints={"resourceRules": [DEPLOYMENT_RULE]},
    )
    missing = await http("POST", DEPLOYMENTS, deployment(replicas=3))
    words = "failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
    assert missing.json["message"].endswith(words)
    await http("POST", CONFIGMAPS, config_map("limit", {"max": "2"}))
    assert (await http("POST", DEPLOYMENTS, deployment(replicas=3))).status == 422
    assert (await http("POST", DEPLOYMENTS, deployment(replicas=2))).status == 201


async def test_parameters_by_selector_are_all_looked_at(http: Asgi) -> None:
    reference = {"selector": {"matchLabels": {"is": "limit"}}, "parameterNotFoundAction": "Allow"}
    await policy(
        http,
        {
            "expression": "object.spec.replicas <= int(params.data.max)",
            "messageExpression": "'more than ' + params.data.max",
        },
        paramKind=CONFIG_PARAMS,
        binding={"paramRef": reference},
        matchConstraints={"resourceRules": [DEPLOYMENT_RULE]},
    )
    assert (await http("POST", DEPLOYMENTS, deployment("free", replicas=9))).status == 201
    for name, most in (("one", "9"), ("two", "2")):
        await http("POST", CONFIGMAPS, config_map(name, {"max": most}, labels={"is": "limit"}))
    assert (await http("POST", DEPLOYMENTS, deployment(replicas=3))).json["message"].endswith("more than 2")


async def test_match_conditions_see_parameters_and_no_namespace(http: Asgi) -> None:
    assert (await http("POST", CONFIGMAPS, config_map("limit", {"judged": "yes"}))).status == 201
    await policy(
        http,
        "false",
        paramKind=CONFIG_PARAMS,
        binding={"paramRef": {"name": "limit", "namespace": "default", "parameterNotFoundAction": "Deny"}},
        matchConditions=[
            {"name": "params", "expression": "object.data.judged == params.data.judged"},
            {"name": "namespace", "expression": "namespaceObject == null"},
        ],
    )
    assert (await http("POST", CONFIGMAPS, config_map("a", {"judged": "no"}))).status == 201
    assert (await http("POST", CONFIGMAPS, config_map("b", {"judged": "yes"}))).status == 422


async def test_an_unknown_kind_of_parameters(http: Asgi) -> None:
    kind = {"apiVersion": "rules.example.com/v1", "kind": "Limit"}
    reference = {"name": "x", "parameterNotFoundAction": "Deny"}
    await policy(http, "true", paramKind=kind, binding={"paramRef": reference})
    refused = await http("POST", CONFIGMAPS, config_map())
    words = "failed to configure policy: failed to find resource referenced by paramKind: 'rules.example.com/v1, Kind=Limit'"
    assert refused.json["message"].endswith(f"ValidatingAdmissionPolicy 'p' denied request: {words}")


async def test_types_are_checked_into_the_status(http: Asgi) -> None:
    match = {"resourceRules": [DEPLOYMENT_RULE]}
    rules = [{"expression": "object.spec.replicas < 5"}, {"expression": "object.spec.replicaz < 5"}]
    made = (await write(http, "ValidatingAdmissionPolicy", "p", matchConstraints=match, validations=rules)).json
    assert made["status"]["observedGeneration"] == 1
    (warning,) = made["status"]["typeChecking"]["expressionWarnings"]
    assert warning["fieldRef"] == "spec.validations[1].expression"
    assert warning["warning"].startswith(
        "apps/v1, Kind=Deployment: compilation failed: ERROR: <input>:1:12: undefined field 'replicaz'"
    )
    made["spec"]["validations"].pop()
    changed = (await http("PUT", f"{REGISTRATION}/validatingadmissionpolicies/p", made)).json
    assert changed["status"] == {"observedGeneration": 2, "typeChecking": {}}


AUDIT = {"key": "a", "valueExpression": "1"}


def rule(**validation: str) -> dict[str, Any]:
    return {"validations": [validation]}


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        (rule(expression="object."), "validations[0].expression", "Syntax error"),
        (rule(expression="1"), "validations[0].expression", "must evaluate to bool but got int"),
        (rule(expression="variables.x"), "validations[0].expression", "undeclared reference to 'variables'"),
        (rule(expression="params.x"), "validations[0].expression", "undeclared reference to 'params'"),
        (rule(expression=" "), "validations[0].expression", "expression is not specified"),
        (rule(expression="true", messageExpression="1"), "validations[0].messageExpression", "must evaluate to string"),
        (rule(expression="true", reason="X"), "validations[0].reason", 'Unsupported value: "X"'),
        ({"validations": []}, "validations", "must contain at least one item"),
        ({"variables": [{"name": "a-b", "expression": "1"}]}, "variables[0].name", "must be a valid CEL identifier"),
        ({"variables": [{"name": "a", "expression": "1 +"}]}, "variables[0].expression", "Syntax error"),
        ({"matchConditions": [{"name": "a", "expression": "1"}]}, "matchConditions[0].expression", "must evaluate to bool"),
        ({"matchConstraints": {"resourceRules": []}}, "matchConstraints.resourceRules", "Required value"),
        ({"auditAnnotations": [AUDIT]}, "auditAnnotations[0].valueExpression", "must evaluate to one of"),
        ({"paramKind": {"apiVersion": "v1", "kind": ""}}, "paramKind.kind", "Required value"),
        ({"failurePolicy": "X"}, "failurePolicy", "Unsupported value"),
    ],
)  # fmt: skip
async def test_policies_that_are_refused(http: Asgi, spec: dict[str, Any], field: str, message: str) -> None:
    right = {"matchConstraints": {"resourceRules": [CONFIG_MAP_RULE]}, "validations": [{"expression": "true"}]}
    refused = await write(http, "ValidatingAdmissionPolicy", "p", **{**right, **spec})
    assert refused.status == 422
    assert any(
        one["field"] == f"spec.{field}" and message in one["message"] for one in refused.json["details"]["causes"]
    )


@pytest.mark.parametrize(
    ("spec", "field"),
    [
        ({"validationActions": []}, "spec.validationActions"),
        ({"validationActions": ["Deny", "Warn"]}, "spec.validationActions"),
        ({"policyName": ""}, "spec.policyName"),
        ({"paramRef": {}}, "spec.paramRef"),
        ({"paramRef": {"name": "a", "selector": {}}}, "spec.paramRef.name"),
    ],
)
async def test_bindings_that_are_refused(http: Asgi, spec: dict[str, Any], field: str) -> None:
    right = {"policyName": "p", "validationActions": ["Deny"]}
    refused = await write(http, "ValidatingAdmissionPolicyBinding", "b", **{**right, **spec})
    assert refused.status == 422
    assert field in [one["field"] for one in refused.json["details"]["causes"]]


PATCH = {"patchType": "JSONPatch", "jsonPatch": {"expression": "[JSONPatch{op: 'remove', path: '/data'}]"}}
CONFIGURATION = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}


@pytest.mark.parametrize(
    ("spec", "field", "message"),
    [
        ({"mutations": []}, "mutations", "Required value: mutations must contain at least one item"),
        ({"mutations": [{}]}, "mutations[0].patchType", "Required value"),
        ({"mutations": [{**PATCH, "patchType": "X"}]}, "mutations[0].patchType", "Unsupported value"),
        ({"mutations": [{"patchType": "JSONPatch"}]}, "mutations[0].jsonPatch",
         "Required value: must be specified when patchType is JSONPatch"),
        ({"mutations": [{**CONFIGURATION, **PATCH}]}, "mutations[0].applyConfiguration",
         'Invalid value: "{applyConfiguration}": must not be specified when patchType is JSONPatch'),
        ({"mutations": [{**PATCH, "jsonPatch": {"expression": " "}}]}, "mutations[0].jsonPatch.expression", "Required value"),
        ({"mutations": [{**PATCH, "jsonPatch": {"expression": " [] "}}]}, "mutations[0].jsonPatch.expression",
         'Invalid value: "[]": must evaluate to list(JSONPatch) but got list(dyn)'),
        ({"mutations": [{**CONFIGURATION, "applyConfiguration": {"expression": "{}"}}]},
         "mutations[0].applyConfiguration.expression", "must evaluate to Object but got map(dyn, dyn)"),
        ({"reinvocationPolicy": ""}, "reinvocationPolicy", "Required value"),
        ({"matchConstraints": {"resourceRules": [{**CONFIG_MAP_RULE, "operations": ["DELETE"]}]}},
         "matchConstraints.resourceRules.operations", "Unsupported value"),
    ],
)  # fmt: skip
async def test_mutating_policies_that_are_refused(http: Asgi, spec: dict[str, Any], field: str, message: str) -> None:
    match = {"resourceRules": [CONFIG_MAP_RULE]}
    right = {"matchConstraints": match, "mutations": [PATCH], "reinvocationPolicy": "Never"}
    refused = await write(http, "MutatingAdmissionPolicy", "m", **{**right, **spec})
    assert refused.status == 422
    told = {one["field"]: one["message"] for one in refused.json["details"]["causes"]}
    assert message in told[f"spec.{field}"]


# mutation


async def test_a_configuration_is_merged(http: Asgi) -> None:
    expression = """Object{
      metadata: Object.metadata{labels: {"team": "a"}},
      spec: Object.spec{replicas: object.spec.replicas + 1, template: Object.spec.template{spec: Object.spec.template.spec{
        containers: [Object.spec.template.spec.containers{name: "side", image: "log"}]}}}}"""
    await mutate(http, expression, rule=DEPLOYMENT_RULE, reinvocationPolicy="Never")
    made = (await http("POST", DEPLOYMENTS, deployment(replicas=2))).json
    assert made["metadata"]["labels"] == {"team": "a"}
    assert made["spec"]["replicas"] == 3
    containers = made["spec"]["template"]["spec"]["containers"]
    assert [one["name"] for one in containers] == ["c", "side"]
    assert containers[1]["terminationMessagePath"] == "/dev/termination-log"


async def test_a_json_patch_is_applied(http: Asgi) -> None:
    patch = """[JSONPatch{op: "test", path: "/data/a", value: "1"},
      JSONPatch{op: "add", path: "/metadata/labels", value: {"x": "y"}},
      JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("k8s.io/b"), value: object.data.a + "2"}]"""
    await mutate(http, patch)
    made = (await http("POST", CONFIGMAPS, config_map(data={"a": "1"}))).json
    assert made["metadata"]["labels"] == {"x": "y", "k8s.io/b": "12"}
    other = (await http("POST", CONFIGMAPS, config_map("other", {"a": "9"}))).json
    assert "labels" not in other["metadata"]  # a test that fails leaves the object alone


async def test_mutations_see_what_those_before_made(http: Asgi) -> None:
    await mutate(http, 'Object{data: {"a": "1"}}', 'Object{data: {"b": object.data.a + "2"}}')
    assert (await http("POST", CONFIGMAPS, config_map())).json["data"] == {"a": "1", "b": "12", "k": "v"}


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        (
            'Object{data: Object.nope{a: "1"}}',
            'type mismatch: unexpected type name "Object.nope", expected "Object.data"',
        ),
        ("Object{data: {'a': string(object.data.nope)}}", "resulted in error: no such key: nope"),
        ('[JSONPatch{op: "remove", path: "/data/nope"}]', "JSON Patch: "),
        ("Object{nope: 1}", "error applying patch: failed to convert patch object to typed object: "),
    ],
)
async def test_mutations_that_fail(http: Asgi, expression: str, why: str) -> None:
    await mutate(http, expression)
    refused = await http("POST", CONFIGMAPS, config_map())
    assert (refused.status, refused.json["reason"]) == (403, "Invalid")
    assert refused.json["message"].startswith("policy 'm' with binding 'mb' denied request: ")
    assert why in refused.json["message"]


async def test_atomic_lists_are_not_merged_into(http: Asgi) -> None:
    spec = 'Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [\
Object.spec.template.spec.containers{name: "c", args: ["x"]}]}}}}'
    await mutate(http, spec, rule=DEPLOYMENT_RULE)
    refused = await http("POST", DEPLOYMENTS, deployment())
    path = ".spec.template.spec.containers[0].args"
    assert refused.json["message"].endswith(f"may not mutate atomic arrays, maps or structs: {path}")


async def test_a_mutation_may_fail_where_its_policy_says_so(http: Asgi) -> None:
    await mutate(http, "Object{data: {'a': string(object.data.nope)}}", failurePolicy="Ignore")
    assert (await http("POST", CONFIGMAPS, config_map())).status == 201


async def test_a_policy_is_evaluated_again_where_it_asks_for_it(http: Asgi) -> None:
    """The second policy adds what the first counts: with IfNeeded the first looks again."""
    for policy_, again in (("never", "Never"), ("again", "IfNeeded")):
        text = f'Object{{data: {{"{policy_}": string(object.data.size())}}}}'
        mutation = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": text}}
        match = {"resourceRules": [CONFIG_MAP_RULE]}
        kind = "MutatingAdmissionPolicy"
        await write(http, kind, policy_, matchConstraints=match, mutations=[mutation], reinvocationPolicy=again)
        await write(http, f"{kind}Binding", policy_, policyName=policy_)
    late = {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": 'Object{data: {"z": "1"}}'}}
    match = {"resourceRules": [CONFIG_MAP_RULE]}
    await write(
        http, "MutatingAdmissionPolicy", "zz", matchConstraints=match, mutations=[late], reinvocationPolicy="Never"
    )
    await write(http, "MutatingAdmissionPolicyBinding", "zz", policyName="zz")
    made = (await http("POST", CONFIGMAPS, config_map(data={"a": "1"}))).json
    assert made["data"] == {"a": "1", "again": "4", "never": "2", "z": "1"}


async def test_policies_never_judge_policies_and_survive_a_restart(api: Api, http: Asgi) -> None:
    everything = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
    await policy(http, "false", matchConstraints={"resourceRules": [everything]})
    for plugin in api.admission:
        if hasattr(plugin, "policies"):
            plugin.policies._policies = []
            await plugin.policies.load()
    assert (await http("POST", CONFIGMAPS, config_map())).status == 422
    assert (await http("DELETE", f"{REGISTRATION}/validatingadmissionpolicies/p")).status == 200
    assert (await http("POST", CONFIGMAPS, config_map())).status == 201


async def test_nothing_is_asked_without_policies(api: Api, http: Asgi) -> None:
    """A write that no policy is for does not meet the plugins at all."""
    await http("POST", CONFIGMAPS, config_map())
    named = {
        type(plugin.__self__).__name__ for hooks in api.chain._chosen.values() for plugin in (*hooks[0], *hooks[1])
    }
    assert not {"ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"} & named
