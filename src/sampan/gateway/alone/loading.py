"""Objects of files into the API in memory: created, changed or deleted by difference, and refused as an API refuses.

What is refused leaves the object as it was before; the rest goes on. A file that cannot be read leaves its objects there.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from sampan.api.local import LocalClient
from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.client.resources import NAMESPACES
from sampan.gateway.alone.files import Found, Named, Problem
from sampan.gateway.kinds import definitions
from sampan.schema.objects import Object

LISTEN = ("Gateway", "ListenerSet")
"""Go first, since another may want their ports."""
REFER = ("Ingress", "IngressRoute", "IngressRouteTCP", "IngressRouteUDP", "TraefikService")
"""Come after what they refer to, as all routes do; and go before it: so no request meets a reference that leads nowhere."""


def order(name: Named) -> int:
    """Return the place of a kind among those that are written."""
    if name.kind in REFER or name.kind.endswith("Route"):
        return 3
    if name.kind in LISTEN:
        return 2
    return int(name.kind != "Namespace")


class Loader:
    """``resources``: what may be in the files."""

    def __init__(self, client: LocalClient, resources: tuple[ResourceType, ...]) -> None:
        self._client = client
        every = [one for resource in resources for one in (resource, *earlier_versions(resource))]
        self._resources = {(resource.api_version, resource.kind): resource for resource in every}
        self._there: dict[Named, bytes] = {}
        """What was taken, as the file had it."""
        self._files: dict[Named, str] = {}
        self._namespaces = {"default", "kube-system"}

    def where(self, kind: str, namespace: str, name: str) -> str:
        """Return file and object for a message, the object alone where no file has it."""
        for named, file in self._files.items():
            if (named.kind, named.name) == (kind, name) and named.namespace == (namespace or named.namespace):
                return f"{file}: {named}"
        return f"{kind} {namespace}/{name}" if namespace else f"{kind} {name}"

    async def load(self, found: Found) -> list[Problem]:
        """Make the API hold what was found; return what was wrong, with that of the files."""
        problems = list(found.problems)
        gone = [name for name in self._there if name not in found.objects and self._files[name] not in found.broken]
        for name in gone:
            if name.kind in LISTEN:
                await self._delete(name)
        for name in sorted(found.objects, key=order):
            obj = found.objects[name]
            self._files[name] = found.files[name]
            if self._there.get(name) == obj:
                continue
            where = f"{found.files[name]}: {name}"
            resource = self._resources.get((name.api_version, name.kind))
            if resource is None:
                problems.append(Problem(where, f"objects of kind {name.kind} in {name.api_version} are not read here"))
                continue
            try:
                await self._write(resource, name, orjson.loads(obj))
            except ApiError as error:
                problems += [Problem(where, text) for text in texts_of(error)]
            else:
                self._there[name] = obj
        for name in sorted(gone, key=order, reverse=True):
            if name.kind not in LISTEN:
                await self._delete(name)
        return problems

    async def _delete(self, name: Named) -> None:
        resource = self._resources[name.api_version, name.kind]
        try:
            await self._client.delete(resource, name.name, name.namespace if resource.namespaced else None)
        except ApiError as error:
            if not error.is_not_found:
                raise
        del self._there[name], self._files[name]

    async def _write(self, resource: ResourceType, name: Named, obj: Object) -> None:
        namespace = name.namespace if resource.namespaced else None
        if namespace is not None and namespace not in self._namespaces:
            await self._ensure_namespace(namespace)
        metadata: dict[str, Any] = {**obj["metadata"], **({"namespace": namespace} if namespace else {})}
        try:
            there = await self._client.get(resource, name.name, namespace)
        except ApiError as error:
            if not error.is_not_found:
                raise
            await self._send("POST", resource.path(namespace), {**obj, "metadata": metadata})
            return
        metadata["resourceVersion"] = there["metadata"]["resourceVersion"]
        new = {**obj, "metadata": metadata}
        if resource.kind == "Service":  # what the API gave it stays
            new["spec"] = {"clusterIP": there["spec"].get("clusterIP"), **(obj.get("spec") or {})}
        await self._send("PUT", resource.path(namespace, name.name), new)

    async def _send(self, method: str, path: str, obj: Object) -> None:
        status, answer = await self._client.raw(method, f"{path}?fieldValidation=Strict", body=orjson.dumps(obj))
        if status >= 400:
            raise ApiError(status, orjson.loads(answer))

    async def _ensure_namespace(self, name: str) -> None:
        try:
            await self._client.create(NAMESPACES, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        except ApiError as error:
            if not error.already_exists:
                raise
        self._namespaces.add(name)


def earlier_versions(resource: ResourceType) -> Iterator[ResourceType]:
    """Yield the resource in the other versions that are served of it."""
    for definition in definitions():
        spec = definition["spec"]
        if (spec["group"], spec["names"]["kind"]) == (resource.group, resource.kind):
            for version in spec["versions"]:
                if version["name"] != resource.version:
                    yield resource._replace(version=version["name"])


def texts_of(error: ApiError) -> list[str]:
    """Return what an API says is wrong, one text a field."""
    causes = (error.status.get("details") or {}).get("causes") or []
    texts = [f"{cause['field']}: {cause.get('message', '')}" for cause in causes if cause.get("field")]
    return list(dict.fromkeys(texts)) or [str(error)]
