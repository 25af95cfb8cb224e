"""The built-in admission plugins that are off unless asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.admission.event_rate_limit import EventRateLimit
from sampan.api.admission.namespace_rules import includes, merged
from sampan.api.flags import FlagError, Flags

NS = "/api/v1/namespaces/default"
PODS = f"{NS}/pods"
MERGE = {"content-type": "application/merge-patch+json"}


def pod(name: str = "p", **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"containers": [{"name": "c", "image": "i"}], **spec}}


def with_plugin(folder: Path, name: str, configuration: Any = None) -> Flags:
    file = folder / "admission.yaml"
    plugins = [{"name": name, "configuration": configuration}] if configuration else []
    file.write_bytes(orjson.dumps({"kind": "AdmissionConfiguration", "plugins": plugins}))
    return Flags(enable_admission_plugins=(name,), admission_control_config_file=file)


async def made(call: Any, path: str, body: Any) -> Any:
    code, obj = await call("POST", path, body)
    assert code == 201, obj
    return obj


async def annotate(call: Any, **annotations: str) -> None:
    given = {f"scheduler.alpha.kubernetes.io/{key.replace('_', '-')}": value for key, value in annotations.items()}
    code, _ = await call("PATCH", "/api/v1/namespaces/default", {"metadata": {"annotations": given}}, MERGE)
    assert code == 200


async def test_always_pull_images(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(enable_admission_plugins=("AlwaysPullImages",)))
    found = await made(call, PODS, pod(initContainers=[{"name": "i", "image": "x:1", "imagePullPolicy": "Never"}]))
    containers = [*found["spec"]["containers"], *found["spec"]["initContainers"]]
    assert [container["imagePullPolicy"] for container in containers] == ["Always", "Always"]


async def test_extended_resources_are_tolerated(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(enable_admission_plugins=("ExtendedResourceToleration",)))
    resources = {"limits": {"x.example/gpu": "1"}}
    body = pod()
    body["spec"]["containers"][0]["resources"] = resources
    assert {"key": "x.example/gpu", "operator": "Exists"} in (await made(call, PODS, body))["spec"]["tolerations"]


async def test_hard_anti_affinity_is_about_hosts(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(enable_admission_plugins=("LimitPodHardAntiAffinityTopology",)))
    term = {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}}
    affinity = {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}}
    code, status = await call("POST", PODS, pod(affinity=affinity))
    assert (code, status["message"]) == (
        403,
        'pods "p" is forbidden: affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey zone but only key '
        "kubernetes.io/hostname is allowed",
    )
    term["topologyKey"] = "kubernetes.io/hostname"
    await made(call, PODS, pod(affinity=affinity))


async def test_external_ips_are_denied(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(enable_admission_plugins=("DenyServiceExternalIPs",)))
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "externalIPs": ["1.2.3.4"]}}
    code, status = await call("POST", f"{NS}/services", body)
    assert (code, status["message"]) == (
        403,
        'services "s" is forbidden: Use of external IPs is denied by admission control',
    )


async def test_namespaces_are_made_for_what_comes(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(enable_admission_plugins=("NamespaceAutoProvision",)))
    await made(call, "/api/v1/namespaces/fresh/configmaps", {"metadata": {"name": "m"}})
    assert (await call("GET", "/api/v1/namespaces/fresh"))[0] == 200


async def test_namespace_exists(open_whole: Any) -> None:
    flags = Flags(enable_admission_plugins=("NamespaceExists",), disable_admission_plugins=("NamespaceLifecycle",))
    call = await open_whole(flags=flags)
    code, status = await call("POST", "/api/v1/namespaces/none/configmaps", {"metadata": {"name": "m"}})
    assert (code, status["message"]) == (404, 'namespaces "none" not found')


async def test_always_deny(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(enable_admission_plugins=("AlwaysDeny",)))
    code, status = await call("POST", f"{NS}/configmaps", {"metadata": {"name": "m"}})
    assert (code, status["message"]) == (
        403,
        'configmaps "m" is forbidden: admission control is denying all modifications',
    )


async def test_a_namespaces_node_selector(open_whole: Any, tmp_path: Path) -> None:
    configuration = {"podNodeSelectorPluginConfig": {"clusterDefaultNodeSelector": "disk=any", "default": "env=test"}}
    call = await open_whole(flags=with_plugin(tmp_path, "PodNodeSelector", configuration))
    code, status = await call("POST", PODS, pod())
    assert "pod node label selector labels conflict with its namespace whitelist" in status["message"]
    await annotate(call, node_selector="env=test")
    assert (await made(call, PODS, pod()))["spec"]["nodeSelector"] == {"env": "test"}
    code, status = await call("POST", PODS, pod("q", nodeSelector={"env": "prod"}))
    assert (code, status["message"]) == (
        403,
        'pods "q" is forbidden: pod node label selector conflicts with its namespace node label selector',
    )


async def test_a_namespaces_tolerations(open_whole: Any, tmp_path: Path) -> None:
    call = await open_whole(flags=with_plugin(tmp_path, "PodTolerationRestriction"))
    own = [{"key": "own", "operator": "Exists"}]
    system = [{"key": f"node.kubernetes.io/{key}", "operator": "Exists"} for key in ("not-ready", "unreachable")]
    allowed = orjson.dumps([*own, *system]).decode()
    await annotate(call, defaultTolerations=orjson.dumps(own).decode(), tolerationsWhitelist=allowed)
    assert own[0] in (await made(call, PODS, pod()))["spec"]["tolerations"]
    code, status = await call("POST", PODS, pod("q", tolerations=[{"key": "other", "operator": "Exists"}]))
    assert code == 500
    assert status["message"] == (
        "pod tolerations (possibly merged with namespace default tolerations) conflict with its namespace whitelist"
    )


@pytest.mark.parametrize(
    ("wide", "one", "expected"),
    [
        ({"operator": "Exists"}, {"key": "a", "value": "b"}, True),
        ({"key": "a", "operator": "Exists"}, {"key": "a", "value": "b", "effect": "NoSchedule"}, True),
        ({"key": "a", "value": "b"}, {"key": "a", "operator": "Equal", "value": "b"}, True),
        ({"key": "a", "value": "c"}, {"key": "a", "value": "b"}, False),
        ({"key": "a", "operator": "Exists", "effect": "NoExecute"}, {"key": "a", "effect": "NoSchedule"}, False),
        (
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
            {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 9},
            False,
        ),
    ],
)
def test_tolerations_that_include_others(wide: Any, one: Any, expected: bool) -> None:
    assert includes(wide, one) is expected
    if expected:
        assert merged([one], [wide]) == [wide]


async def test_events_are_limited(open_whole: Any, tmp_path: Path) -> None:
    limits = {"limits": [{"type": "Namespace", "qps": 1, "burst": 2}]}
    call = await open_whole(flags=with_plugin(tmp_path, "EventRateLimit", limits))
    body = {"involvedObject": {"kind": "Pod", "namespace": "default"}, "reason": "R", "type": "Normal"}
    for name in ("a", "b"):
        await made(call, f"{NS}/events", {"metadata": {"name": name}, **body})
    code, status = await call("POST", f"{NS}/events", {"metadata": {"name": "c"}, **body})
    assert (code, status["reason"]) == (429, "TooManyRequests")
    assert status["message"] == "limit reached on type Namespace for key default"


async def test_a_bucket_fills_with_time() -> None:
    at = 0.0
    plugin = EventRateLimit({"limits": [{"type": "Server", "qps": 2, "burst": 2}]}, lambda: at)
    (limit,) = plugin.limits
    admission: Any = None
    assert [limit.refuses(admission, at) for _ in range(3)] == ["", "", "limit reached on type Server for key "]
    assert limit.refuses(admission, 0.4) and not limit.refuses(admission, 1.0)


@pytest.mark.parametrize("limits", [[], [{"type": "Odd", "qps": 1, "burst": 1}], [{"type": "Server", "qps": 0}]])
def test_limits_that_are_none(limits: Any) -> None:
    with pytest.raises(FlagError):
        EventRateLimit({"limits": limits})


async def test_owners_need_rights(open_whole: Any) -> None:
    call = await open_whole(flags=Flags(enable_admission_plugins=("OwnerReferencesPermissionEnforcement",)))
    owner = await made(call, f"{NS}/configmaps", {"metadata": {"name": "owner"}})
    base = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create", "update", "patch", "get"]}]
    await made(call, f"{base}/roles", {"metadata": {"name": "writer"}, "rules": rules})
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "writer"}
    body = {"metadata": {"name": "w"}, "roleRef": role, "subjects": [{"kind": "User", "name": "jane"}]}
    await made(call, f"{base}/rolebindings", body)
    jane = call.as_user("jane")
    reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"]}
    await made(jane, f"{NS}/configmaps", {"metadata": {"name": "a", "ownerReferences": [reference]}})
    blocking = [{**reference, "blockOwnerDeletion": True}]
    code, status = await jane("POST", f"{NS}/configmaps", {"metadata": {"name": "b", "ownerReferences": blocking}})
    assert code == 403
    assert (
        "cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on"
        in (status["message"])
    )
    code, status = await jane("PATCH", f"{NS}/configmaps/a", {"metadata": {"ownerReferences": []}}, MERGE)
    assert code == 403
    assert "cannot set an ownerRef on a resource you can't delete" in status["message"]
