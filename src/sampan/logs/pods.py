"""What the API knows of the pods of a node: labels for their records, and the rule that an annotation asks for.

A pod that is deleted is remembered for a while: its files are still read.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from typing import Any

from sampan.client.informer import Change, Informer
from sampan.client.protocol import Client
from sampan.client.resources import PODS
from sampan.logs.pod_paths import of_path
from sampan.logs.processing.wishes import of_container
from sampan.logs.resource import WORKLOADS

logger = logging.getLogger("sampan.logs")

RULE = "logs.sampan.dev/rule"
"""Names the rule of all containers, with ``.CONTAINER`` of one."""
CONFIG_HASH = "kubernetes.io/config.hash"
"""The uid in the paths of a static pod's logs, which its mirror in the API does not have."""
RESOURCE = "resource.opentelemetry.io/"
REMEMBERED = 1000


class Pods:
    def __init__(self, client: Client, node: str = "") -> None:
        """``node``: only the pods of this node."""
        selector = f"spec.nodeName={node}" if node else ""
        self.informer = Informer(client, PODS, field_selector=selector)
        self._by_key: dict[str, dict[str, Any]] = {}
        self._gone: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._unknown: OrderedDict[tuple[str, str], None] = OrderedDict()
        """Pods that ask for a rule that there is not, and which: that is said once."""
        self.informer.add_handler(self._changed)

    def _changed(self, change: Change, old: dict[str, Any] | None, pod: dict[str, Any]) -> None:
        for key in keys_of(pod):
            if change == "DELETED":
                self._by_key.pop(key, None)
                self._gone[key] = pod
            else:
                self._by_key[key] = pod
        while len(self._gone) > REMEMBERED:
            self._gone.popitem(last=False)

    def _pod_of(self, of: dict[str, str]) -> dict[str, Any] | None:
        key = of.get("pod_uid") or f"{of['namespace']}/{of['pod']}"
        return self._by_key.get(key) or self._gone.get(key)

    def labels_of(self, path: str) -> dict[str, str]:
        """Return what is known of a log file: of its path, and of its pod ``node``, ``image``, ``labels.NAME``,
        ``workload.KIND`` of what it belongs to and ``resource.NAME`` of its annotations for OpenTelemetry."""
        of = of_path(path)
        pod = self._pod_of(of) if of else None
        if pod is None:
            return of
        labels = {f"labels.{name}": value for name, value in (pod["metadata"].get("labels") or {}).items()}
        spec = pod.get("spec") or {}
        images = [each.get("image", "") for each in containers_of(spec) if each.get("name") == of["container"]]
        more = {"node": spec.get("nodeName", ""), "image": images[0] if images else ""}
        return {**of, **{name: value for name, value in more.items() if value}, **labels, **owners_and_resource(pod)}

    def wishes_of(self, path: str) -> dict[str, str]:
        """Return what the pod's annotations ask of processing for a log file (``processing/wishes.py``)."""
        of = of_path(path)
        pod = self._pod_of(of) if of else None
        return of_container((pod["metadata"].get("annotations") or {}), of["container"]) if pod is not None else {}

    def rule_of(self, path: str, known: set[str]) -> str:
        """Return the name of the rule that the pod's annotations ask for, ``""`` for none. One that nobody knows is said."""
        of = of_path(path)
        pod = self._pod_of(of) if of else None
        if pod is None:
            return ""
        annotations = pod["metadata"].get("annotations") or {}
        name = str(annotations.get(f"{RULE}.{of['container']}") or annotations.get(RULE, ""))
        if name and name not in known:
            whose = f"{of['namespace']}/{of['pod']}"
            if (whose, name) not in self._unknown:
                self._unknown[whose, name] = None
                if len(self._unknown) > REMEMBERED:
                    self._unknown.popitem(last=False)
                logger.warning(
                    "pod %s asks for the rule %r, which --rules has not: what is built in joins it", whose, name
                )
            return ""
        return name


def owners_and_resource(pod: dict[str, Any]) -> dict[str, str]:
    """Return what a pod belongs to, and what its annotations say of its resource. Of a ReplicaSet that is named after the
    hash of its pods' template the Deployment is told as well."""
    metadata = pod["metadata"]
    found: dict[str, str] = {}
    for owner in metadata.get("ownerReferences") or ():
        kind, name = str(owner.get("kind", "")).lower(), str(owner.get("name", ""))
        if owner.get("controller") and kind in WORKLOADS:
            found[f"workload.{kind}"] = name
            tail = f"-{(metadata.get('labels') or {}).get('pod-template-hash', '')}"
            if kind == "replicaset" and len(tail) > 1 and name.endswith(tail):
                found["workload.deployment"] = name.removesuffix(tail)
    for name, value in (metadata.get("annotations") or {}).items():
        if name.startswith(RESOURCE):
            found[f"resource.{name.removeprefix(RESOURCE)}"] = str(value)
    return found


def keys_of(pod: dict[str, Any]) -> list[str]:
    metadata = pod["metadata"]
    keys = [metadata["uid"], f"{metadata['namespace']}/{metadata['name']}"]
    static = (metadata.get("annotations") or {}).get(CONFIG_HASH)
    return [*keys, static] if static else keys


def containers_of(spec: dict[str, Any]) -> list[dict[str, Any]]:
    return [each for field in ("containers", "initContainers", "ephemeralContainers") for each in spec.get(field) or ()]
