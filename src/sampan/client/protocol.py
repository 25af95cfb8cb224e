"""What a client of the Kubernetes API does: the seam between agents and any API server.

Objects are plain dicts. Objects that come out of an informer or a watch are shared: copy before changing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol

from sampan.schema.objects import Object, api_version_of

PatchType = Literal["json", "merge", "strategic", "apply"]


class ResourceType(NamedTuple):
    """A resource as paths name it. A tuple, for it is the key of what informers keep: its hash costs nothing."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return api_version_of(self.group, self.version)

    def path(self, namespace: str | None = None, name: str | None = None, subresource: str | None = None) -> str:
        """Return the URL path of the collection, an object or a subresource."""
        prefix = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        parts = [prefix]
        if self.namespaced and namespace:
            parts += ["namespaces", namespace]
        parts.append(self.plural)
        if name is not None:
            parts.append(name)
        if subresource:
            parts.append(subresource)
        return "/".join(parts)


class ListResult(NamedTuple):
    items: list[Object]
    resource_version: str


class WatchEvent(NamedTuple):
    """``type`` is ADDED, MODIFIED, DELETED or BOOKMARK; an ERROR event is raised as ``ApiError``."""

    type: str
    object: Object


class Client(Protocol):
    """A typed-enough client. Every method raises ``ApiError`` (``errors.py``) with the server's Status."""

    @property
    def streams_lists(self) -> bool:
        """Whether an informer should read its first list as a stream of events: over a network, object by object."""

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Object: ...

    async def list(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        label_selector: str = "",
        field_selector: str = "",
        resource_version: str = "",
        partial: bool = False,
    ) -> ListResult:
        """``partial``: of each object only the metadata (``PartialObjectMetadata``)."""

    def watch(
        self,
        resource: ResourceType,
        namespace: str | None = None,
        *,
        resource_version: str = "",
        label_selector: str = "",
        field_selector: str = "",
        send_initial_events: bool = False,
        partial: bool = False,
    ) -> AsyncIterator[WatchEvent]:
        """Yield events after ``resource_version``. With ``send_initial_events`` (KEP-3157) what is there comes first, as
        ADDED, then a BOOKMARK with the annotation ``k8s.io/initial-events-end``."""

    async def create(
        self,
        resource: ResourceType,
        obj: Object,
        namespace: str | None = None,
        *,
        subresource: str | None = None,
        name: str | None = None,
    ) -> Object:
        """POST to the collection, or to ``name``'s subresource (binding, token, eviction)."""

    async def update(self, resource: ResourceType, obj: Object, *, subresource: str | None = None) -> Object: ...

    async def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: PatchType = "merge",
        subresource: str | None = None,
        field_manager: str | None = None,
        force: bool = False,
    ) -> Object: ...

    async def delete(
        self,
        resource: ResourceType,
        name: str,
        namespace: str | None = None,
        *,
        grace_period_seconds: int | None = None,
        propagation_policy: str | None = None,
        uid: str | None = None,
    ) -> Object: ...

    async def raw(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> tuple[int, bytes]:
        """Return ``(status, body)`` of any request, errors included."""

    async def close(self) -> None: ...
