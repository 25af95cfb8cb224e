"""LimitRanger: a namespace's LimitRanges give containers default requests and limits, and bound them.

Source: plugin/pkg/admission/limitranger.
"""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.errors import forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.objects import Object
from sampan.schema.quantity import Quantity, QuantityError, parse


class LimitRanger:
    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return operation == "CREATE" and not resource.group and resource.kind == "Pod" and not subresource

    async def admit(self, admission: Admission) -> None:
        for limit in await limits_of(admission):
            if admission.object is not None and limit.get("type") == "Container":
                for container in all_containers(admission.object):
                    fill(container, limit)

    async def validate(self, admission: Admission) -> None:
        problems: list[str] = []
        for limit in await limits_of(admission):
            if admission.object is not None and limit.get("type") == "Container":
                for container in all_containers(admission.object):
                    problems += breaches(container, limit)
        if problems:
            why = problems[0] if len(problems) == 1 else "[" + ", ".join(problems) + "]"
            raise forbidden(admission.resource, admission.name, why)


async def limits_of(admission: Admission) -> list[Object]:
    page = await admission.api.store.page(f"/registry/limitranges/{admission.namespace}/")
    return [limit for record in page.records for limit in items(admission.api.parsed(record), "spec", "limits")]


def all_containers(pod: Object) -> list[Object]:
    return [*items(pod, "spec", "containers"), *items(pod, "spec", "initContainers")]


def fill(container: Object, limit: Object) -> None:
    resources = container.setdefault("resources", {})
    for name, amount in mapping(limit, "default").items():
        resources.setdefault("limits", {}).setdefault(name, amount)
    for name, amount in mapping(limit, "defaultRequest").items():
        own = mapping(resources, "limits").get(name) if name not in mapping(limit, "default") else None
        resources.setdefault("requests", {}).setdefault(name, own or amount)


def quantity(amount: object) -> Quantity | None:
    try:
        return parse(str(amount))
    except QuantityError:
        return None


def breaches(container: Object, limit: Object) -> Iterator[str]:
    requests, limits = mapping(container, "resources", "requests"), mapping(container, "resources", "limits")
    for name, least in mapping(limit, "min").items():
        asked, bound = quantity(requests.get(name, limits.get(name))), quantity(least)
        if name not in requests and name not in limits:
            yield f"minimum {name} usage per Container is {least}.  No request is specified"
        elif asked is not None and bound is not None and asked < bound:
            yield f"minimum {name} usage per Container is {least}, but request is {requests.get(name, limits.get(name))}"
    for name, most in mapping(limit, "max").items():
        asked, bound = quantity(limits.get(name)), quantity(most)
        if name not in limits:
            yield f"maximum {name} usage per Container is {most}.  No limit is specified"
        elif asked is not None and bound is not None and bound < asked:
            yield f"maximum {name} usage per Container is {most}, but limit is {text(limits, name)}"
