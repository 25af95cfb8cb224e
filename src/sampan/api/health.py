"""What is served beside resources: /version, /healthz, /livez, /readyz and /metrics.

Each health endpoint has its checks, shown with ``?verbose``, left out with ``?exclude=NAME``, and each at a path of its own
(``/readyz/etcd``). Source: k8s.io/apiserver pkg/server/healthz.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from sampan.api.request import Request, Response
from sampan.api.version import minor

if TYPE_CHECKING:
    from sampan.api.app import Api

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""
PLAIN = "text/plain; charset=utf-8"
INDICATORS_SINCE = 27
"""The version from which ``/metrics/slis`` is there by default (KEP-3466)."""
EMULATION_SINCE = 31
"""The version from which ``/version`` tells the emulated one (KEP-4330)."""


def version_info(version: str) -> dict[str, str]:
    """Return the answer of ``/version`` for ``1.37``."""
    major, small = version.split(".")[:2]
    emulation = {"emulationMajor": major, "emulationMinor": small} if minor(version) >= EMULATION_SINCE else {}
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return {
        "major": major,
        "minor": small,
        **emulation,
        "gitVersion": f"v{major}.{small}.0+sampan",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "python",
        "compiler": "cpython",
        "platform": f"{sys.platform}/{machine}",
    }


def add_health_routes(api: Api) -> None:
    """Serve the routes."""
    body = orjson.dumps(version_info(api.types.version), option=orjson.OPT_INDENT_2)

    async def version(request: Request) -> Response:
        return Response(body)

    async def healthy(request: Request) -> Response:
        endpoint, _, single = request.attributes.path.strip("/").partition("/")
        checks = checks_of(api, endpoint)
        if single:
            return one(checks.get(single))
        count(api, endpoint, checks)
        return report(endpoint, checks, request.query_lists.get("exclude", []), "verbose" in request.query)

    async def metrics(request: Request) -> Response:
        from sampan.api.metrics.page import page

        return Response(await page(api), 200, "text/plain; version=0.0.4; charset=utf-8")

    api.route("/version", version)
    for path in ("/healthz", "/livez", "/readyz"):
        api.route(path, healthy)
    api.route("/metrics", metrics)

    async def indicators(request: Request) -> Response:
        from sampan.api.metrics.page import health_page

        return Response(health_page(api), 200, "text/plain; version=0.0.4; charset=utf-8")

    if minor(api.types.version) >= INDICATORS_SINCE:
        api.route("/metrics/slis", indicators)


def checks_of(api: Api, endpoint: str) -> dict[str, Check]:
    """Return the checks of an endpoint, in the order they are shown."""

    def etcd() -> str | None:
        try:
            api.store.get("/registry/health")
        except Exception as error:
            return f"{type(error).__name__}: {error}"
        return None

    checks: dict[str, Check] = {"ping": nothing_wrong, "log": nothing_wrong, "etcd": etcd}
    if endpoint == "readyz":
        checks |= {"informer-sync": lambda: None if api.started else "not finished", **api.ready_checks}
    checks |= {f"poststarthook/{hook}": lambda: None if api.started else "not finished" for hook in HOOKS}
    checks |= api.live_checks
    if endpoint == "readyz":
        checks["shutdown"] = lambda: "process is shutting down" if api.stopping else None
    return checks


def count(api: Api, endpoint: str, checks: dict[str, Check]) -> None:
    """Count how the checks of an endpoint went, where somebody looks at the counts."""
    if api.measured.watched:
        for name, check in checks.items():
            result = "error" if check() else "success"
            api.measured.count("kubernetes_healthchecks_total", name, result, endpoint)


HOOKS = (
    "rbac/bootstrap-roles",
    "scheduling/bootstrap-system-priority-classes",
    "priority-and-fairness-config-producer",
    "priority-and-fairness-config-consumer",
    "bootstrap-controller",
    "start-apiextensions-controllers",
    "crd-informer-synced",
)
"""Kubernetes' names for what a server does before it is ready."""


def nothing_wrong() -> None:
    return None


def one(check: Check | None) -> Response:
    """Answer for a single check."""
    if check is None:
        return Response(b"404 page not found\n", 404, PLAIN)
    why = check()
    return Response(f"internal server error: {why}\n".encode(), 500, PLAIN) if why else Response(b"ok", 200, PLAIN)


def report(endpoint: str, checks: dict[str, Check], excluded: list[str], verbose: bool) -> Response:
    """Answer for all checks but the excluded; the reasons of failures are told by the checks' own paths only."""
    lines, failed = [], False
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
        elif check():
            lines.append(f"[-]{name} failed: reason withheld")
            failed = True
        else:
            lines.append(f"[+]{name} ok")
    unknown = [f'"{name}"' for name in excluded if name not in checks]
    if unknown:
        lines.append(f"warn: some health checks cannot be excluded: no matches for {','.join(unknown)}")
    if not failed and not verbose:
        return Response(b"ok", 200, PLAIN)
    lines.append(f"{endpoint} check {'failed' if failed else 'passed'}")
    return Response("\n".join(lines).encode() + b"\n", 500 if failed else 200, PLAIN)
