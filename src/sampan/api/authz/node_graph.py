"""Which node uses what: the pods of each node, and what these refer to, kept up to date by the store's own events.

It follows the pods once the first node asks; a cluster without nodes of its own pays nothing. Claims and volumes are
looked up when they are asked about. Source: plugin/pkg/auth/authorizer/node (graph_populator.go).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from sampan.schema.objects import Object
from sampan.schema.pod_references import references
from sampan.store import Record, StoreError
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

PODS = prefix_of("pods")
CLAIMS, VOLUMES = prefix_of("persistentvolumeclaims"), prefix_of("persistentvolumes")
MIRROR = "kubernetes.io/config.mirror"

Use = tuple[str, str, str]
"""Plural, namespace, name."""


class Bound(NamedTuple):
    """A pod on a node, and what it refers to."""

    node: str
    uses: frozenset[Use]


class NodeGraph:
    def __init__(self, api: Api) -> None:
        self._api = api
        self._bound: dict[str, Bound] = {}
        self._users: dict[tuple[str, Use], set[str]] = {}
        """Keys of pods by node and what they use."""
        self._ready: asyncio.Future[None] | None = None

    @property
    def ready(self) -> bool:
        return self._ready is not None and self._ready.done()

    async def load(self) -> None:
        """Begin to follow the pods; return when all that are there are known."""
        if self._ready is None:
            self._ready = asyncio.get_running_loop().create_future()
            self._api.spawn("node-graph", self._follow())
        await asyncio.shield(self._ready)

    async def _follow(self) -> None:
        while True:
            page = await self._api.store.page(PODS)
            known = {record.key for record in page.records}
            for key in [key for key in self._bound if key not in known]:
                self._forget(key)
            for record in page.records:
                self._take(record)
            if self._ready is not None and not self._ready.done():
                self._ready.set_result(None)
            try:
                async for events in self._api.store.watch(PODS, since=page.revision):
                    for event in events:
                        if event.deleted:
                            self._forget(event.record.key)
                        else:
                            self._take(event.record)
                return  # the store has closed
            except StoreError:  # too far behind, or compacted: the pods are read anew
                continue

    def _take(self, record: Record) -> None:
        pod = self._api.parsed(record)
        node = pod["spec"].get("nodeName")
        if not node:
            return
        bound = Bound(str(node), uses_of(pod))
        if self._bound.get(record.key) == bound:
            return
        self._forget(record.key)
        self._bound[record.key] = bound
        for use in bound.uses:
            self._users.setdefault((bound.node, use), set()).add(record.key)

    def _forget(self, key: str) -> None:
        bound = self._bound.pop(key, None)
        if bound is None:
            return
        for use in bound.uses:
            users = self._users[bound.node, use]
            users.discard(key)
            if not users:
                del self._users[bound.node, use]

    # questions

    def runs(self, node: str, namespace: str, name: str) -> bool:
        """Whether a pod is on a node."""
        bound = self._bound.get(f"{PODS}{namespace}/{name}")
        return bound is not None and bound.node == node

    def uses(self, node: str, plural: str, namespace: str, name: str) -> bool:
        """Whether a pod on a node refers to an object, itself or by a claim of its."""
        if (node, (plural, namespace, name)) in self._users:
            return True
        if plural == "persistentvolumes":
            volume = self.object(VOLUMES + name)
            return volume is not None and self._claims(node, volume)
        if plural == "secrets":
            return any((namespace, name) in secrets_of(volume) for volume in self._volumes_of(node))
        return False

    def object(self, key: str) -> Object | None:
        """Return a stored object; None where there is none."""
        record = self._api.store.get(key)
        return self._api.parsed(record) if record is not None else None

    def _claims(self, node: str, volume: Object) -> bool:
        claim = volume["spec"].get("claimRef") or {}
        use = ("persistentvolumeclaims", str(claim.get("namespace", "")), str(claim.get("name", "")))
        return (node, use) in self._users

    def _volumes_of(self, node: str) -> list[Object]:
        claims = [use for at, use in self._users if at == node and use[0] == "persistentvolumeclaims"]
        found = []
        for _, namespace, name in claims:
            claim = self.object(f"{CLAIMS}{namespace}/{name}")
            volume = (claim or {}).get("spec", {}).get("volumeName")
            obj = self.object(f"{VOLUMES}{volume}") if volume else None
            # a claim may name any volume: the volume says whose it is
            bound = ((obj or {}).get("spec") or {}).get("claimRef") or {}
            if obj is not None and (bound.get("namespace"), bound.get("name")) == (namespace, name):
                found.append(obj)
        return found


def uses_of(pod: Object) -> frozenset[Use]:
    """Return what a pod refers to; a mirror pod is the node's own, which may not use it to read what it likes."""
    if MIRROR in (pod["metadata"].get("annotations") or {}):
        return frozenset()
    namespace = pod["metadata"]["namespace"]
    return frozenset((plural, namespace, name) for plural, name in references(pod))


def secrets_of(volume: Object) -> set[tuple[str, str]]:
    """Return namespace and name of the Secrets that a PersistentVolume names."""
    spec = volume["spec"]
    home = (spec.get("claimRef") or {}).get("namespace", "")
    found = set()
    for source in spec.values():
        for field, reference in source.items() if isinstance(source, dict) else ():
            if field.endswith("SecretRef") or field == "secretRef":
                found.add((reference.get("namespace") or home, reference.get("name", "")))
            elif field == "secretName":
                found.add((source.get("secretNamespace") or home, reference))
    return found
