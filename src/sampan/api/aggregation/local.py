"""The APIServices of what this server serves itself: one a group's version, kept by the server and always available.

Source: kube-aggregator pkg/controllers/autoregister, kubernetes pkg/controlplane/apiserver (priorities of the built-in
groups) and pkg/controlplane/controller/crdregistration (those of CustomResourceDefinitions).
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING

from sampan.api import metadata
from sampan.api.resources.reading import dig, mapping
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Put
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

PREFIX = prefix_of("apiservices.apiregistration.k8s.io")
MANAGED = "kube-aggregator.kubernetes.io/automanaged"
OWN = "apiregistration.k8s.io"
"""The aggregator's own group has no APIService."""

GROUP_PRIORITIES = {
    "": 18000, "apps": 17800, "events.k8s.io": 17750, "authentication.k8s.io": 17700, "authorization.k8s.io": 17600,
    "autoscaling": 17500, "batch": 17400, "certificates.k8s.io": 17300, "networking.k8s.io": 17200, "policy": 17100,
    "rbac.authorization.k8s.io": 17000, "storage.k8s.io": 16800, "apiextensions.k8s.io": 16700,
    "admissionregistration.k8s.io": 16700, "scheduling.k8s.io": 16600, "coordination.k8s.io": 16500,
    "node.k8s.io": 16300, "discovery.k8s.io": 16200, "flowcontrol.apiserver.k8s.io": 16100,
    "internal.apiserver.k8s.io": 16000, "resource.k8s.io": 15900, "storagemigration.k8s.io": 15800,
}  # fmt: skip
CUSTOM_GROUP, CUSTOM_VERSION = 1000, 100
VERSION_PRIORITIES = {("", "v1"): 1, ("autoscaling", "v2"): 30, ("flowcontrol.apiserver.k8s.io", "v1"): 21,
                      ("flowcontrol.apiserver.k8s.io", "v1beta3"): 18}  # fmt: skip
STAGES = {"alpha": 1, "beta": 9}


def priorities(group: str, version: str, custom: bool) -> tuple[int, int]:
    """Return ``groupPriorityMinimum`` and ``versionPriority``."""
    if custom:
        return CUSTOM_GROUP, CUSTOM_VERSION
    staged = next((priority for word, priority in STAGES.items() if word in version), 15)
    return GROUP_PRIORITIES.get(group, CUSTOM_GROUP), VERSION_PRIORITIES.get((group, version), staged)


def available(at: str, reason: str = "Local", message: str = "Local APIServices are always available") -> Object:
    return {"type": "Available", "status": "True", "lastTransitionTime": at, "reason": reason, "message": message}


def local_services(api: Api) -> Iterator[Object]:
    """Yield the APIServices of what the catalog has, without uid."""
    found: dict[tuple[str, str], bool] = {}
    for served in api.catalog:
        resource = served.resource
        if resource.group != OWN:
            found[resource.group, resource.version] = resource.custom
    for (group, version), custom in sorted(found.items()):
        minimum, priority = priorities(group, version, custom)
        spec = {"groupPriorityMinimum": minimum, "version": version, "versionPriority": priority}
        yield {
            "apiVersion": "apiregistration.k8s.io/v1",
            "kind": "APIService",
            "metadata": {"name": f"{version}.{group}", "labels": {MANAGED: "true" if custom else "onstart"}},
            "spec": {"group": group, **spec} if group else spec,
        }


async def synchronize(api: Api) -> None:
    """Write the APIServices that are missing, and remove those that we kept of what is served no more."""
    if api.catalog.get(OWN, "v1", "apiservices") is None:
        return
    known = {record.key: record for record in (await api.store.page(PREFIX)).records}
    puts: list[Put] = []
    wanted: set[str] = set()
    at = metadata.now()
    for service in local_services(api):
        key = PREFIX + service["metadata"]["name"]
        wanted.add(key)
        if key not in known:
            given = service["metadata"]
            service["metadata"] = {"name": given["name"], "uid": str(uuid.uuid4()), "creationTimestamp": at, **given}
            service["status"] = {"conditions": [available(at)]}
            puts.append(Put(key, dumps(service), expected=0))
    for key, record in known.items():
        service = api.parsed(record)
        ours = mapping(service, "metadata", "labels").get(MANAGED) and dig(service, "spec", "service") is None
        if ours and key not in wanted:
            puts.append(Put(key, None, expected=record.revision))
    if puts:
        try:
            await api.store.commit(puts)
        except Conflict:
            await synchronize(api)  # another server was at it
