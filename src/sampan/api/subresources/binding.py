"""pods/binding: the scheduler says where a pod runs. Source: pkg/registry/core/pod/storage (assignPod)."""

from __future__ import annotations

from sampan.api.catalog import Served
from sampan.api.errors import StatusError, bad_request, conflict, invalid
from sampan.api.metadata import now
from sampan.api.options import decode_body
from sampan.api.rendering import value_response
from sampan.api.request import Request, Response
from sampan.api.resource import Cause, Resource
from sampan.api.resources.reading import items, mapping, text
from sampan.api.version import minor
from sampan.schema.objects import Object

BINDING = Resource(group="", version="v1", kind="Binding", plural="bindings")
CLEARED_SINCE = 34
"""Since this minor version a binding clears the pod's nominatedNodeName (KEP-5278)."""
SUCCESS: Object = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}


def pods(request: Request) -> Served:
    served = request.api.catalog.get("", "v1", "pods")
    assert served is not None
    return served


def body_object(request: Request) -> Object:
    """Return the decoded body. Raises 400."""
    decoded, _ = decode_body(request, "application/json")
    if not isinstance(decoded, dict):
        raise bad_request("the body of the request is not an object")
    return decoded


async def bind(request: Request) -> Response:
    """Assign a pod to the node of a Binding. Raises 400, 404, 409 and 422."""
    binding, served = body_object(request), pods(request)
    name = request.attributes.name or text(binding, "metadata", "name")
    if request.attributes.name:
        await request.api.registry.admit_body(request, served, "binding", binding, "Binding")
    node = text(binding, "target", "name")
    kind = text(binding, "target", "kind")
    if not node:
        raise invalid(BINDING, name, [Cause("target.name", "FieldValueRequired", "Required value")])
    if kind not in ("", "Node"):
        message = f'Unsupported value: "{kind}": supported values: "Node", "<empty>"'
        raise invalid(BINDING, name, [Cause("target.kind", "FieldValueNotSupported", message)])
    uid = text(binding, "metadata", "uid")

    def change(pod: Object) -> Object:
        assign(served, pod, node, uid, mapping(binding, "metadata", "annotations"))
        if minor(request.api.types.version) >= CLEARED_SINCE:
            pod["status"].pop("nominatedNodeName", None)
        return pod

    await request.api.registry.change(
        request, served, request.attributes.namespace, name, change, subresource="binding"
    )
    return value_response(request, SUCCESS, 201)


def assign(served: Served, pod: Object, node: str, uid: str, annotations: Object) -> None:
    """Set the node in place."""
    metadata, spec = pod["metadata"], pod["spec"]
    name = metadata["name"]
    if uid and uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise conflict(served.resource, name, why)
    if metadata.get("deletionTimestamp"):
        raise refused(name, f"pod {name} is being deleted, cannot be assigned to a host")
    if spec.get("nodeName"):
        raise refused(name, f'pod {name} is already assigned to node "{spec["nodeName"]}"')
    if items(spec, "schedulingGates"):
        raise refused(name, f"pod {name} has non-empty .spec.schedulingGates")
    spec["nodeName"] = node
    if annotations:
        metadata["annotations"] = {**mapping(metadata, "annotations"), **annotations}
    status = pod.setdefault("status", {})
    scheduled: Object = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": now()}
    if metadata.get("generation"):
        scheduled["observedGeneration"] = metadata["generation"]
    others = [condition for condition in items(status, "conditions") if condition.get("type") != "PodScheduled"]
    status["conditions"] = [*others, scheduled]


def refused(name: str, why: str) -> StatusError:
    message = f'Operation cannot be fulfilled on pods/binding "{name}": {why}'
    return StatusError(409, "Conflict", message, details={"name": name, "kind": "pods/binding"})
