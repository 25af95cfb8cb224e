"""AlwaysPullImages, ExtendedResourceToleration, LimitPodHardAntiAffinityTopology: rules for pods. Off unless asked for.

Source: kubernetes plugin/pkg/admission/alwayspullimages, extendedresourcetoleration, antiaffinity.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.errors import forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.quantities import is_extended
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import not_supported
from sampan.schema.objects import Object

HOSTNAME = "kubernetes.io/hostname"
WRITES = ("CREATE", "UPDATE")


def is_pod(resource: Resource) -> bool:
    return resource.kind == "Pod" and not resource.group


def containers(pod: Object) -> Iterator[Object]:
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from items(pod, "spec", field)


class AlwaysPullImages:
    """Who may use a private image is asked for each pod, not for each node."""

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return is_pod(resource) and operation in WRITES and subresource in ("", "ephemeralcontainers")

    def same_images(self, admission: Admission) -> bool:
        if admission.old is None or admission.object is None:
            return False
        before = {container.get("image") for container in containers(admission.old)}
        return all(container.get("image") in before for container in containers(admission.object))

    async def admit(self, admission: Admission) -> None:
        if admission.object is None or self.same_images(admission):
            return
        for container in containers(admission.object):
            container["imagePullPolicy"] = "Always"
        for volume in items(admission.object, "spec", "volumes"):
            if volume.get("image"):
                volume["image"]["pullPolicy"] = "Always"

    async def validate(self, admission: Admission) -> None:
        if admission.object is None or self.same_images(admission):
            return
        for container in containers(admission.object):
            policy = container.get("imagePullPolicy")
            if policy != "Always":
                why = not_supported("spec.imagePullPolicy", policy, ("Always",))
                raise forbidden(admission.resource, admission.name, f"{why.field}: {why.message}")


class ExtendedResourceToleration:
    """Nodes with special hardware are tainted with its name; who asks for the hardware tolerates the taint."""

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return is_pod(resource) and operation in WRITES and not subresource

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        wanted = {
            name
            for container in containers(admission.object)
            for name in mapping(container, "resources", "requests")
            if is_extended(name)
        }
        spec = admission.object["spec"]
        for name in sorted(wanted):
            toleration = {"key": name, "operator": "Exists"}
            if toleration not in items(spec, "tolerations"):
                spec.setdefault("tolerations", []).append(toleration)


class LimitPodHardAntiAffinityTopology:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return is_pod(resource) and operation in WRITES and not subresource

    async def validate(self, admission: Admission) -> None:
        anti = mapping(admission.object, "spec", "affinity", "podAntiAffinity")
        for term in items(anti, "requiredDuringSchedulingIgnoredDuringExecution"):
            key = term.get("topologyKey")
            if key != HOSTNAME:
                why = (
                    f"affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey {key} but only key {HOSTNAME} "
                    "is allowed"
                )
                raise forbidden(admission.resource, admission.name, why)
