"""ResourceQuota in a whole API: refusals in Kubernetes' words, counts that hold however many write at once."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import orjson

from sampan.api.flags import Flags

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
PODS = "/api/v1/namespaces/default/pods"
MERGE = {"content-type": "application/merge-patch+json"}


async def quota(call: Any, name: str, hard: dict[str, str], used: dict[str, str] | None = None, **spec: Any) -> None:
    """Create a quota and do what the controller does: take over its limits."""
    code, made = await call("POST", QUOTAS, {"metadata": {"name": name}, "spec": {"hard": hard, **spec}})
    assert code == 201, made
    status = {"hard": hard, "used": dict.fromkeys(hard, "0") | (used or {})}
    code, made = await call("PATCH", f"{QUOTAS}/{name}/status", {"status": status}, MERGE)
    assert code == 200, made


async def count(call: Any, name: str) -> dict[str, str]:
    _, found = await call("GET", f"{QUOTAS}/{name}")
    return found["status"]["used"]  # type: ignore[no-any-return]


def pod(name: str, cpu: str = "", **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"cpu": cpu}} if cpu else {}
    return {
        "metadata": {"name": name},
        "spec": {"containers": [{"name": "c", "image": "i", "resources": resources}], **spec},
    }


async def test_what_does_not_fit_is_refused(whole: Any) -> None:
    await quota(whole, "q", {"pods": "2", "requests.cpu": "1"})
    assert (await whole("POST", PODS, pod("a", "600m")))[0] == 201
    assert await count(whole, "q") == {"pods": "1", "requests.cpu": "600m"}
    code, status = await whole("POST", PODS, pod("b", "500m"))
    assert code == 403
    assert status["message"] == (
        'pods "b" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: '
        "requests.cpu=1"
    )
    assert status["reason"] == "Forbidden"
    code, status = await whole("POST", PODS, pod("b"))
    assert status["message"] == 'pods "b" is forbidden: failed quota: q: must specify requests.cpu for: c'
    assert (await whole("POST", PODS, pod("b", "400m")))[0] == 201
    assert await count(whole, "q") == {"pods": "2", "requests.cpu": "1"}


async def test_a_quota_nobody_has_counted_yet_refuses(whole: Any) -> None:
    code, _ = await whole("POST", QUOTAS, {"metadata": {"name": "q"}, "spec": {"hard": {"configmaps": "1"}}})
    assert code == 201
    path = "/api/v1/namespaces/default/configmaps"
    assert (await whole("POST", path, {"metadata": {"name": "a"}}))[0] == 201, "without status.hard it bounds nothing"
    await whole("PATCH", f"{QUOTAS}/q/status", {"status": {"hard": {"configmaps": "1"}}}, MERGE)
    code, status = await whole("POST", path, {"metadata": {"name": "b"}})
    assert (code, status["message"]) == (
        403,
        'configmaps "b" is forbidden: status unknown for quota: q, resources: configmaps',
    )


async def test_many_at_once_get_no_more_than_there_is(whole: Any) -> None:
    await quota(whole, "q", {"count/configmaps": "25", "configmaps": "1000"})
    path = "/api/v1/namespaces/default/configmaps"
    answers = await asyncio.gather(*(whole("POST", path, {"metadata": {"name": f"m{n}"}}) for n in range(60)))
    codes = [code for code, _ in answers]
    assert codes.count(201) == 25
    assert codes.count(403) == 35
    assert await count(whole, "q") == {"count/configmaps": "25", "configmaps": "25"}


async def test_what_failed_later_is_given_back(whole: Any) -> None:
    await quota(whole, "q", {"services": "5", "services.nodeports": "5"})
    path = "/api/v1/namespaces/default/services"
    service = {"metadata": {"name": "a"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    assert (await whole("POST", path, service))[0] == 201

    class Refuses:
        async def validate(self, admission: Any) -> None:
            from sampan.api.errors import forbidden

            raise forbidden(admission.resource, admission.name, "no")

    whole.api.admission = (*whole.api.admission, Refuses())
    service["metadata"] = {"name": "b"}
    assert (await whole("POST", path, service))[0] == 403
    whole.api.admission = whole.api.admission[:-1]
    assert await count(whole, "q") == {"services": "1", "services.nodeports": "1"}


async def test_a_dry_run_is_judged_and_not_charged(whole: Any) -> None:
    await quota(whole, "q", {"configmaps": "1"})
    path = "/api/v1/namespaces/default/configmaps?dryRun=All"
    assert (await whole("POST", path, {"metadata": {"name": "a"}}))[0] == 201
    assert await count(whole, "q") == {"configmaps": "0"}
    await quota(whole, "none", {"configmaps": "0"})
    assert (await whole("POST", path, {"metadata": {"name": "a"}}))[0] == 403


async def test_an_update_is_charged_for_what_is_more(whole: Any) -> None:
    await quota(whole, "q", {"services.nodeports": "2"})
    path = "/api/v1/namespaces/default/services"
    body = {"metadata": {"name": "a"}, "spec": {"type": "ClusterIP", "ports": [{"name": "x", "port": 80}]}}
    assert (await whole("POST", path, body))[0] == 201
    assert await count(whole, "q") == {"services.nodeports": "0"}
    ports = [{"name": name, "port": port} for name, port in (("x", 80), ("y", 81), ("z", 82))]
    patch = {"spec": {"type": "NodePort", "ports": ports[:2]}}
    assert (await whole("PATCH", f"{path}/a", patch, MERGE))[0] == 200
    assert await count(whole, "q") == {"services.nodeports": "2"}
    code, status = await whole("PATCH", f"{path}/a", {"spec": {"ports": ports}}, MERGE)
    assert code == 403
    assert status["message"] == (
        'services "a" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=2, '
        "limited: services.nodeports=2"
    )


async def test_scopes_and_several_quotas(whole: Any) -> None:
    await quota(whole, "all", {"pods": "3"})
    await quota(whole, "effort", {"pods": "1"}, scopes=["BestEffort"])
    assert (await whole("POST", PODS, pod("a")))[0] == 201
    code, status = await whole("POST", PODS, pod("b"))
    assert code == 403
    assert "exceeded quota: effort, requested: pods=1, used: pods=1, limited: pods=1" in status["message"]
    assert (await whole("POST", PODS, pod("b", "1")))[0] == 201
    assert (await count(whole, "all"), await count(whole, "effort")) == ({"pods": "2"}, {"pods": "1"})


async def test_storage_classes_and_custom_objects(whole: Any) -> None:
    await quota(whole, "q", {"gold.storageclass.storage.k8s.io/requests.storage": "1Gi", "count/deployments.apps": "0"})
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "gold", "resources": {"requests": {"storage": "2Gi"}}}
    path = "/api/v1/namespaces/default/persistentvolumeclaims"
    code, status = await whole("POST", path, {"metadata": {"name": "c"}, "spec": spec})
    assert code == 403
    assert "requested: gold.storageclass.storage.k8s.io/requests.storage=2Gi" in status["message"]
    spec["storageClassName"] = "iron"
    assert (await whole("POST", path, {"metadata": {"name": "c"}, "spec": spec}))[0] == 201
    template = {"metadata": {"labels": {"a": "b"}}, "spec": pod("x")["spec"]}
    deployment = {"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}}
    code, status = await whole("POST", "/apis/apps/v1/namespaces/default/deployments", deployment)
    assert status["message"] == (
        'deployments.apps "d" is forbidden: exceeded quota: q, requested: count/deployments.apps=1, used: '
        "count/deployments.apps=0, limited: count/deployments.apps=0"
    )


async def test_a_quota_that_is_gone_bounds_nothing(whole: Any) -> None:
    await quota(whole, "q", {"configmaps": "0"})
    path = "/api/v1/namespaces/default/configmaps"
    assert (await whole("POST", path, {"metadata": {"name": "a"}}))[0] == 403
    assert (await whole("DELETE", f"{QUOTAS}/q"))[0] == 200
    assert (await whole("POST", path, {"metadata": {"name": "a"}}))[0] == 201


async def test_what_is_limited_needs_a_quota(open_whole: Any, tmp_path: Path) -> None:
    scope = {"scopeName": "PriorityClass", "operator": "In", "values": ["high"]}
    limited = [{"resource": "pods", "matchScopes": [scope]}, {"resource": "services", "matchContains": ["nodeports"]}]
    plugin = {"name": "ResourceQuota", "configuration": {"limitedResources": limited}}
    file = tmp_path / "admission.yaml"
    file.write_bytes(orjson.dumps({"kind": "AdmissionConfiguration", "plugins": [plugin]}))
    call = await open_whole(flags=Flags(admission_control_config_file=file))
    await call("POST", "/apis/scheduling.k8s.io/v1/priorityclasses", {"metadata": {"name": "high"}, "value": 10})
    assert (await call("POST", PODS, pod("a")))[0] == 201
    code, status = await call("POST", PODS, pod("b", priorityClassName="high"))
    assert (code, status["message"]) == (
        403,
        'pods "b" is forbidden: insufficient quota to match these scopes: [{PriorityClass In [high]}]',
    )
    service = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    code, status = await call("POST", "/api/v1/namespaces/default/services", service)
    assert status["message"] == 'services "s" is forbidden: insufficient quota to consume: services.nodeports'
    await quota(call, "high", {"pods": "5"}, scopeSelector={"matchExpressions": [scope]})
    assert (await call("POST", PODS, pod("b", priorityClassName="high")))[0] == 201
