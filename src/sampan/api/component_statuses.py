"""componentstatuses: whether the parts of the control plane are well, asked when the question comes; nothing is stored.

Source: kubernetes pkg/registry/core/componentstatus. ``api.components`` holds a check for each part that runs here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

from sampan.api.errors import method_not_allowed, not_found
from sampan.api.listing import Listed
from sampan.api.rendering import list_response, object_response
from sampan.api.request import Request, Response
from sampan.schema.objects import Object
from sampan.schema.selectors import parse_label_selector
from sampan.store import Record
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

DEFAULT_NAMESPACE = prefix_of("namespaces") + "default"


def add(api: Api) -> None:
    """Serve them."""
    api.components.setdefault("etcd-0", lambda: store_problem(api))
    api.catalog.subresource("", "v1", "componentstatuses", "", {"GET": answer})


def store_problem(api: Api) -> str | None:
    """Return why the store does not answer, None where it does."""
    try:
        api.store.get(DEFAULT_NAMESPACE)
    except Exception as error:  # whatever a store has to say
        return str(error)
    return None


def status_of(name: str, problem: str | None) -> Object:
    good = {"type": "Healthy", "status": "True", "message": "ok"}
    bad = {"type": "Healthy", "status": "False", "message": problem, "error": problem}
    return {
        "apiVersion": "v1",
        "kind": "ComponentStatus",
        "metadata": {"name": name, "creationTimestamp": None},
        "conditions": [good if problem is None else bad],
    }


async def answer(request: Request) -> Response:
    """Answer get and list."""
    api, at = request.api, request.attributes
    served = api.catalog.get("", "v1", "componentstatuses")
    assert served is not None
    if at.verb not in served.resource.verbs:
        raise method_not_allowed()
    if at.name and at.name not in api.components:
        raise not_found(served.resource, at.name)
    if at.name:
        return object_response(request, served, orjson.dumps(status_of(at.name, api.components[at.name]())))
    selector = parse_label_selector(request.query.get("labelSelector", ""))
    found = [status_of(name, check()) for name, check in api.components.items() if selector.matches({})]
    records = [Record(f"/componentstatuses/{one['metadata']['name']}", orjson.dumps(one), 0, 0) for one in found]
    return await list_response(request, served, Listed(records, api.store.revision))
