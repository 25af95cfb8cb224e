"""The client without ``await``: every method of ``client.protocol.Client``, and a watch as a plain iterator."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from sampan.client.protocol import Client, ListResult, PatchType, ResourceType, WatchEvent
from sampan.schema.objects import Object
from sampan.testing.portal import portal


class BlockingClient:
    """``client`` is asked for in the portal's loop, where it belongs."""

    def __init__(self, client: Callable[[], Client]) -> None:
        self._client = client

    def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Object:
        async def call() -> Object:
            return await self._client().get(resource, name, namespace)

        return portal.call(call())

    def list(self, resource: ResourceType, namespace: str | None = None, **selectors: Any) -> ListResult:
        """``label_selector``, ``field_selector``, ``resource_version``, ``partial`` as in ``Client.list``."""

        async def call() -> ListResult:
            return await self._client().list(resource, namespace, **selectors)

        return portal.call(call())

    def watch(self, resource: ResourceType, namespace: str | None = None, **selectors: Any) -> Iterator[WatchEvent]:
        """Yield events until the iterator is closed or the server ends the watch."""

        async def begin() -> Any:
            return aiter(self._client().watch(resource, namespace, **selectors))

        events = portal.call(begin())

        async def following() -> WatchEvent | None:
            return await anext(events, None)

        try:
            while (event := portal.call(following())) is not None:
                yield event
        finally:
            portal.call(events.aclose())

    def create(self, resource: ResourceType, obj: Object, namespace: str | None = None, **more: Any) -> Object:
        async def call() -> Object:
            return await self._client().create(resource, obj, namespace, **more)

        return portal.call(call())

    def update(self, resource: ResourceType, obj: Object, *, subresource: str | None = None) -> Object:
        async def call() -> Object:
            return await self._client().update(resource, obj, subresource=subresource)

        return portal.call(call())

    def patch(
        self,
        resource: ResourceType,
        name: str,
        patch: Any,
        namespace: str | None = None,
        *,
        type: PatchType = "merge",
        **more: Any,
    ) -> Object:
        async def call() -> Object:
            return await self._client().patch(resource, name, patch, namespace, type=type, **more)

        return portal.call(call())

    def delete(self, resource: ResourceType, name: str, namespace: str | None = None, **more: Any) -> Object:
        async def call() -> Object:
            return await self._client().delete(resource, name, namespace, **more)

        return portal.call(call())

    def raw(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> tuple[int, bytes]:
        async def call() -> tuple[int, bytes]:
            return await self._client().raw(method, path, query=query, body=body)

        return portal.call(call())
