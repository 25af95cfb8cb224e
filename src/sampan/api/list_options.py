"""The query of a list or watch, checked with Kubernetes' messages: limit, continue, resourceVersion and its match.

| resourceVersion | no match | NotOlderThan | Exact |
|---|---|---|---|
| none | newest | 422 | 422 |
| 0 | any: newest, all of it | the same | 422 |
| N | not older than N; exactly N where there is a limit | not older than N | exactly N |

Source: apimachinery pkg/apis/meta/internalversion/validation; the watch cache, which serves ``0`` whole whatever the limit.
"""

from __future__ import annotations

import random
from typing import NamedTuple

from sampan.api.errors import StatusError, bad_request
from sampan.api.request import Request
from sampan.api.routing import is_true
from sampan.api.version import minor

DEFAULT_TIMEOUT_SECONDS = (1800.0, 3600.0)
"""kube-apiserver's --min-request-timeout and twice that."""
MAX_INT64 = (1 << 63) - 1
MAX_UINT64 = (1 << 64) - 1
MATCHES = ("Exact", "NotOlderThan", "")

WATCH_LIST_SINCE = 27
MATCH, INITIAL = "resourceVersionMatch", "sendInitialEvents"


class ListOptions(NamedTuple):
    """What a LIST asks for: ``revision`` is the one to read at (0: newest), ``limit`` 0 is none."""

    limit: int
    token: str
    revision: int


class WatchOptions(NamedTuple):
    since: int
    initial: bool
    """Whether the present state comes first, as ADDED."""
    mark_end: bool
    """Whether a bookmark says where the present state ends."""
    bookmarks: bool
    timeout_seconds: float
    not_older_than: int = 0
    """The revision that the present state must have reached."""


def list_options(request: Request) -> ListOptions:
    """Return what a list asks for. Raises 400, 422 and, for a revision of the future, 504."""
    query = request.query
    limit = whole_number(request, "limit")
    whole_number(request, "timeoutSeconds")
    token, match, text = query.get("continue", ""), query.get(MATCH, ""), query.get("resourceVersion", "")
    if match or INITIAL in query:
        _check_list(match, text, token, INITIAL in query)
    if token:
        if text and text != "0":
            raise bad_request("specifying resource version is not allowed when using continue")
        return ListOptions(0 if text == "0" else limit, token, 0)
    revision = parse_revision(text, "invalid resource version: ")
    if match == "Exact" or (not match and limit and revision):
        return ListOptions(limit, "", revision)
    if revision:
        not_in_the_future(request, revision)
    return ListOptions(0 if text == "0" else limit, "", 0)


def _check_list(match: str, text: str, token: str, initial: bool) -> None:
    causes: list[Cause] = []
    if match:
        if not text:
            causes.append(_forbidden(MATCH, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if token:
            causes.append(_forbidden(MATCH, "resourceVersionMatch is forbidden when continue is provided"))
        if match not in MATCHES:
            causes.append(_unsupported(match, MATCHES))
        if match == "Exact" and text == "0":
            causes.append(_forbidden(MATCH, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if initial:
        causes.append(_forbidden(INITIAL, "sendInitialEvents is forbidden for list"))
    if causes:
        raise invalid_options(causes)


def watch_options(request: Request) -> WatchOptions:
    """Return what a watch asks for. Raises 400 and 422."""
    query = request.query
    if INITIAL in query and not request.api.features.enabled("WatchList"):
        if minor(request.api.types.version) >= WATCH_LIST_SINCE:
            why = "sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled"
            raise invalid_options([_forbidden(INITIAL, why)])
        query = {name: value for name, value in query.items() if name != INITIAL}  # not known yet
    _check_watch(query.get(MATCH, ""), INITIAL in query, query.get("continue", ""))
    since = parse_revision(query.get("resourceVersion", ""))
    whole_number(request, "limit")
    asked = whole_number(request, "timeoutSeconds")
    timeout = float(asked) if asked else random.uniform(*DEFAULT_TIMEOUT_SECONDS)
    bookmarks = is_true(query.get("allowWatchBookmarks"))
    if INITIAL in query:
        wanted = is_true(query[INITIAL])
        return WatchOptions(0 if wanted else since, wanted, wanted and bookmarks, bookmarks, timeout, since)
    return WatchOptions(since, not since, False, bookmarks, timeout)


def _check_watch(match: str, initial: bool, token: str) -> None:
    causes: list[Cause] = []
    if initial and match != "NotOlderThan":
        causes.append(_forbidden(MATCH, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if match and not initial:
        why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"
        causes.append(_forbidden(MATCH, why))
    if match and match != "NotOlderThan":
        causes.append(_unsupported(match, ("NotOlderThan",)))
    if token:
        causes.append(_forbidden(MATCH, "resourceVersionMatch is forbidden when continue is provided"))
    if causes:
        raise invalid_options(causes)


Cause = dict[str, str]


def _forbidden(field: str, why: str) -> Cause:
    return {"reason": "FieldValueForbidden", "message": f"Forbidden: {why}", "field": field}


def _unsupported(value: str, supported: tuple[str, ...]) -> Cause:
    values = ", ".join(f'"{one}"' for one in supported)
    message = f'Unsupported value: "{value}": supported values: {values}'
    return {"reason": "FieldValueNotSupported", "message": message, "field": MATCH}


def invalid_options(causes: list[Cause]) -> StatusError:
    """Return the 422 that names every cause."""
    lines = [f"{cause['field']}: {cause['message']}" for cause in causes]
    text = lines[0] if len(lines) == 1 else f"[{', '.join(lines)}]"
    details = {"group": "meta.k8s.io", "kind": "ListOptions", "causes": causes}
    return StatusError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: {text}', details=details)


def whole_number(request: Request, name: str) -> int:
    """Return a query parameter that is a number; 0 where it is missing or negative. Raises 400."""
    text = request.query.get(name)
    if text is None:
        return 0
    number = _parsed(text, "ParseInt", MAX_INT64, signed=True)
    return max(number, 0)


def parse_revision(text: str, prefix: str = "") -> int:
    """Return a resourceVersion; 0 where it is missing or ``0``. Raises 400."""
    if text in ("", "0"):
        return 0
    return _parsed(text, "ParseUint", MAX_UINT64, f'{prefix}resourceVersion: Invalid value: "{text}": ')


def _parsed(text: str, function: str, most: int, prefix: str = "", *, signed: bool = False) -> int:
    digits = text[1:] if signed and text[:1] in ("-", "+") else text
    if not digits.isascii() or not digits.isdigit():
        raise bad_request(f'{prefix}strconv.{function}: parsing "{text[:200]}": invalid syntax')
    if len(digits) > 20 or int(digits) > most:
        raise bad_request(f'{prefix}strconv.{function}: parsing "{text[:200]}": value out of range')
    return int(text)


def not_in_the_future(request: Request, revision: int) -> None:
    """Raises 504 where the store has not come to a revision yet."""
    current = request.api.store.revision
    if revision > current:
        raise too_large(revision, current)


def too_large(asked: int, current: int, *, retry: bool = True) -> StatusError:
    """Return the 504 for a revision of the future. ``retry``: whether waiting may help, as for a cache that is behind."""
    message = f"Timeout: Too large resource version: {asked}, current: {current}"
    cause = {"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}
    return StatusError(504, "Timeout", message, details={"causes": [cause]}, retry_after_seconds=1 if retry else None)
