"""The ConfigMaps and Secrets that pods of this node use: one watch an object, for as long as a pod here uses it.

A node may read nothing else (the API's Node authorizer). ``hold`` is called with each look at a pod and ``release`` when the
pod is gone; a change tells ``on_change`` the namespace. Source: the kubelet's ``Watch`` change detection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import CONFIG_MAPS, SECRETS
from sampan.node.patience import patiently
from sampan.schema.objects import Object
from sampan.schema.pod_references import references

KINDS = {"configmaps": CONFIG_MAPS, "secrets": SECRETS}
PATIENCE_SECONDS = 2.0
"""How long a pod waits for the first answer about what it uses; what is not there by then is missing for now."""

LINGER_SECONDS = 60.0
"""How long a ConfigMap that no pod uses any more is still watched: the next pod of its namespace uses the root CA, too, and a
watch costs a TLS handshake."""

Key = tuple[str, str, str]
"""Plural, namespace, name."""


class Materials:
    def __init__(self, client: Client, group: asyncio.TaskGroup, on_change: Callable[[str], None]) -> None:
        self._client = client
        self._group = group
        self._on_change = on_change
        self._informers: dict[Key, tuple[Informer, asyncio.Task[None]]] = {}
        self._held: dict[str, set[Key]] = {}
        self._users: dict[Key, set[str]] = {}

    def get(self, kind: str, namespace: str, name: str) -> Object | None:
        """Return a Secret or ConfigMap (``kind``) that a pod here uses, None where there is none."""
        key = ("secrets" if kind == "Secret" else "configmaps", namespace, name)
        found = self._informers.get(key)
        return found[0].get(f"{namespace}/{name}") if found else None

    async def hold(self, uid: str, pod: Object) -> None:
        """Watch all that a pod uses, and wait until it is known."""
        namespace = pod["metadata"]["namespace"]
        wanted = {(plural, namespace, name) for plural, name in references(pod) if plural in KINDS}
        held = self._held.setdefault(uid, set())
        for key in held - wanted:
            self._drop(uid, key)
        for key in wanted - held:
            self._users.setdefault(key, set()).add(uid)
            if key not in self._informers:
                self._informers[key] = self._watch(key)
        self._held[uid] = wanted
        waiting = [self._informers[key][0] for key in wanted if not self._informers[key][0].has_synced]
        if waiting:
            try:
                async with asyncio.timeout(PATIENCE_SECONDS):
                    await asyncio.gather(*(informer.synced() for informer in waiting))
            except TimeoutError:
                return

    def release(self, uid: str) -> None:
        """Forget a pod that is gone."""
        for key in self._held.pop(uid, set()):
            self._drop(uid, key)

    def _drop(self, uid: str, key: Key) -> None:
        users = self._users.get(key, set())
        users.discard(uid)
        if users:
            return
        self._users.pop(key, None)
        if key[0] == "configmaps":
            asyncio.get_running_loop().call_later(LINGER_SECONDS, self._end, key)
        else:
            self._end(key)

    def _end(self, key: Key) -> None:
        """End the watch of what nobody uses (any more)."""
        if key not in self._users and (watched := self._informers.pop(key, None)) is not None:
            watched[1].cancel()

    def _watch(self, key: Key) -> tuple[Informer, asyncio.Task[None]]:
        plural, namespace, name = key
        informer = Informer(self._client, KINDS[plural], namespace, field_selector=f"metadata.name={name}")

        def changed(change: str, old: Mapping[str, object] | None, new: Object) -> None:
            self._on_change(namespace)

        informer.add_handler(changed)
        return informer, self._group.create_task(self._run(informer), name=f"{plural}-{namespace}-{name}")

    async def _run(self, informer: Informer) -> None:
        await patiently(informer.run, "informer")
