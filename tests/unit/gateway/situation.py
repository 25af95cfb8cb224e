"""Objects of a small shop, and the pipeline that made Envoy's resources of them, decoded."""

from __future__ import annotations

from typing import Any

from google.protobuf import any_pb2

from sampan.gateway.model.world import Surroundings, key_of
from sampan.gateway.pipeline import Pipeline
from sampan.gateway.status import Moment
from sampan.gateway.xds.ads import Ads
from sampan.gateway.xds.encode import decode
from sampan.gateway.xds.types import PREFIX, ROUTES

GROUP = "gateway.networking.k8s.io"
BACKEND = [{"name": "web", "port": 80}]
HTTP = {"name": "http", "port": 80, "protocol": "HTTP"}
Object = dict[str, Any]


def obj(kind: str, name: str, spec: Object, namespace: str = "shop", **more: Any) -> Object:
    metadata = {"name": name, "namespace": namespace, "uid": f"uid-{kind}-{name}", "generation": 1}
    return {"kind": kind, "metadata": {**metadata, "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec, **more}


def route(name: str, *rules: Object, kind: str = "HTTPRoute", **spec: Any) -> Object:
    return obj(kind, name, {"parentRefs": [{"name": "gw"}], "rules": list(rules), **spec})


def path_rule(kind: str, value: str, **more: Any) -> Object:
    return {"matches": [{"path": {"type": kind, "value": value}}], "backendRefs": BACKEND, **more}


def gateway(*listeners: Object, name: str = "gw", **spec: Any) -> Object:
    return obj("Gateway", name, {"gatewayClassName": "sampan", "listeners": list(listeners) or [HTTP], **spec})


def service(name: str, *ports: Object, namespace: str = "shop") -> Object:
    return obj("Service", name, {"ports": list(ports) or [{"port": 80, "name": "http"}]}, namespace)


def endpoint_slice(name: str, *addresses: str, port: int = 8080) -> Object:
    return {
        "kind": "EndpointSlice",
        "metadata": {"name": f"{name}-1", "namespace": "shop", "labels": {"kubernetes.io/service-name": name}},
        "ports": [{"name": "http", "port": port}],
        "endpoints": [{"addresses": [address], "conditions": {"ready": True}} for address in addresses],
    }


def grant(source: str, target: str, namespace: str, source_namespace: str = "shop") -> Object:
    spec = {
        "from": [{"group": GROUP, "kind": source, "namespace": source_namespace}],
        "to": [{"group": "", "kind": target}],
    }
    return obj("ReferenceGrant", f"{source}-{target}".lower(), spec, namespace)


class Situation:
    """A pipeline with the usual objects and those given; ``put`` changes it."""

    def __init__(
        self,
        *objects: Object,
        usual: bool = True,
        inline_module: str = "",
        exchange_module: str = "",
        gateway_class: str = "sampan",
        secret_namespaces: frozenset[str] = frozenset(),
    ) -> None:
        surroundings = Surroundings(
            inline_module=inline_module,
            exchange_module=exchange_module,
            gateway_class=gateway_class,
            secret_namespaces=secret_namespaces,
        )
        self.pipeline = Pipeline(surroundings, Ads())
        self.objects: list[Object] = []
        gateway_class = {"kind": "GatewayClass", "metadata": {"name": "sampan"}}
        self.put({**gateway_class, "spec": {"controllerName": "sampan.dev/gateway"}})
        if usual:
            self.put(gateway(), service("web"), endpoint_slice("web", "10.0.0.1"))
        self.put(*objects)

    def put(self, *objects: Object) -> None:
        for one in objects:
            self.pipeline.put(one["kind"], key_of(one), one)
        self.pipeline.update()

    def delete(self, one: Object) -> None:
        self.pipeline.put(one["kind"], key_of(one), None)
        self.pipeline.update()

    def names(self, type_url: str) -> list[str]:
        """Return the names of what came of the objects."""
        return sorted(self.pipeline.ads.resources[type_url].keys() - {"sampan/metrics", "sampan/admin"})

    def get(self, type_url: str, name: str) -> Object:
        return decode(type_url.removeprefix(PREFIX), self.pipeline.ads.resources[type_url][name])

    def hosts(self, table: str = "shop/gw/80") -> dict[str, list[Object]]:
        """Return the routes of a table by domain."""
        found = self.get(ROUTES, table)
        return {host["name"]: host.get("routes", []) for host in found.get("virtual_hosts", [])}

    def status(self, kind: str, name: str, *, live: bool = True, namespace: str = "shop") -> Object:
        found = self.pipeline.status(kind, f"{namespace}/{name}", Moment("2026-01-02T00:00:00Z", live))
        assert found is not None, f"{kind} {name} has no status"
        return found

    def conditions(self, kind: str, name: str, **more: Any) -> dict[str, Object]:
        """Return the conditions by type: of the object, or of a route's first parent."""
        status = self.status(kind, name, **more)
        first = status.get("parents") or status.get("ancestors")
        return by_type((first[0] if first else status)["conditions"])

    def listener(self, gateway_name: str, listener: str) -> dict[str, Object]:
        entries = self.status("Gateway", gateway_name)["listeners"]
        return by_type(next(entry for entry in entries if entry["name"] == listener)["conditions"])


def by_type(conditions: list[Object]) -> dict[str, Object]:
    return {entry["type"]: entry for entry in conditions}


def opened(packed: bytes) -> Object:
    """Return the message in an ``Any``."""
    found = any_pb2.Any.FromString(packed)
    return decode(found.type_url.rpartition("/")[2], found.value)
