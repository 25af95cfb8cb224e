"""The assembled API: built-in resources through the whole pipeline, RBAC, tokens, admission, CRDs, discovery, OpenAPI."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sampan.api.app import Api
from sampan.api.authn import Authenticators
from sampan.api.errors import StatusError
from sampan.api.metadata import timestamp
from sampan.api.request import Response, User
from sampan.api.routing import parse_query
from sampan.api.server import ApiConfig, open_api
from sampan.schema.canonical import dumps
from sampan.store import Put

PODS = "/api/v1/namespaces/default/pods"
SERVICES = "/api/v1/namespaces/default/services"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
RBAC = "/apis/rbac.authorization.k8s.io/v1"


ADMIN = User("admin", ("system:masters", "system:authenticated"))


@dataclass
class Caller:
    """Requests as a user, answers as ``(code, object)``."""

    api: Api
    user: User = ADMIN

    def as_user(self, name: str, *groups: str) -> Caller:
        return Caller(self.api, User(name, (*groups, "system:authenticated")))

    async def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        data = b"" if body is None else orjson.dumps(body)
        sent = {"content-type": "application/json", **(headers or {})}
        routed = self.api.routed(self.user, method, path, parse_query(query.encode()), sent, data)
        try:
            answer = await self.api.answer(routed)
        except StatusError as error:
            return error.code, error.status()
        assert isinstance(answer, Response)
        return answer.status, orjson.loads(answer.body) if answer.body else None


@asynccontextmanager
async def whole_api(pki_dir: Path, store: Path | None = None, version: str = "1.37") -> AsyncIterator[Caller]:
    api = await open_api(ApiConfig(pki_dir=pki_dir, store_path=store, kubernetes_version=version, durability="process"))
    try:
        yield Caller(api)
    finally:
        await api.store.close()


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("pki")
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (directory / "sa.key").write_bytes(pem)
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (directory / "sa.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    (directory / "ca.crt").write_text("-----BEGIN CERTIFICATE-----")
    return directory


@pytest.fixture
async def call(pki: Path) -> AsyncIterator[Any]:
    async with whole_api(pki) as caller:
        yield caller


def pod(name: str = "web", **extra: Any) -> dict[str, Any]:
    spec = {"containers": [{"name": "c", "image": "shop:1"}], **extra}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def service(name: str = "web", **extra: Any) -> dict[str, Any]:
    spec = {"ports": [{"port": 80}], **extra}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


async def test_a_pod_gets_defaults_account_priority_and_tolerations(call: Any) -> None:
    code, made = await call("POST", PODS, pod())
    assert code == 201
    spec = made["spec"]
    assert (
        spec["serviceAccountName"] == "default"
        and spec["priority"] == 0
        and spec["schedulerName"] == "default-scheduler"
    )
    assert [t["key"] for t in spec["tolerations"]] == ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]
    (mount,) = spec["containers"][0]["volumeMounts"]
    assert mount["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"
    assert spec["volumes"][0]["name"] == mount["name"]
    assert made["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    owned = str([entry["fieldsV1"] for entry in made["metadata"]["managedFields"]])
    assert "f:tolerations" not in owned and "f:volumes" not in owned, "what admission adds has no owner"


async def test_a_node_registers_with_its_status_and_a_pod_does_not(call: Any) -> None:
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"}, "status": {"capacity": {"pods": "5"}}}
    code, made = await call("POST", "/api/v1/nodes", node)
    assert code == 201 and made["status"]["capacity"] == {"pods": "5"}
    spec = {"containers": [{"name": "c", "image": "x:1"}]}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": spec, "status": {"phase": "Running"}}
    code, made = await call("POST", PODS, pod)
    assert code == 201 and made["status"]["phase"] == "Pending"


async def test_nothing_is_created_in_a_missing_or_ending_namespace(call: Any) -> None:
    code, status = await call("POST", "/api/v1/namespaces/nope/configmaps", {"metadata": {"name": "x"}})
    assert (code, status["message"]) == (404, 'namespaces "nope" not found')
    await call("POST", "/api/v1/namespaces", {"metadata": {"name": "going"}})
    code, going = await call("DELETE", "/api/v1/namespaces/going")
    assert going["status"]["phase"] == "Terminating"
    code, status = await call("POST", "/api/v1/namespaces/going/configmaps", {"metadata": {"name": "x"}})
    assert code == 403 and status["details"]["causes"][0]["reason"] == "NamespaceTerminating"
    code, _ = await call("PUT", "/api/v1/namespaces/going/finalize", {"metadata": {"name": "going"}, "spec": {}})
    assert code == 200
    assert (await call("GET", "/api/v1/namespaces/going"))[0] == 404
    code, status = await call("DELETE", "/api/v1/namespaces/default")
    assert code == 403 and "may not be deleted" in status["message"]


async def test_service_addresses_are_given_kept_and_freed(call: Any) -> None:
    _, made = await call("POST", SERVICES, service(type="NodePort"))
    address, port = made["spec"]["clusterIP"], made["spec"]["ports"][0]["nodePort"]
    assert address.startswith("10.96.") and 30000 <= port <= 32767
    taken = service("other", clusterIP=address)
    code, status = await call("POST", SERVICES, taken)
    assert code == 422 and "provided IP is already allocated" in status["message"]
    code, status = await call(
        "POST", SERVICES, service("other", type="NodePort", ports=[{"port": 1, "nodePort": port}])
    )
    assert code == 422 and "provided port is already allocated" in status["message"]
    code, made = await call("PUT", f"{SERVICES}/web", service(type="ClusterIP"))
    assert (code, made["spec"]["clusterIP"]) == (200, address) and "nodePort" not in made["spec"]["ports"][0]
    assert (await call("POST", SERVICES, service("np", type="NodePort", ports=[{"port": 1, "nodePort": port}])))[
        0
    ] == 201
    await call("DELETE", f"{SERVICES}/web")
    assert (await call("POST", SERVICES, taken))[0] == 201
    headless = service("headless", clusterIP="None")
    assert (await call("POST", SERVICES, headless))[1]["spec"]["clusterIPs"] == ["None"]


async def test_addresses_are_known_again_after_a_restart(pki: Path, tmp_path: Path) -> None:
    async with whole_api(pki, tmp_path / "store.db") as call:
        _, made = await call("POST", SERVICES, service())
        revision = call.api.store.revision
    async with whole_api(pki, tmp_path / "store.db") as call:
        assert call.api.store.revision == revision, "a second start writes nothing"
        code, _ = await call("POST", SERVICES, service("b", clusterIP=made["spec"]["clusterIP"]))
        assert code == 422


async def test_the_endpoints_of_the_api_follow_its_address(pki: Path, tmp_path: Path) -> None:
    for port in (1111, 2222):
        config = ApiConfig(pki, tmp_path / "store.db", advertise=("10.1.1.1", port), durability="process")
        api = await open_api(config)
        _, endpoints = await Caller(api)("GET", "/api/v1/namespaces/default/endpoints/kubernetes")
        await api.store.close()
        assert endpoints["subsets"][0]["ports"][0]["port"] == port


async def test_binding_sets_the_node_once(call: Any) -> None:
    await call("POST", PODS, pod())
    binding = {
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": {"name": "web"},
        "target": {"kind": "Node", "name": "n1"},
    }
    assert (await call("POST", f"{PODS}/web/binding", binding))[0] == 201
    _, bound = await call("GET", f"{PODS}/web")
    assert bound["spec"]["nodeName"] == "n1" and bound["status"]["conditions"][0]["type"] == "PodScheduled"
    code, status = await call("POST", f"{PODS}/web/binding", binding)
    assert code == 409 and 'pod web is already assigned to node "n1"' in status["message"]


async def test_eviction_respects_a_budget(call: Any) -> None:
    running = pod()
    running["metadata"]["labels"] = {"app": "web"}
    await call("POST", PODS, running)
    _, made = await call("GET", f"{PODS}/web")
    made["status"]["phase"] = "Running"
    await call("PUT", f"{PODS}/web/status", made)
    budget = {"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    await call("POST", "/apis/policy/v1/namespaces/default/poddisruptionbudgets", budget)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "web"}}
    code, status = await call("POST", f"{PODS}/web/eviction", eviction)
    assert code == 429 and status["details"]["causes"][0]["reason"] == "DisruptionBudget"
    await call("DELETE", "/apis/policy/v1/namespaces/default/poddisruptionbudgets/b")
    assert (await call("POST", f"{PODS}/web/eviction", eviction))[0] == 201
    assert (await call("GET", f"{PODS}/web"))[0] == 404


async def test_rbac_grants_and_is_in_force_at_once(call: Any) -> None:
    jane = call.as_user("jane")
    code, status = await jane("GET", PODS)
    assert (code, status["message"]) == (
        403,
        'pods is forbidden: User "jane" cannot list resource "pods" in API group "" in the namespace "default"',
    )
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}
    binding = {"metadata": {"name": "jane"}, "roleRef": reference, "subjects": [{"kind": "User", "name": "jane"}]}
    assert (await call("POST", f"{RBAC}/namespaces/default/rolebindings", binding))[0] == 201
    assert (await jane("GET", PODS))[0] == 200
    assert (await jane("GET", "/api/v1/namespaces/kube-system/pods"))[0] == 403
    assert (await jane("GET", "/api/v1/namespaces/default/secrets"))[0] == 403
    await call("DELETE", f"{RBAC}/namespaces/default/rolebindings/jane")
    assert (await jane("GET", PODS))[0] == 403


async def test_nobody_grants_what_he_does_not_hold(call: Any) -> None:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "admin"}
    binding = {"metadata": {"name": "bob"}, "roleRef": reference, "subjects": [{"kind": "User", "name": "bob"}]}
    await call("POST", f"{RBAC}/namespaces/default/rolebindings", binding)
    bob = call.as_user("bob")
    role = {"metadata": {"name": "r"}, "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]}
    assert (await bob("POST", f"{RBAC}/namespaces/default/roles", role))[0] == 201
    role = {"metadata": {"name": "s"}, "rules": [{"apiGroups": [""], "resources": ["nodes"], "verbs": ["get"]}]}
    code, status = await bob("POST", f"{RBAC}/namespaces/default/roles", role)
    assert code == 403 and '{APIGroups:[""], Resources:["nodes"], Verbs:["get"]}' in status["message"]


async def test_aggregated_roles_take_in_new_ones(call: Any) -> None:
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    rules = [{"apiGroups": ["example.com"], "resources": ["widgets"], "verbs": ["get"]}]
    await call("POST", f"{RBAC}/clusterroles", {"metadata": {"name": "widgets", "labels": labels}, "rules": rules})
    for name in ("view", "edit", "admin"):
        _, role = await call("GET", f"{RBAC}/clusterroles/{name}")
        assert rules[0] in role["rules"], name


async def test_tokens_are_issued_verified_and_die_with_their_pod(call: Any) -> None:
    await call("POST", PODS, pod())
    reference = {"apiVersion": "v1", "kind": "Pod", "name": "web"}
    asked = {"spec": {"audiences": [], "expirationSeconds": 600, "boundObjectRef": reference}}
    code, answer = await call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", asked)
    assert code == 201
    headers = {"authorization": f"Bearer {answer['status']['token']}"}
    authenticator = call.api.authenticator
    assert isinstance(authenticator, Authenticators)
    user = authenticator.authenticate(headers, None)
    assert user is not None and user.name == "system:serviceaccount:default:default"
    assert "system:serviceaccounts:default" in user.groups
    review = {"spec": {"token": answer["status"]["token"]}}
    _, reviewed = await call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", review)
    assert reviewed["status"]["user"]["username"] == user.name
    await call("DELETE", f"{PODS}/web")
    with pytest.raises(StatusError, match="Unauthorized"):
        authenticator.authenticate(headers, None)
    code, status = await call(
        "POST", "/api/v1/namespaces/default/serviceaccounts/default/token", {"spec": {"expirationSeconds": 5}}
    )
    assert code == 422 and "less than 10 minutes" in status["message"]


async def test_a_token_is_no_good_a_minute_after_what_it_is_bound_to_was_to_be_gone(call: Any) -> None:
    """A finalizer keeps the account for as long as it likes, and its tokens for a minute. Another one of its name is another
    one."""
    accounts = "/api/v1/namespaces/default/serviceaccounts"
    headers = {}
    for name in ("old", "kept"):
        await call("POST", accounts, {"metadata": {"name": name, "finalizers": ["example.com/stay"]}})
        _, answer = await call("POST", f"{accounts}/{name}/token", {"spec": {"expirationSeconds": 3600}})
        headers[name] = {"authorization": f"Bearer {answer['status']['token']}"}
    authenticator, store = call.api.authenticator, call.api.store
    assert authenticator.authenticate(headers["old"], None).name == "system:serviceaccount:default:old"
    for name, seconds in (("old", 61), ("kept", 50)):
        await call("DELETE", f"{accounts}/{name}")
        assert authenticator.authenticate(headers[name], None) is not None
        key = f"/registry/serviceaccounts/default/{name}"
        account = orjson.loads(store.get(key).value)
        account["metadata"].pop("resourceVersion")
        account["metadata"]["deletionTimestamp"] = timestamp(time.time() - seconds)
        await store.commit([Put(key, dumps(account))])
    with pytest.raises(StatusError, match="Unauthorized"):
        authenticator.authenticate(headers["old"], None)
    assert authenticator.authenticate(headers["kept"], None) is not None
    await call(
        "PATCH",
        f"{accounts}/kept",
        {"metadata": {"finalizers": None}},
        {"content-type": "application/merge-patch+json"},
    )
    await call("POST", accounts, {"metadata": {"name": "kept"}})
    with pytest.raises(StatusError, match="Unauthorized"):
        authenticator.authenticate(headers["kept"], None)


async def test_access_reviews_say_what_rbac_would(call: Any) -> None:
    attributes = {"verb": "list", "resource": "pods", "namespace": "default"}
    path = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    _, review = await call("POST", path, {"spec": {"user": "x", "resourceAttributes": attributes}})
    assert review["status"] == {"allowed": False}
    _, review = await call("POST", path, {"spec": {"groups": ["system:masters"], "resourceAttributes": attributes}})
    assert review["status"] == {"allowed": True}


def definition() -> dict[str, Any]:
    schema = {
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "size": {"type": "integer", "minimum": 1},
                    "color": {"type": "string", "default": "red"},
                },
            }
        },
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": schema},
        "subresources": {"status": {}},
    }
    names = {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]}
    spec = {"group": "example.com", "scope": "Namespaced", "names": names, "versions": [version]}
    return {"metadata": {"name": "widgets.example.com"}, "spec": spec}


WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"


async def test_a_definition_is_served_when_it_is_answered(call: Any) -> None:
    code, made = await call("POST", CRDS, definition())
    assert code == 201
    assert {c["type"]: c["status"] for c in made["status"]["conditions"]} == {
        "NamesAccepted": "True",
        "Established": "True",
    }
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 2}}
    _, stored = await call("POST", WIDGETS, widget)
    assert stored["spec"] == {"size": 2, "color": "red"}
    widget = {**widget, "metadata": {"name": "bad"}, "spec": {"size": 0}}
    code, status = await call("POST", WIDGETS, widget)
    assert code == 422 and status["details"]["causes"][0]["field"] == "spec.size"
    _, document = await call("GET", "/openapi/v3/apis/example.com/v1")
    assert "com.example.v1.Widget" in document["components"]["schemas"]


async def test_deleting_a_definition_deletes_its_objects(call: Any) -> None:
    await call("POST", CRDS, definition())
    widget = {"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "finalizers": ["a.b/c"]}}
    await call("POST", WIDGETS, widget)
    assert (await call("DELETE", f"{CRDS}/widgets.example.com"))[0] == 200
    _, going = await call("GET", f"{CRDS}/widgets.example.com")
    assert going["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    patch = [{"op": "remove", "path": "/metadata/finalizers"}]
    media = {"content-type": "application/json-patch+json"}
    assert (await call("PATCH", f"{WIDGETS}/w", patch, media))[0] == 200
    assert (await call("GET", f"{CRDS}/widgets.example.com"))[0] == 404
    assert (await call("GET", WIDGETS))[0] == 404


async def test_definitions_are_served_again_after_a_restart(pki: Path, tmp_path: Path) -> None:
    async with whole_api(pki, tmp_path / "store.db") as call:
        await call("POST", CRDS, definition())
    async with whole_api(pki, tmp_path / "store.db") as call:
        assert (await call("GET", WIDGETS))[0] == 200


async def test_names_in_use_are_not_accepted(call: Any) -> None:
    await call("POST", CRDS, definition())
    other = definition()
    other["metadata"]["name"] = "gadgets.example.com"
    other["spec"]["names"] = {"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]}
    _, made = await call("POST", CRDS, other)
    assert {c["type"]: c["status"] for c in made["status"]["conditions"]} == {
        "NamesAccepted": "False",
        "Established": "False",
    }
    assert (await call("GET", "/apis/example.com/v1/gadgets"))[0] == 404


async def test_both_forms_of_discovery(call: Any) -> None:
    _, plain = await call("GET", "/apis/apps/v1")
    names = [resource["name"] for resource in plain["resources"]]
    assert "deployments/scale" in names and "deployments" in names
    accept = {"accept": "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"}
    _, aggregated = await call("GET", "/apis", headers=accept)
    assert aggregated["kind"] == "APIGroupDiscoveryList"
    assert "apps" in [group["metadata"]["name"] for group in aggregated["items"]]
    assert (await call("GET", "/apis/nope"))[0] == 404


async def test_openapi_knows_what_kubectl_looks_for(call: Any) -> None:
    _, index = await call("GET", "/openapi/v3")
    assert index["paths"]["apis/apps/v1"]["serverRelativeURL"].startswith("/openapi/v3/apis/apps/v1?hash=")
    _, document = await call("GET", "/openapi/v3/apis/apps/v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert "fieldValidation" in [parameter["name"] for parameter in patch["parameters"]]
    assert patch["x-kubernetes-group-version-kind"] == {"group": "apps", "version": "v1", "kind": "Deployment"}
    _, swagger = await call("GET", "/openapi/v2")
    assert "io.k8s.api.core.v1.Pod" in swagger["definitions"]


@pytest.mark.parametrize("version", ["1.25", "1.30", "1.36"])
async def test_old_versions_are_whole(pki: Path, version: str) -> None:
    async with whole_api(pki, version=version) as call:
        assert (await call("POST", PODS, pod()))[0] == 201
        served = {resource.resource.kind for resource in call.api.catalog}
        assert ("ServiceCIDR" in served) == (version == "1.36")
        template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}
        job = {"metadata": {"name": "j"}, "spec": {"template": template}}
        _, made = await call("POST", "/apis/batch/v1/namespaces/default/jobs", job)
        assert ("podReplacementPolicy" in made["spec"]) == (version != "1.25")
