"""One function a verb: from a routed request to the answer.

Each takes ``(request, served)`` and returns a ``Response``, or for a watch the stream that answers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import orjson

from sampan.api import deleting, patching
from sampan.api.catalog import Served
from sampan.api.encodings import coder
from sampan.api.errors import (
    StatusError,
    bad_request,
    conflict,
    invalid,
    method_not_allowed,
    must_be_specified,
    undeterminable,
)
from sampan.api.list_options import not_in_the_future, parse_revision
from sampan.api.listing import list_records
from sampan.api.options import check_write_options, decode_object
from sampan.api.registry import Written
from sampan.api.rendering import event_transform, list_response, object_response, objects_list, value_response, wanted
from sampan.api.request import Request, Response
from sampan.api.resource import Cause
from sampan.api.scaling import scale
from sampan.api.turns import LARGE_BODY_BYTES, beside
from sampan.api.watching import WatchStream
from sampan.schema.objects import Object

Answer = Response | WatchStream


async def get(request: Request, served: Served) -> Answer:
    registry, at = request.api.registry, request.attributes
    if "resourceVersion" in request.query:
        not_in_the_future(request, parse_revision(request.query["resourceVersion"]))
    value = (await registry.current(served, at.namespace, at.name)).value
    return object_response(request, served, registry.served_bytes(served, value))


async def list_(request: Request, served: Served) -> Answer:
    wanted(request)
    listed = await list_records(request.api, request, served, request.attributes.namespace)
    return await list_response(request, served, listed)


async def watch(request: Request, served: Served) -> Answer:
    writer = coder(wanted(request).media)
    transform = event_transform(request, served)
    return WatchStream(request.api, request, served, request.attributes.namespace, transform, writer)


async def create(request: Request, served: Served) -> Answer:
    wanted(request)
    at, resource = request.attributes, served.resource
    check_write_options(request, "CreateOptions")
    if resource.namespaced and not at.namespace:
        raise method_not_allowed()
    obj = await read_object(request, served)
    check_namespace(served, obj, at.namespace)
    metadata = obj["metadata"]
    if not metadata.get("name") and not metadata.get("generateName"):
        message = "Required value: name or generateName is required"
        raise invalid(resource, "", [Cause("metadata.name", "FieldValueRequired", message)])
    metadata.pop("managedFields", None)
    written = await request.api.registry.create(request, served, at.namespace, obj)
    return object_response(request, served, written.value, 201)


async def read_object(request: Request, served: Served) -> Object:
    """Return the object of a body. Raises 400, 415 and 422."""
    if len(request.body) > LARGE_BODY_BYTES:
        return await beside(decode_object, request, served)
    return decode_object(request, served)


def check_namespace(served: Served, obj: Object, namespace: str) -> None:
    """Refuse an object of another namespace. Raises 400."""
    given = obj["metadata"].get("namespace")
    if served.resource.namespaced:
        if given and given != namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
    elif given and not served.resource.custom:
        obj["metadata"].pop("namespace")


async def update(request: Request, served: Served, subresource: str = "") -> Answer:
    wanted(request)
    at, resource = request.attributes, served.resource
    check_write_options(request, "UpdateOptions")
    obj = await read_object(request, served)
    check_namespace(served, obj, at.namespace)
    metadata = obj["metadata"]
    if metadata.get("name", "") != at.name:
        given = metadata.get("name", "")
        if not given:
            raise undeterminable(at.name)
        raise bad_request(f"the name of the object ({given}) does not match the name on the URL ({at.name})")
    unconditional = not metadata.get("resourceVersion")
    refused = unconditional and resource.needs_version
    body = orjson.dumps(obj) if unconditional else b""
    given_obj: list[Object] = [obj]

    def change(old: Object) -> Object:
        if refused:  # only here: what does not exist is a 404 before
            raise must_be_specified(resource, at.name)
        # a retried update starts again from what was sent: the pipeline changes objects in place
        return given_obj.pop() if given_obj else orjson.loads(body)

    registry = request.api.registry
    creates = resource.created_by_update and not subresource
    if creates and request.api.store.get(served.key(at.namespace, at.name)) is None:
        try:
            written = await create_by_update(request, served, orjson.loads(orjson.dumps(obj)))
            return object_response(request, served, written.value, 201)
        except StatusError as error:
            if error.reason != "AlreadyExists":  # somebody was faster: it is an update after all
                raise
    written = await registry.replace(
        request, served, at.namespace, at.name, change, subresource=subresource, retry=unconditional, spares=True
    )
    return object_response(request, served, written.value)


async def create_by_update(request: Request, served: Served, obj: Object) -> Written:
    """Create what an update did not find. Raises as ``Registry.create_instead`` does."""
    at, metadata = request.attributes, obj["metadata"]
    uid = metadata.pop("uid", "")
    if uid:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: "
        raise conflict(served.resource, at.name, why)
    metadata.pop("resourceVersion", None)
    return await request.api.registry.create_instead(request, served, at.namespace, at.name, obj)


async def patch(request: Request, served: Served, subresource: str = "") -> Answer:
    wanted(request)
    at = request.attributes
    check_write_options(request, "PatchOptions")
    written = await patching.patch(request.api.registry, request, served, at.namespace, at.name, subresource)
    return object_response(request, served, written.value, 201 if written.created else 200)


async def delete(request: Request, served: Served) -> Answer:
    wanted(request)
    at = request.attributes
    check_write_options(request, "DeleteOptions")
    options = deleting.delete_options(request)
    written = await deleting.delete(request.api.registry, request, served, at.namespace, at.name, options)
    if written.deleted and not served.resource.returns_deleted:
        return value_response(request, deleting.deleted_status(served, orjson.loads(written.value)))
    return object_response(request, served, written.value)


async def deletecollection(request: Request, served: Served) -> Answer:
    wanted(request)
    namespace = request.attributes.namespace
    check_write_options(request, "DeleteOptions")
    options = deleting.delete_options(request)
    listed = await list_records(request.api, request, served, namespace)
    values = []
    for record in listed.records:
        metadata = request.api.parsed(record)["metadata"]
        home = metadata.get("namespace", "")
        try:
            written = await deleting.delete(request.api.registry, request, served, home, metadata["name"], options)
        except StatusError as error:
            if error.code != 404:
                raise
        else:
            values.append(written.value)
    return Response(objects_list(served, values, listed.revision))


async def status(request: Request, served: Served) -> Answer:
    if request.method in ("GET", "HEAD"):
        return await get(request, served)
    if request.method == "PUT":
        return await update(request, served, "status")
    if request.method == "PATCH":
        return await patch(request, served, "status")
    raise method_not_allowed()


async def scaled(request: Request, served: Served) -> Answer:
    wanted(request)
    if request.method not in ("GET", "PUT", "PATCH"):
        raise method_not_allowed()
    at = request.attributes
    return await scale(request.api.registry, request, served, at.namespace, at.name)


Verb = Callable[[Request, Served], Awaitable[Answer]]

VERBS: dict[str, Verb] = {
    "get": get,
    "list": list_,
    "watch": watch,
    "create": create,
    "update": partial(update),
    "patch": partial(patch),
    "delete": delete,
    "deletecollection": deletecollection,
}
