"""Answers as the client wants them: JSON or YAML, whole objects, tables or metadata. CBOR and protobuf are made of
JSON at the edge (``encodings.py``)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson

from sampan.api.catalog import Served
from sampan.api.encodings import encode
from sampan.api.errors import StatusError
from sampan.api.listing import Listed, list_answer
from sampan.api.long_answers import ListResponse
from sampan.api.negotiation import JSON, PLAIN, YAML, Accepted, accepted, clauses, negotiate, not_acceptable
from sampan.api.request import Request, Response
from sampan.api.resource import Resource
from sampan.api.tables import columns_of, partial, partial_list, row, table
from sampan.api.turns import in_turns
from sampan.api.wire import has_message
from sampan.schema import yaml_text
from sampan.store import Record


def wanted(request: Request) -> Accepted:
    """Return the format asked for. Raises 406."""
    accept = request.headers.get("accept", "")
    if "protobuf" not in accept:
        return negotiate(accept)
    at = request.attributes
    served = request.api.catalog.get(at.group, at.version, at.resource)
    return negotiate(accept, protobuf=served is None or has_protobuf(served.resource))


def refuse_tables(request: Request) -> None:
    """Raise 406 where nothing but a table is accepted of what has none: reviews are no rows."""
    accept = request.headers.get("accept", "")
    if "as=Table" in accept and all(parameters.get("as") == "Table" for _, parameters in clauses(accept)):
        raise not_acceptable()


def has_protobuf(resource: Resource) -> bool:
    """Whether objects of a resource have a protobuf form."""
    return not resource.custom and has_message(resource.api_version, resource.kind)


def object_response(request: Request, served: Served, value: bytes, status: int = 200) -> Response:
    """Answer with one object given as its served bytes."""
    form = wanted(request)
    if form.transform == "Table":
        obj = orjson.loads(value)
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        include = request.query.get("includeObject", "")
        value = orjson.dumps(table(served.resource, [obj], metadata, version=form.version, include=include))
    elif form.transform:
        value = orjson.dumps(partial(orjson.loads(value), form.version))
    return json_response(request, value, status, form)


async def list_response(request: Request, served: Served, listed: Listed) -> Response:
    """Answer with a list: a join of bytes unless it must be transformed."""
    api, form = request.api, wanted(request)
    if not form.transform:
        answer = list_answer(api, served, listed)
        if form.media == YAML:
            return Response(await yaml_list(answer.head, answer.values), 200, YAML)
        return answer if "pretty" not in request.query else json_response(request, answer.body, 200, form)
    metadata: dict[str, Any] = {"resourceVersion": str(listed.revision)}
    if listed.token:
        metadata["continue"] = listed.token
    if listed.remaining:
        metadata["remainingItemCount"] = listed.remaining
    decode = api.registry.decode
    if form.transform == "Table":
        columns, include = columns_of(served.resource), request.query.get("includeObject", "")
        made = table(served.resource, [], metadata, version=form.version, include=include)
        field = "rows"

        def one(record: Record) -> bytes:
            return orjson.dumps(row(columns, decode(served, record.value), include, form.version))
    else:
        made, field = partial_list(metadata, form.version), "items"

        def one(record: Record) -> bytes:
            return orjson.dumps(partial(decode(served, record.value), form.version))

    values = await in_turns(one, listed.records)
    head = orjson.dumps(made)
    assert head.endswith(b"[]}")
    head = head.removesuffix(b"[]}")
    if form.media == YAML:
        return Response(await yaml_list(head + b"[]}", values, field), 200, YAML)
    answer = ListResponse(head + b"[", values, b"]}")
    return answer if "pretty" not in request.query else json_response(request, answer.body, 200, form)


async def yaml_list(head: bytes, values: Sequence[bytes], field: str = "items") -> bytes:
    """Return a list in YAML: of ``head``, the list with nothing in it, and its objects. Some at a time, for it takes long."""
    made: dict[str, Any] = orjson.loads(head)
    if not values:
        return as_yaml(made)
    del made[field]
    items = await in_turns(lambda value: yaml_text.item(orjson.loads(value)), values)
    return "".join([yaml_text.dump(made), field, ":\n", *items]).encode()


def event_transform(request: Request, served: Served) -> Callable[[bytes], bytes] | None:
    """Return what turns an object of a watch event into what is asked for; None where it goes as it is."""
    form = wanted(request)
    if not form.transform:
        return None
    if form.transform != "Table":
        return lambda value: orjson.dumps(partial(orjson.loads(value), form.version))
    include = request.query.get("includeObject", "")
    first = True

    def to_table(value: bytes) -> bytes:
        nonlocal first
        obj = orjson.loads(value)
        metadata = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
        made = table(served.resource, [obj], metadata, version=form.version, include=include, definitions=first)
        first = False
        return orjson.dumps(made)

    return to_table


def json_response(request: Request, value: bytes, status: int = 200, form: Accepted | None = None) -> Response:
    """Answer with JSON bytes, as YAML or indented where that is asked for."""
    media = (form or wanted(request)).media
    if media == YAML:
        return Response(as_yaml(orjson.loads(value)), status, YAML)
    if request.query.get("pretty") in ("true", "1"):
        value = orjson.dumps(orjson.loads(value), option=orjson.OPT_INDENT_2)
    return Response(value, status, JSON)


def value_response(request: Request, value: Any, status: int = 200) -> Response:
    """Answer with a dict."""
    return json_response(request, orjson.dumps(value), status)


def error_response(error: StatusError, accept: str = "") -> Response:
    form = accepted(accept) or PLAIN
    headers = () if error.retry_after_seconds is None else (("retry-after", str(error.retry_after_seconds)),)
    status = error.status()
    if form.media == YAML:
        return Response(as_yaml(status), error.code, YAML, headers)
    if form.media != JSON:
        return Response(encode(orjson.dumps(status), form.media), error.code, form.media, headers)
    return Response(orjson.dumps(status), error.code, JSON, headers)


def as_yaml(value: Any) -> bytes:
    return yaml_text.dump(value).encode()


def objects_list(served: Served, values: Sequence[bytes], revision: int) -> bytes:
    """Return a List of served bytes."""
    return b"".join([served.list_head, b'%d"},"items":[' % revision, b",".join(values), b"]}\n"])
