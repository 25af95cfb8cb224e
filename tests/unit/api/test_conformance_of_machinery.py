"""What Kubernetes' conformance suite asks of the API ([sig-api-machinery], [sig-auth]): each of its behaviours that no other
test here shows. The lives of kinds are in ``test_lifecycles.py``.

Source: kubernetes test/conformance/testdata/conformance.yaml.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.app import Api
from sampan.api.server import ApiConfig, open_api

from .conftest import Answer, Asgi, HeaderAuthenticator
from .test_admission_webhooks import ALL, CONFIGMAPS, REGISTRATION, config_map, configure, webhook
from .webhook_server import WebhookServer, deny, patch, webhook_server

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
FOOS = "/apis/example.com/v1/namespaces/default/foos"
STRING = {"type": "string"}
MERGE = {"content-type": "application/merge-patch+json"}
APPLY = {"content-type": "application/apply-patch+yaml"}
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
UNKNOWN_KEPT = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
SPEC = {"type": "object", "properties": {"a": STRING, "bars": {"type": "array", "items": STRING}}}
SCHEMA = {"type": "object", "properties": {"spec": SPEC}}


@pytest.fixture(params=["1.28", "1.37"])
async def api(throwaway_pki: Path, request: pytest.FixtureRequest) -> AsyncIterator[Api]:
    made = await open_api(ApiConfig(pki_dir=throwaway_pki, kubernetes_version=request.param))
    made.authenticator = HeaderAuthenticator()
    yield made
    await made.close()


@pytest.fixture
def http(api: Api) -> Asgi:
    return Asgi(api)


@pytest.fixture
async def hooks(authority: Any) -> AsyncIterator[WebhookServer]:
    async with webhook_server(authority) as server:
        yield server


def version(name: str, schema: Any, **fields: Any) -> dict[str, Any]:
    return {"name": name, "served": True, "storage": False, "schema": {"openAPIV3Schema": schema}, **fields}


def definition(*versions: dict[str, Any], plural: str = "foos", **labels: str) -> dict[str, Any]:
    names = {"plural": plural, "kind": plural.capitalize().removesuffix("s")}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.example.com", "labels": labels},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": names, "versions": list(versions)},
    }


def foo(name: str = "f", **fields: Any) -> dict[str, Any]:
    return {"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": name}, **fields}


async def create(http: Asgi, path: str, body: Any) -> Any:
    answer = await http("POST", path, body)
    assert answer.status == 201, answer.body
    return answer.json


async def change(http: Asgi, path: str, body: Any) -> Any:
    answer = await http("PATCH", path, body, headers=MERGE)
    assert answer.status == 200, answer.body
    return answer.json


# admission webhooks


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
async def test_ten_configurations_are_listed_by_label_and_deleted_together(
    http: Asgi, hooks: WebhookServer, kind: str
) -> None:
    add = {"op": "add", "path": "/data/b", "value": "2"}
    hooks.answers["/hook"] = (lambda body: patch(body, add)) if kind == "Mutating" else deny
    path = f"{REGISTRATION}/{kind.lower()}webhookconfigurations"
    for number in range(10):
        metadata = {"name": f"ten-{number}", "labels": {"e2e-list-test": "yes"}}
        body = {"apiVersion": "admissionregistration.k8s.io/v1", "kind": f"{kind}WebhookConfiguration"}
        await create(http, path, {**body, "metadata": metadata, "webhooks": [webhook(hooks)]})
    found = (await http("GET", f"{path}?labelSelector=e2e-list-test=yes")).json
    assert len(found["items"]) == 10
    first = await http("POST", CONFIGMAPS, config_map("one"))
    assert first.json["data"].get("b") == "2" if kind == "Mutating" else first.status == 400
    assert (await http("DELETE", f"{path}?labelSelector=e2e-list-test=yes")).status == 200
    assert (await create(http, CONFIGMAPS, config_map("two")))["data"] == {"a": "1"}


@pytest.mark.parametrize("kind", ["Mutating", "Validating"])
async def test_a_changed_configuration_counts_at_once(http: Asgi, hooks: WebhookServer, kind: str) -> None:
    add = {"op": "add", "path": "/data/b", "value": "2"}
    hooks.answers["/hook"] = (lambda body: patch(body, add)) if kind == "Mutating" else deny
    path = f"{REGISTRATION}/{kind.lower()}webhookconfigurations/test"
    await configure(http, kind, webhook(hooks))

    async def asked(name: str) -> bool:
        answer = await http("POST", CONFIGMAPS, config_map(name))
        return answer.status == 400 or "b" in answer.json["data"]

    assert await asked("one")
    current = (await http("GET", path)).json
    current["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    assert (await http("PUT", path, current)).status == 200
    assert not await asked("two")
    change = [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}]
    headers = {"content-type": "application/json-patch+json"}
    assert (await http("PATCH", path, change, headers=headers)).status == 200
    assert await asked("three")


async def test_match_conditions_are_kept_and_changed(http: Asgi, hooks: WebhookServer) -> None:
    for kind in ("Mutating", "Validating"):
        path = f"{REGISTRATION}/{kind.lower()}webhookconfigurations/test"
        await configure(http, kind, webhook(hooks, matchConditions=[{"name": "a", "expression": "true"}]))
        current = (await http("GET", path)).json
        assert current["webhooks"][0]["matchConditions"] == [{"name": "a", "expression": "true"}]
        current["webhooks"][0]["matchConditions"] = [{"name": "b", "expression": "false"}]
        assert (await http("PUT", path, current)).status == 200
        assert (await http("GET", path)).json["webhooks"][0]["matchConditions"][0]["name"] == "b"


async def test_attaching_can_be_denied(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = lambda body: deny(body, message="attaching to pod 'to-be-attached-pod' is not allowed")
    rule = {**ALL, "operations": ["CONNECT"], "resources": ["pods/attach"]}
    await configure(http, "Validating", webhook(hooks, rules=[rule]))
    answer = await http("POST", "/api/v1/namespaces/default/pods/to-be-attached-pod/attach?stdin=1&tty=1")
    assert answer.status == 400 and "attaching to pod 'to-be-attached-pod' is not allowed" in answer.json["message"]
    assert hooks.requests("/hook")[0]["object"]["kind"] == "PodAttachOptions"


async def test_custom_resources_are_refused_on_every_operation(http: Asgi, hooks: WebhookServer) -> None:
    await create(http, CRDS, definition(version("v1", UNKNOWN_KEPT, storage=True)))
    await create(http, FOOS, foo())
    hooks.answers["/hook"] = lambda body: deny(body, message="the custom resource contains unwanted data")
    await configure(http, "Validating", webhook(hooks, rules=[{**ALL, "resources": ["foos"]}]))
    for method, path, body in (
        ("POST", FOOS, foo("g")),
        ("PUT", f"{FOOS}/f", {**foo(), "metadata": (await http("GET", f"{FOOS}/f")).json["metadata"]}),
        ("DELETE", f"{FOOS}/f", None),
    ):
        answer = await http(method, path, body)
        assert answer.status == 400 and "contains unwanted data" in answer.json["message"]
    assert [one["operation"] for one in hooks.requests("/hook")] == ["CREATE", "UPDATE", "DELETE"]
    assert (await http("GET", f"{FOOS}/f")).status == 200


async def test_a_definition_can_be_refused(http: Asgi, hooks: WebhookServer) -> None:
    hooks.answers["/hook"] = lambda body: deny(body, message="unwanted")
    rule = {**ALL, "apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"]}
    await configure(http, "Validating", webhook(hooks, rules=[rule]))
    answer = await http("POST", CRDS, definition(version("v1", UNKNOWN_KEPT, storage=True)))
    assert answer.status == 400 and "denied the request: unwanted" in answer.json["message"]
    assert (await http("GET", f"{CRDS}/foos.example.com")).status == 404


async def test_what_a_webhook_adds_to_a_custom_resource_is_pruned(http: Asgi, hooks: WebhookServer) -> None:
    data = {"type": "object", "properties": {"start": STRING, "one": STRING}}
    await create(http, CRDS, definition(version("v1", {"type": "object", "properties": {"data": data}}, storage=True)))
    adds = [{"op": "add", "path": f"/data/{name}", "value": "yes"} for name in ("one", "two")]
    hooks.answers["/hook"] = lambda body: patch(body, *adds)
    await configure(http, "Mutating", webhook(hooks, rules=[{**ALL, "resources": ["foos"]}]))
    assert (await create(http, FOOS, foo(data={"start": "yes"})))["data"] == {"start": "yes", "one": "yes"}


async def test_a_custom_resource_of_another_stored_version_is_mutated_and_patched(
    http: Asgi, hooks: WebhookServer
) -> None:
    versions = [version("v1", UNKNOWN_KEPT, storage=True), version("v2", UNKNOWN_KEPT)]
    await create(http, CRDS, definition(*versions))
    hooks.answers["/hook"] = lambda body: patch(body, {"op": "add", "path": "/data/hooked", "value": "yes"})
    await configure(http, "Mutating", webhook(hooks, rules=[{**ALL, "resources": ["foos"]}]))
    assert (await create(http, FOOS, foo(data={"start": "1"})))["data"] == {"start": "1", "hooked": "yes"}
    versions[0]["storage"], versions[1]["storage"] = False, True
    await change(http, f"{CRDS}/foos.example.com", {"spec": {"versions": versions}})
    hooks.answers["/hook"] = lambda body: patch(body, {"op": "add", "path": "/data/second", "value": "yes"})
    patched = await change(http, f"{FOOS}/f", {"data": {"dummy": "test"}})
    assert patched["data"] == {"start": "1", "hooked": "yes", "dummy": "test", "second": "yes"}
    assert (await http("GET", FOOS.replace("v1", "v2") + "/f")).json["apiVersion"] == "example.com/v2"


async def test_webhook_configurations_are_no_matter_of_webhooks(http: Asgi, hooks: WebhookServer) -> None:
    rule = {**ALL, "apiGroups": ["admissionregistration.k8s.io"], "resources": ["*"]}
    hooks.answers["/deny"] = deny
    hooks.answers["/change"] = lambda body: patch(
        body, {"op": "add", "path": "/metadata/labels", "value": {"hooked": "yes"}}
    )
    await configure(http, "Validating", webhook(hooks, "/deny", rules=[rule]), name="deny")
    await configure(http, "Mutating", webhook(hooks, "/change", rules=[rule]), name="change")
    for kind in ("Validating", "Mutating"):
        path = f"{REGISTRATION}/{kind.lower()}webhookconfigurations"
        await configure(http, kind, webhook(hooks, rules=[rule]), name="dummy")
        assert "labels" not in (await http("GET", f"{path}/dummy")).json["metadata"]
        assert (await http("DELETE", f"{path}/dummy")).status == 200
    assert hooks.asked == []


# discovery, versions, forms


async def test_each_group_has_a_preferred_version_and_resources(http: Asgi) -> None:
    groups = (await http("GET", "/apis")).json["groups"]
    for group in groups:
        offered = [one["groupVersion"] for one in group["versions"]]
        assert group["preferredVersion"]["groupVersion"] in offered
        assert (await http("GET", f"/apis/{group['name']}")).json["preferredVersion"] == group["preferredVersion"]
        for name in offered:
            found = (await http("GET", f"/apis/{name}")).json
            assert found["groupVersion"] == name and found["resources"][0]["name"]
    served = {one["name"] for one in (await http("GET", REGISTRATION)).json["resources"]}
    assert {"mutatingwebhookconfigurations", "validatingwebhookconfigurations"} <= served
    assert {"admissionregistration.k8s.io", "apiextensions.k8s.io", "flowcontrol.apiserver.k8s.io"} <= {
        group["name"] for group in groups
    }


async def test_aggregated_discovery_has_what_is_built_in_and_what_is_defined(http: Asgi) -> None:
    await create(http, CRDS, definition(version("v1", UNKNOWN_KEPT, storage=True)))
    found: set[tuple[str, str, str]] = set()
    for path in ("/api", "/apis"):
        for accept in (AGGREGATED, AGGREGATED.replace("v2;", "v2beta1;")):
            answer = await http("GET", path, headers={"accept": f"{accept},application/json"})
            if answer.headers["content-type"] != accept:
                continue  # this version of Kubernetes does not have it
            assert answer.json["kind"] == "APIGroupDiscoveryList"
            for group in answer.json["items"]:
                for each in group["versions"]:
                    found |= {
                        (group["metadata"].get("name", ""), each["version"], r["resource"]) for r in each["resources"]
                    }
    assert {("", "v1", "namespaces"), ("apps", "v1", "deployments"), ("example.com", "v1", "foos")} <= found
    assert (await http("GET", "/apis", headers={"accept": "application/json"})).json["kind"] == "APIGroupList"


async def test_a_table_of_what_is_no_object_is_not_acceptable(http: Asgi) -> None:
    headers = {"accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    body = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview"}
    spec = {"nonResourceAttributes": {"path": "/", "verb": "get"}}
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    assert (await http("POST", path, {**body, "spec": spec}, headers=headers)).status == 406
    headers["accept"] += ",application/json"
    assert (await http("POST", path, {**body, "spec": spec}, headers=headers)).json["status"]["allowed"]


async def test_the_version_is_of_two_numbers(http: Asgi) -> None:
    found = (await http("GET", "/version")).json
    assert found["major"].isdigit() and found["minor"].isdigit()


async def test_concurrent_watches_show_the_same_order(http: Asgi) -> None:
    start = (await http("GET", CONFIGMAPS)).json["metadata"]["resourceVersion"]

    async def watch(revision: str) -> list[tuple[str, str]]:
        answer = await http("GET", f"{CONFIGMAPS}?watch=1&resourceVersion={revision}&timeoutSeconds=1")
        events = [orjson.loads(line) for line in answer.body.splitlines()]
        return [(event["type"], event["object"]["metadata"]["resourceVersion"]) for event in events]

    async def write() -> list[str]:
        revisions = []
        for number in range(30):
            made = await create(http, CONFIGMAPS, config_map(f"m{number}"))
            changed = await change(http, f"{CONFIGMAPS}/m{number}", {"data": {"a": "2"}})
            revisions += [made["metadata"]["resourceVersion"], changed["metadata"]["resourceVersion"]]
            await http("DELETE", f"{CONFIGMAPS}/m{number}")
        return revisions

    first, revisions = await asyncio.gather(watch(start), write())
    assert len(first) == 90 and [kind for kind, _ in first[:3]] == ["ADDED", "MODIFIED", "DELETED"]
    others = await asyncio.gather(*(watch(revision) for revision in revisions[::10]))
    for revision, seen in zip(revisions[::10], others, strict=True):
        at = [each for _, each in first].index(revision)
        assert seen == first[at + 1 :]


# custom resources


async def test_definitions_are_listed_by_label_watched_and_deleted_together(http: Asgi) -> None:
    start = (await http("GET", CRDS)).json["metadata"]["resourceVersion"]
    for number in range(10):
        body = definition(version("v1", UNKNOWN_KEPT, storage=True), plural=f"foo{number}s", e2e="yes")
        await create(http, CRDS, body)
    await create(http, CRDS, definition(version("v1", UNKNOWN_KEPT, storage=True), plural="others"))
    assert len((await http("GET", f"{CRDS}?labelSelector=e2e=yes")).json["items"]) == 10
    await change(http, f"{CRDS}/foo0s.example.com", {"metadata": {"annotations": {"a": "b"}}})
    assert (await http("DELETE", f"{CRDS}?labelSelector=e2e=yes")).status == 200
    for _ in range(3000):
        left = (await http("GET", CRDS)).json["items"]
        if len(left) == 1:
            break
        await asyncio.sleep(0.02)
    assert [one["metadata"]["name"] for one in left] == ["others.example.com"]
    answer = await http(
        "GET",
        f"{CRDS}?watch=1&resourceVersion={start}&timeoutSeconds=1&fieldSelector=metadata.name%3Dfoo0s.example.com",
    )
    kinds = [orjson.loads(line)["type"] for line in answer.body.splitlines()]
    assert kinds[0] == "ADDED" and kinds[-1] == "DELETED" and "MODIFIED" in kinds


async def test_defaults_apply_to_requests_and_to_what_is_stored(http: Asgi) -> None:
    def schema(**defaults: str) -> dict[str, Any]:
        fields = {name: {**STRING, **({"default": defaults[name]} if name in defaults else {})} for name in ("a", "b")}
        return {"type": "object", "properties": fields}

    async def define(**defaults: str) -> None:
        versions = [version("v1", schema(**defaults), storage=True)]
        await change(http, f"{CRDS}/foos.example.com", {"spec": {"versions": versions}})

    await create(http, CRDS, definition(version("v1", schema(), storage=True)))
    assert "a" not in await create(http, FOOS, foo("one"))
    await define(a="A")
    assert (await http("GET", f"{FOOS}/one")).json["a"] == "A"
    assert (await create(http, FOOS, foo("two")))["a"] == "A"
    await define(b="B")
    two = (await http("GET", f"{FOOS}/two")).json
    assert (two["a"], two["b"]) == ("A", "B"), "what was stored with the first default stays"
    one = (await http("GET", f"{FOOS}/one")).json
    assert "a" not in one and one["b"] == "B"


async def published(http: Asgi) -> tuple[set[str], set[str]]:
    """Return what /openapi/v2 and /openapi/v3 define of example.com."""
    second = (await http("GET", "/openapi/v2")).json["definitions"]
    paths = (await http("GET", "/openapi/v3")).json["paths"]
    third: set[str] = set()
    for path, where in paths.items():
        if "example.com" in path:
            third |= set((await http("GET", where["serverRelativeURL"])).json["components"]["schemas"])
    wanted = {name for name in second if name.startswith("com.example")}
    return wanted, {name for name in third if name.startswith("com.example")}


async def test_definitions_are_published_renamed_and_withdrawn(http: Asgi) -> None:
    names = lambda *versions: {f"com.example.{each}.Foo" for each in versions}  # noqa: E731
    two = [version("v2", SCHEMA, storage=True), version("v3", SCHEMA)]
    await create(http, CRDS, definition(*two))
    for found in await published(http):
        assert names("v2", "v3") <= found
    await change(http, f"{CRDS}/foos.example.com", {"spec": {"versions": [two[0], {**two[1], "served": False}]}})
    for found in await published(http):
        assert names("v2") <= found and not names("v3") & found
    renamed = [two[0], version("v4", SCHEMA)]
    await change(http, f"{CRDS}/foos.example.com", {"spec": {"versions": renamed}})
    for found in await published(http):
        assert names("v2", "v4") <= found and not names("v3") & found
    await create(http, CRDS, definition(version("v5", SCHEMA, storage=True), plural="bars"))
    for found in await published(http):
        assert {*names("v2", "v4"), "com.example.v5.Bar"} <= found


async def test_definitions_of_several_groups_versions_and_kinds_are_published(http: Asgi) -> None:
    for group, plural, one in (
        ("example.com", "foos", "v1"),
        ("example.com", "bars", "v1"),
        ("example.com", "bazes", "v2"),
        ("other.example.com", "foos", "v1"),
    ):
        made = definition(version(one, SCHEMA, storage=True), plural=plural)
        made["metadata"]["name"], made["spec"]["group"] = f"{plural}.{group}", group
        await create(http, CRDS, made)
    names = {"com.example.v1.Foo", "com.example.v1.Bar", "com.example.v2.Baze", "com.example.other.v1.Foo"}
    for found in await published(http):
        assert names <= found


# strict fields


def messages(answer: Answer) -> str:
    assert answer.status == 400, answer.body
    return str(answer.json["message"])


async def test_unknown_and_duplicate_fields_of_a_typed_object(http: Asgi) -> None:
    container = '{"name": "c", "image": "one", "image": "two", "unknown": 1}'
    text = (
        '{"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "unknownMeta": 1, "name": "e"}, '
        '"spec": {"unknown1": "v", "replicas": 1, "paused": true, "paused": true, "selector": {"matchLabels": {"a": "b"}},'
        f'"template": {{"metadata": {{"labels": {{"a": "b"}}}}, "spec": {{"containers": [{container}]}}}}}}}}'
    )
    path = "/apis/apps/v1/namespaces/default/deployments?fieldValidation=Strict"
    said = messages(await http("POST", path, text.encode(), headers={"content-type": "application/json"}))
    for wanted in (
        'unknown field "spec.unknown1"',
        'duplicate field "spec.paused"',
        'duplicate field "spec.template.spec.containers[0].image"',
        'unknown field "spec.template.spec.containers[0].unknown"',
        'unknown field "metadata.unknownMeta"',
        'duplicate field "metadata.name"',
    ):
        assert wanted in said
    path = "/apis/apps/v1/namespaces/default/deployments/d?fieldManager=m&fieldValidation=Strict"
    applied = await http("PATCH", path, text.encode(), headers=APPLY)
    assert applied.status == 400 and ".spec.unknown1: field not declared in schema" in applied.json["message"]
    repeated = b"apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: d\nspec:\n  paused: true\n  paused: true\n"
    said = messages(await http("PATCH", path, repeated, headers=APPLY))
    assert said.startswith("error strict decoding patch: ") and 'line 7: key "paused" already set in map' in said


async def test_unknown_fields_of_custom_resources(http: Asgi) -> None:
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}
    template = {"type": "object", "properties": {**SCHEMA["properties"], "template": embedded}}
    await create(http, CRDS, definition(version("v1", template, storage=True)))
    apply = f"{FOOS}/applied?fieldManager=m&fieldValidation=Strict"
    valid = foo("applied", spec={"a": "x", "bars": ["y"]})
    assert (await http("PATCH", apply, valid, headers=APPLY)).status == 201
    await create(http, f"{FOOS}?fieldValidation=Strict", foo("valid", spec={"a": "x"}))
    said = messages(await http("POST", f"{FOOS}?fieldValidation=Strict", foo(spec={"a": "x", "extra": 1})))
    assert 'unknown field "spec.extra"' in said
    bad = foo("applied", spec={"a": "x", "extra": 1})
    assert (
        "spec.extra: field not declared in schema" in (await http("PATCH", apply, bad, headers=APPLY)).json["message"]
    )
    inner = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "unknownSub": 1}}
    body = foo(template=inner)
    body["metadata"]["unknownMeta"] = 1
    said = messages(await http("POST", f"{FOOS}?fieldValidation=Strict", body))
    assert 'unknown field "metadata.unknownMeta"' in said and 'unknown field "template.metadata.unknownSub"' in said


async def test_what_keeps_unknown_fields_still_refuses_duplicates(http: Asgi) -> None:
    await create(http, CRDS, definition(version("v1", UNKNOWN_KEPT, storage=True)))
    made = await create(http, f"{FOOS}?fieldValidation=Strict", foo("any", spec={"anything": {"goes": 1}}))
    assert made["spec"] == {"anything": {"goes": 1}}
    assert (await http("PATCH", f"{FOOS}/any?fieldManager=m", foo("any", more=1), headers=APPLY)).status == 200
    text = b'{"apiVersion": "example.com/v1", "kind": "Foo", "metadata": {"name": "d"}, "spec": {"x": 1, "x": 2}}'
    headers = {"content-type": "application/json"}
    said = messages(await http("POST", f"{FOOS}?fieldValidation=Strict", text, headers=headers))
    assert 'duplicate field "spec.x"' in said


# namespaces and users


async def test_a_finalizer_of_a_namespace_is_put_and_taken(http: Asgi) -> None:
    await create(http, "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}})
    found = (await http("GET", "/api/v1/namespaces/n")).json
    assert found["status"]["phase"] == "Active" and found["spec"]["finalizers"] == ["kubernetes"]
    found["spec"]["finalizers"].append("e2e.example.com/fakeFinalizer")
    answer = await http("PUT", "/api/v1/namespaces/n/finalize", found)
    assert answer.status == 200 and answer.json["spec"]["finalizers"][-1] == "e2e.example.com/fakeFinalizer"
    answer.json["spec"]["finalizers"].pop()
    body = {**answer.json, "spec": {"finalizers": ["kubernetes"]}}
    assert (await http("PUT", "/api/v1/namespaces/n/finalize", body)).json["spec"]["finalizers"] == ["kubernetes"]


async def test_a_request_for_a_certificate_has_approval_and_status(http: Asgi, authority: Any) -> None:
    import base64

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e-example.com")])
    request = x509.CertificateSigningRequestBuilder().subject_name(subject)
    pem = request.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256()).public_bytes(
        serialization.Encoding.PEM
    )
    path = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
    spec = {
        "request": base64.b64encode(pem).decode(),
        "signerName": "example.com/e2e",
        "usages": ["digital signature", "client auth"],
        "expirationSeconds": 3600,
    }
    body = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest", "metadata": {"name": "c"}}
    made = await create(http, path, {**body, "spec": spec})
    assert made["spec"]["username"] == "admin"
    condition = {"type": "Approved", "status": "True", "reason": "E2E", "message": "Set from an e2e test"}
    approval = f"{path}/c/approval"
    assert (await http("GET", approval)).json["metadata"]["name"] == "c"
    approved = await change(
        http, approval, {"metadata": {"annotations": {"a": "b"}}, "status": {"conditions": [condition]}}
    )
    assert approved["status"]["conditions"][0]["reason"] == "E2E"
    approved["status"]["conditions"][0]["message"] = "again"
    assert (await http("PUT", approval, approved)).status == 200
    certificate = base64.b64encode(authority.ca).decode()
    assert (await change(http, f"{path}/c/status", {"status": {"certificate": certificate}}))["status"]["certificate"]
    assert (await http("DELETE", f"{path}?labelSelector=none=none")).status == 200
    assert (await http("DELETE", f"{path}/c")).status == 200


@pytest.mark.parametrize("pod", [None, True, False])
@pytest.mark.parametrize("account", [None, True, False])
async def test_tokens_are_mounted_unless_pod_or_account_say_no(
    http: Asgi, pod: bool | None, account: bool | None
) -> None:
    mounts = {} if account is None else {"automountServiceAccountToken": account}
    body = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "mount"}, **mounts}
    await create(http, "/api/v1/namespaces/default/serviceaccounts", body)
    spec: dict[str, Any] = {"serviceAccountName": "mount", "containers": [{"name": "c", "image": "i"}]}
    if pod is not None:
        spec["automountServiceAccountToken"] = pod
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec}
    made = await create(http, "/api/v1/namespaces/default/pods", body)
    mounted = [mount["mountPath"] for mount in made["spec"]["containers"][0].get("volumeMounts", [])]
    expected = pod if pod is not None else account is not False
    assert mounted == (["/var/run/secrets/kubernetes.io/serviceaccount"] if expected else [])


async def test_reviews_agree_with_what_a_user_may(http: Asgi) -> None:
    user = "system:serviceaccount:default:e2e"
    resource = {"verb": "list", "resource": "configmaps", "namespace": "default", "version": "v1"}
    base = {"apiVersion": "authorization.k8s.io/v1", "metadata": {}}
    spec = {"resourceAttributes": resource, "user": user, "groups": ["system:authenticated"]}
    local = "/apis/authorization.k8s.io/v1/namespaces/default/localsubjectaccessreviews"
    everywhere = "/apis/authorization.k8s.io/v1/subjectaccessreviews"

    async def verdicts() -> list[bool]:
        one = await create(http, everywhere, {**base, "kind": "SubjectAccessReview", "spec": spec})
        body = {**base, "kind": "LocalSubjectAccessReview", "metadata": {"namespace": "default"}, "spec": spec}
        two = await create(http, local, body)
        three = await http("GET", CONFIGMAPS, headers={"x-user": user})
        return [one["status"]["allowed"], two["status"]["allowed"], three.status == 200]

    assert await verdicts() == [False] * 3
    subject = {"kind": "ServiceAccount", "name": "e2e", "namespace": "default"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    body = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "b"}}
    path = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings"
    await create(http, path, {**body, "subjects": [subject], "roleRef": role})
    assert await verdicts() == [True] * 3


async def test_whoever_has_a_token_finds_out_who_issued_it(http: Asgi) -> None:
    found = (await http("GET", "/.well-known/openid-configuration")).json
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    await create(http, "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "t"}})
    token = await create(http, "/api/v1/namespaces/default/serviceaccounts/t/token", body)
    import base64

    payload = token["status"]["token"].split(".")[1]
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["iss"] == found["issuer"] and found["subject_types_supported"] == ["public"]
    assert (await http("GET", "/openid/v1/jwks")).json["keys"]


async def test_what_is_wrong_is_said_before_that_it_exists(http: Asgi) -> None:
    await create(http, CONFIGMAPS, config_map("a"))
    assert (await http("POST", CONFIGMAPS, {**config_map("a"), "data": {"no key": "x"}})).status == 422
    for path in (CONFIGMAPS, f"{CONFIGMAPS}?dryRun=All"):
        answer = await http("POST", path, config_map("a"))
        assert answer.status == 409 and answer.json["reason"] == "AlreadyExists"
