"""serviceaccounts/token: a token that lives and dies with what it is bound to. Source: KEP-1205."""

from __future__ import annotations

from sampan.api.errors import StatusError, conflict, invalid
from sampan.api.metadata import timestamp
from sampan.api.rendering import value_response
from sampan.api.request import Handler, Request, Response
from sampan.api.resource import Cause
from sampan.api.resources.reading import items, mapping, text
from sampan.api.subresources.binding import body_object
from sampan.api.tokens import MAX_SECONDS, MIN_SECONDS, Tokens
from sampan.api.version import minor
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

BINDABLE = {"Pod": "pods", "Secret": "secrets", "Node": "nodes"}
DEFAULT_SECONDS = 3600
NODE_CLAIMS_SINCE = 30
NODES = prefix_of("nodes")


def handler(tokens: Tokens) -> Handler:
    async def create(request: Request) -> Response:
        return await issue(request, tokens)

    return create


async def issue(request: Request, tokens: Tokens) -> Response:
    """Answer a TokenRequest. Raises 400, 404, 409 and 422."""
    served = request.api.catalog.get("", "v1", "serviceaccounts")
    assert served is not None
    at = request.attributes
    account = request.api.registry.read(served, at.namespace, at.name)
    body = body_object(request)
    await request.api.registry.admit_body(request, served, "token", body, "TokenRequest")
    spec = mapping(body, "spec")
    seconds = spec.get("expirationSeconds")
    seconds = DEFAULT_SECONDS if seconds is None else seconds
    if isinstance(seconds, bool) or not isinstance(seconds, int) or seconds < MIN_SECONDS:
        raise refused(at.name, seconds, "may not specify a duration less than 10 minutes")
    if seconds > MAX_SECONDS:
        raise refused(at.name, seconds, "may not specify a duration larger than 2^32 seconds")
    audiences = [str(audience) for audience in items(spec, "audiences")] or list(tokens.audiences)
    reference = mapping(spec, "boundObjectRef")
    found = bound_object(request, reference) if reference else None
    bound = (text(reference, "kind"), found["metadata"]["name"], found["metadata"]["uid"]) if found else None
    token, expiry = tokens.issue(account, audiences, seconds, bound, node_of(request, found))
    answer = {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {"name": at.name, "namespace": at.namespace, "creationTimestamp": timestamp(expiry - seconds)},
        "spec": {"audiences": audiences, "expirationSeconds": seconds, "boundObjectRef": reference or None},
        "status": {"token": token, "expirationTimestamp": timestamp(expiry)},
    }
    return value_response(request, answer, 201)


def node_of(request: Request, bound: Object | None) -> tuple[str, str] | None:
    """Return name and uid of the node of the pod that a token is bound to, for versions that tell it (KEP-4193)."""
    name = text(bound, "spec", "nodeName") if bound and bound["kind"] == "Pod" else ""
    if not name or minor(request.api.types.version) < NODE_CLAIMS_SINCE:
        return None
    record = request.api.store.get(NODES + name)
    return (name, request.api.parsed(record)["metadata"]["uid"] if record else "")


def bound_object(request: Request, reference: Object) -> Object:
    """Return the object a token shall be bound to."""
    kind, name, uid = text(reference, "kind"), text(reference, "name"), text(reference, "uid")
    plural = BINDABLE.get(kind)
    if plural is None:
        raise StatusError(400, "BadRequest", f"cannot bind token for serviceaccount to a {kind or 'nameless'} object")
    served = request.api.catalog.get("", "v1", plural)
    assert served is not None
    found = request.api.registry.read(served, request.attributes.namespace, name)
    if uid and uid != found["metadata"]["uid"]:
        why = (
            f"the UID in the bound object reference ({uid}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise conflict(served.resource, name, why)
    if kind == "Pod" and text(found, "spec", "serviceAccountName") != request.attributes.name:
        account = request.attributes.name
        why = f'cannot bind token for serviceaccount "{account}" to pod running with different serviceaccount name.'
        raise StatusError(400, "BadRequest", why)
    return found


def refused(name: str, seconds: object, why: str) -> StatusError:
    from sampan.api.resource import Resource

    request = Resource(group="authentication.k8s.io", version="v1", kind="TokenRequest", plural="tokenrequests")
    cause = Cause("spec.expirationSeconds", "FieldValueInvalid", f"Invalid value: {seconds}: {why}")
    return invalid(request, "", [cause])
