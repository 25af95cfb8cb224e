"""/statusz and /flagz: what a server is, and how it was set up. For people, and as objects for those who ask for them.

Source: KEP-4827, KEP-4828; k8s.io/apiserver pkg/server/statusz, flagz.
"""

from __future__ import annotations

import datetime
import platform
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING

import orjson

from sampan.api.errors import StatusError
from sampan.api.flags import Flags
from sampan.api.metadata import timestamp
from sampan.api.negotiation import JSON, YAML, clauses
from sampan.api.request import Request, Response
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api

NAME = "apiserver"
PLAIN = "text/plain; charset=utf-8"
WARNING = (
    "Warning: This endpoint is not meant to be machine parseable, has no formatting compatibility guarantees and is for "
    "debugging purposes only."
)
VERSIONS = ("v1beta1", "v1alpha1")
PATHS = ("/healthz", "/livez", "/metrics", "/readyz", "/version")


def add(api: Api, flags: Flags) -> None:
    """Serve what the version's gates (ComponentStatusz, ComponentFlagz) allow."""
    begun = time.time()
    if api.features.enabled("ComponentStatusz"):
        api.route("/statusz", page(lambda: status(api, begun), status_text, "Statusz"))
    if api.features.enabled("ComponentFlagz"):
        shown = {"flags": flag_values(flags)}
        api.route("/flagz", page(lambda: shown, flags_text, "Flagz"))


def page(
    made: Callable[[], Object], text: Callable[[Object], str], kind: str
) -> Callable[[Request], Awaitable[Response]]:
    """Return what answers with an object as text, or as what is asked for."""

    async def serve(request: Request) -> Response:
        for media, parameters in clauses(request.headers.get("accept", "")) or [("text/plain", {})]:
            if media in ("text/plain", "text/*", "*/*"):
                body = f"\n{NAME} {kind.lower()}\n{WARNING}\n{text(made())}"
                return Response(body.encode(), 200, PLAIN)
            wanted = (parameters.get("g"), parameters.get("as"))
            if media in (JSON, YAML) and wanted == ("config.k8s.io", kind) and parameters.get("v") in VERSIONS:
                head = {"kind": kind, "apiVersion": f"config.k8s.io/{parameters['v']}", "metadata": {"name": NAME}}
                return rendered({**head, **made()}, media)
        accepted = f"{JSON}, {YAML}, text/plain"
        raise StatusError(406, "NotAcceptable", f"only the following media types are accepted: {accepted}")

    return serve


def rendered(obj: Object, media: str) -> Response:
    import yaml  # heavy, and few ask for it

    body = orjson.dumps(obj, option=orjson.OPT_INDENT_2) if media == JSON else yaml.safe_dump(obj).encode()
    return Response(body, 200, media)


def status(api: Api, begun: float) -> Object:
    return {
        "startTime": timestamp(begun),
        "uptimeSeconds": int(time.time() - begun),
        "goVersion": f"python{platform.python_version()}",
        "binaryVersion": api.types.version,
        "emulationVersion": api.types.version,
        "paths": list(PATHS),
    }


def status_text(told: Mapping[str, object]) -> str:
    up = int(str(told["uptimeSeconds"]))
    started = datetime.datetime.fromisoformat(str(told["startTime"]))
    lines = {
        "Started": started.strftime("%a %b %e %H:%M:%S UTC %Y"),
        "Up": f"{up // 3600} hr {up % 3600 // 60:02} min {up % 60:02} sec",
        "Go version": told["goVersion"],
        "Binary version": told["binaryVersion"],
        "Emulation version": told["emulationVersion"],
        "Paths": " ".join(PATHS),
    }
    return "\n" + "".join(f"{name}: {value}\n" for name, value in lines.items())


def flag_values(flags: Flags) -> dict[str, str]:
    """Return every setting as kube-apiserver's flags are written."""

    def written(value: object) -> str:
        if isinstance(value, bool):
            return str(value).lower()
        if isinstance(value, tuple):
            return f"[{','.join(map(str, value))}]"
        if isinstance(value, float):
            return f"{value:g}s"
        return "" if value is None else str(value)

    values = {field.name.replace("_", "-"): getattr(flags, field.name) for field in fields(flags)}
    return {name: written(value) for name, value in sorted(values.items())}


def flags_text(told: Object) -> str:
    return "".join(f"{name}={value}\n" for name, value in told["flags"].items())
