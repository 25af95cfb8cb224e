"""No object of any built-in kind gives a 500: well-typed and wild, made from the definitions, created, changed and shown.

A few hundred requests run with every test run. ``SAMPAN_FUZZ_EXAMPLES=2000`` makes over 10,000 for every resource that is
changed, and ``SAMPAN_FUZZ_VERSION`` does it with other versions of Kubernetes: ``1.25``, ``1.25,1.30`` or ``all``.
"""

from __future__ import annotations

import asyncio
import copy
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from sampan.api.app import Api
from sampan.api.errors import StatusError
from sampan.api.request import Response, User
from sampan.api.resource import Resource
from sampan.api.resources import of_version
from sampan.api.routing import parse_query
from sampan.api.server import ApiConfig, open_api
from sampan.schema.types import VERSIONS, TypeSystem, type_system

from .conftest import everything

EXAMPLES = int(os.environ.get("SAMPAN_FUZZ_EXAMPLES", "4"))
ADMIN = User("admin", ("system:masters", "system:authenticated"))
ASKED = os.environ.get("SAMPAN_FUZZ_VERSION", "1.37")
FUZZED = VERSIONS if ASKED == "all" else tuple(ASKED.split(","))


def created(version: str) -> Iterator[Resource]:
    """Yield what can be created and read in a Kubernetes version."""
    for resource in of_version(type_system(version)):
        if "create" in resource.verbs and "get" in resource.verbs:
            yield resource


CASES = {
    (version, resource.group, resource.version, resource.plural): resource
    for version in FUZZED
    for resource in created(version)
}
WORDS = [
    *(
        "",
        "a",
        "web",
        "A",
        "a/b",
        "..",
        "../x",
        "/abs",
        "*",
        "10.0.0.1",
        "::1",
        "10.0.0.0/8",
        "x" * 300,
        "é",
        "1",
        "100%",
    ),
    *("cpu", "memory", "hugepages-2Mi", "example.com/gpu", "Always", "Never", "RollingUpdate", "ClientIP", "None"),
    *("Localhost", "Exists", "In", "metadata.name", "limits.cpu", "metadata.labels['a']", "TCP", "Indexed", "1,3-5"),
    *("* * * * *", "@hourly", "TZ=UTC * * * * *", "Etc/UTC", "NodePort", "ExternalName", "LoadBalancer", "Local"),
    *("kubernetes.io/tls", "kubernetes.io/dockercfg", "windows", "linux", "Pod", "Container", "BestEffort"),
]
NUMBERS = [0, 1, -1, 2, 80, 30000, 65536, 2**31 - 1, -(2**31), 600, 3600]
QUANTITIES = ["0", "1", "-1", "100m", "1500m", "0.1n", "1Gi", "1e3", "9" * 30]
LEAF_DEPTH = 7


class Wild:
    """Makes objects of a Kubernetes version."""

    def __init__(self, types: TypeSystem, rng: random.Random) -> None:
        self.types, self.rng = types, rng

    def value(self, schema: dict[str, Any], depth: int = 0) -> Any:
        """Return a value that fits a definition and means nothing."""
        rng = self.rng
        reference = schema.get("$ref", "")
        reference = reference or next((part["$ref"] for part in schema.get("allOf", ()) if "$ref" in part), "")
        name = reference.rpartition("/")[2]
        if name:
            return self.named(name, depth)
        kind = schema.get("type")
        kind = rng.choice([one for one in kind if one != "null"]) if isinstance(kind, list) else kind
        if kind == "object" or "properties" in schema:
            return self.object(schema, depth)
        if kind == "array":
            many = 0 if depth > LEAF_DEPTH else rng.choice((0, 1, 1, 2, 3))
            return [self.value(schema.get("items") or {}, depth + 1) for _ in range(many)]
        if kind == "integer":
            return rng.choice(NUMBERS)
        if kind == "boolean":
            return rng.random() < 0.5
        if kind == "number":
            return rng.choice((0, 0.5, -1))
        if schema.get("format") == "byte":
            return rng.choice(("", "eA==", "e30=", "W10="))
        return rng.choice(WORDS)

    def named(self, name: str, depth: int) -> Any:
        if name.endswith(".Quantity"):
            return self.rng.choice(QUANTITIES)
        if name.endswith(".IntOrString"):
            return self.rng.choice((*NUMBERS, "50%", "http", "x%"))
        if name.endswith((".Time", ".MicroTime")):
            return "2026-01-01T00:00:00.000000Z" if "Micro" in name else "2026-01-01T00:00:00Z"
        if name.endswith(("JSONSchemaProps", ".FieldsV1")):
            return {}
        return self.value(self.types.definitions[name], depth)

    def object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        rng, fields = self.rng, schema.get("properties") or {}
        if not fields:
            values = schema.get("additionalProperties")
            if not isinstance(values, dict):
                return {}
            return {rng.choice(WORDS) or "k": self.value(values, depth + 1) for _ in range(rng.choice((0, 1, 2)))}
        share = max(0.1, 0.6 - depth * 0.08)
        must = schema.get("required") or ()
        return {
            key: self.value(value, depth + 1)
            for key, value in fields.items()
            if key not in ("apiVersion", "kind", "managedFields")
            and (rng.random() < share or (key in must and rng.random() < 0.9))
        }

    def whole(self, resource: Resource) -> dict[str, Any]:
        rng, name = self.rng, self.types.definition_name(resource.group, resource.version, resource.kind)
        assert name is not None
        made = self.object(self.types.definitions[name], 0)
        metadata = {"name": "fuzz", "labels": {"a": "b"}}
        if rng.random() < 0.3:
            metadata |= {"annotations": {rng.choice(NOTES): rng.choice(WORDS) for _ in range(2)}}
        return {**made, "apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata}


NOTES = [
    *("kubernetes.io/config.mirror", "controller.kubernetes.io/pod-deletion-cost", "kubernetes.io/ingress.class"),
    *("container.apparmor.security.beta.kubernetes.io/a", "seccomp.security.alpha.kubernetes.io/pod"),
    *("autoscaling.alpha.kubernetes.io/metrics", "autoscaling.alpha.kubernetes.io/behavior"),
    *("volume.beta.kubernetes.io/storage-class", "service.beta.kubernetes.io/load-balancer-source-ranges"),
]


def grafted(good: dict[str, Any], other: dict[str, Any], rng: random.Random) -> dict[str, Any]:
    """Return a good object with a few parts of a wild one."""
    made = copy.deepcopy(good)
    for _ in range(rng.choice((1, 1, 2, 3))):
        at, source = made, other
        while True:
            shared = [key for key in source if key not in ("apiVersion", "kind", "metadata")]
            if not shared:
                break
            key = rng.choice(shared)
            if isinstance(source[key], dict) and isinstance(at.get(key), dict) and rng.random() < 0.8:
                at, source = at[key], source[key]
                continue
            if isinstance(source[key], list) and isinstance(at.get(key), list) and at[key] and source[key]:
                first, second = at[key][0], source[key][0]
                if isinstance(first, dict) and isinstance(second, dict) and rng.random() < 0.8:
                    at, source = first, second
                    continue
            at[key] = source[key]
            break
    return made


CONTAINER = {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "env": [{"name": "A", "value": "b"}]}
PARTS = {"volumeMounts": [{"name": "v", "mountPath": "/v"}], "resources": {"limits": {"cpu": "1"}}}
POD = {"containers": [CONTAINER | PARTS], "volumes": [{"name": "v", "emptyDir": {}}]}
TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": POD}
ONCE = {"metadata": {"labels": {"a": "b"}}, "spec": {**POD, "restartPolicy": "Never"}}
WORK = {"selector": {"matchLabels": {"a": "b"}}, "template": TEMPLATE}
CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
VOLUME = {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"}, "hostPath": {"path": "/x"}}
SLICE = {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}], "ports": [{"name": "", "port": 80}]}
AUTOSCALER = {"maxReplicas": 3, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}}
POLICY = {"podSelector": {}, "ingress": [{"from": [{"podSelector": {}}], "ports": [{"port": 80}]}]}
RULES = {"rules": [{"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": BACKEND}]}}]}
LEASE_CANDIDATE = {
    "leaseName": "l",
    "strategy": "OldestEmulationVersion",
    "binaryVersion": "1.30.0",
    "emulationVersion": "1.30.0",
}
FLOW_RULE = {
    "subjects": [{"kind": "User", "user": {"name": "u"}}],
    "resourceRules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}],
}
QUEUED = {"type": "Queue", "queuing": {"queues": 64}}
DEVICES = {"devices": {"requests": [{"name": "r", "exactly": {"deviceClassName": "gpu"}}]}}
DEVICE_SLICE = {
    "driver": "d.x",
    "nodeName": "n",
    "pool": {"name": "p", "generation": 1, "resourceSliceCount": 1},
    "devices": [{"name": "g", "attributes": {"m": {"int": 1}}, "capacity": {"memory": {"value": "1Gi"}}}],
}
GOOD: dict[str, dict[str, Any]] = {
    "pods": {"spec": POD},
    "podtemplates": {"template": TEMPLATE},
    "replicationcontrollers": {"spec": {"template": TEMPLATE}},
    "deployments": {"spec": WORK},
    "replicasets": {"spec": WORK},
    "daemonsets": {"spec": WORK},
    "statefulsets": {"spec": WORK},
    "jobs": {"spec": {"template": ONCE}},
    "cronjobs": {"spec": {"schedule": "* * * * *", "jobTemplate": {"spec": {"template": ONCE}}}},
    "services": {"spec": {"ports": [{"port": 80}]}},
    "persistentvolumeclaims": {"spec": CLAIM},
    "persistentvolumes": {"spec": VOLUME},
    "ingresses": {"spec": RULES},
    "ingressclasses": {"spec": {"controller": "a.b/c"}},
    "networkpolicies": {"spec": POLICY},
    "endpointslices": SLICE,
    "horizontalpodautoscalers": {"spec": AUTOSCALER},
    "poddisruptionbudgets": {"spec": {"minAvailable": 1, "selector": {}}},
    "limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "1"}}]}},
    "resourcequotas": {"spec": {"hard": {"configmaps": "1000"}}},
    "events": {"involvedObject": {"namespace": "default"}},
    "storageclasses": {"provisioner": "p.example"},
    "csidrivers": {"spec": {"attachRequired": True}},
    "csinodes": {"spec": {"drivers": [{"name": "d.x", "nodeID": "n"}]}},
    "csistoragecapacities": {"storageClassName": "c"},
    "volumeattachments": {"spec": {"attacher": "a.x", "nodeName": "n", "source": {"persistentVolumeName": "v"}}},
    "volumeattributesclasses": {"driverName": "d.x", "parameters": {"a": "b"}},
    "priorityclasses": {"value": 1},
    "leases": {"spec": {"leaseDurationSeconds": 5}},
    "leasecandidates": {"spec": LEASE_CANDIDATE},
    "runtimeclasses": {"handler": "h"},
    "flowschemas": {"spec": {"priorityLevelConfiguration": {"name": "l"}, "rules": [FLOW_RULE]}},
    "prioritylevelconfigurations": {"spec": {"type": "Limited", "limited": {"limitResponse": QUEUED}}},
    "resourceclaims": {"spec": DEVICES},
    "resourceclaimtemplates": {"spec": {"spec": DEVICES}},
    "deviceclasses": {"spec": {"selectors": [{"cel": {"expression": "true"}}]}},
    "devicetaintrules": {"spec": {"taint": {"key": "k", "effect": "NoSchedule"}}},
    "resourceslices": {"spec": DEVICE_SLICE},
    "workloads": {"spec": {"podGroupTemplates": [{"name": "g", "schedulingPolicy": {"basic": {}}}]}},
    "podgroups": {"spec": {"schedulingPolicy": {"gang": {"minCount": 2}}}},
    "storageversionmigrations": {"spec": {"resource": {"resource": "pods"}}},
    "roles": {"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]},
    "clusterroles": {"rules": [], "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"a": "b"}}]}},
}


class Caller:
    """Sends a request in process; anything but an answer or a refusal below 500 fails."""

    def __init__(self, api: Api) -> None:
        self.api = api

    async def __call__(self, method: str, path: str, body: Any = None, accept: str = "") -> int:
        path, _, query = path.partition("?")
        data = b"" if body is None else orjson.dumps(body)
        media = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = {"content-type": media, "accept": accept}
        routed = self.api.routed(ADMIN, method, path, parse_query(query.encode()), headers, data)
        try:
            answer = await self.api.answer(routed)
        except StatusError as error:
            assert error.code < 500, f"{method} {path} {data!r}: {error.code} {error.message}"
            return error.code
        except Exception as error:
            raise AssertionError(f"{method} {path} {data!r}: {error!r}") from error
        assert isinstance(answer, Response)
        return answer.status


def collection(resource: Resource) -> str:
    base = f"/apis/{resource.group}/{resource.version}" if resource.group else f"/api/{resource.version}"
    return f"{base}/namespaces/default/{resource.plural}" if resource.namespaced else f"{base}/{resource.plural}"


TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"


async def one_round(call: Caller, resource: Resource, rng: random.Random) -> None:
    wild = Wild(call.api.types, rng)
    path, made = collection(resource), wild.whole(resource)
    await call("POST", f"{path}?dryRun=All", made)
    good = GOOD.get(resource.plural)
    if good is None:
        return
    base = {**made, **copy.deepcopy(good), "metadata": {"name": "fuzz", "labels": {"a": "b"}}}
    base = {key: value for key, value in base.items() if key in ("apiVersion", "kind", "metadata", *good)}
    changed = grafted(base, wild.whole(resource), rng)
    if await call("POST", path, changed) != 201:
        await call("POST", path, base)
    again = grafted(base, wild.whole(resource), rng)
    await call("PUT", f"{path}/fuzz?dryRun=All", again)
    await call("PATCH", f"{path}/fuzz?dryRun=All", {key: made[key] for key in ("spec", "data") if key in made})
    for subresource in SUBRESOURCES.get(resource.plural, ()):
        await call("PUT", f"{path}/fuzz/{subresource}?dryRun=All", again)
    if resource.status:
        body = {**again, "status": made.get("status") or {}}
        await call("PUT", f"{path}/fuzz/status", body)
    await call("GET", f"{path}/fuzz", accept=TABLE)
    await call("DELETE", f"{path}/fuzz?gracePeriodSeconds=0")


SUBRESOURCES = {"pods": ("ephemeralcontainers", "resize")}


@pytest.fixture(scope="module")
def callers(throwaway_pki: Path) -> Iterator[Callable[[str], tuple[asyncio.Runner, Caller]]]:
    """``callers(version)``: an API of the version, the only one there is at a time, and the loop that it lives in."""
    with asyncio.Runner() as runner:
        made: dict[str, Caller] = {}

        def caller(version: str) -> tuple[asyncio.Runner, Caller]:
            if version not in made:
                end()
                config = ApiConfig(pki_dir=throwaway_pki, kubernetes_version=version, flags=everything(version))
                made[version] = Caller(runner.run(open_api(config)))
            return runner, made[version]

        def end() -> None:
            for one in made.values():
                runner.run(one.api.close())
            made.clear()

        yield caller
        end()


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join((case[0], ".".join(reversed(case[1:])))))
def test_no_object_is_too_wild(
    case: tuple[str, str, str, str], callers: Callable[[str], tuple[asyncio.Runner, Caller]]
) -> None:
    runner, call = callers(case[0])

    async def run() -> None:
        for seed in range(EXAMPLES):
            await one_round(call, CASES[case], random.Random(f"{case[1:]} {seed}"))

    runner.run(run())
