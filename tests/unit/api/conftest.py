"""A real API in memory with a few resources, and clients of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from sampan.api.app import Api
from sampan.api.request import Attributes, User
from sampan.api.resource import Resource
from sampan.schema.types import type_system
from sampan.store.sqlite import SqliteStore

ADMIN = User("admin", ("system:masters", "system:authenticated"))


class HeaderAuthenticator:
    """Believes the header ``x-user``; everybody else is the admin."""

    def authenticate(
        self, headers: Mapping[str, str], peer_certificate_der: bytes | None, front_proxy_der: bytes | None = None
    ) -> User | None:
        name = headers.get("x-user", "")
        return User(name, ("system:authenticated",)) if name else ADMIN


class AdminOnly:
    def authorize(self, attributes: Attributes) -> tuple[bool, str]:
        return "system:masters" in attributes.user.groups, ""


def mark_namespace(namespace: Any) -> None:
    namespace.setdefault("status", {})["phase"] = "Terminating"


RESOURCES = (
    Resource(
        "",
        "v1",
        "Namespace",
        "namespaces",
        namespaced=False,
        status=True,
        name_is="label",
        held=lambda obj: bool(obj.get("spec", {}).get("finalizers")),
        mark_deleted=mark_namespace,
    ),
    Resource("", "v1", "ConfigMap", "configmaps", generation=False, short_names=("cm",)),
    Resource(
        "",
        "v1",
        "Pod",
        "pods",
        status=True,
        returns_deleted=True,
        generation=False,
        graceful=lambda pod, asked: (30 if asked is None else asked) if pod["spec"].get("nodeName") else 0,
        field_selectors={
            "spec.nodeName": lambda pod: pod.get("spec", {}).get("nodeName", ""),
            "status.phase": lambda pod: pod.get("status", {}).get("phase", ""),
        },
    ),
    Resource(
        "apps",
        "v1",
        "Deployment",
        "deployments",
        status=True,
        scale={
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".spec.selector",
        },
    ),
)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)


@dataclass
class Asgi:
    """Speaks ASGI to the app: ``await http("GET", "/api/v1/pods")``."""

    api: Api
    default_headers: dict[str, str] = field(default_factory=dict)

    async def __call__(
        self, method: str, path: str, body: Any = None, *, query: str = "", headers: Mapping[str, str] | None = None
    ) -> Answer:
        data = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
        given = {**self.default_headers, **(headers or {})}
        if body is not None:
            given.setdefault("content-type", "application/json")
        path, _, in_path = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": (query or in_path).encode(),
            "headers": [(name.encode(), value.encode()) for name, value in given.items()],
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.api(scope, receive, send)
        start = sent[0]
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], names, b"".join(message.get("body", b"") for message in sent[1:]))


def make_api(version: str = "1.37") -> Api:
    api = Api(SqliteStore(None), type_system(version))
    api.authenticator = HeaderAuthenticator()
    api.authorizer = AdminOnly()
    for resource in RESOURCES:
        api.catalog.add(resource)
    return api


@pytest.fixture
async def api() -> AsyncIterator[Api]:
    made = make_api()
    yield made
    await made.store.close()


@pytest.fixture
def http(api: Api) -> Asgi:
    return Asgi(api)
