"""``errors``: an answer of some statuses gets the page of another Service; it keeps its status, or is told another.

Where the Service does not answer, or with 500 or more, the answer stays as it was. Source: Traefik v3, customerrors.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, Site
from sampan.gateway.middlewares import scripts
from sampan.gateway.middlewares.statuses import statuses_of
from sampan.gateway.model.backends import ClusterRef, policy_of
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

OPTIONS = ("status", "statusRewrites", "service", "query", "errorRequestHeaders")
SERVICE_OPTIONS = ("name", "namespace", "port", "kind")
SCHEMES = ("http", "https", "h2c")
ORDER = 5


def apply(settings: Object, draft: Draft, site: Site) -> None:
    statuses = statuses_of(settings.get("status") or (), "status")
    if not statuses:
        raise Unsupported("status: Required value")
    service = settings.get("service") or {}
    cluster = cluster_of(service, site)
    context: dict[str, Any] = {
        "statuses": {str(status): True for status in statuses},
        "rewrites": rewrites(settings.get("statusRewrites") or {}),
        "query": "/" + (settings.get("query") or "").removeprefix("/"),
        "cluster": cluster.name,
    }
    if service.get("passHostHeader") is False:
        context["host"] = service["name"]
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


def cluster_of(service: Object, site: Site) -> ClusterRef:
    """Return the cluster of the Service of the pages. Raises ``Unsupported``, ``Unresolved``."""
    scheme = service.get("scheme") or ""
    if scheme and scheme not in SCHEMES:
        raise Unsupported(f"service.scheme: {scheme!r} is none of {', '.join(SCHEMES)}")
    named = {name: value for name, value in service.items() if name not in ("scheme", "passHostHeader")}
    found = site.cluster(reference_to(named, site.namespace, site.world), "h2" if scheme == "h2c" else "")
    if found is None:
        raise Unresolved("BackendNotFound", "the TLS policy of the Service of error pages is not well")
    over_tls = policy_of(site.world, found) is not None
    if scheme and over_tls != (scheme == "https"):
        raise Unsupported(
            f"service.scheme: {scheme!r}, and the Service has {'a' if over_tls else 'no'} BackendTLSPolicy: that says it"
        )
    return found


def reference_to(service: Object, namespace: str, world: World) -> Object:
    """Return the backendRef of a Service as Traefik names it: its port may be a name. Raises ``Unsupported``."""
    for name in service:
        if name not in SERVICE_OPTIONS:
            raise Unsupported(
                f"service.{name}: this option is not served: the Service and its policies say how it is reached"
            )
    if service.get("kind", "Service") != "Service" or not service.get("name"):
        raise Unsupported("service: the name of a Service is expected")
    port = service.get("port")
    found = world.get("Service", f"{service.get('namespace') or namespace}/{service['name']}")
    if found is not None and isinstance(port, str):
        named = [entry["port"] for entry in found["spec"].get("ports") or () if entry.get("name") == port]
        port = named[0] if named else int(port) if port.isdecimal() else port
    return {"name": service["name"], "namespace": service.get("namespace") or namespace, "port": port}
