"""Plugin (``gateway.sampan.dev``), by ExtensionRef: a Python function is asked before the request is routed, by Envoy's
authorization filter, or called by Envoy itself. Processors are asked by its external processing filter, or called. See
``plugins/`` for what stands behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.gateway.filters import processing
from sampan.gateway.filters.processing import exchange_name, filter_name
from sampan.gateway.filters.seam import AWAKE, Draft, HttpFilter, Site
from sampan.gateway.model.durations import duration
from sampan.gateway.model.verdicts import Unresolved
from sampan.gateway.model.world import World
from sampan.gateway.plugins.wasm import HTTP_WASM, PROXY_WASM
from sampan.gateway.xds.scopes import TABLE_HEADER
from sampan.gateway.xds.types import EXTENSION, PREFIX
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.gateway.plugins.loader import Loaded

EXT_AUTHZ = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthz"
PER_ROUTE = "envoy.extensions.filters.http.ext_authz.v3.ExtAuthzPerRoute"
MODULE_FILTER = "envoy.extensions.filters.http.dynamic_modules.v3.DynamicModuleFilter"
WASM = "envoy.extensions.filters.http.wasm.v3.Wasm"
ASKED = 30
"""Where hooks stand among the filters: after the limits' trust, before what changes a request."""
TABLE = HttpFilter(85, "table")
"""Writes the name of the listener's table into the request, for the middlewares; each listener has one of its own."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    key = settings["key"]
    is_open = settings.get("failure") == "Open"
    problem = site.world.get("PluginProblem", key)
    live = serving(site.world, key)
    if live is not None and (refusal := never_taken(site.world, key)):
        live, problem = None, f"Envoy refused it: {refusal}"
    if live is None:
        text = f"Plugin {key}: {problem or 'no version of it is live'}; no version of it is live"
        if not is_open:
            raise Unresolved("InvalidPlugin", text)
        draft.notes.append(("InvalidPlugin", f"{text}, and requests pass without it"))
        return
    if is_open and not live.is_there and why_asked(site.world, key, live):
        return  # Envoy cannot pass by a request whose body it has begun to give
    if live.kind == PROXY_WASM:
        draft.need(HttpFilter(processing.ORDER, filter_name(key), b"", (PREFIX + WASM,)), AWAKE)
    elif live.kind == "processor":
        types = (PREFIX + processing.EXT_PROC, PREFIX + MODULE_FILTER, PREFIX + processing.MATCHING)
        draft.need(HttpFilter(processing.ORDER, exchange_name(key), b"", types), AWAKE)
    elif live.kind == HTTP_WASM or (live.kind == "asgi" and live.socket):
        processing.wrap(draft, key, settings, is_open)
    elif live.kind == "asgi":
        draft.need(TABLE, AWAKE)
        removed = draft.route.setdefault("request_headers_to_remove", [])
        removed += [name for name in (TABLE_HEADER,) if name not in removed]
        draft.need(HttpFilter(processing.ORDER, filter_name(key), b"", (PREFIX + MODULE_FILTER,)), AWAKE)
    else:
        draft.need(HttpFilter(ASKED, question_name(key), b"", (PREFIX + EXT_AUTHZ, PREFIX + MODULE_FILTER)), AWAKE)
    if problem:
        draft.notes.append(("InvalidPlugin", f"Plugin {key}: {problem}; the version before it keeps serving"))


def serving(world: World, key: str) -> Any:
    """Return the version of a plugin that Envoy is to have: the live one, or the one before where Envoy refused that."""
    live = world.get("LivePlugin", key)
    return world.get("TakenPlugin", key) or live if refusal_of_version(world, key, live) else live


def refusal_of_version(world: World, key: str, live: Any) -> str:
    """Return Envoy's words where it refused a version, also where its process has ended and begun since."""
    version, words = world.get("RefusedPlugin", key) or ("", "")
    return str(words) if live is not None and version == live.version else ""


def refusal_of(world: World, key: str) -> str:
    """Return Envoy's words where it refused the live version of a plugin."""
    if words := refusal_of_version(world, key, world.get("LivePlugin", key)):
        return words
    names = [filter_name(key), *([] if not_called(world, key) else [question_name(key), exchange_name(key)])]
    return next(filter(None, (world.get("Refusal", (EXTENSION, name)) for name in names)), "")


def not_called(world: World, key: str) -> str:
    """Return Envoy's words where it refused to call a plugin itself: it is asked then."""
    version, words = world.get("NotCalled", key) or ("", "")
    live = serving(world, key)
    return str(words) if live is not None and version == live.version else ""


def why_asked(world: World, key: str, loaded: Loaded) -> str:
    """Return why a hook or a processor is asked and not called by Envoy itself, "" where it is called. That is as long as
    everything that runs in Envoy's Python is shown to be quick: a thread that computes without letting go of the interpreter
    would hold Envoy's where a plugin is called on it."""
    here = world.surroundings
    if not {"hook": here.inline_module, "processor": here.exchange_module}.get(loaded.kind):
        return "this gateway has no Python in Envoy that could"
    if loaded.apart or (loaded.kind == "hook" and loaded.socket):
        return loaded.apart or "it has a process of its own"
    if loaded.slow:
        return f"it is not shown to be quick: {loaded.slow}"
    if other := world.get("SlowPython", ""):
        return f"Plugin {other} beside it is not shown to be quick"
    if words := not_called(world, key):
        return f"Envoy refused to call it: {words.strip()}"
    return ""


def never_taken(world: World, key: str) -> str:
    """Return Envoy's words where it refused a plugin and has no version before it. A listener that names its filter all the
    same is refused from then on, and routes would pass without the filters that such a listener was to bring."""
    taken = any(world.get("Taken", name) for name in (filter_name(key), question_name(key), exchange_name(key)))
    return "" if taken else refusal_of(world, key)


def question_name(key: str) -> str:
    """Return the name of the filter that asks a hook. How it asks comes with each version: by an authorization call, or by
    a call in Envoy itself, where it is shown that the hook is quick."""
    return f"{filter_name(key)}/question"


def ask(
    draft: Draft,
    key: str,
    order: int,
    *,
    timeout_milliseconds: int = 40_000,
    certificate: bool = False,
    body_bytes: int = 0,
) -> None:
    """Let a route ask the function behind a plugin's socket before it is routed. ``certificate``: it is told the
    client's; ``body_bytes``: it is told the body, so much at most."""
    config = question(key, timeout_milliseconds)
    config["include_peer_certificate"] = certificate
    if body_bytes:
        config["with_request_body"] = {"max_request_bytes": body_bytes, "pack_as_bytes": True}
    draft.need(HttpFilter.of(order, filter_name(key), config), {"@type": PER_ROUTE, "check_settings": {}})


def question(
    key: str, timeout_milliseconds: int, *, fails_open: bool = False, reroutes: bool = False
) -> dict[str, Any]:
    """Return the filter that asks what answers on a plugin's socket, by an authorization call."""
    return {
        "@type": EXT_AUTHZ,
        "grpc_service": {
            "envoy_grpc": {"cluster_name": filter_name(key), "authority": "plugin"},
            "timeout": duration(f"{timeout_milliseconds}ms"),
        },
        "failure_mode_allow": fails_open,
        "clear_route_cache": reroutes,
        "status_on_error": {"code": 500},
        "transport_api_version": 2,
    }


def is_middleware(entry: HttpFilter) -> bool:
    """Whether a filter is an ASGI middleware."""
    return entry.type_urls == (PREFIX + MODULE_FILTER,)
