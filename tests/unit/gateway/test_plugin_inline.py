"""What Envoy is told by the short way is what it is told by the long one, whatever a hook does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.plugins.envoy_memory import StreamHeaders, StreamRequest
from sampan.gateway.plugins.host import said
from sampan.gateway.plugins.inline import judged, told

NAMES = st.sampled_from(["x-a", "X-A", "x-b", "set-cookie", "content-type", "no name", "", "x-\u00e9"])
VALUES = st.one_of(
    st.text(max_size=5),
    st.integers(),
    st.booleans(),
    st.none(),
    st.lists(st.text(max_size=1)),
    st.sampled_from(["a\r\nb", "\ud800"]),
)
PAIRS = st.dictionaries(NAMES, VALUES, max_size=3)


def request_with(
    headers: dict[str, Any], removed: list[str], answers: dict[str, Any], cookies: list[Any]
) -> StreamRequest:
    """A request whose headers have been read."""
    made = StreamRequest(1, {})
    there = StreamHeaders(1)
    there._values, there._is_whole = {"x-a": "1", "x-b": "2"}, True
    made.__dict__["headers"] = there
    for name, value in headers.items():
        try:
            there[name] = value
        except ValueError:
            continue
    for name in removed:
        if name in there:
            del there[name]
    made.response_headers.update(answers)
    made.response_cookies.extend(cookies)
    return made


def outcome(way: Any, *arguments: Any) -> Any:
    try:
        return way(*arguments)
    except (ValueError, TypeError) as error:
        return type(error), str(error)


@given(
    PAIRS,
    st.lists(st.sampled_from(["x-a", "X-B", "x-c"]), max_size=2),
    PAIRS,
    st.lists(VALUES, max_size=1),
    st.booleans(),
)
def test_both_ways_say_the_same(
    headers: dict[str, Any], removed: list[str], answers: dict[str, Any], cookies: list[Any], has_answer: bool
) -> None:
    request = request_with(headers, removed, answers, cookies)
    answer = request.respond(403, "no", {"x-own": "1"}) if has_answer else None
    assert outcome(judged, request, answer) == outcome(lambda *given: told(said(*given)), request, answer)


def test_what_was_never_asked_for_is_not_looked_at() -> None:
    request = StreamRequest(1, {})
    assert judged(request, None) == (0, b"", [], [])
    assert "headers" not in vars(request)


def test_a_request_that_is_over_is_not_read() -> None:
    request = StreamRequest(1, {})
    headers = request.headers
    request.end()
    for read in (lambda: headers["x-a"], lambda: list(headers), lambda: request.path, lambda: request.client):
        with pytest.raises(RuntimeError, match="the request is over"):
            read()
