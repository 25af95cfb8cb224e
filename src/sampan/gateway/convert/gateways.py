"""The Gateway that the converted objects of a namespace share, with a listener for each thing they ask for."""

from __future__ import annotations

from typing import Any

from sampan.gateway.convert.sources import Sources, made
from sampan.schema.objects import Object


class SharedGateway:
    def __init__(self, sources: Sources, namespace: str, name: str) -> None:
        self._sources, self._namespace, self.name = sources, namespace, name
        self._listeners: dict[str, Object] = {}

    def listener(
        self, name: str, host: str, port: int, protocol: str, secret: str = "", *, passthrough: bool = False
    ) -> str:
        """Return the name of the listener for a host (``""``: every host), which is ``name`` unless another has it; the
        listener is added where it is missing, and ``secret`` to its certificates."""
        wanted: dict[str, Any] = {"name": name, "port": port, "protocol": protocol}
        if host:
            wanted["hostname"] = host
        if passthrough:
            wanted["tls"] = {"mode": "Passthrough"}
        entry = self._found_or_added(wanted)
        if secret:
            references = entry.setdefault("tls", {"mode": "Terminate", "certificateRefs": []})["certificateRefs"]
            if {"name": secret} not in references:
                references.append({"name": secret})
        return str(entry["name"])

    def _found_or_added(self, wanted: Object) -> Object:
        """Return the listener there is for a host, port and protocol, or ``wanted`` under a name of its own: ``a-b.c`` and
        ``a.b-c`` would have one."""
        name = str(wanted["name"])
        number = 2
        while (found := self._listeners.setdefault(wanted["name"], wanted)) is not wanted:
            if all(found.get(field) == wanted.get(field) for field in ("hostname", "port", "protocol")):
                return found
            wanted["name"] = f"{name}-{number}"
            number += 1
        return wanted

    def object(self) -> Object:
        spec = {"gatewayClassName": self._sources.gateway_class, "listeners": list(self._listeners.values())}
        return made("Gateway", self.name, self._namespace, spec)
