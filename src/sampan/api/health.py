"""What is served beside resources: /version, /healthz, /livez, /readyz and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import orjson

from sampan.api.request import Request, Response

if TYPE_CHECKING:
    from sampan.api.app import Api

Check = Callable[[], str | None]
"""Returns what is wrong, or None."""


def version_info(version: str) -> dict[str, str]:
    """Return the answer of ``/version`` for ``1.37``."""
    major, minor = version.split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "gitVersion": f"v{major}.{minor}.0+sampan",
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "python",
        "compiler": "cpython",
        "platform": "linux/amd64",
    }


def add_health_routes(api: Api) -> None:
    """Serve the routes."""
    body = orjson.dumps(version_info(api.types.version), option=orjson.OPT_INDENT_2)

    async def version(request: Request) -> Response:
        return Response(body)

    async def healthy(request: Request) -> Response:
        path = request.attributes.path.strip("/")
        endpoint, _, single = path.partition("/")
        checks = {"ping": nothing_wrong, **api.live_checks, **(api.ready_checks if endpoint == "readyz" else {})}
        if single:
            checks = {single: checks[single]} if single in checks else {single: lambda: "unknown check"}
        excluded = request.query_lists.get("exclude", [])
        return report(endpoint, {k: c for k, c in checks.items() if k not in excluded}, "verbose" in request.query)

    async def metrics(request: Request) -> Response:
        return Response(exposition(api), 200, "text/plain; version=0.0.4; charset=utf-8")

    api.route("/version", version)
    for path in ("/healthz", "/livez", "/readyz"):
        api.route(path, healthy)
    api.route("/metrics", metrics)


def nothing_wrong() -> None:
    return None


def report(endpoint: str, checks: dict[str, Check], verbose: bool) -> Response:
    found = {name: check() for name, check in checks.items()}
    failed = any(found.values())
    if not failed and not verbose:
        return Response(b"ok", 200, "text/plain; charset=utf-8")
    lines = [f"[-]{name} failed: {why}" if why else f"[+]{name} ok" for name, why in found.items()]
    lines.append(f"{endpoint} check {'failed' if failed else 'passed'}")
    return Response("\n".join(lines).encode() + b"\n", 500 if failed else 200, "text/plain; charset=utf-8")


def exposition(api: Api) -> bytes:
    """Return the metrics in Prometheus' text format."""
    lines = [
        "# HELP apiserver_request_total Requests by verb, resource and code.",
        "# TYPE apiserver_request_total counter",
    ]
    for (verb, resource, code), count in sorted(api.counts.items()):
        lines.append(f'apiserver_request_total{{verb="{verb}",resource="{resource}",code="{code}"}} {count}')
    lines += [
        "# HELP sampan_store_revision The newest durable revision.",
        "# TYPE sampan_store_revision gauge",
        f"sampan_store_revision {api.store.revision}",
    ]
    return "\n".join(lines).encode() + b"\n"
