"""RuntimeClass: a pod gets the overhead and the scheduling rules of its RuntimeClass.

Source: kubernetes plugin/pkg/admission/runtimeclass, KEP-688 (overhead), KEP-894 (scheduling).
"""

from __future__ import annotations

import copy

from sampan.api.errors import forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

PREFIX = prefix_of("runtimeclasses.node.k8s.io")


class RuntimeClass:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "Pod" and not resource.group and not subresource and operation == "CREATE"

    async def admit(self, admission: Admission) -> None:
        found = self.class_of(admission)
        if found is None or admission.object is None:
            return
        spec = admission.object["spec"]
        fixed = mapping(found, "overhead", "podFixed")
        if fixed:
            if spec.get("overhead") and spec["overhead"] != fixed:
                raise refused(admission, "Pod's Overhead doesn't match RuntimeClass's defined Overhead")
            spec["overhead"] = dict(fixed)
        self.schedule(admission, spec, mapping(found, "scheduling"))

    def schedule(self, admission: Admission, spec: Object, scheduling: Object) -> None:
        chosen = mapping(spec, "nodeSelector")
        for key, value in mapping(scheduling, "nodeSelector").items():
            if chosen.get(key, value) != value:
                raise forbidden(
                    admission.resource,
                    admission.name,
                    f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; "
                    f"pod.spec.nodeSelector[{key}] = {chosen[key]}",
                )
            spec.setdefault("nodeSelector", {})[key] = value
        for toleration in items(scheduling, "tolerations"):
            if toleration not in items(spec, "tolerations"):
                spec.setdefault("tolerations", []).append(copy.deepcopy(toleration))

    async def validate(self, admission: Admission) -> None:
        overhead = mapping(admission.object, "spec", "overhead")
        if not overhead:
            return
        found = self.class_of(admission)
        if found is None:
            raise refused(admission, "Pod Overhead set without corresponding RuntimeClass defined Overhead")
        if overhead != mapping(found, "overhead", "podFixed"):
            raise refused(admission, "Pod's Overhead doesn't match RuntimeClass's defined Overhead")

    def class_of(self, admission: Admission) -> Object | None:
        """Return the RuntimeClass of a pod that names one. Raises 403 where it is not there."""
        name = text(admission.object, "spec", "runtimeClassName")
        if not name:
            return None
        record = admission.api.store.get(PREFIX + name)
        if record is None:
            raise refused(admission, f'RuntimeClass "{name}" not found')
        return admission.api.parsed(record)


def refused(admission: Admission, why: str) -> Exception:
    return forbidden(admission.resource, admission.name, f"pod rejected: {why}")
