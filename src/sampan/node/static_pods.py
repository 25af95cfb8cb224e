"""Pods of files: the manifests of a folder are run whether there is an API or not, and shown in it as mirror pods.

A file that appears is a pod, one that changes is another pod (its uid is a digest of what it says), one that goes ends its
pod. The mirror in the API carries the digest; the node makes it anew when somebody deletes it and replaces one that is out
of date. ``pod_of`` is pure; ``StaticPods`` watches the folder and keeps the mirrors. Source: the static pods page of
Kubernetes.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson

from sampan.client.errors import ApiError
from sampan.client.events import timestamp
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.client.resources import NODES, PODS
from sampan.node.eviction_plan import MIRROR, STATIC_SOURCE
from sampan.node.inotify import changes_of
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.node")

HASH, SEEN = "kubernetes.io/config.hash", "kubernetes.io/config.seen"
OnPod = Callable[[str, Object | None, Object], None]
RETRY_SECONDS = 5.0
REFERENCES = ("configMap", "secret", "persistentVolumeClaim")
"""Volumes that a static pod cannot have: it must not need the API."""


class ManifestFault(Exception):
    """A file that is no pod; the message says why."""


def pod_of(document: Any, node: str, defaulted: Callable[[Object], Object]) -> Object:
    """Return the static pod of a manifest. ``defaulted`` fills in what the API would. Raises ``ManifestFault``."""
    if not isinstance(document, dict) or document.get("kind") != "Pod" or document.get("apiVersion") != "v1":
        raise ManifestFault("it is no v1 Pod")
    metadata, spec = document.get("metadata") or {}, document.get("spec") or {}
    if not metadata.get("name") or not spec.get("containers"):
        raise ManifestFault("a pod needs a name and containers")
    for volume in spec.get("volumes") or ():
        if used := next((kind for kind in REFERENCES if kind in volume), None):
            raise ManifestFault(f"static pods cannot have volumes of the kind {used}")
    if spec.get("serviceAccountName"):
        raise ManifestFault("static pods cannot have a service account")
    digest = hashlib.md5(orjson.dumps([document, node], option=orjson.OPT_SORT_KEYS), usedforsecurity=False).hexdigest()
    annotations = {**(metadata.get("annotations") or {}), HASH: digest, STATIC_SOURCE: "file"}
    made = defaulted({**document, "spec": {**spec, "nodeName": node, "automountServiceAccountToken": False}})
    made["metadata"] = {
        **metadata,
        "name": f"{metadata['name']}-{node}",
        "namespace": metadata.get("namespace") or "default",
        "uid": digest,
        "annotations": annotations,
    }
    tolerations = list(made["spec"].get("tolerations") or ())
    made["spec"]["tolerations"] = [*tolerations, {"operator": "Exists", "effect": "NoExecute"}]
    return made


def mirror_of(pod: Object, node: Object) -> Object:
    """Return what the API is to show of a static pod."""
    metadata = {key: value for key, value in pod["metadata"].items() if key != "uid"}
    digest = metadata["annotations"][HASH]
    metadata["annotations"] = {**metadata["annotations"], MIRROR: digest}
    owner = {"apiVersion": "v1", "kind": "Node", "name": node["metadata"]["name"], "uid": node["metadata"]["uid"]}
    metadata["ownerReferences"] = [{**owner, "controller": True}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod["spec"]}


def is_static(pod: Object) -> bool:
    """Whether a pod is one of a file: the API knows only its mirror."""
    return (pod["metadata"].get("annotations") or {}).get(STATIC_SOURCE) == "file" and not is_mirror(pod)


def is_mirror(pod: Object) -> bool:
    return MIRROR in (pod["metadata"].get("annotations") or {})


def read_folder(folder: Path, node: str, defaulted: Callable[[Object], Object]) -> dict[str, Object]:
    """Return the pods of a folder's files by their uids; files that are none are told in the log."""
    import yaml

    found: dict[str, Object] = {}
    names: dict[str, str] = {}
    for file in sorted(folder.iterdir()):
        if file.name.startswith(".") or not file.is_file():
            continue
        try:
            pod = pod_of(yaml.safe_load(file.read_text()), node, defaulted)
        except (OSError, UnicodeDecodeError, yaml.YAMLError, ManifestFault, KeyError, TypeError) as error:
            logger.warning("static pod of %s: %s", file, error)
            continue
        key = f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"
        if key in names:
            logger.warning("static pod of %s: %s is the pod of %s already", file, key, names[key])
            continue
        names[key] = file.name
        found[pod["metadata"]["uid"]] = pod
    return found


class StaticPods:
    """The pods of one folder. ``on_pod`` takes them as an informer's handler does; ``pods`` has the mirrors."""

    def __init__(
        self,
        folder: Path,
        node: str,
        client: Client,
        pods: Informer,
        defaulted: Callable[[Object], Object],
        on_pod: OnPod,
    ) -> None:
        self._folder, self._node = folder, node
        self._client, self._mirrors = client, pods
        self._defaulted, self._on_pod = defaulted, on_pod
        self._pods: dict[str, Object] = {}
        self._wake = asyncio.Event()
        pods.add_handler(self._on_mirror)

    def _on_mirror(self, change: str, old: Object | None, new: Object) -> None:
        if is_mirror(new):
            self._wake.set()

    @property
    def uids(self) -> set[str]:
        return set(self._pods)

    def load(self) -> None:
        """Read the folder before anything else is decided about what runs here."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._take(read_folder(self._folder, self._node, self._defaulted))

    def _take(self, found: dict[str, Object]) -> None:
        before, self._pods = self._pods, {}
        known_before = set(before)
        for uid, pod in found.items():
            known = before.pop(uid, None)
            if known is None:
                pod["metadata"]["annotations"][SEEN] = timestamp()
            self._pods[uid] = known or pod
        for pod in before.values():
            grace = pod["spec"].get("terminationGracePeriodSeconds", 30)
            gone = {**pod["metadata"], "deletionTimestamp": timestamp(), "deletionGracePeriodSeconds": grace}
            self._on_pod("MODIFIED", None, {**pod, "metadata": gone})
        for uid in found.keys() - known_before:
            self._on_pod("ADDED", None, self._pods[uid])

    async def run(self) -> None:
        """Follow the folder and keep the mirrors until cancelled."""
        async with changes_of(self._folder) as changed:
            self._wake.set()
            while True:
                waits = [asyncio.ensure_future(event.wait()) for event in (changed, self._wake)]
                try:
                    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for wait in waits:
                        wait.cancel()
                changed.clear()
                self._wake.clear()
                self._take(await asyncio.to_thread(read_folder, self._folder, self._node, self._defaulted))
                await self._keep_mirrors()

    async def _keep_mirrors(self) -> None:
        wanted = {f"{p['metadata']['namespace']}/{p['metadata']['name']}": p for p in self._pods.values()}
        for mirror in [pod for pod in self._mirrors if is_mirror(pod)]:
            metadata = mirror["metadata"]
            pod = wanted.pop(f"{metadata['namespace']}/{metadata['name']}", None)
            digest = None if pod is None else pod["metadata"]["annotations"][HASH]
            if metadata["annotations"][MIRROR] != digest or "deletionTimestamp" in metadata:
                await self._delete(mirror)
        for pod in wanted.values():
            await self._create(pod)

    async def _delete(self, mirror: Object) -> None:
        metadata = mirror["metadata"]
        try:
            await self._client.delete(
                PODS, metadata["name"], metadata["namespace"], grace_period_seconds=0, uid=metadata["uid"]
            )
        except ApiError as error:
            if not (error.is_not_found or error.is_conflict):
                raise

    async def _create(self, pod: Object) -> None:
        node = await self._client.get(NODES, self._node)
        try:
            await self._client.create(PODS, mirror_of(pod, node), pod["metadata"]["namespace"])
        except ApiError as error:
            logger.warning("mirror of %s: %s", pod["metadata"]["name"], error)
            asyncio.get_running_loop().call_later(RETRY_SECONDS, self._wake.set)
