"""Mutating and validating webhooks over real HTTPS: what they are asked, and what their answers do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from sampan.api.app import Api
from sampan.api.feature_gates import FeatureGates
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api
from sampan.api.webhook_client import MAX_ANSWER_BYTES
from sampan.store import Put

from .conftest import Asgi, HeaderAuthenticator
from .webhook_server import WebhookServer, allow, deny, patch, webhook_server

REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SLICE_KEY = "/registry/endpointslices/default/hook-1"
ALL = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*"]}
CONFIGMAP_RULE = {**ALL, "resources": ["configmaps"]}


@pytest.fixture
async def api(throwaway_pki: Path) -> AsyncIterator[Api]:
    made = await open_api(ApiConfig(pki_dir=throwaway_pki))
    made.authenticator = HeaderAuthenticator()
    yield made
    await made.close()


@pytest.fixture
async def hooks(authority: Any) -> AsyncIterator[WebhookServer]:
    async with webhook_server(authority, "hook.default.svc") as server:
        yield server


@pytest.fixture
def http(api: Api) -> Asgi:
    return Asgi(api)


def config_map(name: str = "cm", **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": "1"}}


def webhook(server: WebhookServer, path: str = "/hook", **fields: Any) -> dict[str, Any]:
    return {
        "name": "hook.example.com",
        "clientConfig": server.client_config(path),
        "rules": [CONFIGMAP_RULE],
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        **fields,
    }


async def configure(http: Asgi, kind: str, *webhooks: dict[str, Any], name: str = "test") -> None:
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": list(webhooks),
    }
    answer = await http("POST", f"{REGISTRATION}/{kind.lower()}webhookconfigurations", body)
    assert answer.status == 201, answer.body


async def test_a_mutating_webhook_is_asked_with_the_whole_request_and_its_patch_is_stored(
    http: Asgi, hooks: WebhookServer
) -> None:
    add = {"op": "add", "path": "/data/b", "value": "2"}
    hooks.answers["/hook"] = lambda body: patch(body, add)
    await configure(http, "Mutating", webhook(hooks))
    answer = await http("POST", f"{CONFIGMAPS}?fieldManager=me", config_map())
    assert answer.json["data"] == {"a": "1", "b": "2"}
    (review,) = [body for _, body in hooks.asked]
    assert (review["kind"], review["apiVersion"]) == ("AdmissionReview", "admission.k8s.io/v1")
    request = review["request"]
    shown = request.pop("object")
    assert request.pop("uid")
    assert request == {
        "kind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "resource": {"group": "", "version": "v1", "resource": "configmaps"},
        "requestKind": {"group": "", "version": "v1", "kind": "ConfigMap"},
        "requestResource": {"group": "", "version": "v1", "resource": "configmaps"},
        "name": "cm",
        "namespace": "default",
        "operation": "CREATE",
        "userInfo": {"username": "admin", "groups": ["system:masters", "system:authenticated"]},
        "oldObject": None,
        "dryRun": False,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "me"},
    }
    assert shown["data"] == {"a": "1"} and shown["metadata"]["managedFields"]
    assert "uid" not in shown["metadata"] and "creationTimestamp" not in shown["metadata"], (
        "the server gives them later"
    )
    assert answer.json["metadata"]["uid"] and list(answer.json["metadata"])[:3] == [
        "resourceVersion",
        "name",
        "namespace",
    ]
    assert hooks.headers[0]["Content-Type"] == "application/json"


async def test_an_update_shows_both_objects_and_a_deletion_the_old_one(http: Asgi, hooks: WebhookServer) -> None:
    made = (await http("POST", CONFIGMAPS, config_map())).json
    hooks.answers["/hook"] = allow
    await configure(http, "Validating", webhook(hooks))
    made["data"] = {"a": "2"}
    assert (await http("PUT", f"{CONFIGMAPS}/cm", made)).status == 200
    body = {"gracePeriodSeconds": 5, "propagationPolicy": "Background"}
    assert (await http("DELETE", f"{CONFIGMAPS}/cm", body)).status == 200
    update, deletion = hooks.requests("/hook")
    assert update["operation"] == "UPDATE" and update["options"]["kind"] == "UpdateOptions"
    assert (update["object"]["data"], update["oldObject"]["data"]) == ({"a": "2"}, {"a": "1"})
    assert update["object"]["metadata"]["resourceVersion"] == update["oldObject"]["metadata"]["resourceVersion"]
    assert deletion["object"] is None and deletion["oldObject"]["data"] == {"a": "2"}
    assert deletion["options"] == {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1", **body}


@pytest.mark.parametrize(
    ("status", "code", "reason", "message"),
    [
        ({"message": "no", "code": 403, "reason": "Forbidden"}, 403, "Forbidden", "denied the request: no"),
        ({"reason": "BadIdea"}, 400, "BadIdea", "denied the request: BadIdea"),
        ({"code": 200}, 400, None, "denied the request without explanation"),
    ],
)
async def test_a_refusal_is_the_webhooks_own_status(
    http: Asgi, hooks: WebhookServer, status: Any, code: int, reason: str | None, message: str
) -> None:
    hooks.answers["/hook"] = lambda body: deny(body, **status)
    await configure(http, "Validating", webhook(hooks))
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == code and answer.json.get("reason") == reason
    assert answer.json["message"] == f'admission webhook "hook.example.com" {message}'
    assert (await http("GET", f"{CONFIGMAPS}/cm")).status == 404


async def test_warnings_reach_the_client_even_with_a_refusal(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = lambda body: allow(body, allowed=False, warnings=["think again"])
    await configure(http, "Validating", webhook(hooks))
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == 400 and answer.headers["warning"] == '299 - "think again"'


async def test_webhooks_are_called_in_the_order_of_names_and_again_where_needed(
    http: Asgi, hooks: WebhookServer
) -> None:
    seen: list[tuple[str, dict[str, str]]] = []

    def first(body: Any) -> Any:
        seen.append(("first", body["request"]["object"]["data"]))
        return allow(body)

    def second(body: Any) -> Any:
        data = body["request"]["object"]["data"]
        seen.append(("second", data))
        return allow(body) if "b" in data else patch(body, {"op": "add", "path": "/data/b", "value": "2"})

    hooks.answers |= {"/first": first, "/second": second}
    await configure(http, "Mutating", webhook(hooks, "/second"), name="b")
    await configure(http, "Mutating", webhook(hooks, "/first", reinvocationPolicy="IfNeeded"), name="a")
    await http("POST", CONFIGMAPS, config_map())
    assert seen == [("first", {"a": "1"}), ("second", {"a": "1"}), ("first", {"a": "1", "b": "2"})]


async def test_what_a_webhook_adds_gets_its_defaults_and_other_plugins_look_again(
    http: Asgi, hooks: WebhookServer
) -> None:
    sidecar = {"name": "sidecar", "image": "proxy:1"}
    hooks.answers["/hook"] = lambda body: patch(body, {"op": "add", "path": "/spec/containers/-", "value": sidecar})
    await configure(http, "Mutating", webhook(hooks, rules=[{**ALL, "resources": ["pods"]}]))
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "web-"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "shop:1"}]}
    answer = await http("POST", "/api/v1/namespaces/default/pods", pod)
    assert answer.status == 201, answer.body
    added = answer.json["spec"]["containers"][1]
    assert added["imagePullPolicy"] == "IfNotPresent" and added["terminationMessagePath"] == "/dev/termination-log"
    assert added["volumeMounts"], "the ServiceAccount plugin ran again"
    (request,) = hooks.requests("/hook")
    assert "name" not in request and "name" not in request["object"]["metadata"]
    assert answer.json["metadata"]["name"].startswith("web-")


async def test_fields_that_no_type_has_are_pruned_and_wrong_types_are_an_error(
    http: Asgi, hooks: WebhookServer
) -> None:
    operation: dict[str, Any] = {"op": "add", "path": "/nonsense", "value": 1}
    hooks.answers["/hook"] = lambda body: patch(body, operation)
    await configure(http, "Mutating", webhook(hooks))
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == 201 and "nonsense" not in answer.json
    operation.update(path="/data/a", value=1)
    answer = await http("POST", CONFIGMAPS, config_map("other"))
    assert answer.status == 500 and "cannot unmarshal number" in answer.json["message"]


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_webhook_that_cannot_be_called(http: Asgi, hooks: WebhookServer, policy: str) -> None:
    client_config = {"url": "https://127.0.0.1:1/hook"}
    await configure(http, "Mutating", webhook(hooks, clientConfig=client_config, failurePolicy=policy))
    answer = await http("POST", CONFIGMAPS, config_map())
    if policy == "Ignore":
        assert answer.status == 201
        return
    why = (
        'failed calling webhook "hook.example.com": failed to call webhook: Post "https://127.0.0.1:1/hook?timeout=10s": '
        "dial tcp 127.0.0.1:1: connect: connection refused"
    )
    assert answer.status == 500 and answer.json["reason"] == "InternalError"
    assert answer.json["message"] == f"Internal error occurred: {why}"
    assert answer.json["details"] == {"causes": [{"message": why}]}


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (
            lambda body: web.Response(status=500, text="broken"),
            'an error on the server ("broken") has prevented the request',
        ),
        (lambda body: web.Response(status=404, text="?"), "the server could not find the requested resource"),
        (lambda body: web.Response(text="no json"), "couldn't get version/kind; json parse error"),
        (
            lambda body: {**allow(body), "response": None},
            "received invalid webhook response: webhook response was absent",
        ),
        (lambda body: allow(body, uid="other"), 'expected response.uid="'),
        (
            lambda body: {**allow(body), "apiVersion": "v1"},
            "expected webhook response of admission.k8s.io/v1, Kind=Adm",
        ),
        (lambda body: allow(body, patch="W10="), "webhook returned response.patch but not response.patchType"),
        (lambda body: allow(body, patchType="JSONPatch"), "webhook returned response.patchType but not response.patch"),
        (lambda body: allow(body, patch="?", patchType="JSONPatch"), "received undecodable patch in webhook response"),
        (lambda body: allow(body, patch="W3t9XQ==", patchType="Merge"), 'unsupported patch type "Merge"'),
    ],
)
async def test_answers_that_are_none(http: Asgi, hooks: WebhookServer, answer: Any, why: str) -> None:
    hooks.answers["/hook"] = answer
    await configure(http, "Mutating", webhook(hooks))
    told = await http("POST", CONFIGMAPS, config_map())
    assert told.status == 500 and why in told.json["message"], told.json["message"]


async def test_a_large_answer_is_read_to_its_end(http: Asgi, hooks: WebhookServer) -> None:
    value = "x" * 900_000  # more than one piece of a connection holds
    hooks.answers["/hook"] = lambda body: patch(body, {"op": "add", "path": "/data/b", "value": value})
    await configure(http, "Mutating", webhook(hooks))
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == 201 and answer.json["data"]["b"] == value


async def test_an_endless_answer_is_none(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = lambda body: web.Response(body=b" " * (2 * MAX_ANSWER_BYTES))
    await configure(http, "Mutating", webhook(hooks))
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == 500 and "the answer is larger than" in answer.json["message"], answer.json["message"]


async def test_a_validating_webhook_may_not_patch(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = lambda body: patch(body, {"op": "add", "path": "/data/b", "value": "2"})
    await configure(http, "Validating", webhook(hooks))
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == 500 and "validating webhook may not return response.patch" in answer.json["message"]


async def test_a_slow_webhook_is_not_waited_for(http: Asgi, hooks: WebhookServer) -> None:
    released = asyncio.Event()

    async def slow(body: Any) -> Any:
        await released.wait()
        return allow(body)

    hooks.answers["/hook"] = slow
    await configure(http, "Validating", webhook(hooks, timeoutSeconds=1))
    answer = await http("POST", CONFIGMAPS, config_map())
    released.set()
    assert answer.status == 500 and '?timeout=1s": context deadline exceeded' in answer.json["message"]


async def test_certificates_are_verified(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = allow
    stranger = {**hooks.client_config("/hook")}
    del stranger["caBundle"]
    await configure(http, "Validating", webhook(hooks, clientConfig=stranger))
    answer = await http("POST", CONFIGMAPS, config_map())
    assert "x509: certificate signed by unknown authority" in answer.json["message"] and not hooks.asked


async def test_a_webhook_behind_a_service_is_found_by_its_endpoints(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = allow
    reference = {"name": "hook", "namespace": "default", "path": "/hook"}
    service = {"service": reference, "caBundle": hooks.client_config("/hook")["caBundle"]}
    await configure(http, "Validating", webhook(hooks, clientConfig=service))
    where = 'failed to call webhook: Post "https://hook.default.svc:443/hook?timeout=10s"'
    answer = await http("POST", CONFIGMAPS, config_map())
    assert f'{where}: service "hook" not found' in answer.json["message"]
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443}]}}
    assert (await http("POST", "/api/v1/namespaces/default/services", made)).status == 201
    answer = await http("POST", CONFIGMAPS, config_map())
    assert f'{where}: no endpoints available for service "hook"' in answer.json["message"]
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "hook-1", "namespace": "default", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["127.0.0.1"]}],
        "ports": [{"name": "", "port": hooks.port}],
    }
    # straight to the store: the API takes no endpoint on the loopback
    await http.api.store.commit([Put(SLICE_KEY, orjson.dumps(endpoints), expected=0)])
    answer = await http("POST", CONFIGMAPS, config_map())
    assert answer.status == 201, answer.body
    assert hooks.headers[0]["Host"] == "hook.default.svc:443"


async def test_connections_are_used_again(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = allow
    await configure(http, "Validating", webhook(hooks))
    for index in range(5):
        await http("POST", CONFIGMAPS, config_map(f"cm-{index}"))
    assert len(hooks.asked) == 5 and len(hooks.connections) == 1


async def test_validating_webhooks_are_called_at_the_same_time(http: Asgi, hooks: WebhookServer) -> None:
    barrier = asyncio.Barrier(3)

    async def together(body: Any) -> Any:
        await barrier.wait()
        return allow(body)

    hooks.answers["/hook"] = together
    names = ("a", "b", "c")
    await configure(http, "Validating", *(webhook(hooks, name=f"{name}.example.com") for name in names))
    assert (await http("POST", CONFIGMAPS, config_map())).status == 201


async def test_dry_run_is_told_and_needs_no_side_effects(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = allow
    await configure(http, "Validating", webhook(hooks, sideEffects="NoneOnDryRun"))
    assert (await http("POST", f"{CONFIGMAPS}?dryRun=All", config_map())).status == 201
    (request,) = hooks.requests("/hook")
    assert request["dryRun"] is True and request["options"]["dryRun"] == ["All"]


@pytest.mark.parametrize(
    ("fields", "asked"),
    [
        ({"objectSelector": {"matchLabels": {"app": "web"}}}, ["labelled"]),
        ({"namespaceSelector": {"matchLabels": {"team": "blue"}}}, ["in-blue"]),
        (
            {"namespaceSelector": {"matchExpressions": [{"key": "team", "operator": "DoesNotExist"}]}},
            ["labelled", "plain"],
        ),
        ({"rules": [{**CONFIGMAP_RULE, "operations": ["UPDATE"]}]}, []),
        ({"rules": [{**CONFIGMAP_RULE, "scope": "Cluster"}]}, []),
        ({"rules": [{**CONFIGMAP_RULE, "scope": "Namespaced"}]}, ["labelled", "plain", "in-blue"]),
        ({"rules": [{**CONFIGMAP_RULE, "apiVersions": ["v2"]}]}, []),
        ({"rules": [{**CONFIGMAP_RULE, "resources": ["configmaps/status"]}]}, []),
        ({"rules": [{**ALL, "resources": ["*/*"]}]}, ["labelled", "plain", "in-blue"]),
    ],
)
async def test_rules_and_selectors_choose(http: Asgi, hooks: WebhookServer, fields: Any, asked: list[str]) -> None:
    blue = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blue", "labels": {"team": "blue"}}}
    assert (await http("POST", "/api/v1/namespaces", blue)).status == 201
    hooks.answers["/hook"] = allow
    await configure(http, "Validating", webhook(hooks, **fields))
    await http("POST", CONFIGMAPS, config_map("labelled", labels={"app": "web"}))
    await http("POST", CONFIGMAPS, config_map("plain"))
    await http("POST", "/api/v1/namespaces/blue/configmaps", config_map("in-blue"))
    assert [request["name"] for request in hooks.requests("/hook")] == asked


async def test_an_equivalent_version_is_converted_unless_the_match_is_exact(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers |= {"/exact": allow, "/hook": lambda body: patch(body, SET_TARGET)}
    rules = [{**ALL, "apiGroups": ["autoscaling"], "apiVersions": ["v1"], "resources": ["horizontalpodautoscalers"]}]
    await configure(
        http,
        "Mutating",
        webhook(hooks, rules=rules),
        webhook(hooks, "/exact", name="exact.example.com", rules=rules, matchPolicy="Exact"),
    )
    path = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "web"},
        "spec": {"scaleTargetRef": target, "maxReplicas": 5},
    }
    answer = await http("POST", path, scaler)
    assert answer.status == 201, answer.body
    (request,) = hooks.requests("/hook")
    assert not hooks.requests("/exact")
    assert request["resource"]["version"] == "v1" and request["requestResource"]["version"] == "v2"
    assert request["object"]["apiVersion"] == "autoscaling/v1"
    assert answer.json["apiVersion"] == "autoscaling/v2"
    assert answer.json["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 40


SET_TARGET = {"op": "add", "path": "/spec/targetCPUUtilizationPercentage", "value": 40}


async def test_a_scale_is_shown_as_a_scale(http: Asgi, hooks: WebhookServer) -> None:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i:1"}]}}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "web"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template},
    }
    path = "/apis/apps/v1/namespaces/default/deployments"
    assert (await http("POST", path, deployment)).status == 201
    hooks.answers["/hook"] = lambda body: patch(body, {"op": "replace", "path": "/spec/replicas", "value": 3})
    await configure(http, "Mutating", webhook(hooks, rules=[{**ALL, "resources": ["deployments/scale"]}]))
    scale = (await http("GET", f"{path}/web/scale")).json
    scale["spec"]["replicas"] = 2
    answer = await http("PUT", f"{path}/web/scale", scale)
    (request,) = hooks.requests("/hook")
    assert request["kind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert request["subResource"] == "scale" and request["object"]["spec"] == {"replicas": 2}
    assert request["oldObject"]["spec"] == {"replicas": 1}
    assert answer.json["spec"]["replicas"] == 3


async def test_configurations_never_lock_their_owner_out_and_end_at_once(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = deny
    await configure(http, "Validating", webhook(hooks, rules=[{**ALL, "resources": ["*/*"]}]))
    assert (await http("POST", CONFIGMAPS, config_map())).status == 400
    path = f"{REGISTRATION}/validatingwebhookconfigurations/test"
    assert (await http("DELETE", path)).status == 200
    assert (await http("POST", CONFIGMAPS, config_map())).status == 201


async def test_configurations_are_in_force_again_after_a_restart(
    throwaway_pki: Path, hooks: WebhookServer, tmp_path: Path
) -> None:
    hooks.answers["/hook"] = deny
    config = ApiConfig(pki_dir=throwaway_pki, store_path=tmp_path / "store.db", durability="process")
    for expected in (201, 409):
        api = await open_api(config)
        api.authenticator = HeaderAuthenticator()
        http = Asgi(api)
        body = {
            "apiVersion": "admissionregistration.k8s.io/v1",
            "kind": "ValidatingWebhookConfiguration",
            "metadata": {"name": "test"},
            "webhooks": [webhook(hooks)],
        }
        assert (await http("POST", f"{REGISTRATION}/validatingwebhookconfigurations", body)).status == expected
        assert (await http("POST", CONFIGMAPS, config_map())).status == 400
        await api.close()


async def test_nothing_is_asked_of_a_chain_without_webhooks(api: Api, http: Asgi, hooks: WebhookServer) -> None:
    await http("POST", CONFIGMAPS, config_map())
    admits, validates, *_ = next(iter(api.chain._chosen.values()))
    names = [hook.__self__.__class__.__name__ for hook in (*admits, *validates)]
    assert "NamespaceLifecycle" in names and not [name for name in names if "Webhook" in name]


def refusals(answer: Any) -> dict[str, str]:
    return {cause["field"]: cause["message"] for cause in answer.json["details"]["causes"]}


@pytest.mark.parametrize(
    ("fields", "field", "message"),
    [
        ({"name": "short.name"}, "name", "should be a domain with at least three segments separated by dots"),
        ({"sideEffects": "Some"}, "sideEffects", 'Unsupported value: "Some": supported values: "None", "NoneOnDryRun"'),
        ({"sideEffects": None}, "sideEffects", "Required value"),
        (
            {"timeoutSeconds": 31},
            "timeoutSeconds",
            "Invalid value: 31: the timeout value must be between 1 and 30 seconds",
        ),
        ({"failurePolicy": "Maybe"}, "failurePolicy", 'supported values: "Fail", "Ignore"'),
        ({"admissionReviewVersions": ["v9"]}, "admissionReviewVersions", "must include at least one of v1, v1beta1"),
        ({"admissionReviewVersions": ["v1", "v1"]}, "admissionReviewVersions[1]", "duplicate version"),
        ({"clientConfig": {}}, "clientConfig", "Required value: exactly one of url or service is required"),
        (
            {"clientConfig": {"url": "http://x"}},
            "clientConfig.url",
            "'https' is the only allowed URL scheme; desired format",
        ),
        ({"clientConfig": {"url": "https://u@x"}}, "clientConfig.url", "user information is not permitted in the URL"),
        ({"clientConfig": {"url": "https://x?a"}}, "clientConfig.url", "query parameters are not permitted in the URL"),
        (
            {"clientConfig": {"service": {"name": "x", "namespace": ""}}},
            "clientConfig.service.name",  # Kubernetes swaps the two
            "Required value",
        ),
        (
            {"clientConfig": {"service": {"name": "x", "namespace": "y", "path": "ab"}}},
            "clientConfig.service.path",
            "must start with a '/'",
        ),
        (
            {"rules": [{**ALL, "operations": ["*", "CREATE"]}]},
            "rules[0].operations",
            "if '*' is present, must not specify other",
        ),
        (
            {"rules": [{**ALL, "resources": ["*", "pods"]}]},
            "rules[0].resources",
            "other resources without subresources",
        ),
        ({"rules": [{**ALL, "resources": []}]}, "rules[0].resources", "Required value"),
        ({"matchConditions": [{"name": "a", "expression": ""}]}, "matchConditions[0].expression", "Required value"),
        (
            {"matchConditions": [{"name": "a", "expression": "objekt == null"}]},
            "matchConditions[0].expression",
            "undeclared reference to 'objekt'",
        ),
    ],
)
async def test_configurations_are_refused_in_kubernetes_words(
    http: Asgi, hooks: WebhookServer, fields: Any, field: str, message: str
) -> None:
    given = {key: value for key, value in webhook(hooks, **fields).items() if value is not None}
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "test"},
        "webhooks": [given],
    }
    answer = await http("POST", f"{REGISTRATION}/validatingwebhookconfigurations", body)
    assert answer.status == 422
    assert message in refusals(answer)[f"webhooks[0].{field}"], json.dumps(refusals(answer))


def test_the_user_of_a_review_has_all_that_is_known() -> None:
    user = User("jane", ("a",), "uid-1", {"scopes": ("x", "y")})
    assert user.info() == {"username": "jane", "uid": "uid-1", "groups": ["a"], "extra": {"scopes": ["x", "y"]}}


async def test_bodies_of_subresources_are_asked_about_and_may_be_changed(http: Asgi, hooks: WebhookServer) -> None:
    path = "/api/v1/namespaces/default/serviceaccounts"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "robot"}}
    assert (await http("POST", path, account)).status == 201
    lifetime = {"op": "replace", "path": "/spec/expirationSeconds", "value": 1200}
    hooks.answers |= {"/hook": lambda body: patch(body, lifetime), "/deny": deny}
    rule = {**ALL, "operations": ["CREATE"], "resources": ["serviceaccounts/token"]}
    await configure(http, "Mutating", webhook(hooks, rules=[rule]))
    asked = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"expirationSeconds": 600}}
    answer = await http("POST", f"{path}/robot/token", asked)
    assert answer.status == 201 and answer.json["spec"]["expirationSeconds"] == 1200
    (request,) = hooks.requests("/hook")
    assert request["kind"] == {"group": "authentication.k8s.io", "version": "v1", "kind": "TokenRequest"}
    assert (request["operation"], request["subResource"], request["name"]) == ("CREATE", "token", "robot")


async def test_a_binding_is_asked_about_once_and_a_refused_one_does_nothing(http: Asgi, hooks: WebhookServer) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "shop:1"}]}
    pods = "/api/v1/namespaces/default/pods"
    assert (await http("POST", pods, pod)).status == 201
    hooks.answers["/hook"] = lambda body: deny(body, message="not there")
    await configure(http, "Validating", webhook(hooks, rules=[{**ALL, "resources": ["pods/binding"]}]))
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "web"},
        "target": {"kind": "Node", "name": "n"},
    }
    answer = await http("POST", f"{pods}/web/binding", binding)
    assert answer.status == 400 and answer.json["message"].endswith("denied the request: not there")
    assert "nodeName" not in (await http("GET", f"{pods}/web")).json["spec"]
    hooks.answers["/hook"] = allow
    assert (await http("POST", f"{pods}/web/binding", binding)).status == 201
    assert [(one["operation"], one["kind"]["kind"]) for one in hooks.requests("/hook")] == [("CREATE", "Binding")] * 2


async def test_an_eviction_is_asked_about_and_not_what_it_does(http: Asgi, hooks: WebhookServer) -> None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "shop:1"}]}
    pods = "/api/v1/namespaces/default/pods"
    assert (await http("POST", pods, pod)).status == 201
    hooks.answers["/hook"] = lambda body: deny(body, message="it stays")
    await configure(http, "Validating", webhook(hooks, rules=[{**ALL, "resources": ["pods", "pods/*"]}]))
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    answer = await http("POST", f"{pods}/web/eviction", eviction)
    assert answer.status == 400 and answer.json["message"].endswith("denied the request: it stays")
    assert "conditions" not in (await http("GET", f"{pods}/web")).json["status"]
    hooks.answers["/hook"] = allow
    assert (await http("POST", f"{pods}/web/eviction", eviction)).status == 201
    assert (await http("GET", f"{pods}/web")).status == 404
    asked = [(one["operation"], one["kind"]["kind"], one["subResource"]) for one in hooks.requests("/hook")]
    assert asked == [("CREATE", "Eviction", "eviction")] * 2


async def test_exec_can_be_refused_before_it_begins(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = lambda body: deny(body, message="no shells")
    await configure(
        http, "Validating", webhook(hooks, rules=[{**ALL, "operations": ["CONNECT"], "resources": ["pods/exec"]}])
    )
    query = "command=sh&command=-c&stdin=true&tty=1&container=c"
    answer = await http("POST", f"/api/v1/namespaces/default/pods/web/exec?{query}")
    assert answer.status == 400 and answer.json["message"].endswith("denied the request: no shells")
    (request,) = hooks.requests("/hook")
    assert (request["operation"], request["subResource"], request["options"]) == ("CONNECT", "exec", None)
    assert request["object"] == {
        "kind": "PodExecOptions",
        "apiVersion": "v1",
        "stdin": True,
        "tty": True,
        "container": "c",
        "command": ["sh", "-c"],
    }


@pytest.mark.parametrize(
    ("expression", "asked"),
    [
        ("object.metadata.name == 'wanted'", ["wanted"]),
        ("request.operation == 'CREATE' && oldObject == null", ["wanted", "other"]),
        ("request.userInfo.username != 'admin'", []),
        ("namespaceObject == null", ["wanted", "other"]),  # not given to match conditions
        (
            "authorizer.group('').resource('secrets').namespace('default').check('delete').allowed()",
            ["wanted", "other"],
        ),
    ],
)
async def test_match_conditions_choose(http: Asgi, hooks: WebhookServer, expression: str, asked: list[str]) -> None:
    hooks.answers["/hook"] = allow
    await configure(http, "Validating", webhook(hooks, matchConditions=[{"name": "one", "expression": expression}]))
    for name in ("wanted", "other"):
        assert (await http("POST", CONFIGMAPS, config_map(name))).status == 201
    assert [request["name"] for request in hooks.requests("/hook")] == asked


@pytest.mark.parametrize("policy", ["Fail", "Ignore"])
async def test_a_match_condition_that_fails(http: Asgi, hooks: WebhookServer, policy: str) -> None:
    hooks.answers["/hook"] = deny
    condition = {"name": "one", "expression": "object.data.missing == 'x'"}
    await configure(http, "Validating", webhook(hooks, failurePolicy=policy, matchConditions=[condition]))
    answer = await http("POST", CONFIGMAPS, config_map())
    assert not hooks.asked
    if policy == "Ignore":
        assert answer.status == 201
    else:
        assert answer.status == 403 and "no such key: missing" in answer.json["message"]


async def test_match_conditions_that_do_not_compile_are_refused(http: Asgi, hooks: WebhookServer) -> None:
    body = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "test"},
        "webhooks": [webhook(hooks, matchConditions=[{"name": "one", "expression": "object.("}])],
    }
    answer = await http("POST", f"{REGISTRATION}/validatingwebhookconfigurations", body)
    assert answer.status == 422
    assert "compilation failed" in refusals(answer)["webhooks[0].matchConditions[0].expression"]


async def test_reviews_are_asked_about_and_may_be_changed(http: Asgi, api: Api, hooks: WebhookServer) -> None:
    """Until 1.37: from then on they are left alone, unless a gate is turned off."""
    api.features = FeatureGates("1.37", ["ExcludeAdmissionWebhookVirtualResources=false"])

    def as_a_guest(body: Any) -> Any:
        return patch(body, {"op": "replace", "path": "/spec/user", "value": "guest"})

    hooks.answers |= {"/mutate": as_a_guest, "/validate": allow}
    rule = {
        **ALL,
        "resources": ["subjectaccessreviews", "tokenreviews", "selfsubjectreviews", "localsubjectaccessreviews"],
    }
    mutating = {**rule, "resources": ["subjectaccessreviews"]}
    await configure(http, "Mutating", webhook(hooks, "/mutate", rules=[mutating]))
    await configure(http, "Validating", webhook(hooks, "/validate", rules=[rule]))
    authorization = "/apis/authorization.k8s.io/v1"
    spec = {"user": "admin", "groups": ["system:masters"], "resourceAttributes": {"verb": "get", "resource": "pods"}}
    answer = await http("POST", f"{authorization}/subjectaccessreviews", {"spec": spec})
    assert answer.status == 201 and answer.json["spec"]["user"] == "guest"
    (asked,) = hooks.requests("/validate")
    assert asked["kind"]["kind"] == "SubjectAccessReview" and asked["object"]["spec"]["user"] == "guest"
    # one that is wrong in itself is not asked about; a refusal is the answer
    assert (await http("POST", f"{authorization}/subjectaccessreviews", {"spec": {"user": "x"}})).status == 422
    assert len(hooks.requests("/validate")) == 1
    hooks.answers["/validate"] = lambda body: deny(body, message="nobody asks")
    review = {"spec": {"token": "x"}}
    for path, body in (
        ("authentication.k8s.io/v1/tokenreviews", review),
        ("authentication.k8s.io/v1/selfsubjectreviews", {}),
    ):
        answer = await http("POST", f"/apis/{path}", body)
        assert answer.status == 400 and "nobody asks" in answer.json["message"], path
    # in a namespace that is not there, too
    local = {"spec": {**spec, "resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "nowhere"}}}
    hooks.answers["/validate"] = allow
    answer = await http("POST", f"{authorization}/namespaces/nowhere/localsubjectaccessreviews", local)
    assert answer.status == 201, answer.body


async def test_what_is_counted_of_webhooks(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers |= {"/hook": lambda body: deny(body, code=403), "/broken": lambda body: "nothing"}
    broken = webhook(hooks, "/broken", name="broken.example.com", failurePolicy="Ignore")
    left_out = webhook(hooks, "/hook", name="out.example.com", matchConditions=[{"name": "n", "expression": "false"}])
    await configure(http, "Validating", webhook(hooks), broken, left_out)
    assert (await http("POST", CONFIGMAPS, config_map())).status == 403
    text = (await http("GET", "/metrics")).body.decode()
    of_hook = 'name="hook.example.com",type="validating",operation="CREATE"'
    for line in (
        f'apiserver_admission_webhook_request_total{{{of_hook},code="403",rejected="true"}} 1',
        f'apiserver_admission_webhook_rejection_count{{{of_hook},error_type="no_error",rejection_code="403"}} 1',
        f'apiserver_admission_webhook_admission_duration_seconds_count{{{of_hook},rejected="true"}} 1',
        'apiserver_admission_webhook_fail_open_count{name="broken.example.com",type="validating"} 1',
        'apiserver_admission_match_condition_exclusions_total{name="out.example.com",kind="webhook",type="validate",'
        'operation="CREATE"} 1',
    ):
        assert line in text, line
