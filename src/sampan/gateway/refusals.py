"""What Envoy would refuse of a route, found before Envoy sees it. Pure.

Envoy takes a route configuration whole or not at all, so one bad value would hold back the routes of everyone on the same
listener. What is found here drops the rule it stands in, and the route's status says so. Source: Envoy's API v3 constraints,
RE2's syntax.
"""

from __future__ import annotations

import re
from typing import Any

from sampan.schema.objects import Object

TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
CONTROL = re.compile(r"[\0\r\n]")
ESCAPE = re.compile(r"\\.", re.DOTALL)
BRACKETS = re.compile(r"\[\^?\]?[^\]]*\]")
NOT_RE2 = re.compile(r"\(\?(?:[=!>(]|<[=!]|P=)|[*+?}]\+")
"""Look-around, atomic groups, conditions, back references by name, possessive repeats."""
RE2_ONLY = re.compile(r"\\[pPQCz]|\(\?<\w|\[\[:|(?<!^)\(\?[a-zA-Z-]+\)|\(\?[a-z]*U")
"""What RE2 reads and Python does not: Python cannot tell whether the rest is well formed."""

FILTER_BODIES = {
    "RequestHeaderModifier": "requestHeaderModifier",
    "ResponseHeaderModifier": "responseHeaderModifier",
    "RequestRedirect": "requestRedirect",
    "URLRewrite": "urlRewrite",
    "RequestMirror": "requestMirror",
    "ExtensionRef": "extensionRef",
}


def of_rule(rule: Object) -> str:
    """Return why a rule cannot be served, ``""`` when it can."""
    filters = [*(rule.get("filters") or ())]
    for backend in rule.get("backendRefs") or ():
        filters += backend.get("filters") or ()
    found = [of_match(match) for match in rule.get("matches") or ()] + [of_filter(item) for item in filters]
    return next((text for text in found if text), "")


def of_match(match: Object) -> str:
    path = match.get("path") or {}
    kind, value = path.get("type", "PathPrefix"), path.get("value", "/")
    if kind == "RegularExpression":
        problem = of_regex(value)
    elif not value.startswith("/") or "?" in value or "#" in value:
        problem = f"the path {value!r} does not begin with / or has a ? or # in it"
    else:
        problem = ""
    entries: list[Any] = [*(match.get("headers") or ()), *(match.get("queryParams") or ())]
    problems = [problem, *(of_regex(e["value"]) for e in entries if e.get("type") == "RegularExpression")]
    problems += [of_header(h["name"], "") for h in match.get("headers") or ()]
    return next((text for text in problems if text), "")


def of_filter(item: Object) -> str:
    body = FILTER_BODIES.get(item["type"])
    if body is None:
        return f"filter {item['type']} is not served"
    if item.get(body) is None:
        return f"filter {item['type']} needs {body}"
    if body.endswith("HeaderModifier"):
        return of_headers(item[body])
    return ""


def of_headers(change: Object) -> str:
    """Return why a header modifier cannot be served."""
    entries = [(h["name"], h["value"]) for section in ("set", "add") for h in change.get(section) or ()]
    entries += [(name, "") for name in change.get("remove") or ()]
    problems = [of_header(name, value) for name, value in entries]
    problems += [
        "the header Host cannot be changed so; use URLRewrite" for name, _ in entries if name.lower() == "host"
    ]
    return next((text for text in problems if text), "")


def of_header(name: str, value: str) -> str:
    if not TOKEN.fullmatch(name):
        return f"{name!r} is not the name of a header"
    if CONTROL.search(value):
        return f"the value of the header {name} has a line break or a NUL in it"
    return ""


def of_regex(text: str) -> str:
    """Return why RE2 would not take an expression. Doubtful ones pass: Envoy has the last word."""
    plain = BRACKETS.sub("x", ESCAPE.sub("x", text))
    if NOT_RE2.search(plain) or re.search(r"(?<!\\)(?:\\\\)*\\[1-9]", text):
        return f"the expression {text!r} uses what RE2 does not know (look-around, back references)"
    if RE2_ONLY.search(text):
        return ""
    try:
        re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        return f"the expression {text!r} is not well formed: {error}"
    return ""
