"""RequestHeaderModifier, ResponseHeaderModifier. Source: Gateway API v1 HTTPHeaderFilter; Envoy's ``HeaderValueOption``."""

from __future__ import annotations

import re

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OVERWRITE, APPEND = 2, 0
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CONTROL = re.compile(r"[\0\r\n]")


def request(settings: Object, draft: Draft, site: Site) -> None:
    change(settings, draft, "request")


def response(settings: Object, draft: Draft, site: Site) -> None:
    change(settings, draft, "response")


def change(settings: Object, draft: Draft, which: str) -> None:
    """Add a header modifier to a route or to a share of one. Raises ``Unsupported``."""
    for section in ("set", "add"):
        for header in settings.get(section) or ():
            check(header["name"], header["value"])
    for name in settings.get("remove") or ():
        check(name)
    options = [
        {"header": {"key": h["name"], "value": literal(h["value"])}, "append_action": action}
        for section, action in (("set", OVERWRITE), ("add", APPEND))
        for h in settings.get(section) or ()
    ]
    if options:
        draft.route.setdefault(f"{which}_headers_to_add", []).extend(options)
    if settings.get("remove"):
        draft.route.setdefault(f"{which}_headers_to_remove", []).extend(settings["remove"])


def check(name: str, value: str = "") -> None:
    """Raise ``Unsupported`` for what Envoy would refuse."""
    if not TOKEN.fullmatch(name):
        raise Unsupported(f"{name!r} is not the name of a header")
    if name.lower() == "host":
        raise Unsupported("the header Host cannot be changed so; use URLRewrite")
    if CONTROL.search(value):
        raise Unsupported(f"the value of the header {name} has a line break or a NUL in it")


def literal(value: str) -> str:
    """Return a header value that Envoy takes as it is: ``%`` begins a substitution there."""
    return value.replace("%", "%%")
