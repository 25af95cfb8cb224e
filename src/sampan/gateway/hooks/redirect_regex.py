"""A redirect by an expression over the whole URL, as Traefik's ``redirectRegex`` means it."""

from __future__ import annotations

import re
from typing import Any

from sampan.gateway.plugins.host import Function
from sampan.gateway.plugins.request import Request


def make(settings: dict[str, Any]) -> Function:
    """``settings``: ``regex``, ``replacement`` (Go's ``$1`` and ``${1}``), ``permanent``."""
    import re2

    expression = re2.compile(settings["regex"])
    template = re.split(r"\$(?:(\d)|\{(\d+)\})", settings["replacement"])

    def request(request: Request) -> Any:
        url = f"{request.scheme}://{request.host}{request.path}"
        found = expression.search(url)
        if found is None:
            return None
        parts = []
        for place in range(0, len(template), 3):
            parts.append(template[place])
            if place + 1 < len(template):
                number = int(template[place + 1] or template[place + 2])
                parts.append((found.group(number) or "") if number <= expression.groups else "")
        target = url[: found.start()] + "".join(parts) + url[found.end() :]
        if target == url:
            return None
        keeps = request.method not in ("GET", "HEAD")
        status = (308 if keeps else 301) if settings["permanent"] else (307 if keeps else 302)
        return request.respond(status, "", {"location": target})

    return request
