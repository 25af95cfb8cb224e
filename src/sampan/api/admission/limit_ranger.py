"""LimitRanger: a namespace's LimitRanges give containers default requests and limits, and bound containers, pods and claims.

Source: kubernetes plugin/pkg/admission/limitranger.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sampan.api.errors import forbidden
from sampan.api.quotas.amounts import Amounts, read
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.pod_resources import aggregate
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity
from sampan.store.layout import prefix_of

LIMIT_RANGES = prefix_of("limitranges")
ANNOTATION = "kubernetes.io/limit-ranger"


class LimitRanger:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        if resource.group or resource.kind not in ("Pod", "PersistentVolumeClaim"):
            return False
        if resource.kind == "Pod" and operation == "UPDATE":
            return subresource == "resize"
        return operation in ("CREATE", "UPDATE") and not subresource

    async def admit(self, admission: Admission) -> None:
        if admission.object is None or admission.resource.kind != "Pod" or admission.subresource:
            return
        for limit_range in await limit_ranges(admission):
            fill_pod(admission.object, items(limit_range, "spec", "limits"))

    async def validate(self, admission: Admission) -> None:
        for limit_range in await limit_ranges(admission):
            problems: list[str] = []
            for limit in items(limit_range, "spec", "limits"):
                if admission.object is not None:
                    problems += breaches(admission.object, limit, admission.resource.kind)
            problems = list(dict.fromkeys(problems))
            if problems:
                why = problems[0] if len(problems) == 1 else "[" + ", ".join(problems) + "]"
                raise forbidden(admission.resource, admission.name, why)


async def limit_ranges(admission: Admission) -> list[Object]:
    page = await admission.api.store.page(f"{LIMIT_RANGES}{admission.namespace}/")
    return [admission.api.parsed(record) for record in page.records]


# defaults


def fill_pod(pod: Object, limits: list[Object]) -> None:
    """Give containers what they do not say, and note it down."""
    defaults: dict[str, Object] = {"limits": {}, "requests": {}}
    for limit in limits:
        if limit.get("type") == "Container":
            defaults["limits"].update(mapping(limit, "default"))
            defaults["requests"].update(mapping(limit, "defaultRequest"))
    notes: list[str] = []
    for field, what in (("containers", "container"), ("initContainers", "init container")):
        for container in items(pod, "spec", field):
            notes += fill(container, defaults, what)
    if notes:
        annotations = pod["metadata"].setdefault("annotations", {})
        annotations[ANNOTATION] = "LimitRanger plugin set: " + "; ".join(notes)


def fill(container: Object, defaults: Mapping[str, Object], what: str) -> Iterator[str]:
    for kind, word in (("requests", "request"), ("limits", "limit")):
        own = mapping(container, "resources", kind)
        added = {name: amount for name, amount in defaults[kind].items() if name not in own}
        if added:
            container.setdefault("resources", {})[kind] = {**own, **added}
            yield f"{', '.join(sorted(added))} {word} for {what} {container.get('name')}"


# bounds


def breaches(obj: Object, limit: Object, kind: str) -> Iterator[str]:
    """Yield how an object breaks one limit."""
    bounded = limit.get("type")
    if kind == "PersistentVolumeClaim":
        if bounded == kind:
            yield from claim_breaches(read(mapping(obj, "spec", "resources", "requests")), limit)
    elif bounded == "Container":
        for container in (*items(obj, "spec", "containers"), *items(obj, "spec", "initContainers")):
            requests = read(mapping(container, "resources", "requests"))
            yield from amount_breaches(requests, read(mapping(container, "resources", "limits")), limit, "Container")
    elif bounded == "Pod":
        spec = mapping(obj, "spec")
        yield from amount_breaches(aggregate(spec, "requests"), aggregate(spec, "limits"), limit, "Pod")


def claim_breaches(requests: Amounts, limit: Object) -> Iterator[str]:
    what = "PersistentVolumeClaim"
    for word, key in (("minimum", "min"), ("maximum", "max")):
        for name, bound in read(mapping(limit, key)).items():
            request = requests.get(name)
            said = f"{word} {name} usage per {what} is {bound}"
            if request is None:
                yield f"{said}.  No request is specified"
            elif request < bound if key == "min" else bound < request:
                yield f"{said}, but request is {request}"


def amount_breaches(requests: Amounts, limits: Amounts, limit: Object, what: str) -> Iterator[str]:
    for name, least in read(mapping(limit, "min")).items():
        yield from too_little(name, what, least, requests.get(name), limits.get(name))
    for name, most in read(mapping(limit, "max")).items():
        yield from too_much(name, what, most, requests.get(name), limits.get(name))
    for name, ratio in read(mapping(limit, "maxLimitRequestRatio")).items():
        yield from too_far_apart(name, what, ratio, requests.get(name), limits.get(name))


def too_little(name: str, what: str, least: Quantity, asked: Quantity | None, most: Quantity | None) -> Iterator[str]:
    said = f"minimum {name} usage per {what} is {least}"
    if asked is None:
        yield f"{said}.  No request is specified"
    elif asked < least:
        yield f"{said}, but request is {asked}"
    elif most is not None and most < least:
        yield f"{said}, but limit is {most}"


def too_much(name: str, what: str, bound: Quantity, asked: Quantity | None, most: Quantity | None) -> Iterator[str]:
    said = f"maximum {name} usage per {what} is {bound}"
    if most is None:
        yield f"{said}.  No limit is specified"
    elif bound < most:
        yield f"{said}, but limit is {most}"
    elif asked is not None and bound < asked:
        yield f"{said}, but request is {asked}"


def too_far_apart(
    name: str, what: str, ratio: Quantity, asked: Quantity | None, most: Quantity | None
) -> Iterator[str]:
    said = f"{name} max limit to request ratio per {what} is {ratio}"
    if not asked:
        yield f"{said}, but no request is specified or request is 0"
    elif not most:
        yield f"{said}, but no limit is specified or limit is 0"
    elif most.nano * 1_000_000_000 > ratio.nano * asked.nano:
        yield f"{said}, but provided ratio is {most.nano / asked.nano:.6f}"
