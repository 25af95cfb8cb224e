"""PodNodeSelector and PodTolerationRestriction: where a namespace's pods may run, by its annotations. Off unless asked for.

Source: kubernetes plugin/pkg/admission/podnodeselector, podtolerationrestriction.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.errors import StatusError, forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.pods import qos_class
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup

NAMESPACES = prefix_of("namespaces")
NODE_SELECTOR = "scheduler.alpha.kubernetes.io/node-selector"
DEFAULT_TOLERATIONS = "scheduler.alpha.kubernetes.io/defaultTolerations"
ALLOWED_TOLERATIONS = "scheduler.alpha.kubernetes.io/tolerationsWhitelist"
MEMORY_PRESSURE = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"}


def annotations_of(admission: Admission) -> Mapping[str, str]:
    """Return the annotations of the namespace. Raises 404."""
    record = admission.api.store.get(NAMESPACES + admission.namespace)
    if record is None:
        raise StatusError(404, "NotFound", f'namespaces "{admission.namespace}" not found')
    return mapping(admission.api.parsed(record), "metadata", "annotations")


# PodNodeSelector


class PodNodeSelector:
    """Configuration: ``podNodeSelectorPluginConfig`` with ``clusterDefaultNodeSelector``, and namespace → what is allowed."""

    def __init__(self, configuration: Mapping[str, Any] | None = None) -> None:
        self.configured = mapping(configuration, "podNodeSelectorPluginConfig") or dict(configuration or {})

    @classmethod
    def made(cls, setup: Setup) -> PodNodeSelector:
        return cls(setup.configuration)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.kind == "Pod" and not resource.group and not subresource and operation == "CREATE"

    def of_namespace(self, admission: Admission) -> dict[str, str]:
        annotations = annotations_of(admission)
        if NODE_SELECTOR in annotations:
            return labels_of(admission, annotations[NODE_SELECTOR])
        return labels_of(admission, str(self.configured.get("clusterDefaultNodeSelector") or ""))

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        spec, wanted = admission.object["spec"], self.of_namespace(admission)
        chosen = mapping(spec, "nodeSelector")
        if any(chosen.get(key, value) != value for key, value in wanted.items()):
            why = "pod node label selector conflicts with its namespace node label selector"
            raise forbidden(admission.resource, admission.name, why)
        if wanted:
            spec["nodeSelector"] = {**wanted, **chosen}

    async def validate(self, admission: Admission) -> None:
        chosen = mapping(admission.object, "spec", "nodeSelector")
        allowed = labels_of(admission, str(self.configured.get(admission.namespace) or ""))
        if allowed and any(allowed.get(key) != value for key, value in chosen.items()):
            why = "pod node label selector labels conflict with its namespace whitelist"
            raise forbidden(admission.resource, admission.name, why)


def labels_of(admission: Admission, text: str) -> dict[str, str]:
    """Return ``a=b,c=d`` as a map. Raises 500 where it is none."""
    found = {}
    for part in text.split(","):
        key, equals, value = part.partition("=")
        if part.strip():
            if not equals:
                raise StatusError(500, "", f"invalid selector: [{text}]")
            found[key.strip()] = value.strip()
    return found


# PodTolerationRestriction


class PodTolerationRestriction:
    """Configuration: ``default`` and ``whitelist`` for namespaces without annotations."""

    def __init__(self, configuration: Mapping[str, Any] | None = None) -> None:
        self.default, self.allowed = (items(configuration, key) for key in ("default", "whitelist"))

    @classmethod
    def made(cls, setup: Setup) -> PodTolerationRestriction:
        return cls(setup.configuration)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        here = resource.kind == "Pod" and not resource.group and not subresource
        return here and operation in ("CREATE", "UPDATE")

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        spec = admission.object["spec"]
        tolerations = list(items(spec, "tolerations"))
        if admission.old is None:
            tolerations = merged(annotated(admission, DEFAULT_TOLERATIONS, self.default), tolerations)
        if qos_class(spec) != "BestEffort":
            tolerations = merged(tolerations, [MEMORY_PRESSURE])
        if tolerations:
            spec["tolerations"] = tolerations

    async def validate(self, admission: Admission) -> None:
        tolerations = items(admission.object, "spec", "tolerations")
        allowed = annotated(admission, ALLOWED_TOLERATIONS, self.allowed)
        if allowed and not all(any(includes(one, toleration) for one in allowed) for toleration in tolerations):
            what = "pod tolerations (possibly merged with namespace default tolerations)"
            raise StatusError(500, "", f"{what} conflict with its namespace whitelist")


def annotated(admission: Admission, key: str, otherwise: list[Any]) -> list[Any]:
    """Return the tolerations in an annotation of the namespace. Raises 500 where they do not parse."""
    text = annotations_of(admission).get(key)
    if text is None:
        return otherwise
    try:
        found = orjson.loads(text) if text else []
    except orjson.JSONDecodeError as error:
        raise StatusError(500, "", str(error)) from error
    return found if isinstance(found, list) else []


def merged(first: list[Any], second: list[Any]) -> list[Any]:
    """Return all tolerations, without those that another one includes."""
    everything = [*first, *second]
    kept: list[Any] = []
    for place, one in enumerate(everything):
        covered = any(includes(other, one) for other in kept)
        later = any(includes(other, one) and other != one for other in everything[place + 1 :])
        if not covered and not later:
            kept.append(one)
    return kept


def includes(wide: Object, one: Object) -> bool:
    """Whether what tolerates ``one`` is part of what tolerates ``wide``."""
    if wide == one:
        return True
    exists = wide.get("operator") == "Exists"
    if one.get("key") != wide.get("key") and (wide.get("key") or not exists):
        return False
    if wide.get("effect") and one.get("effect") != wide["effect"]:
        return False
    most = wide.get("tolerationSeconds")
    if wide.get("effect") == "NoExecute" and most is not None:
        seconds = one.get("tolerationSeconds")
        if seconds is None or seconds > most:
            return False
    same = (one.get("operator") or "Equal") == (wide.get("operator") or "Equal") and one.get("value") == wide.get(
        "value"
    )
    return exists or same
