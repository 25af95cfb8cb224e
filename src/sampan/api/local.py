"""The client inside the API's own process: ``client.Client`` without a socket.

Requests take the same way as those of the network (authorization, admission, registry), as the user they are made for.
Objects that are read are parsed once for a revision and shared by all: copy before changing.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson

from sampan.api.app import Api, Routed
from sampan.api.errors import StatusError
from sampan.api.identity import permit
from sampan.api.listing import list_records
from sampan.api.request import Response, User
from sampan.api.routing import Query, parse_query
from sampan.api.watching import WatchStream, bookmark_object, changes
from sampan.client.counted import counted
from sampan.client.errors import ApiError
from sampan.client.protocol import ListResult, ResourceType, WatchEvent
from sampan.client.writing import WritingClient
from sampan.schema.objects import Object
from sampan.store.protocol import Record

HOST = "in-process"


class LocalClient(WritingClient):
    """A client of an ``Api`` in this process, acting as ``user``."""

    streams_lists = False  # a list is a look at what is parsed already

    def __init__(self, api: Api, user: User) -> None:
        self.api = api
        self.user = user
        self.agent = user.name.rpartition(":")[2]
        self._headers = {"user-agent": self.agent}

    async def _answer(
        self, method: str, path: str, query: Mapping[str, str], body: bytes = b"", media: str = "application/json"
    ) -> Response:
        headers = self._headers if not body else {**self._headers, "content-type": media}
        parameters = Query(dict(query), {name: [value] for name, value in query.items()})
        try:
            routed = await self._routed(method, path, parameters, headers, body)
            answer = await self.api.answer(routed)
        except StatusError as error:
            counted(method, HOST, error.code)
            raise api_error(error) from None
        counted(method, HOST, 200 if isinstance(answer, WatchStream) else answer.status)
        if isinstance(answer, WatchStream):
            raise api_error(StatusError(400, "BadRequest", "use watch() to watch"))
        return answer

    async def _routed(
        self, method: str, path: str, query: Query, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Routed:
        await self.api.fresh(method, path, query.last.get("resourceVersion", ""))
        return self.api.routed(self.user, method, path, query, headers or self._headers, body)

    async def _object(
        self, method: str, path: str, query: Mapping[str, str], body: Any = None, media: str = "application/json"
    ) -> Object:
        data = b"" if body is None else orjson.dumps(body)
        answer = await self._answer(method, path, query, data, media)
        obj: Object = orjson.loads(answer.body)
        return obj

    def read(self, record: Record) -> Object:
        """Return the object of a record, as lists and watches give it."""
        return self.api.parsed(record)

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Object:
        try:
            routed = await self._routed("GET", resource.path(namespace, name), NO_QUERY)
            served = routed.served
            if served is None or served.converts or "" in served.subresources:
                return await self._object("GET", resource.path(namespace, name), {})
            await permit(self.api.authorizer, routed.request.attributes)
            return self.api.parsed(await self.api.registry.current(served, namespace or "", name))
        except StatusError as error:
            raise api_error(error) from None

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
        query = _selectors(label_selector, field_selector, resource_version)
        try:
            routed = await self._routed("GET", resource.path(namespace), query)
            request, served = routed.request, routed.served
            if self.api.remote(request.attributes.path) is not None or (served and "" in served.subresources):
                return remote_list(await self.api.answer(routed))
            if served is None:
                await self.api.answer(routed)
                raise AssertionError("unreachable")
            await permit(self.api.authorizer, request.attributes)
            listed = await list_records(self.api, request, served, namespace or "")
        except StatusError as error:
            raise api_error(error) from None
        if partial:
            items = [metadata_of(record.value) for record in listed.records]
        elif served.converts:
            items = [self.api.registry.decode(served, record.value) for record in listed.records]
        else:
            items = [self.read(record) for record in listed.records]
        return ListResult(items, str(listed.revision))

    async def watch(
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
        query = _selectors(label_selector, field_selector, resource_version)
        query.last.update(watch="true", allowWatchBookmarks="true")
        if send_initial_events:
            query.last.update(sendInitialEvents="true", resourceVersionMatch="NotOlderThan")
        try:
            routed = await self._routed("GET", resource.path(namespace), query)
            served = routed.served
            remote = self.api.remote(routed.request.attributes.path)
            if remote is not None:
                await permit(self.api.authorizer, routed.request.attributes)
                async for event in remote.events(routed.request):
                    yield WatchEvent(event["type"], event["object"])
                return
            answer = await self.api.answer(routed)
            assert served is not None and isinstance(answer, WatchStream)
            batches = changes(self.api, served, namespace or "", answer.chosen, answer.options)
            async for batch in batches:
                for change in batch:
                    if change.type == "BOOKMARK":
                        obj = orjson.loads(bookmark_object(served, change))
                    elif partial:
                        obj = metadata_of(change.value)
                    elif change.record is not None and not served.converts:
                        obj = self.read(change.record)
                    else:
                        obj = self.api.registry.decode(served, change.value)
                    yield WatchEvent(change.type, obj)
        except StatusError as error:
            raise api_error(error) from None

    async def raw(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> tuple[int, bytes]:
        path, _, in_path = path.partition("?")
        parameters = {**parse_query(in_path.encode()).last, **(query or {})}
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        try:
            answer = await self._answer(method, path, parameters, data)
        except ApiError as error:
            return error.code, orjson.dumps(error.status)
        return answer.status, answer.body

    async def close(self) -> None:
        """Nothing is held."""


MANAGED = b',"managedFields":[{'
LATER = (b'"ownerReferences":[', b'"finalizers":[', b'"deletionTimestamp":"')
"""What may be added to metadata after managedFields."""


def metadata_of(value: bytes) -> Object:
    """Return of an object's bytes what says who it is, whose, and whether it goes. Conversion leaves that alone.

    What begins with managedFields, mostly the end of metadata, is most of an object: it is not parsed when nothing that
    counts is there."""
    end = value.find(MANAGED)
    if end >= 0 and value.find(LATER[0], end) < 0 and value.find(LATER[1], end) < 0 and value.find(LATER[2], end) < 0:
        try:
            metadata = orjson.loads(value[:end] + b"}}")["metadata"]
            if "uid" in metadata and "name" in metadata:
                return {"metadata": metadata}
        except orjson.JSONDecodeError:
            pass  # the bytes were found in an object within the object
    return {"metadata": orjson.loads(value)["metadata"]}


def remote_list(answer: Any) -> ListResult:
    """Return the list that an extension server, or a resource that is not stored, answered with."""
    found = orjson.loads(answer.body)
    if answer.status != 200:
        raise ApiError(answer.status, found)
    kind = {"apiVersion": found.get("apiVersion"), "kind": str(found.get("kind", "")).removesuffix("List")}
    return ListResult([{**kind, **item} for item in found.get("items") or ()], found["metadata"]["resourceVersion"])


NO_QUERY = Query({}, {})


def _selectors(labels: str, fields: str, version: str) -> Query:
    given = {"labelSelector": labels, "fieldSelector": fields, "resourceVersion": version}
    return Query({name: value for name, value in given.items() if value}, {})


def api_error(error: StatusError) -> ApiError:
    return ApiError(error.code, error.status())
