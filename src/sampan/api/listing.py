"""LIST: a page of objects as a join of their stored bytes.

In: the query of a list. Out: ``Listed``, the records that match, with the revision and a continue token. Tokens carry
the exact revision of the first page, so that all pages are one consistent list; when the history of that revision is
gone the answer is 410 with a token for an inconsistent rest, as Kubernetes does.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import orjson

from sampan.api.catalog import Served
from sampan.api.errors import StatusError, bad_request
from sampan.api.request import Request
from sampan.schema.objects import Object
from sampan.schema.selectors import (
    FieldSelector,
    LabelSelector,
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)
from sampan.store import Compacted, FutureRevision, Page, Record

if TYPE_CHECKING:
    from sampan.api.app import Api

TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Selection:
    """The label and field selectors of a request. ``name`` pins the one object that can match."""

    __slots__ = ("fields", "labels", "name", "served")

    def __init__(self, served: Served, labels: LabelSelector | None, fields: FieldSelector | None) -> None:
        self.served = served
        self.labels = labels
        self.fields = fields
        self.name = ""
        for field, operator, value in fields.terms if fields else ():
            if field == "metadata.name" and operator == "=":
                self.name = value

    def __bool__(self) -> bool:
        return self.labels is not None or self.fields is not None

    def matches(self, obj: Object) -> bool:
        metadata = obj["metadata"]
        if self.labels is not None and not self.labels.matches(metadata.get("labels")):
            return False
        return self.fields is None or self.fields.matches(lambda field: self._field(obj, field))

    def _field(self, obj: Object, field: str) -> str:
        if field == "metadata.name":
            return str(obj["metadata"]["name"])
        if field == "metadata.namespace":
            return str(obj["metadata"].get("namespace", ""))
        return self.served.resource.field_selectors[field](obj)


def selection(request: Request, served: Served) -> Selection:
    """Return the selectors of a request. Raises 400."""
    label_text, field_text = request.query.get("labelSelector", ""), request.query.get("fieldSelector", "")
    if not label_text and not field_text:
        return Selection(served, None, None)
    try:
        labels = parse_label_selector(label_text) if label_text else None
        fields = parse_field_selector(field_text) if field_text else None
    except SelectorError as error:
        raise bad_request(str(error)) from None
    for field, _, _ in fields.terms if fields else ():
        if field not in ("metadata.name", "metadata.namespace") and field not in served.resource.field_selectors:
            resource = served.resource
            raise bad_request(
                f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match label selector '
                f'"{label_text}", field selector "{field_text}": field label not supported: {field}'
            )
    return Selection(
        served, labels if labels and not labels.empty else None, fields if fields and fields.terms else None
    )


class Listed(NamedTuple):
    """A list: records in key order at ``revision``."""

    records: Sequence[Record]
    revision: int
    token: str = ""
    remaining: int | None = None


async def list_records(api: Api, request: Request, served: Served, namespace: str) -> Listed:
    """Return what a LIST asks for. Raises 400, 410, 422 and 504."""
    chosen = selection(request, served)
    limit = whole_number(request, "limit")
    token = request.query.get("continue", "")
    revision, after = exact_revision(request, limit), ""
    prefix = served.prefix(namespace)
    if token:
        if request.query.get("resourceVersion") not in (None, "", "0"):
            raise bad_request("specifying resource version is not allowed when using continue")
        revision, after = decode_token(token, prefix)
    try:
        if chosen:
            return await _list_chosen(api, chosen, prefix, limit, after, revision)
        page = await api.store.page(prefix, limit=limit, after=after, revision=revision)
    except Compacted:
        raise _expired(token, prefix, after) from None
    except FutureRevision as error:
        raise too_large(error) from None
    next_token = encode_token(page.revision, page.records[-1].key, prefix) if page.more and page.records else ""
    return Listed(page.records, page.revision, next_token, page.remaining if next_token else None)


async def _list_chosen(api: Api, chosen: Selection, prefix: str, limit: int, after: str, revision: int) -> Listed:
    page = await _candidates(api, chosen, prefix, after, revision)
    found: list[Record] = []
    for index, record in enumerate(page.records):
        if chosen.matches(api.parsed(record)):
            found.append(record)
            if limit and len(found) == limit and index + 1 < len(page.records):
                return Listed(found, page.revision, encode_token(page.revision, record.key, prefix))
    return Listed(found, page.revision)


async def _candidates(api: Api, chosen: Selection, prefix: str, after: str, revision: int) -> Page:
    whole_key = not chosen.served.resource.namespaced or prefix != chosen.served.key_prefix
    if chosen.name and whole_key and not revision and not after:
        record = api.store.get(prefix + chosen.name)
        return Page([record] if record else [], api.store.revision, False, 0)
    return await api.store.page(prefix, after=after, revision=revision)


def list_bytes(api: Api, served: Served, listed: Listed) -> bytes:
    """Return the List as JSON: the stored bytes, joined."""
    values = [record.value for record in listed.records]
    if served.converts:
        values = [api.registry.served_bytes(served, value) for value in values]
    parts = [served.list_head, b'%d"' % listed.revision]
    if listed.token:
        parts.append(b',"continue":"%b"' % listed.token.encode())
    if listed.remaining:
        parts.append(b',"remainingItemCount":%d' % listed.remaining)
    parts += [b'},"items":[', b",".join(values), b"]}\n"]
    return b"".join(parts)


def whole_number(request: Request, name: str) -> int:
    """Return a query parameter that is a number; 0 where it is missing. Raises 400."""
    text = request.query.get(name, "")
    if not text:
        return 0
    try:
        number = int(text)
    except ValueError:
        raise bad_request(
            f'{name}: Invalid value: "{text}": strconv.ParseInt: parsing "{text}": invalid syntax'
        ) from None
    return max(number, 0)


def resource_version(request: Request) -> int:
    """Return the resourceVersion asked for; 0 where it is missing or ``0``. Raises 400."""
    text = request.query.get("resourceVersion", "")
    if text in ("", "0"):
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 19:
        raise bad_request(
            f'resourceVersion: Invalid value: "{text}": strconv.ParseUint: parsing "{text}": invalid syntax'
        )
    return int(text)


def exact_revision(request: Request, limit: int) -> int:
    """Return the revision a list must be read at (0: newest). Raises 400, 422 and, for the future, 504."""
    query = request.query
    match, text = query.get("resourceVersionMatch", ""), query.get("resourceVersion", "")
    revision = resource_version(request)
    if match and not text:
        raise list_option_forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided")
    if match and query.get("continue"):
        raise list_option_forbidden("resourceVersionMatch is forbidden when continue is provided")
    if match not in ("", "Exact", "NotOlderThan"):
        values = 'supported values: "Exact", "NotOlderThan", ""'
        raise invalid_list_option("resourceVersionMatch", "NotSupported", f'Unsupported value: "{match}": {values}')
    if match == "Exact" and text == "0":
        raise list_option_forbidden('resourceVersionMatch "exact" is forbidden for resourceVersion "0"')
    if match == "Exact" or (not match and limit and revision):
        return revision
    if revision:
        _not_in_the_future(request, revision)
    return 0


def _not_in_the_future(request: Request, revision: int) -> None:
    current = request.api.store.revision
    if revision > current:
        raise too_large(FutureRevision(revision, current))


def list_option_forbidden(why: str) -> StatusError:
    return invalid_list_option("resourceVersionMatch", "Forbidden", f"Forbidden: {why}")


def invalid_list_option(field: str, reason: str, message: str) -> StatusError:
    details = {
        "group": "meta.k8s.io",
        "kind": "ListOptions",
        "causes": [{"reason": f"FieldValue{reason}", "message": message, "field": field}],
    }
    return StatusError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {field}: {message}', details=details)


def too_large(error: FutureRevision) -> StatusError:
    message = f"Too large resource version: {error.asked}, current: {error.current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(504, "Timeout", message, details={"causes": [cause]}, retry_after_seconds=1)


def encode_token(revision: int, key: str, prefix: str) -> str:
    token = orjson.dumps({"v": "meta.k8s.io/v1", "rv": revision, "start": key[len(prefix) :]})
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def decode_token(token: str, prefix: str) -> tuple[int, str]:
    """Return the revision and the last key of a continue token. Raises 400."""
    try:
        raw = orjson.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        revision, start = raw["rv"], raw["start"]
        valid = type(revision) is int and isinstance(start, str) and start and ".." not in start.split("/")
    except (ValueError, binascii.Error, KeyError, TypeError):
        valid = False
    if not valid:
        raise bad_request(f"continue key is not valid: {token[:200]!r}")
    return max(revision, 0), prefix + start


def _expired(token: str, prefix: str, after: str) -> StatusError:
    if not token:
        return StatusError(410, "Expired", "The resourceVersion for the provided list is too old.")
    error = StatusError(410, "Expired", TOO_OLD)
    error.metadata = {"continue": encode_token(-1, after, prefix)}
    return error
