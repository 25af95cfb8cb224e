"""Which resource is meant: from a kind as manifests name it, or from a word as people type it, by asking the API.

``ResourceMap`` reads the discovery documents it needs and keeps them; what it does not know it asks for once more, so that
a custom resource is found as soon as it is served. Source: ``APIResourceList`` and ``APIGroupList`` of the discovery API.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.schema.objects import split_api_version

VERSION = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")


class UnknownResource(LookupError):
    """The API serves nothing of that name."""


@dataclass(frozen=True, slots=True)
class Known:
    """A resource with the words that mean it."""

    resource: ResourceType
    words: frozenset[str]
    verbs: frozenset[str]


class ResourceMap:
    """What an API serves, as far as it was asked."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self._versions: dict[str, list[Known]] = {}

    async def of_kind(self, api_version: str, kind: str) -> ResourceType:
        """Return the resource of an object. Raises ``UnknownResource``."""
        for again in (False, True):
            for known in await self._version(api_version, again=again):
                if known.resource.kind == kind:
                    return known.resource
        raise UnknownResource(f"no resource of kind {kind} in {api_version} is served")

    async def named(self, word: str) -> ResourceType:
        """Return the resource of a plural, singular, kind or short name, with ``.group`` behind it where two groups have
        it. Raises ``UnknownResource``."""
        for again in (False, True):
            for known in await self.all(again=again):
                if word.lower() in known.words:
                    return known.resource
        raise UnknownResource(f"the API serves no resource named {word}")

    async def all(self, *, again: bool = False) -> list[Known]:
        """Return everything that is served, the preferred version of a group first, built-in groups before others."""
        status, body = await self.client.raw("GET", "/apis")
        if status >= 400:
            raise ApiError(status, orjson.loads(body))
        versions = ["v1"]
        for group in orjson.loads(body)["groups"]:
            versions += [version["groupVersion"] for version in group["versions"]]
        found = await asyncio.gather(*(self._version(version, again=again) for version in versions))
        return [known for version in found for known in version]

    async def _version(self, api_version: str, *, again: bool = False) -> list[Known]:
        known = self._versions.get(api_version)
        if known is None or again:
            group, version = split_api_version(api_version)
            status, body = await self.client.raw("GET", f"/apis/{group}/{version}" if group else f"/api/{version}")
            known = list(read(orjson.loads(body))) if status == 200 else []
            self._versions[api_version] = known
        return known


def read(document: dict[str, object]) -> Iterator[Known]:
    """Yield the resources of an ``APIResourceList``; subresources are no resources."""
    group, version = split_api_version(str(document["groupVersion"]))
    entries = document["resources"]
    assert isinstance(entries, list)
    for entry in entries:
        plural = entry["name"]
        if "/" in plural:
            continue
        resource = ResourceType(group, version, plural, entry["kind"], entry["namespaced"])
        names = {plural, entry.get("singularName", ""), entry["kind"].lower(), *entry.get("shortNames", ())} - {""}
        words = names | {f"{name}.{group}" for name in names} | {f"{name}.{version}.{group}" for name in names}
        yield Known(resource, frozenset(words), frozenset(entry.get("verbs", ())))
