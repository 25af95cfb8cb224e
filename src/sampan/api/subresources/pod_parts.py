"""pods/ephemeralcontainers and pods/resize: the whole Pod goes in and out, only one part of it may change.

Source: pkg/registry/core/pod/strategy.go (podEphemeralContainersStrategy, podResizeStrategy); KEP-277, KEP-1287.
"""

from __future__ import annotations

from sampan.api import verbs
from sampan.api.request import Handler, Request, Response
from sampan.api.subresources.binding import pods


def part(name: str) -> dict[str, Handler]:
    async def get(request: Request) -> Response:
        return plain(await verbs.get(request, pods(request)))

    async def update(request: Request) -> Response:
        return plain(await verbs.update(request, pods(request), name))

    async def patch(request: Request) -> Response:
        return plain(await verbs.patch(request, pods(request), name))

    return {"GET": get, "PUT": update, "PATCH": patch}


def plain(answer: verbs.Answer) -> Response:
    assert isinstance(answer, Response)
    return answer


EPHEMERAL_CONTAINERS = part("ephemeralcontainers")
RESIZE = part("resize")
