"""``cache`` in a real Envoy: the rules of RFC 9111, seen from both sides."""

from __future__ import annotations

import http.client
import http.server
import itertools
import threading
from collections import Counter
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any, ClassVar

import pytest

from .gateway_alone import Alone, Answer, middleware, route

MIDDLEWARES: dict[str, dict[str, Any]] = {
    "cached": {"cache": {}},
    "small": {"cache": {"maxSizeMiB": 1, "maxBodyKiB": 300, "statusHeader": ""}},
    "lasting": {"cache": {"defaultTTL": 60, "statusHeader": "X-Cache"}},
    "packed": {"compress": {"minResponseBodyBytes": 10}},
    "short": {"buffering": {"maxResponseBodyBytes": 1000}},
    "always": {"compress": {"minResponseBodyBytes": 10, "defaultEncoding": "br"}},
}
OLD = "Thu, 01 Jan 2026 00:00:00 GMT"


class Backend(http.server.BaseHTTPRequestHandler):
    """Answers as it is told for a path; counts, and remembers what it was asked."""

    protocol_version = "HTTP/1.1"
    answers: ClassVar[dict[str, tuple[int, dict[str, str], bytes]]] = {}
    asked: ClassVar[Counter[str]] = Counter()
    seen: ClassVar[dict[str, dict[str, str]]] = {}
    lock = threading.Lock()

    def answer(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        headers = {k.lower(): v for k, v in self.headers.items()}
        with self.lock:
            self.asked[self.path] += 1
            number = self.asked[self.path]
            self.seen[self.path] = headers
            status, given, body = self.answers.get(self.path, (200, {}, b""))
        if status == 200 and given.get("etag") and given["etag"] in headers.get("if-none-match", ""):
            status, body = 304, b""
        self.send_response(status)
        for name, value in given.items():
            self.send_header(name, value)
        self.send_header("x-number", str(number))
        if status not in (204, 304) and "transfer-encoding" not in given:
            self.close_connection = "x-cut" in given
            self.send_header("content-length", str(len(body) + 5 * self.close_connection))
        self.end_headers()
        if self.command != "HEAD" and status not in (204, 304):
            chunked = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
            self.wfile.write(chunked if "transfer-encoding" in given else body)

    do_GET = do_HEAD = do_POST = do_OPTIONS = answer

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alone]:
    alone = Alone(tmp_path_factory.mktemp("cache"), Backend)
    canary = route("cached", "cached")
    canary["metadata"]["name"] = "canary"
    canary["spec"]["rules"][0]["matches"][0]["headers"] = [{"name": "X-Canary", "value": "1"}]
    try:
        alone.write(
            *(middleware(n, s) for n, s in MIDDLEWARES.items()),
            *(route(n, n) for n in ("cached", "small", "lasting")),
            route("packed", "packed", "cached"),
            route("always", "always"),
            route("short", "short"),
            canary,
        )
        alone.start()
        alone.serves("/cached")
        yield alone
    finally:
        alone.close()


NUMBERS = itertools.count()


class Page:
    """A page of the backend under a path of its own."""

    def __init__(self, front: Alone, at: str = "/cached", **headers: str) -> None:
        self.front, self.path = front, f"{at}/{next(NUMBERS)}"
        self.says(**headers)

    def says(self, status: int = 200, body: bytes = b"page", **headers: str) -> None:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        Backend.answers[self.path] = status, given, body

    def get(self, method: str = "GET", **headers: str) -> Answer:
        return self.front.ask(self.path, method, **headers)

    @property
    def asked(self) -> int:
        return Backend.asked[self.path]

    def is_kept(self, **headers: str) -> bool:
        """Whether a second request is answered without the backend."""
        self.get(**headers)
        before = self.asked
        answer = self.get(**headers)
        return answer.status < 400 and self.asked == before


def test_an_answer_that_is_fresh_is_used_again(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60", content_type="text/x", x_more="1", etag='"a"')
    first, second = page.get(), page.get()
    assert page.asked == 1 and first.body == second.body == b"page"
    for name in ("content-type", "x-more", "etag", "x-number", "content-length", "date", "cache-control"):
        assert first.headers[name] == second.headers[name], name
    assert "age" not in first.headers and int(second.headers["age"]) < 60
    assert first.headers["cache-status"] == "sampan; fwd=uri-miss; fwd-status=200; stored"
    assert second.headers["cache-status"].startswith("sampan; hit; ttl=")
    head = page.get("HEAD")
    assert (head.status, head.body, head.headers["content-length"], page.asked) == (200, b"", "4", 1)
    assert Page(front, cache_control="max-age=60").path != page.path


@pytest.mark.parametrize(
    ("kept", "headers"),
    [
        (True, {"cache_control": "public, max-age=60"}),
        (True, {"cache_control": "s-maxage=60, max-age=0"}),
        (True, {"cache_control": 'max-age="60"'}),
        (True, {"expires": formatdate(4102444800, usegmt=True)}),
        (True, {"cache_control": "max-age=60", "transfer_encoding": "chunked"}),
        (False, {}),
        (False, {"expires": OLD}),
        (False, {"expires": "0"}),
        (False, {"cache_control": "max-age=0"}),
        (False, {"cache_control": "no-store, max-age=60"}),
        (False, {"cache_control": "private, max-age=60"}),
        (False, {"cache_control": "no-cache, max-age=60", "etag": '"x"'}),
        (False, {"cache_control": "max-age=60, s-maxage=0"}),
        (False, {"cache_control": "max-age=60", "vary": "*"}),
        (False, {"cache_control": "max-age=60", "set_cookie": "a=b"}),
        (False, {"cache_control": "max-age=60", "age": "61"}),
        (False, {"expires": formatdate(4102444800, usegmt=True), "cache_control": "max-age=soon"}),
    ],
)
def test_what_is_kept(front: Alone, kept: bool, headers: dict[str, str]) -> None:
    assert Page(front, **headers).is_kept() is kept


@pytest.mark.parametrize(
    ("status", "kept"), [(200, True), (301, True), (404, True), (204, True), (302, False), (500, False)]
)
def test_statuses_that_are_kept(front: Alone, status: int, kept: bool) -> None:
    page = Page(front)
    page.says(status, cache_control="max-age=60", location="/x")
    answers = [page.get().status for _ in range(2)]
    assert answers == [status] * 2 and (page.asked == 1) is kept


def test_who_is_known_gets_no_answer_of_others(front: Alone) -> None:
    assert not Page(front, cache_control="max-age=60").is_kept(Authorization="Bearer a")
    for said in ("public, max-age=60", "s-maxage=60", "must-revalidate, max-age=60"):
        assert Page(front, cache_control=said).is_kept(Authorization="Bearer a"), said


def test_answers_that_vary(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60", vary="Accept-Language, X-Kind")
    page.says(body=b"de", cache_control="max-age=60", vary="Accept-Language, X-Kind")
    assert page.get(Accept_Language="de").body == b"de"
    page.says(body=b"fr", cache_control="max-age=60", vary="X-Kind, accept-language")
    assert page.get(Accept_Language="fr").body == b"fr"
    assert page.get(Accept_Language="de").body == b"de" and page.get(Accept_Language="fr").body == b"fr"
    assert page.asked == 2
    assert page.get(Accept_Language="de", X_Kind="a").headers["cache-status"].startswith("sampan; fwd=vary-miss")
    assert page.asked == 3


def test_hosts_and_queries_have_answers_of_their_own(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60")
    page.get()
    assert page.get(Host="other.example").headers["x-number"] == "2"
    assert page.get(Host="OTHER.example").headers["x-number"] == "2"
    Backend.answers[page.path + "?a"] = 200, {"cache-control": "max-age=60"}, b"query"
    assert front.ask(page.path + "?a").body == b"query"


def test_what_a_client_asks_for(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60", age="30")
    page.get()
    for said, again in (
        ("max-age=10", True),
        ("max-age=50", False),
        ("min-fresh=40", True),
        ("min-fresh=10", False),
        ("only-if-cached", False),
        ("no-cache", True),
    ):
        before = page.asked
        page.get(Cache_Control=said)
        assert (page.asked > before) is again, said
    before = page.asked
    page.get(Pragma="no-cache")
    assert page.asked == before + 1
    other = Page(front, cache_control="max-age=60")
    assert not other.is_kept(Cache_Control="no-store")
    assert Page(front).get(Cache_Control="only-if-cached").status == 504


def test_a_client_that_has_it_is_told_so(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60", etag='W/"a"', last_modified=OLD)
    page.get()
    for headers, status in (
        ({"If_None_Match": '"a"'}, 304),
        ({"If_None_Match": '"b", W/"a"'}, 304),
        ({"If_None_Match": "*"}, 304),
        ({"If_None_Match": '"b"'}, 200),
        ({"If_Modified_Since": OLD}, 304),
        ({"If_Modified_Since": "Wed, 31 Dec 2025 23:59:59 GMT"}, 200),
        ({"If_None_Match": '"b"', "If_Modified_Since": OLD}, 200),
    ):
        answer = page.get(**headers)
        assert answer.status == status, headers
        assert answer.body == (b"page" if status == 200 else b"") and answer.headers["etag"] == 'W/"a"'
    assert page.asked == 1


def test_what_is_stale_is_asked_about(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60", age="60", etag='"v1"', x_old="1")
    assert page.get().body == b"page"
    page.says(cache_control="max-age=60", etag='"v1"', x_new="1")
    answer = page.get()
    assert (answer.status, answer.body, answer.headers["x-new"]) == (200, b"page", "1")
    assert Backend.seen[page.path]["if-none-match"] == '"v1"'
    assert answer.headers["cache-status"] == "sampan; fwd=stale; fwd-status=304"
    before = page.asked
    assert page.get().body == b"page" and page.asked == before, "it is fresh again"
    page = Page(front, cache_control="max-age=60", age="60", etag='"v1"')
    page.get()
    page.says(body=b"other", cache_control="max-age=60", etag='"v2"')
    assert [page.get().body for _ in range(2)] == [b"other"] * 2 and page.asked == 2


def test_an_error_does_not_hide_what_may_stand_in_for_it(front: Alone) -> None:
    for said, status in (("max-age=60, stale-if-error=600", 200), ("max-age=60", 503),
                         ("max-age=60, stale-if-error=600, must-revalidate", 503)):  # fmt: skip
        page = Page(front, cache_control=said, age="61", etag='"a"')
        page.get()
        page.says(503, b"down")
        answer = page.get()
        assert (answer.status, answer.body) == (status, b"page" if status == 200 else b"down"), said


def test_a_change_ends_what_is_kept(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60")
    page.get()
    page.get("OPTIONS")
    assert page.get().headers["x-number"] == "1"
    page.get("POST", x_answer="1")
    assert page.get().headers["x-number"] == "4"
    page.says(409, cache_control="max-age=60")
    page.get("POST")
    assert page.get().headers["x-number"] == "4", "what was refused has changed nothing"


def test_parts_are_the_backends_matter(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60")
    page.get()
    page.get(Range="bytes=0-1")
    assert page.asked == 2 and Backend.seen[page.path]["range"] == "bytes=0-1"


def test_a_cache_is_only_so_large(front: Alone) -> None:
    pages = [Page(front, "/small") for _ in range(8)]
    for page in pages:
        page.says(body=b"x" * 200_000, cache_control="max-age=60")
        assert page.get().body == b"x" * 200_000
    assert [page.asked for page in pages] == [1] * 8
    assert pages[-1].get().headers["x-number"] == "1" and pages[-1].asked == 1
    pages[0].get()
    assert pages[0].asked == 2, "the one that was not used longest has gone"
    large = Page(front, "/small")
    for more in ({}, {"transfer_encoding": "chunked"}):
        large.says(body=b"x" * 400_000, cache_control="max-age=60", **more)
        assert len(large.get().body) == 400_000 and len(large.get().body) == 400_000
    assert large.asked == 4 and "cache-status" not in large.get().headers


def test_answers_that_say_nothing_may_be_given_a_time(front: Alone) -> None:
    page = Page(front, "/lasting")
    assert page.is_kept() and page.get().headers["x-cache"].startswith("sampan; hit")
    assert not Page(front, "/lasting", cache_control="no-store").is_kept()


def test_what_is_compressed_is_kept_so(front: Alone) -> None:
    page = Page(front, "/packed")
    page.says(body=b"a" * 5000, cache_control="max-age=60", content_type="text/plain")
    packed = [page.get(Accept_Encoding="gzip") for _ in range(2)]
    assert page.asked == 1 and {one.headers.get("content-encoding") for one in packed} == {"gzip"}
    assert packed[0].body == packed[1].body and len(packed[0].body) < 1000
    assert page.get().body == b"a" * 5000 and page.asked == 2


def test_who_says_no_encoding_gets_the_default(front: Alone) -> None:
    page = Page(front, "/always")
    page.says(body=b"a" * 5000, content_type="text/plain")
    for asked, encoding in (({}, "br"), ({"Accept_Encoding": "gzip"}, "gzip"), ({"Accept_Encoding": "identity"}, None)):
        assert page.get(**asked).headers.get("content-encoding") == encoding, asked


def test_answers_that_are_longer_than_they_may_be(front: Alone) -> None:
    for size, more in itertools.product((10, 1000, 1001, 3_000_000), ({}, {"transfer_encoding": "chunked"})):
        page = Page(front, "/short")
        page.says(body=b"x" * size, content_type="text/x", **more)
        answer = page.get()
        assert answer.status == (200 if size <= 1000 else 500), size
        assert (answer.body == b"x" * size) is (size <= 1000)
    page.says(body=b"x" * 2000)
    assert page.get("HEAD").status == 200


def test_a_body_that_is_cut_is_not_kept(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60", x_cut="1")
    with pytest.raises(http.client.HTTPException):
        page.get()
    page.says(cache_control="max-age=60")
    assert page.get().body == b"page" and page.asked == 2


def test_routes_of_the_same_path_have_answers_of_their_own(front: Alone) -> None:
    page = Page(front, cache_control="max-age=60")
    page.get()
    assert page.get(X_Canary="1").headers["x-number"] == "2", "another route, perhaps of another backend"
    assert page.get().headers["x-number"] == "1" and page.get(X_Canary="1").headers["x-number"] == "2"
    page.get("POST")
    assert page.get().headers["x-number"] == "4" and page.get(X_Canary="1").headers["x-number"] == "5"
