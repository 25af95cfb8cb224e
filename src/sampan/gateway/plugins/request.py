"""What a request hook sees and says: the request, its headers, and an answer in the backend's stead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""A header's name (RFC 9110, 5.1)."""
FORBIDDEN = re.compile(r"[\0\r\n]")
FORBIDDEN_BYTES = re.compile(FORBIDDEN.pattern.encode())
KEPT = frozenset({"host", "content-length", "transfer-encoding", "connection", "upgrade"})
"""What says where a request goes and how long it is: another value would let one request pass for two."""


def header(name: object, value: object) -> tuple[str, str]:
    """Return a header's name in lower case, and its value as text. Raises ``ValueError`` where it cannot be sent."""
    try:
        return checked(name, value)
    except TypeError:  # it has no hash, and is no text either
        return checked.__wrapped__(name, value)


@lru_cache(2048, typed=True)  # a plugin says the same again and again
def checked(name: object, value: object) -> tuple[str, str]:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not the name of a header")
    if not isinstance(value, (str, int, float)):
        raise ValueError(f"header {name}: text is expected, not {value!r}")
    if FORBIDDEN.search(str(value)):
        raise ValueError(f"header {name}: {str(value)!r} has a line break or a NUL")
    return name.lower(), str(value)


class Headers(MutableMapping[str, str]):
    """Headers by lower-case name, that remember what was changed."""

    def __init__(self, values: dict[str, str], kept: frozenset[str] = KEPT) -> None:
        self._kept = kept
        self._values = {name.lower(): value for name, value in values.items()}
        self.changed: dict[str, str] = {}
        self.removed: set[str] = set()

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()]

    def __setitem__(self, name: str, value: str) -> None:
        key, text = header(name, value)
        if key in self._kept:
            raise ValueError(f"header {key} cannot be changed")
        self._values[key] = self.changed[key] = text
        self.removed.discard(key)

    def __delitem__(self, name: str) -> None:
        key = name.lower()
        if key in self._kept:
            raise ValueError(f"header {key} cannot be removed")
        del self._values[key]
        self.changed.pop(key, None)
        self.removed.add(key)

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def check_status(status: object) -> None:
    """Raise ``ValueError`` for what is no status of an answer."""
    if not isinstance(status, int) or not 200 <= status <= 599:
        raise ValueError(f"{status!r} is not the status of an answer (200 to 599)")


class Answer:
    """What the plugin answers instead of the backend."""

    def __init__(self, status: int, body: str, headers: dict[str, str]) -> None:
        check_status(status)
        if not isinstance(body, str):
            raise ValueError(f"the body of an answer is text, not {type(body).__name__}")
        self.status, self.body = status, body
        self.headers = dict(header(*pair) for pair in headers.items())


class Request:
    """A request on its way to the backend."""

    def __init__(
        self, http: dict[str, Any], peer: str, settings: Mapping[str, Any] | None = None, certificate: str = ""
    ) -> None:
        self.method: str = http.get("method", "GET")
        self.path: str = http.get("path", "/")
        """With the query, as the client sent it."""
        self.host: str = http.get("host", "")
        self.scheme: str = http.get("scheme", "http")
        self.client: str = peer
        self.certificate = certificate
        """The client's, as PEM with percent-encoding; empty where there is none or nobody asked for it."""
        self.settings: Mapping[str, Any] = settings or {}
        self.headers = Headers({k: v for k, v in (http.get("headers") or {}).items() if not k.startswith(":")})
        self.body: bytes = http.get("raw_body") or b""
        """Of a hook of ours that asks for it."""
        self.response_headers: dict[str, str] = {}
        self.response_cookies: list[str] = []
        """Lines of Set-Cookie that the answer gets besides."""

    def respond(self, status: int, body: str = "", headers: dict[str, str] | None = None) -> Answer:
        """Return an answer; a plugin that returns it keeps the request from the backend. Raises ``ValueError``."""
        return Answer(status, body, headers or {})
