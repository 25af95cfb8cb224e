"""A live plugin in Envoy: a cluster, the listener behind it, and the filter, which alone changes with an edit (ECDS)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sampan.gateway.filters.hook import MODULE_FILTER, WASM, question, question_name, why_asked
from sampan.gateway.filters.processing import ENVOY_WAITS_MILLISECONDS, asking, exchange_name, filter_name
from sampan.gateway.model.world import World
from sampan.gateway.plugins.wasm import PROXY_WASM
from sampan.gateway.xds.clusters import pipe_cluster, process_cluster, process_endpoints
from sampan.gateway.xds.http import ROUTER, static_manager
from sampan.gateway.xds.listeners import pipe_listener
from sampan.gateway.xds.tls import ADS_SOURCE
from sampan.gateway.xds.types import CLUSTER, ENDPOINTS, EXTENSION, LISTENER, PREFIX

if TYPE_CHECKING:
    from sampan.gateway.plugins.loader import Loaded

FAIL_RELOAD, FAIL_OPEN = 1, 3
"""A machine that crashed is made anew, and refuses until then; or is passed by."""
CALLED = "called"
AUTO = 0
"""HTTP/2 from Envoy, HTTP/1 from who asks for the counters."""


def of_plugin(world: World, key: str, loaded: Loaded | None) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Yield what a Plugin's live version needs: of one in a process of its own, that is the way there."""
    yield EXTENSION, question_name(key), question_of(world, key, loaded)
    yield EXTENSION, exchange_name(key), exchange_of(world, key, loaded)
    if loaded is not None and loaded.kind == PROXY_WASM:
        for type_url in (LISTENER, CLUSTER, ENDPOINTS):
            yield type_url, filter_name(key), None
        yield EXTENSION, filter_name(key), {"name": filter_name(key), "typed_config": wasm(key, loaded)}
        return
    if loaded is None or not loaded.socket:
        app = f"{loaded.module}:app" if loaded is not None else None
        yield from resources(world, key, app, loaded.kind if loaded is not None else "")
        return
    name = filter_name(key)
    yield EXTENSION, name, None
    yield LISTENER, name, None
    yield CLUSTER, name, process_cluster(name)
    yield ENDPOINTS, name, process_endpoints(name, loaded.socket)


def question_of(world: World, key: str, loaded: Loaded | None) -> dict[str, Any] | None:
    """Return the filter that asks a hook, or calls it."""
    if loaded is None or loaded.kind != "hook":
        return None
    if why_asked(world, key, loaded):
        timeout = int(loaded.timeout_seconds * 1000) + ENVOY_WAITS_MILLISECONDS
        filter_ = question(key, timeout, fails_open=loaded.fails_open, reroutes=loaded.reroutes)
    else:
        said = json.dumps({"package": loaded.module.removesuffix("_app"), "reroutes": loaded.reroutes})
        filter_ = module_filter(world.surroundings.inline_module, "hook", said)
        filter_["dynamic_module_config"]["do_not_close"] = True
    return {"name": question_name(key), "typed_config": filter_}


def exchange_of(world: World, key: str, loaded: Loaded | None) -> dict[str, Any] | None:
    """Return the filter that asks a processor's process, or calls the processor."""
    if loaded is None or loaded.kind != "processor":
        return None
    if why_asked(world, key, loaded):
        filter_ = asking(key, loaded)
    else:
        said = {
            "package": loaded.package,
            "version": loaded.version,
            "deployment": json.loads(loaded.deployment),
            "counters": socket_path(world, key, CALLED),
        }
        filter_ = module_filter(world.surroundings.exchange_module, "exchange", json.dumps(said))
        filter_["dynamic_module_config"]["do_not_close"] = True
    return {"name": exchange_name(key), "typed_config": filter_}


def module_filter(path: str, name: str, settings: str) -> dict[str, Any]:
    """Return the filter that a shared object is."""
    return {
        "@type": MODULE_FILTER,
        "dynamic_module_config": {"module": {"local": {"filename": path}}},
        "filter_name": name,
        "filter_config": {"@type": "google.protobuf.StringValue", "value": settings},
    }


def resources(
    world: World, key: str, app: str | None, kind: str = "hook"
) -> Iterator[tuple[str, str, dict[str, Any] | None]]:
    """Yield ``(type, name, message)`` of what a plugin needs; messages are None when it is not live any more. ``app`` is
    what pyvoy runs, ``module:name``."""
    name = filter_name(key)
    if app is None:
        for type_url in (EXTENSION, LISTENER, CLUSTER, ENDPOINTS):
            yield type_url, name, None
        return
    path = socket_path(world, key)
    yield ENDPOINTS, name, None
    yield CLUSTER, name, pipe_cluster(name, path, http2=True)
    discovery = {"config_source": ADS_SOURCE, "type_urls": [PREFIX + MODULE_FILTER]}
    nothing = [{"match": {"prefix": "/"}, "direct_response": {"status": 404}}]
    hosts = [{"name": "all", "domains": ["*"], "routes": nothing}]
    filters: list[dict[str, Any]] = [{"name": name, "config_discovery": discovery}]
    if kind == "asgi":  # the same filter stands before the router in listeners of Gateways, so it ends no chain
        filters.append({"name": "envoy.filters.http.router", "typed_config": {"@type": ROUTER}})
    manager = static_manager(name, hosts, filters)
    yield LISTENER, name, pipe_listener(name, path, {**manager, "codec_type": AUTO})
    options = {"interface": "asgi", "root_path": "", "loop": "uvloop", "lifespan": False}
    settings = json.dumps({"app": app, **options})
    module = module_filter(world.surroundings.pyvoy_module, "pyvoy", settings)
    module["terminal_filter"] = kind != "asgi"
    yield EXTENSION, name, {"name": name, "typed_config": module}


def wasm(key: str, loaded: Loaded) -> dict[str, Any]:
    """Return the filter that runs a proxy-wasm module, in a machine of its own."""
    machine = {"vm_id": key, "runtime": "envoy.wasm.runtime.v8", "code": {"local": {"filename": loaded.module}}}
    settings = {"@type": "google.protobuf.StringValue", "value": loaded.settings}
    policy = FAIL_OPEN if loaded.fails_open else FAIL_RELOAD
    config = {"name": key, "root_id": key, "vm_config": machine, "configuration": settings, "failure_policy": policy}
    return {"@type": WASM, "config": config}


def socket_path(world: World, key: str, what: str = "") -> str:
    """Return the path of a plugin's socket: short, whatever the names (107 bytes at most)."""
    return f"{world.surroundings.plugin_sockets}/{socket_name(key, what)}"


def socket_name(key: str, what: str = "") -> str:
    """Return the name of a plugin's socket in Envoy, or of its process: that of a version, that of its ``counters``, or that
    of the counters where Envoy calls it (``CALLED``)."""
    return f"{hashlib.sha256(key.encode()).hexdigest()[:12]}{what and '.'}{what}.sock"
