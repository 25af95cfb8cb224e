"""The client over HTTPS: any Kubernetes API, from a ``Connection``.

Requests go out as JSON over kept connections; a watch is a streamed response, cut into lines and parsed as they come.
What goes wrong below HTTP is raised as ``ApiUnreachable`` (an ``OSError``), so that nobody else need know aiohttp.
aiohttp is imported when the first client is made, because it is slow to import and the api process has no need of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import orjson

from sampan.client.counted import counted
from sampan.client.errors import ApiError, ApiUnreachable
from sampan.client.kubeconfig import Connection, Credentials
from sampan.client.protocol import ListResult, ResourceType, WatchEvent
from sampan.client.writing import WritingClient
from sampan.schema.objects import Object

if TYPE_CHECKING:
    import aiohttp


Objects = list[Object]
JSON = "application/json"
PARTIAL = f"{JSON};as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = f"{JSON};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
PAGE = 500
"""Objects asked for at a time, as client-go's pager does."""
ATTEMPTS = 10
"""How often a request is sent when the server says each time that it is to be sent again later."""
LONGEST_PAUSE_SECONDS = 30.0


class HttpClient(WritingClient):
    """``Client`` over HTTP. ``agent`` is the User-Agent and so the default field manager. Needs a running loop.

    What the server asks to be sent again later (429, or 5xx with ``Retry-After``) is; tokens of files are read anew."""

    streams_lists = True

    def __init__(self, connection: Connection, *, agent: str = "sampan") -> None:
        import aiohttp

        self.server = connection.server
        self.agent = agent
        headers = {"User-Agent": agent}
        self._credentials = Credentials(connection)
        context = connection.ssl_context()
        connector = aiohttp.TCPConnector(ssl=context if context is not None else False, limit=0, keepalive_timeout=60)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5)
        self._session = aiohttp.ClientSession(
            connector=connector, headers=headers, timeout=timeout, read_bufsize=1 << 20, auto_decompress=True
        )

    @property
    def session(self) -> aiohttp.ClientSession:
        """The session underneath, for what is not an object: WebSockets and plain streams."""
        return self._session

    async def get(self, resource: ResourceType, name: str, namespace: str | None = None) -> Object:
        return await self._object("GET", resource.path(namespace, name), {})

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
        query = _query(labelSelector=label_selector, fieldSelector=field_selector, resourceVersion=resource_version)
        answer, items = await self._pages(resource.path(namespace), query, PARTIAL_LIST if partial else JSON)
        for item in items if not partial else ():  # items of built-in lists carry neither, by Kubernetes' custom
            item.setdefault("apiVersion", resource.api_version)
            item.setdefault("kind", resource.kind)
        return ListResult(items, answer["metadata"].get("resourceVersion", ""))

    async def _pages(self, path: str, query: Mapping[str, str], accept: str) -> tuple[Object, Objects]:
        """Return the last answer and the items of all pages. They are of one revision; when the server has forgotten that in
        the meantime, the list is read anew and whole."""
        page = {**query, "limit": str(PAGE)}
        items: Objects = []
        while True:
            try:
                answer = await self._object("GET", path, page, accept=accept)
            except ApiError as error:
                if not error.is_expired or "continue" not in page:
                    raise
                answer = await self._object("GET", path, query, accept=accept)
                return answer, answer.get("items") or []
            items += answer.get("items") or []
            following = answer["metadata"].get("continue")
            if not following:
                return answer, items
            page = {name: value for name, value in page.items() if name != "resourceVersion"} | {"continue": following}

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
        query = _query(
            watch="true",
            allowWatchBookmarks="true",
            resourceVersion=resource_version,
            labelSelector=label_selector,
            fieldSelector=field_selector,
            sendInitialEvents="true" if send_initial_events else "",
            resourceVersionMatch="NotOlderThan" if send_initial_events else "",
        )
        async for line in self.lines(resource.path(namespace), query, PARTIAL if partial else JSON):
            event = orjson.loads(line)
            if event["type"] == "ERROR":
                status = event["object"]
                raise ApiError(int(status.get("code") or 500), status)
            yield WatchEvent(event["type"], event["object"])

    async def lines(self, path: str, query: Mapping[str, str], accept: str = "*/*") -> AsyncIterator[bytes]:
        """Yield the lines of an answer as they come, without their ends; empty ones are left out. Raises ``ApiError``,
        ``ApiUnreachable`` when it is cut."""
        headers = {**self._authorization(), "Accept": accept}
        with transport_errors():
            answer = await self._session.get(self.server + path, params=query, headers=headers)
        async with answer:
            if answer.status >= 400:
                with transport_errors():
                    body = await answer.read()
                raise error_of(answer.status, body)
            async for line in lines_of(answer.content):
                yield line

    async def raw(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, body: Any = None
    ) -> tuple[int, bytes]:
        return await self._send(method, path, query or {}, body)

    async def close(self) -> None:
        await self._session.close()

    async def _object(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any = None,
        media: str = JSON,
        accept: str = JSON,
    ) -> Object:
        status, answer = await self._send(method, path, query, body, media, accept)
        if status >= 400:
            raise error_of(status, answer)
        decoded: Object = orjson.loads(answer)
        return decoded

    async def _send(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Any,
        content_type: str = JSON,
        accept: str = JSON,
    ) -> tuple[int, bytes]:
        data = None if body is None else orjson.dumps(body)
        for attempt in range(ATTEMPTS):
            headers = {**self._authorization(), "Accept": accept}
            if data is not None:
                headers["Content-Type"] = content_type
            with transport_errors():
                async with self._session.request(
                    method, self.server + path, params=query, data=data, headers=headers
                ) as answer:
                    status, body = answer.status, await answer.read()
                    counted(method, answer.url.authority, status)
                    pause = retry_after(status, answer.headers.get("Retry-After", ""))
            if status == 401 and self._credentials.renew():
                continue
            if pause is None or attempt == ATTEMPTS - 1:
                break
            await asyncio.sleep(pause)
        return status, body

    def _authorization(self) -> dict[str, str]:
        token = self._credentials.token()
        return {"Authorization": f"Bearer {token}"} if token else {}


def retry_after(status: int, header: str) -> float | None:
    """Return after how many seconds a request is to be sent again, None when it is not (RFC 9110, 10.2.3; client-go's rule:
    429 and 5xx that carry the header)."""
    if status != 429 and status < 500:
        return None
    if not header.isdecimal():
        return None
    return min(float(header), LONGEST_PAUSE_SECONDS)


@contextmanager
def transport_errors() -> Iterator[None]:
    """Turn the errors of aiohttp and timeouts into ``ApiUnreachable``."""
    import aiohttp

    try:
        yield
    except (aiohttp.ClientError, TimeoutError) as error:
        raise ApiUnreachable(str(error) or type(error).__name__) from error


async def lines_of(stream: aiohttp.StreamReader) -> AsyncIterator[bytes]:
    """Yield the lines of a stream, of any length, without their ends. Raises ``ApiUnreachable`` when it is cut."""
    parts: list[bytes] = []
    while True:
        with transport_errors():
            chunk = await stream.readany()
        if not chunk:
            return
        first, *more = chunk.split(b"\n")
        parts.append(first)
        for following in more:
            if line := b"".join(parts):
                yield line
            parts = [following]


def error_of(code: int, body: bytes) -> ApiError:
    """Return the error of an answer; what is not a Status becomes one with the text as its message."""
    try:
        status = orjson.loads(body)
    except orjson.JSONDecodeError:
        status = None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        status = {"kind": "Status", "status": "Failure", "code": code, "message": body.decode(errors="replace")}
    return ApiError(code, status)


def _query(**parameters: str) -> dict[str, str]:
    return {name: value for name, value in parameters.items() if value}
