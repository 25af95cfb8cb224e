"""Whether an extension server answers: its condition ``Available``, and what it serves.

A check looks at the Service and its endpoints and then asks for discovery, as the front proxy; what is learned (resources,
OpenAPI documents) is kept for discovery. It is made again when the Service or its endpoints change, and every half minute,
for a server may stop answering without anything of the cluster changing.
Source: kube-aggregator pkg/controllers/status/remote.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sampan.api import metadata
from sampan.api.aggregation.backend import Backends, identity
from sampan.api.aggregation.local import PREFIX
from sampan.api.aggregation.proxy import Remote
from sampan.api.errors import StatusError
from sampan.api.request import User
from sampan.api.resources.reading import dig, items, mapping
from sampan.api.service_routes import OF_SERVICE, SERVICES, SLICES, NoRoute
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Put, StoreError, Watch

if TYPE_CHECKING:
    from sampan.api.app import Api

logger = logging.getLogger("sampan.api")

AGGREGATOR = User("system:kube-aggregator", ("system:masters",))
CHECK_SECONDS = 5.0
RECHECK_SECONDS = 30.0
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class Finding(NamedTuple):
    """What a check found: the condition, and (where it passed) resources and OpenAPI documents."""

    status: str
    reason: str
    message: str
    resources: list[Object] | None = None
    open_api: dict[str, str] | None = None


async def keep_checking(api: Api, remote: Remote) -> None:
    """Check an extension server for as long as its APIService is what it is."""
    failures = 0
    service = mapping(remote.spec, "service")
    prefixes = (f"{SLICES}{service['namespace']}/", f"{SERVICES}{service['namespace']}/{service['name']}")
    while True:
        try:
            since = api.store.revision
            found = await check(api, remote)
            await tell(api, remote, found)
            failures = 0 if found.status == "True" else failures + 1
            pause = RECHECK_SECONDS if not failures else RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1]
            await changed(api, prefixes, since, pause)
        except (StatusError, StoreError) as error:  # the store is away, or has forgotten the revision meanwhile
            logger.warning("the check of APIService %s: %s", remote.api_service["metadata"]["name"], error)
            failures += 1
            await asyncio.sleep(RETRY_SECONDS[min(failures, len(RETRY_SECONDS)) - 1])


async def changed(api: Api, prefixes: tuple[str, ...], since: int, seconds: float) -> None:
    """Return when something under the prefixes has changed since a revision, or after a time. Raises ``StoreError``."""
    watches = [api.store.watch(prefix, since=since) for prefix in prefixes]
    waiting = [asyncio.ensure_future(next_of(watch)) for watch in watches]
    try:
        done, _ = await asyncio.wait(waiting, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()  # a watch that broke off is told, lest nobody waits
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for watch in watches:
            watch.close()


async def next_of(watch: Watch) -> None:
    async for _ in watch:
        return
    await asyncio.get_running_loop().create_future()  # the store is closed: whoever waits ends soon


async def check(api: Api, remote: Remote) -> Finding:
    problem = await check_service(api, mapping(remote.spec, "service"))
    return problem or await check_discovery(remote)


async def check_service(api: Api, reference: Object) -> Finding | None:
    """Return why the Service cannot be reached, None where it can."""
    namespace, name, port = reference["namespace"], reference["name"], reference.get("port") or 443
    where = f'service/{name} in "{namespace}"'
    record = api.store.get(f"{SERVICES}{namespace}/{name}")
    if record is None:
        return Finding("False", "ServiceNotFound", f"{where} is not present")
    service = api.parsed(record)
    if dig(service, "spec", "type") != "ClusterIP":
        return None
    port_names = [entry.get("name") or "" for entry in items(service, "spec", "ports") if entry.get("port") == port]
    if not port_names:
        return Finding("False", "ServicePortError", f"{where} is not listening on port {port}")
    found = [api.parsed(found) for found in (await api.store.page(f"{SLICES}{namespace}/")).records]
    slices = [one for one in found if mapping(one, "metadata", "labels").get(OF_SERVICE) == name]
    if not slices:
        return Finding("False", "EndpointsNotFound", f"cannot find endpointslices for {where}")
    if not any(is_active(one, port_names[0]) for one in slices):
        why = f'endpointslices for {where} have no addresses with port name "{port_names[0]}"'
        return Finding("False", "MissingEndpoints", why)
    return None


def is_active(endpoint_slice: Object, port_name: str) -> bool:
    ready = any(mapping(one, "conditions").get("ready", True) for one in items(endpoint_slice, "endpoints"))
    return ready and any((port.get("name") or "") == port_name for port in items(endpoint_slice, "ports"))


async def check_discovery(remote: Remote) -> Finding:
    """Ask for the discovery of the group's version; any endpoint may answer."""
    spec = remote.spec
    group, version = spec.get("group") or "", spec["version"]
    path = f"/apis/{group}/{version}" if group else f"/api/{version}"
    try:
        status, body = await fetch(remote, path)
    except (NoRoute, ValueError) as error:
        return Finding("False", "FailedDiscoveryCheck", str(error))
    except Exception as error:
        shown = await shown_url(remote, path)
        why = "context deadline exceeded" if isinstance(error, TimeoutError) else str(error)
        return Finding("False", "FailedDiscoveryCheck", f"failing or missing response from {shown}: {why}")
    if not 200 <= status < 300:
        shown = await shown_url(remote, path)
        why = f"failing or missing response from {shown}: bad status from {shown}: {status}"
        return Finding("False", "FailedDiscoveryCheck", why)
    return Finding("True", "Passed", "all checks passed", resources_in(body), await open_api_of(remote, path))


async def shown_url(remote: Remote, path: str) -> str:
    try:
        return str(await remote.url(path))
    except NoRoute:
        return path


def resources_in(body: bytes) -> list[Object]:
    try:
        return [one for one in items(orjson.loads(body), "resources") if isinstance(one, dict)]
    except orjson.JSONDecodeError:
        return []


async def open_api_of(remote: Remote, path: str) -> dict[str, str]:
    """Return the OpenAPI v3 documents of the group's version; an old server has none."""
    found = mapping(await fetch_json(remote, "/openapi/v3"), "paths", path.strip("/"))
    return {path.strip("/"): str(found["serverRelativeURL"])} if found.get("serverRelativeURL") else {}


async def fetch(remote: Remote, path: str, accept: str = "application/json") -> tuple[int, bytes]:
    """GET a path of an extension server as the aggregator. Raises what aiohttp raises, ``NoRoute``, ``TimeoutError``."""
    from multidict import CIMultiDict

    backends: Backends = remote.backends
    headers = CIMultiDict([("accept", accept), *identity(AGGREGATOR)])
    async with asyncio.timeout(CHECK_SECONDS):
        url = await remote.url(path)
        tls = backends.tls(remote.spec)
        async with backends.session().get(url, headers=headers, allow_redirects=False, **tls) as answer:
            return answer.status, await answer.read()


async def fetch_json(remote: Remote, path: str) -> Object | None:
    """Return a JSON document of an extension server, None where it gives none."""
    try:
        status, body = await fetch(remote, path)
        found = orjson.loads(body) if status == 200 else None
    except Exception as error:
        logger.warning("%s of APIService %s: %s", path, remote.api_service["metadata"]["name"], error)
        return None
    return found if isinstance(found, dict) else None


async def tell(api: Api, remote: Remote, found: Finding) -> None:
    """Take over what a check found: into memory, and into the APIService's status."""
    learned: tuple[Any, Any] = (found.resources, found.open_api)
    if found.resources is not None and learned != (remote.resources, remote.open_api):
        remote.resources, remote.open_api = found.resources, found.open_api or {}
        api.catalog.changed()
    key = PREFIX + remote.api_service["metadata"]["name"]
    record = api.store.get(key)
    if record is None:
        return
    service = api.whole(record)
    before = next((one for one in items(service, "status", "conditions") if one.get("type") == "Available"), None)
    same_status = before is not None and before.get("status") == found.status
    at = before["lastTransitionTime"] if before is not None and same_status else metadata.now()
    condition = {"type": "Available", "status": found.status, "lastTransitionTime": at}
    condition |= {"reason": found.reason, "message": found.message}
    if condition == before:
        return
    service["status"] = {"conditions": [condition]}
    with contextlib.suppress(Conflict):  # somebody changed it: it is checked anew
        await api.registry.commit(Put(key, dumps(service), record.revision))
