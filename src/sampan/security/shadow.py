"""A copy of a pod that does no harm beside it: nobody's Service, nobody's replica, none of its data. Pure."""

from __future__ import annotations

import copy

from sampan.schema.objects import Object

RUN = "security.sampan.dev/least"
"""Label of the copies of one run."""
OWN_FIELDS = ("nodeName", "ephemeralContainers", "readinessGates", "schedulingGates", "priority", "preemptionPolicy")
"""Fields of the spec that the API or the scheduler gave to the original, or that somebody else must answer."""
SHARED_SOURCES = ("persistentVolumeClaim", "hostPath", "nfs", "ephemeral", "csi")
"""Volumes that hold more than this pod's own: a copy must not write there."""


def copy_of(pod: Object, spec: Object, name: str, run: str) -> Object:
    """Return the copy to be created, with that spec."""
    made = copy.deepcopy(spec)
    for field in OWN_FIELDS:
        made.pop(field, None)
    made["volumes"] = [emptied(volume) for volume in made.get("volumes") or ()]
    for kind in ("initContainers", "containers"):
        for container in made.get(kind) or ():
            for port in container.get("ports") or ():
                port.pop("hostPort", None)
    made["terminationGracePeriodSeconds"] = 0
    metadata = {"name": name, "namespace": pod["metadata"]["namespace"], "labels": {RUN: run}}
    if annotations := pod["metadata"].get("annotations"):
        metadata["annotations"] = {key: value for key, value in annotations.items() if "last-applied" not in key}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": made}


def emptied(volume: Object) -> Object:
    return {"name": volume["name"], "emptyDir": {}} if is_shared(volume) else volume


def is_shared(volume: Object) -> bool:
    return any(volume.get(source) is not None for source in SHARED_SOURCES)


def losses(spec: Object) -> list[str]:
    """Return what the copies do not have, for people to know."""
    return [
        f"volume {volume['name']} is empty in the copies" for volume in spec.get("volumes") or () if is_shared(volume)
    ]
