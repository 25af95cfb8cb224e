"""URLs as Go's ``net/url`` reads them, so that what is none is refused in its words. Source: go 1.26 net/url."""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from sampan.api.resources.addresses import family

CONTROL = re.compile(r"[\x00-\x1f\x7f]")
SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
PORT = re.compile(r"(?::[0-9]*)?")
ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2}).{0,2}", re.DOTALL)
NOT_IN_HOST = re.compile("""[^\\x80-\\U0010ffffA-Za-z0-9_.~!$&'()*+,;=:<>"%\\[\\]-]""")
USER = re.compile(r"[A-Za-z0-9._:~!$&'()*+,;=%@-]*")


class Url(NamedTuple):
    scheme: str = ""
    user: str | None = None
    host: str = ""
    query: str = ""
    fragment: str = ""


def parsed(text: str) -> Url:
    """Return the parts of a URL; ``ValueError`` says what is wrong as ``url.Parse`` does."""
    whole, _, fragment = text.partition("#")
    try:
        url = parts(whole)
    except ValueError as error:
        raise ValueError(f"parse {quoted(whole)}: {error}") from None
    wrong = ESCAPE.search(fragment)
    if wrong is not None:
        raise ValueError(f"parse {quoted(text)}: invalid URL escape {quoted(wrong[0])}")
    return url._replace(fragment=fragment)


def quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def parts(text: str) -> Url:
    if CONTROL.search(text):
        raise ValueError("net/url: invalid control character in URL")
    if text.startswith(":"):
        raise ValueError("missing protocol scheme")
    found = SCHEME.match(text)
    scheme = found[1].lower() if found else ""
    rest, _, query = text[found.end() if found else 0 :].partition("?")
    if not rest.startswith("/"):
        if scheme:
            return Url(scheme, query=query)
        if ":" in rest.partition("/")[0]:
            raise ValueError("first path segment in URL cannot contain colon")
    user, host = None, ""
    if rest.startswith("//") and (scheme or not rest.startswith("///")):
        authority, slash, path = rest[2:].partition("/")
        before, at, host = authority.rpartition("@")
        check_host(host)
        if not USER.fullmatch(before):
            raise ValueError("net/url: invalid userinfo")
        check_escapes(before)
        user = before if at else None
        rest = slash + path
    check_escapes(rest)
    return Url(scheme, user, host, query)


def check_host(host: str) -> None:
    opened, closed = host.rfind("["), host.rfind("]")
    if opened > 0:
        raise ValueError("invalid IP-literal")
    if opened == 0 and closed < 0:
        raise ValueError("missing ']' in host")
    port = host[closed + 1 :] if opened == 0 else "".join(host.partition(":")[1:])
    if not PORT.fullmatch(port):
        raise ValueError(f"invalid port {quoted(port)} after host")
    wrong = re.search(r"%(?!25)[0-7].|" + ESCAPE.pattern, host, re.DOTALL)
    if wrong is not None:
        raise ValueError(f"invalid URL escape {quoted(wrong[0])}")
    other = NOT_IN_HOST.search(host)
    if other is not None:
        raise ValueError(f"invalid character {quoted(other[0])} in host name")
    if opened == 0 and family(host[1:closed].partition("%25")[0]) != "IPv6":
        raise ValueError("invalid IP-literal")


def check_escapes(text: str) -> None:
    wrong = ESCAPE.search(text)
    if wrong is not None:
        raise ValueError(f"invalid URL escape {quoted(wrong[0])}")
