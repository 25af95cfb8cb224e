"""LIST: a page of objects as a join of their stored bytes.

In: the query of a list. Out: ``Listed``, the records that match, with the revision and a continue token. Tokens carry
the exact revision of the first page, so that all pages are one consistent list; when the history of that revision is
gone the answer is 410 with a token for an inconsistent rest, as Kubernetes does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import itemgetter
from time import perf_counter
from typing import TYPE_CHECKING, NamedTuple

from sampan.api.catalog import Served
from sampan.api.continue_tokens import decode_token, encode_token
from sampan.api.errors import StatusError, bad_request
from sampan.api.list_options import list_options, too_large
from sampan.api.long_answers import ListResponse
from sampan.api.request import Request
from sampan.api.turns import LOOKS, TURN_SECONDS, beside
from sampan.schema.objects import Object
from sampan.schema.selectors import (
    FieldSelector,
    LabelSelector,
    SelectorError,
    parse_field_selector,
    parse_label_selector,
)
from sampan.store import Compacted, FutureRevision, Page, Record, Slice

if TYPE_CHECKING:
    from sampan.api.app import Api

LONG_SELECTOR = 4096
"""Characters: a longer one is read beside the loop."""
VALUE = itemgetter(Record._fields.index("value"))
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
    query, name = request.query, request.attributes.name
    label_text, field_text = query.get("labelSelector", ""), query.get("fieldSelector", "")
    if not label_text and not field_text and not name:
        return Selection(served, None, None)
    try:
        labels = parse_label_selector(label_text) if label_text else None
        fields = parse_field_selector(field_text) if field_text else None
    except SelectorError as error:
        raise bad_request(str(error)) from None
    for field, _, _ in fields.terms if fields else ():
        if field not in ("metadata.name", "metadata.namespace") and field not in served.resource.field_selectors:
            raise bad_request(unknown_field(served, field))
    terms = fields.terms if fields else ()
    if name and ("metadata.name", "=", name) not in terms:
        terms = (*terms, ("metadata.name", "=", name))  # the deprecated path watch/…/NAME
    chosen_labels = labels if labels and not labels.empty else None
    return Selection(served, chosen_labels, FieldSelector(terms) if terms else None)


def unknown_field(served: Served, field: str) -> str:
    """Return Kubernetes' words for a field that cannot be selected by: they differ where a kind has fields of its own."""
    if served.resource.custom or served.resource.field_selectors:
        return f"field label not supported: {field}"
    return f'"{field}" is not a known field selector: only "metadata.name", "metadata.namespace"'


class Listed(NamedTuple):
    """A list: records in key order at ``revision``."""

    records: Sequence[Record]
    revision: int
    token: str = ""
    remaining: int | None = None


async def list_records(api: Api, request: Request, served: Served, namespace: str) -> Listed:
    """Return what a LIST asks for. Raises 400, 410, 422 and 504."""
    if len(request.query.get("labelSelector", "")) > LONG_SELECTOR:
        chosen = await beside(selection, request, served)
    else:
        chosen = selection(request, served)
    options = list_options(request)
    limit, revision, after = options.limit, options.revision, ""
    prefix = served.prefix(namespace)
    if options.token:
        revision, after = decode_token(options.token, prefix)
    try:
        if chosen:
            return await _list_chosen(api, chosen, prefix, limit, after, revision)
        page = await api.source(served).page(prefix, limit=limit, after=after, revision=revision)
    except Compacted:
        raise _expired(options.token, prefix, after) from None
    except FutureRevision as error:
        raise too_large(error.asked, error.current, retry=False) from None
    next_token = encode_token(page.revision, page.records[-1].key, prefix) if page.more and page.records else ""
    return Listed(page.records, page.revision, next_token, page.remaining if next_token else None)


async def _list_chosen(api: Api, chosen: Selection, prefix: str, limit: int, after: str, revision: int) -> Listed:
    page = await candidates(api, chosen, prefix, after, revision)
    found: list[Record] = []
    begun = perf_counter()
    for index, record in enumerate(page.records):
        if not index % LOOKS and perf_counter() - begun > TURN_SECONDS:
            await asyncio.sleep(0)
            begun = perf_counter()
        if chosen.matches(api.parsed(record)):
            found.append(record)
            if limit and len(found) == limit and index + 1 < len(page.records):
                return Listed(found, page.revision, encode_token(page.revision, record.key, prefix))
    return Listed(found, page.revision)


async def candidates(api: Api, chosen: Selection, prefix: str, after: str, revision: int) -> Page:
    """Return the records to look at: the one that a name pins, or all."""
    whole_key = not chosen.served.resource.namespaced or prefix != chosen.served.key_prefix
    if chosen.name and whole_key and not revision and not after:
        record = api.store.get(prefix + chosen.name)
        if record is not None and chosen.served.view is not None:
            record = await chosen.served.view.record(record)
        return Page([record] if record else [], api.store.revision, False, 0)
    return await api.source(chosen.served).page(prefix, after=after, revision=revision)


def list_answer(api: Api, served: Served, listed: Listed) -> ListResponse:
    """Return the List as JSON: the stored bytes, to be joined."""
    records = listed.records
    values: Sequence[bytes] = records.values if isinstance(records, Slice) else list(map(VALUE, records))
    if served.converts:
        values = [api.registry.served_bytes(served, value) for value in values]
    head = [served.list_head, b'%d"' % listed.revision]
    if listed.token:
        head.append(b',"continue":"%b"' % listed.token.encode())
    if listed.remaining:
        head.append(b',"remainingItemCount":%d' % listed.remaining)
    head.append(b'},"items":[')
    return ListResponse(b"".join(head), values, b"]}\n")


def _expired(token: str, prefix: str, after: str) -> StatusError:
    if not token:
        return StatusError(410, "Expired", "The resourceVersion for the provided list is too old.")
    error = StatusError(410, "Expired", TOO_OLD)
    error.metadata = {"continue": encode_token(-1, after, prefix)}
    return error
