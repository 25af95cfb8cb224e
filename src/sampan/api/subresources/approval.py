"""certificatesigningrequests/approval: only the conditions of the status change. Source: pkg/registry/certificates."""

from __future__ import annotations

from sampan.api import verbs
from sampan.api.catalog import Served
from sampan.api.rendering import value_response
from sampan.api.request import Handler, Request, Response
from sampan.api.resources.reading import items
from sampan.api.subresources.pod_parts import plain
from sampan.schema.objects import Object


def requests(request: Request) -> Served:
    served = request.api.catalog.get("certificates.k8s.io", "v1", "certificatesigningrequests")
    assert served is not None
    return served


async def get(request: Request) -> Response:
    return plain(await verbs.get(request, requests(request)))


async def update(request: Request) -> Response:
    """Take the conditions of the object that was sent."""
    conditions = items(await verbs.read_object(request, requests(request)), "status", "conditions")

    def change(old: Object) -> Object:
        old.setdefault("status", {})["conditions"] = conditions
        return old

    name = request.attributes.name
    changed = await request.api.registry.change(request, requests(request), "", name, change, subresource="approval")
    return value_response(request, changed)


async def patch(request: Request) -> Response:
    return plain(await verbs.patch(request, requests(request), "approval"))


HANDLERS: dict[str, Handler] = {"GET": get, "PUT": update, "PATCH": patch}
