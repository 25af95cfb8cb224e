"""``errors``: an answer of some statuses gets the page of another Service; it keeps its status, or is told another.

Where the Service does not answer, or with 500 or more, the answer stays as it was. Source: Traefik v3, customerrors.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import scripts
from sampan.gateway.middlewares.statuses import statuses_of
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

OPTIONS = ("status", "statusRewrites", "service", "query", "errorRequestHeaders")
SERVICE_OPTIONS = ("name", "namespace", "port", "kind")
ORDER = 5


def apply(settings: Object, draft: Draft, site: Site) -> None:
    statuses = statuses_of(settings.get("status") or (), "status")
    if not statuses:
        raise Unsupported("status: Required value")
    query = settings.get("query") or "/"
    if not query.startswith("/"):
        raise Unsupported("query: must begin with a slash")
    service = settings.get("service") or {}
    cluster = site.cluster(reference_to(service, site.namespace, site.world))
    if cluster is None:
        raise Unresolved("BackendNotFound", "the TLS policy of the Service of error pages is not well")
    context: dict[str, Any] = {
        "statuses": {str(status): True for status in statuses},
        "rewrites": rewrites(settings.get("statusRewrites") or {}),
        "query": query,
        "cluster": cluster.name,
        "host": service["name"],
    }
    if settings.get("errorRequestHeaders") is not None:
        context["headers"] = {name.lower(): True for name in settings["errorRequestHeaders"]}
    scripts.run(draft, ORDER, "errors", context)


def rewrites(ranges: Object) -> dict[str, str]:
    found: dict[str, str] = {}
    for text, status in ranges.items():
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise Unsupported(f"statusRewrites: {status!r} is no status")
        found |= {str(one): str(status) for one in statuses_of([text], "statusRewrites")}
    return found


def reference_to(service: Object, namespace: str, world: World) -> Object:
    """Return the backendRef of a Service as Traefik names it: its port may be a name. Raises ``Unsupported``."""
    for name in service:
        if name not in SERVICE_OPTIONS:
            raise Unsupported(f"service.{name}: this option is not served")
    if service.get("kind", "Service") != "Service" or not service.get("name"):
        raise Unsupported("service: the name of a Service is expected")
    port = service.get("port")
    found = world.get("Service", f"{service.get('namespace') or namespace}/{service['name']}")
    if found is not None and isinstance(port, str):
        named = [entry["port"] for entry in found["spec"].get("ports") or () if entry.get("name") == port]
        port = named[0] if named else int(port) if port.isdecimal() else port
    return {"name": service["name"], "namespace": service.get("namespace") or namespace, "port": port}
