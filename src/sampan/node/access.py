"""Who may ask the kubelet's server: a client is known by its certificate or its token, and the API says what it may.

The API itself comes with a certificate of ``system:masters``. Everybody else is asked about at the API: tokens by
TokenReview, rights by SubjectAccessReview on ``nodes/<name>/<subresource>`` (``nodes/proxy`` opens all). Answers are kept
for a while. Source: the kubelet authentication and authorization pages of Kubernetes, KEP-2862 (fine-grained rights).
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.client.errors import ApiError
from sampan.client.protocol import Client, ResourceType
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from aiohttp import web

TOKEN_REVIEWS = ResourceType("authentication.k8s.io", "v1", "tokenreviews", "TokenReview", namespaced=False)
ACCESS_REVIEWS = ResourceType(
    "authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False
)
MASTERS = "system:masters"
TOKEN_SECONDS, ALLOWED_SECONDS, DENIED_SECONDS = 120.0, 300.0, 30.0
MOST_ANSWERS = 1000
COMMANDS = ("exec", "attach", "portForward", "run")
SUBRESOURCES = {"stats": "stats", "metrics": "metrics", "logs": "log"}
"""Paths whose right is not ``nodes/proxy``."""
FINE = {"pods": "pods", "runningpods": "pods", "healthz": "healthz", "configz": "configz"}
"""Paths that can be opened by a right of their own beside ``nodes/proxy``."""


class Person(NamedTuple):
    name: str
    groups: tuple[str, ...]


def by_certificate(certificate: Mapping[str, Any] | None) -> Person | None:
    """Return who a verified certificate is of: its common name, and its organizations as groups."""
    fields = [pair for part in (certificate or {}).get("subject") or () for pair in part]
    name = next((value for key, value in fields if key == "commonName"), "")
    groups = tuple(value for key, value in fields if key == "organizationName")
    return Person(name, (*groups, "system:authenticated")) if name else None


def rights_for(method: str, path: str) -> list[tuple[str, str]]:
    """Return verb and subresource of the rights that open a path, any of them. What runs commands is a creation, whatever the
    method: a WebSocket begins with GET."""
    first = path.lstrip("/").partition("/")[0]
    verb = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "DELETE": "delete"}.get(method, "get")
    if first in COMMANDS:
        verb = "create"
    own = [(verb, FINE[first])] if first in FINE else []
    return [*own, (verb, SUBRESOURCES.get(first, "proxy"))]


class Access:
    """The judge of one node's server."""

    def __init__(self, client: Client, node: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client, self._node, self._clock = client, node, clock
        self._tokens: dict[str, tuple[float, Person | None]] = {}
        self._verdicts: dict[tuple[Person, str, str], tuple[float, bool]] = {}

    async def person(self, certificate: Mapping[str, Any] | None, authorization: str) -> Person | None:
        """Return who asks, None for a stranger. Raises ``ApiError``."""
        if (found := by_certificate(certificate)) is not None:
            return found
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None
        until, known = self._tokens.get(token, (0.0, None))
        if self._clock() >= until:
            known = await self._review(token)
            keep(self._tokens, token, (self._clock() + TOKEN_SECONDS, known))
        return known

    async def _review(self, token: str) -> Person | None:
        review = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": token}}
        status = (await self._client.create(TOKEN_REVIEWS, review)).get("status") or {}
        if not status.get("authenticated"):
            return None
        return Person(status["user"]["username"], tuple(status["user"].get("groups") or ()))

    async def may(self, person: Person, method: str, path: str) -> bool:
        """Whether somebody may ask for a path. Raises ``ApiError``."""
        if MASTERS in person.groups:
            return True
        for verb, subresource in rights_for(method, path):
            until, allowed = self._verdicts.get((person, verb, subresource), (0.0, False))
            if self._clock() >= until:
                allowed = await self._ask(person, verb, subresource)
                seconds = ALLOWED_SECONDS if allowed else DENIED_SECONDS
                keep(self._verdicts, (person, verb, subresource), (self._clock() + seconds, allowed))
            if allowed:
                return True
        return False

    async def _ask(self, person: Person, verb: str, subresource: str) -> bool:
        attributes = {
            "verb": verb,
            "version": "v1",
            "resource": "nodes",
            "subresource": subresource,
            "name": self._node,
        }
        review: Object = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {"user": person.name, "groups": list(person.groups), "resourceAttributes": attributes},
        }
        answer = await self._client.create(ACCESS_REVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))


def keep(answers: dict[Any, Any], key: Any, value: Any) -> None:
    """Keep an answer; the oldest go when there are too many."""
    while len(answers) >= MOST_ANSWERS:
        del answers[next(iter(answers))]
    answers[key] = value


def middleware(access: Access) -> Any:
    """Return what stands before every path of the server."""
    from aiohttp import web

    @web.middleware
    async def guard(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        certificate = request.transport.get_extra_info("peercert") if request.transport is not None else None
        try:
            person = await access.person(certificate, request.headers.get("Authorization", ""))
            if person is None:
                return web.Response(status=401, text="Unauthorized")
            if not await access.may(person, request.method, request.path):
                verb, subresource = rights_for(request.method, request.path)[-1]
                text = f"Forbidden (user={person.name}, verb={verb}, resource=nodes, subresource(s)=[{subresource}])"
                return web.Response(status=403, text=text)
        except ApiError as error:
            return web.Response(status=500, text=f"Authorization error: {error}")
        return await handler(request)

    return guard
