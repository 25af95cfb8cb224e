"""``url(…)`` and its parts, split as Go's net/url does (Kubernetes' urls library)."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_plus

from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.values import Opaque

_scheme = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_escape = re.compile(r"%(?![0-9a-fA-F]{2})(.{0,2})", re.DOTALL)
PATH_SAFE = "/$&+,;=:@!'()*~[]"


class Url(Opaque):
    """A parsed URL; equality is that of its text."""

    __slots__ = ("host", "path", "query", "scheme", "text")
    type_name = "kubernetes.URL"

    def __init__(self, text: str, scheme: str, host: str, path: str, query: str) -> None:
        self.text = text
        self.scheme = scheme
        self.host = host
        self.path = path
        self.query = query

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Url) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)


def _problem(text: str) -> str:
    """Return why Go's ``url.ParseRequestURI`` refuses a text, "" where it does not."""
    if not text:
        return "empty url"
    if any(ord(character) < 0x20 or ord(character) == 0x7F for character in text):
        return "net/url: invalid control character in URL"
    if text == "*":
        return ""
    scheme = _scheme.match(text)
    if scheme is None:
        if text.startswith(":"):
            return "missing protocol scheme"
        if not text.startswith("/"):
            first = text.partition("/")[0]
            return "first path segment in URL cannot contain colon" if ":" in first else "invalid URI for request"
    rest = text[scheme.end() :] if scheme else text
    if scheme and not rest.startswith("/"):
        return "" if rest else "invalid URI for request"
    before_query = rest.partition("?")[0]
    if (scheme or rest.startswith("///")) and before_query.startswith("//"):
        problem = _host_problem(before_query[2:].partition("/")[0].rpartition("@")[2])
        if problem:
            return problem
    bad = _escape.search(before_query)
    return f'invalid URL escape "%{bad[1]}"' if bad else ""


def _host_problem(host: str) -> str:
    if host.startswith("["):
        inside, closed, port = host[1:].partition("]")
        if not closed:
            return "missing ']' in host"
    else:
        inside, colon, port = host.rpartition(":") if ":" in host else (host, "", "")
        port = colon + port
    if port and not re.fullmatch(r":[0-9]*", port):
        return f'invalid port "{port}" after host'
    bad = re.search(r'[ <>"{}|\\^`]', inside)
    return f'invalid character "{bad[0]}" in host name' if bad else ""


def request_uri_problem(text: str) -> str:
    """Return Go's error for a text that is no absolute URI or path, "" where it is one."""
    problem = _problem(text)
    shown = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'parse "{shown}": {problem}' if problem else ""


def parse(text: str) -> Url:
    problem = request_uri_problem(text)
    if problem:
        raise EvaluationError(f"URL parse error during conversion from string: {problem}")
    match = _scheme.match(text)
    rest = (text[match.end() :] if match else text).partition("#")[0]
    scheme = match[1].lower() if match else ""
    before, _, query = rest.partition("?")
    host, path = "", before
    if before.startswith("//") and match:
        authority, slash, path = before[2:].partition("/")
        host, path = authority.rpartition("@")[2], slash + path
    elif match and not before.startswith("/"):
        path = ""
    return Url(text, scheme, host, path, query)


def _hostname(url: Url) -> str:
    host = url.host
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host


def _port(url: Url) -> str:
    rest = url.host.rpartition("]")[2]
    return rest.rpartition(":")[2] if ":" in rest else ""


def _escaped_path(url: Url) -> str:
    return quote(url.path, safe=PATH_SAFE + "%")


def _query(url: Url) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for part in url.query.split("&"):
        if not part or ";" in part:
            continue
        key, _, value = part.partition("=")
        if _escape.search(key) or _escape.search(value):
            continue
        found.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    return found


URLS = [
    overload("string_to_url", "url(string) -> URL", parse),
    overload("url_get_scheme", "URL.getScheme() -> string", lambda url: url.scheme),
    overload("url_get_host", "URL.getHost() -> string", lambda url: url.host),
    overload("url_get_hostname", "URL.getHostname() -> string", _hostname),
    overload("url_get_port", "URL.getPort() -> string", _port),
    overload("url_get_escaped_path", "URL.getEscapedPath() -> string", _escaped_path),
    overload("url_get_query", "URL.getQuery() -> map(string, list(string))", _query),
    overload("is_url_string", "isURL(string) -> bool", lambda text: not request_uri_problem(text)),
]
