"""Everything the translation looks at, in one value: objects by key, as the informers have them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sampan.gateway.kinds import CLASS, CONTROLLER, GROUP
from sampan.gateway.plugins import Loaded
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector

Objects = Mapping[str, Object]


@dataclass(frozen=True)
class World:
    classes: Objects
    gateways: Objects
    routes: Objects
    services: Objects
    slices: Mapping[str, list[Object]]
    """EndpointSlices by the key of their Service."""
    secrets: Objects
    namespaces: Objects
    grants: Objects
    middlewares: Objects
    plugins: Objects
    live_plugins: Mapping[str, Loaded]
    plugin_problems: Mapping[str, str]
    node_ip: str
    plugin_sockets: str
    """Directory of the sockets that plugins answer on."""
    pyvoy_module: str = ""
    ports: Mapping[tuple[str, int], int] = field(default_factory=dict)
    """``(gateway key, listener port) -> port Envoy listens on``."""

    def our_gateways(self) -> list[tuple[str, Object]]:
        """Return the gateways whose class is ours, oldest first."""
        ours = {name for name, obj in self.classes.items() if obj["spec"]["controllerName"] == CONTROLLER} or {CLASS}
        found = [(key, gw) for key, gw in self.gateways.items() if gw["spec"]["gatewayClassName"] in ours]
        return sorted(found, key=lambda entry: age_key(entry[1]))

    def granted(self, kind: str, namespace: str, target_kind: str, target_namespace: str, name: str) -> bool:
        """Whether an object of ours may refer to one of another namespace (ReferenceGrant)."""
        if namespace == target_namespace:
            return True
        for grant in self.grants.values():
            if grant["metadata"]["namespace"] != target_namespace:
                continue
            spec = grant["spec"]
            comes = any(
                f.get("group") == GROUP and f.get("kind") == kind and f.get("namespace") == namespace
                for f in spec["from"]
            )
            leads = any(
                t.get("group", "") == "" and t.get("kind") == target_kind and t.get("name") in (None, "", name)
                for t in spec["to"]
            )
            if comes and leads:
                return True
        return False

    def namespace_matches(self, selector: Object | None, namespace: str) -> bool:
        obj = self.namespaces.get(namespace)
        return obj is not None and label_selector(selector).matches(obj["metadata"].get("labels"))


def age_key(obj: Object) -> tuple[str, str, str]:
    """Sort key of the specification's tie-breaks: oldest first, then by name."""
    metadata = obj["metadata"]
    return metadata.get("creationTimestamp", ""), metadata.get("namespace", ""), metadata["name"]
