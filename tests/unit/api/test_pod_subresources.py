"""scale, eviction, binding, ephemeralcontainers, resize, finalize: what each path changes, and who owns it then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.server import ApiConfig, open_api

from .conftest import Asgi, HeaderAuthenticator

PODS = "/api/v1/namespaces/default/pods"
DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
APPLY = {"content-type": "application/apply-patch+yaml"}
MERGE = {"content-type": "application/merge-patch+json"}
LABELS = {"app": "web"}
SPEC = {"containers": [{"name": "web", "image": "nginx"}], "automountServiceAccountToken": False}


@pytest.fixture
async def api(throwaway_pki: Path) -> AsyncIterator[Api]:
    made = await open_api(ApiConfig(pki_dir=throwaway_pki))
    made.authenticator = HeaderAuthenticator()
    yield made
    await made.close()


@pytest.fixture
def http(api: Api) -> Asgi:
    return Asgi(api)


def pod(name: str = "web", **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "labels": LABELS}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {**SPEC, **spec}}


def deployment(replicas: int = 1) -> dict[str, Any]:
    template = {"metadata": {"labels": LABELS}, "spec": SPEC}
    spec = {"replicas": replicas, "selector": {"matchLabels": LABELS}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": spec}


def scale(replicas: int) -> dict[str, Any]:
    return {
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {"name": "web"},
        "spec": {"replicas": replicas},
    }


def owners(obj: dict[str, Any]) -> dict[tuple[str, str], Any]:
    return {(e["manager"], e.get("subresource", "")): e["fieldsV1"] for e in obj["metadata"]["managedFields"]}


async def running(http: Asgi, name: str = "web", ready: bool = True) -> None:
    assert (await http("POST", PODS, pod(name, nodeName="n1"))).status == 201
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"status": {"phase": "Running", "conditions": conditions}}
    assert (await http("PATCH", f"{PODS}/{name}/status", status, headers=MERGE)).status == 200


# scale


async def test_who_applies_a_scale_owns_the_replicas(http: Asgi) -> None:
    assert (await http("POST", f"{DEPLOYMENTS}?fieldManager=author", deployment())).status == 201
    refused = await http("PATCH", f"{DEPLOYMENTS}/web/scale?fieldManager=scaler", scale(3), headers=APPLY)
    assert refused.status == 409 and refused.json["details"]["causes"][0]["field"] == ".spec.replicas"
    query = "?fieldManager=scaler&force=true"
    answer = await http("PATCH", f"{DEPLOYMENTS}/web/scale{query}", scale(3), headers=APPLY)
    assert answer.status == 200 and answer.json["spec"] == {"replicas": 3}
    (owner,) = answer.json["metadata"]["managedFields"]
    assert owner["manager"] == "scaler" and owner["apiVersion"] == "autoscaling/v1"
    assert owner["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    whole = (await http("GET", f"{DEPLOYMENTS}/web")).json
    assert owners(whole)["scaler", "scale"] == {"f:spec": {"f:replicas": {}}}
    assert "f:replicas" not in owners(whole)["author", ""]["f:spec"]


async def test_an_applied_scale_needs_a_manager_and_a_number(http: Asgi) -> None:
    assert (await http("POST", DEPLOYMENTS, deployment())).status == 201
    unnamed = await http("PATCH", f"{DEPLOYMENTS}/web/scale", scale(2), headers=APPLY)
    assert unnamed.status == 422 and "fieldManager" in unnamed.json["message"]
    negative = await http("PUT", f"{DEPLOYMENTS}/web/scale", scale(-1))
    assert negative.status == 422 and negative.json["details"]["kind"] == "Scale"


async def test_the_selector_of_a_scale_is_a_text(http: Asgi) -> None:
    controller = {"replicas": 1, "selector": LABELS, "template": {"metadata": {"labels": LABELS}, "spec": SPEC}}
    body = {"apiVersion": "v1", "kind": "ReplicationController", "metadata": {"name": "rc"}, "spec": controller}
    path = "/api/v1/namespaces/default/replicationcontrollers"
    assert (await http("POST", path, body)).status == 201
    assert (await http("GET", f"{path}/rc/scale")).json["status"]["selector"] == "app=web"


# eviction


async def budget(http: Asgi, allowed: int, **spec: Any) -> None:
    body = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}}
    body["spec"] = {"minAvailable": 1, "selector": {"matchLabels": LABELS}, **spec}
    assert (await http("POST", BUDGETS, body)).status == 201
    counts = {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1, "observedGeneration": 1}
    assert (await http("PATCH", f"{BUDGETS}/b/status", {"status": counts}, headers=MERGE)).status == 200


def eviction(name: str = "web") -> dict[str, Any]:
    return {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}


async def test_a_budget_is_spent_by_an_eviction(http: Asgi) -> None:
    await running(http)
    await budget(http, 1)
    assert (await http("POST", f"{PODS}/web/eviction", eviction())).status == 201
    going = (await http("GET", f"{PODS}/web")).json
    assert going["metadata"]["deletionTimestamp"]
    assert going["status"]["conditions"][-1]["reason"] == "EvictionByEvictionAPI"
    status = (await http("GET", f"{BUDGETS}/b")).json["status"]
    assert status["disruptionsAllowed"] == 0 and list(status["disruptedPods"]) == ["web"]


async def test_a_spent_budget_holds_a_pod(http: Asgi) -> None:
    await running(http)
    await budget(http, 0)
    answer = await http("POST", f"{PODS}/web/eviction", eviction())
    assert answer.status == 429
    assert answer.json["message"] == "Cannot evict pod as it would violate the pod's disruption budget."
    assert answer.json["details"]["causes"] == [
        {"reason": "DisruptionBudget", "message": "The disruption budget b needs 1 healthy pods and has 1 currently"}
    ]


async def test_a_budget_that_nobody_has_counted_asks_to_come_back(http: Asgi) -> None:
    await running(http)
    await budget(http, 1)
    assert (await http("PATCH", f"{BUDGETS}/b", {"spec": {"minAvailable": 2}}, headers=MERGE)).status == 200
    answer = await http("POST", f"{PODS}/web/eviction", eviction())
    assert answer.status == 429 and answer.json["details"]["retryAfterSeconds"] == 10
    assert answer.headers["retry-after"] == "10"


async def test_pods_that_are_not_ready_go_as_their_budget_says(http: Asgi) -> None:
    await running(http, ready=False)
    await budget(http, 0, unhealthyPodEvictionPolicy="AlwaysAllow")
    assert (await http("POST", f"{PODS}/web/eviction", eviction())).status == 201


async def test_an_eviction_is_of_the_pod_in_the_path(http: Asgi) -> None:
    await running(http)
    answer = await http("POST", f"{PODS}/web/eviction", eviction("other"))
    assert (
        answer.status == 400
        and answer.json["message"] == "name in URL does not match name in Eviction object: web != other"
    )


# parts of a pod


async def test_debug_containers_come_by_their_own_path(http: Asgi) -> None:
    await running(http)
    debugger = {"name": "debugger", "image": "busybox", "targetContainerName": "web"}
    strategic = {"content-type": "application/strategic-merge-patch+json"}
    body = {"spec": {"ephemeralContainers": [debugger], "nodeName": "other"}}
    answer = await http("PATCH", f"{PODS}/web/ephemeralcontainers", body, headers=strategic)
    assert answer.status == 200, answer.body
    assert answer.json["spec"]["ephemeralContainers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert answer.json["spec"]["nodeName"] == "n1" and answer.json["metadata"]["generation"] == 2
    plain = await http("PATCH", f"{PODS}/web", body, headers=strategic)
    assert plain.status == 422


async def test_a_resize_comes_by_its_own_path(http: Asgi) -> None:
    amounts = {"requests": {"cpu": "100m"}, "limits": {"cpu": "200m"}}
    made = pod()
    made["spec"]["containers"] = [{"name": "web", "image": "nginx", "resources": amounts}]
    assert (await http("POST", PODS, made)).status == 201
    body = {"spec": {"containers": [{"name": "web", "resources": {"requests": {"cpu": "150m"}}}]}}
    strategic = {"content-type": "application/strategic-merge-patch+json"}
    refused = await http("PATCH", f"{PODS}/web", body, headers=strategic)
    assert refused.status == 422 and "pod updates may not change fields other than" in refused.json["message"]
    answer = await http("PATCH", f"{PODS}/web/resize", body, headers=strategic)
    assert answer.status == 200, answer.body
    assert answer.json["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "150m"}


async def test_a_binding_gives_a_node_once(http: Asgi) -> None:
    assert (await http("POST", PODS, pod())).status == 201
    target = {"apiVersion": "v1", "kind": "Node", "name": "n1"}
    body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "web"}, "target": target}
    assert (await http("POST", f"{PODS}/web/binding", body)).status == 201
    again = await http("POST", f"{PODS}/web/binding", body)
    assert again.status == 409 and 'pod web is already assigned to node "n1"' in again.json["message"]
    wrong = await http("POST", f"{PODS}/web/binding", {**body, "target": {**target, "kind": "Pod"}})
    assert wrong.status == 422 and 'supported values: "Node", "<empty>"' in wrong.json["message"]


async def test_a_namespace_is_finalized_at_its_version(http: Asgi) -> None:
    made = await http(
        "POST", "/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}}
    )
    stale = {**made.json, "metadata": {**made.json["metadata"], "resourceVersion": "1"}, "spec": {"finalizers": []}}
    assert (await http("PUT", "/api/v1/namespaces/n/finalize", stale)).status == 409
    bad = {**made.json, "spec": {"finalizers": ["mine"]}}
    assert (await http("PUT", "/api/v1/namespaces/n/finalize", bad)).status == 422
    kept = {**made.json, "spec": {"finalizers": ["example.com/mine"]}}
    answer = await http("PUT", "/api/v1/namespaces/n/finalize", kept)
    assert answer.status == 200 and answer.json["spec"] == {"finalizers": ["example.com/mine"]}


# warnings


async def test_warnings_come_in_headers(http: Asgi) -> None:
    answer = await http("POST", PODS, pod(nodeSelector={"beta.kubernetes.io/os": "linux"}))
    assert answer.headers["warning"] == (
        '299 - "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \\"kubernetes.io/os\\" instead"'
    )
    listed = await http("GET", "/api/v1/namespaces/default/endpoints")
    assert "v1 Endpoints is deprecated in v1.33+" in listed.headers["warning"]
