"""Middlewares that Envoy's Lua filter does: short scripts of ours (``lua/``) for what no filter does and no hook can, since
a hook is asked before there is an answer.

A script is in the listener once; what a route tells it is its context. See ADR 66.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources
from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter

TYPE = "envoy.extensions.filters.http.lua.v3.Lua"
PER_ROUTE = "envoy.extensions.filters.http.lua.v3.LuaPerRoute"


@cache
def source(name: str) -> str:
    """Return the text of a script."""
    return (resources.files("sampan.gateway.middlewares") / "lua" / f"{name}.lua").read_text()


def run(draft: Draft, order: int, name: str, context: dict[str, Any], code: str = "", library: str = "") -> None:
    """Let a route run a script. ``context``: what it is told (texts, truths, and dicts of them). ``code``: what stands
    before it; the script with it, and what it remembers, is then one of its own. ``library``: a script of functions that
    it uses."""
    text = code + (source(library) if library else "") + source(name)
    own = f"/{hashlib.sha256(code.encode()).hexdigest()[:8]}" if code else ""
    filter_name = f"lua/{name}{own}"
    taken = sum(1 for one in draft.route.get("typed_per_filter_config", {}) if one.partition("#")[0] == filter_name)
    if taken:
        filter_name += f"#{taken}"
    config = {"@type": TYPE, "default_source_code": {"inline_string": text}}
    draft.need(HttpFilter.of(order, filter_name, config), {"@type": PER_ROUTE, "filter_context": struct(context)})


def run_on_tries(draft: Draft, order: int, name: str, context: dict[str, Any]) -> None:
    """Let a route run a script on each of its tries, at a backend. There every route would run a default; so it is named."""
    config = {"@type": TYPE, "source_codes": {name: {"inline_string": source(name)}}}
    told = {"@type": PER_ROUTE, "name": name, "filter_context": struct(context)}
    draft.need(HttpFilter.of(order, f"lua/{name}", config, on_tries=True), told)


def is_run(draft: Draft, name: str, context: dict[str, Any]) -> bool:
    """Whether a route runs a script already, and tells it the same."""
    told = {"@type": PER_ROUTE, "filter_context": struct(context)}
    known = draft.route.get("typed_per_filter_config", {})
    return any(one.partition("#")[0] == f"lua/{name}" and said == told for one, said in known.items())


def struct(values: dict[str, Any]) -> dict[str, Any]:
    """Return a dict as a ``google.protobuf.Struct``."""
    return {"fields": {name: value_of(value) for name, value in values.items()}}


def value_of(value: Any) -> dict[str, Any]:
    if isinstance(value, dict):
        return {"struct_value": struct(value)}
    return {"bool_value": value} if isinstance(value, bool) else {"string_value": str(value)}
