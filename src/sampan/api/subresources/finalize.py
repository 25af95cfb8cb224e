"""namespaces/finalize: the namespace controller gives up a namespace. Source: pkg/registry/core/namespace/storage."""

from __future__ import annotations

from sampan.api.rendering import value_response
from sampan.api.request import Request, Response
from sampan.api.resources.reading import items, text
from sampan.api.subresources.binding import body_object
from sampan.schema.objects import Object


async def finalize(request: Request) -> Response:
    """Set spec.finalizers; a namespace that is being deleted goes with the last of them. Raises 404 and 409."""
    served = request.api.catalog.get("", "v1", "namespaces")
    assert served is not None
    body = body_object(request)
    finalizers = [str(item) for item in items(body, "spec", "finalizers")]
    version = text(body, "metadata", "resourceVersion")

    def change(namespace: Object) -> Object:
        namespace["spec"] = {"finalizers": finalizers} if finalizers else {}
        if version:
            namespace["metadata"]["resourceVersion"] = version
        return namespace

    name = request.attributes.name
    return value_response(
        request, await request.api.registry.change(request, served, "", name, change, subresource="finalize")
    )
