"""What is stored, for administrators: ``/sampan/store/…`` and ``/sampan/snapshots/…``.

They are paths that are no resource, so that RBAC decides by ``nonResourceURLs``: a fresh cluster lets cluster-admins only.
Everything is read from the store itself; Secrets are shown as they are. Snapshots are files of the server's own directory,
which it makes and reads by name.
"""

from __future__ import annotations

import asyncio
import datetime
import re
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.encodings import CODERS
from sampan.api.errors import StatusError, bad_request, method_not_allowed, service_unavailable
from sampan.api.negotiation import JSON
from sampan.api.request import Request, Response
from sampan.api.watching import WatchStream
from sampan.store import Compacted, Event, FutureRevision, Record, StoreError, snapshot
from sampan.store.encryption import Encryption, read
from sampan.store.layout import REGISTRY

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.server import ApiConfig

STORE = "/sampan/store"
SNAPSHOTS = "/sampan/snapshots"
NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")


def add(api: Api, config: ApiConfig) -> None:
    """Serve the routes."""
    routes = StoreRoutes(api, config)
    api.route(f"{STORE}/records", routes.records)
    api.route(f"{STORE}/history", routes.history)
    api.route(f"{STORE}/watch", routes.watch)  # type: ignore[arg-type]  # an answer that goes on, as a resource's watch
    if config.snapshots_dir is not None:
        api.route(SNAPSHOTS, routes.snapshots)


class StoreRoutes:
    def __init__(self, api: Api, config: ApiConfig) -> None:
        self.api, self.config = api, config

    async def records(self, request: Request) -> Response:
        """``?prefix=&revision=&keys=true``: the records under a prefix, now or at a revision."""
        prefix, revision = request.query.get("prefix", REGISTRY), whole(request, "revision")
        await self._fresh()
        try:
            page = await self.api.store.page(prefix, revision=revision)
        except Compacted as error:
            raise StatusError(
                410, "Expired", f"revision {error.asked} is forgotten; the oldest kept is {error.oldest}"
            ) from None
        except FutureRevision as error:
            raise bad_request(f"revision {error.asked} is not there yet; the newest is {error.current}") from None
        shown = [described(record, "keys" not in request.query) for record in page.records]
        return json(b'{"revision":%d,"records":[%b]}' % (page.revision, b",".join(shown)))

    async def history(self, request: Request) -> Response:
        """``?key=``: the changes of a key that are still known, oldest first."""
        await self._fresh()
        store = self.api.store
        events = store.history(request.query.get("key", ""))
        return json(b'{"events":[%b]}' % b",".join(told(event, store.time_of(event.revision)) for event in events))

    async def watch(self, request: Request) -> StoreStream:
        """``?prefix=&since=``: changes as they happen, one JSON object a line."""
        await self._fresh()
        return StoreStream(self.api, request.query.get("prefix", REGISTRY), whole(request, "since"))

    async def snapshots(self, request: Request) -> Response:
        """``PUT …/NAME`` saves, ``POST …/NAME/restore`` restores."""
        name, _, action = request.attributes.path.removeprefix(SNAPSHOTS).strip("/").partition("/")
        if not NAME.fullmatch(name):
            raise bad_request(f"{name!r} cannot be a snapshot's name: lower case letters, digits, - and .")
        assert self.config.snapshots_dir is not None
        path = self.config.snapshots_dir / f"{name}.snapshot"
        try:
            if request.method == "PUT" and not action:
                about = orjson.loads(request.body or b"{}")
                if not isinstance(about, dict):
                    raise bad_request("what is noted of a snapshot must be an object")
                return await self._save(path, about)
            if request.method == "POST" and action == "restore":
                found = await asyncio.to_thread(snapshot.read, path, self._encryption())
                changed = await snapshot.restore(self.api.store, found)
                return json(orjson.dumps({"revision": self.api.store.revision, "changed": changed}))
        except orjson.JSONDecodeError as error:
            raise bad_request(f"the body is no JSON: {error}") from error
        except StoreError as error:
            raise StatusError(500, "InternalError", str(error)) from error
        raise method_not_allowed()

    async def _save(self, path: Path, about: dict[str, Any]) -> Response:
        await self._fresh()
        image = self.api.store.image()
        known = {
            **{str(key): str(value) for key, value in about.items()},
            "kubernetesVersion": self.api.types.version,
            "time": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        await asyncio.to_thread(snapshot.write, path, image, known, self._encryption())
        return json(orjson.dumps({**known, "revision": str(image.revision)}))

    def _encryption(self) -> Encryption | None:
        file = self.config.flags.encryption_provider_config
        return read(file) if file else None

    async def _fresh(self) -> None:
        try:
            await self.api.store.fresh()
        except StoreError as error:
            raise service_unavailable(str(error)) from error


class StoreStream(WatchStream):
    """The store's events of a prefix, whatever they are of."""

    def __init__(self, api: Api, prefix: str, since: int) -> None:
        self._api, self._prefix, self._since = api, prefix, since
        self._coder, self.headers = CODERS[JSON], ()

    async def frames(self) -> AsyncIterator[list[bytes]]:
        store = self._api.store
        try:
            watch = store.watch(self._prefix, since=self._since)
        except StoreError as error:
            yield [orjson.dumps({"error": str(error)}) + b"\n"]
            return
        yield [b'{"revision":%d}\n' % store.revision]
        try:
            async for events in watch:
                yield lines(events, store.time_of(events[-1].revision))
        except StoreError as error:
            yield [orjson.dumps({"error": str(error)}) + b"\n"]
        finally:
            watch.close()


def lines(events: Iterable[Event], time: float | None) -> list[bytes]:
    return [told(event, time) + b"\n" for event in events]


def described(record: Record, with_value: bool = True) -> bytes:
    """Return a record as JSON; its value is the object itself."""
    head = {"key": record.key, "createRevision": record.create_revision, "revision": record.revision}
    value = b',"value":%b' % record.value if with_value else b""
    return orjson.dumps(head)[:-1] + value + b"}"


def told(event: Event, time: float | None) -> bytes:
    """Return an event as JSON: ``record``, ``previous``, ``deleted``, ``time``."""
    previous = described(event.previous) if event.previous else b"null"
    rest = orjson.dumps({"deleted": event.deleted, "time": time})[1:]
    return b'{"record":%b,"previous":%b,%b' % (described(event.record), previous, rest)


def whole(request: Request, name: str) -> int:
    text = request.query.get(name) or "0"
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise bad_request(f"{name}: {text!r} is not a revision")
    return int(text)


def json(body: bytes) -> Response:
    return Response(body)
