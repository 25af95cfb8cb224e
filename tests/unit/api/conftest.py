"""A real API in memory with a few resources, and clients of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from sampan.api.app import Api
from sampan.api.authz.decision import Decision
from sampan.api.errors import StatusError
from sampan.api.feature_gates import FeatureGates
from sampan.api.flags import Flags
from sampan.api.request import Attributes, Response, User
from sampan.api.resource import Resource
from sampan.api.resources.enabling import GATES
from sampan.api.routing import parse_query
from sampan.api.server import ApiConfig, open_api
from sampan.schema.types import type_system
from sampan.store import Store
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
    modes = ()

    def pending(self, attributes: Attributes) -> bool:
        return False

    async def prepare(self, attributes: Attributes) -> None:
        return None

    def authorize(self, attributes: Attributes) -> tuple[bool, str]:
        return "system:masters" in attributes.user.groups, ""

    def decide(self, attributes: Attributes) -> Decision:
        return Decision("system:masters" in attributes.user.groups)


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
    warnings: list[str] = field(default_factory=list)

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
        read = False

        async def receive() -> dict[str, Any]:
            nonlocal read
            if read:  # a client that stays: nothing more comes from it
                await asyncio.Event().wait()
            read = True
            return {"type": "http.request", "body": data, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.api(scope, receive, send)
        start = sent[0]
        names = {name.decode(): value.decode() for name, value in start["headers"]}
        warnings = [value.decode() for name, value in start["headers"] if name == b"warning"]
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(start["status"], names, body, warnings)


def make_api(version: str = "1.37", store: Store | None = None) -> Api:
    api = Api(store or SqliteStore(None), type_system(version))
    api.authenticator = HeaderAuthenticator()
    api.authorizer = AdminOnly()
    api.started = True
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


# the whole API, as ``open_api`` puts it together


@dataclass
class Caller:
    """Requests as a user to a whole API; answers as ``(code, object)``, with the warnings of the last one."""

    api: Api
    user: User = ADMIN
    warnings: list[str] = field(default_factory=list)

    def as_user(self, name: str, *groups: str) -> Caller:
        return Caller(self.api, User(name, (*groups, "system:authenticated")))

    async def __call__(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        sent = {"content-type": "application/json", **(headers or {})}
        data = b"" if body is None else orjson.dumps(body)
        routed = self.api.routed(self.user, method, path, parse_query(query.encode()), sent, data)
        try:
            answer = await self.api.answer(routed)
        except StatusError as error:
            return error.code, error.status()
        finally:
            self.warnings = list(routed.request.warnings)
        assert isinstance(answer, Response)
        return answer.status, orjson.loads(answer.body) if answer.body else None


@pytest.fixture(scope="session")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys of ServiceAccount tokens, and something that stands for a CA."""
    directory = tmp_path_factory.mktemp("pki")
    key = ec.generate_private_key(ec.SECP256R1())
    form = serialization.PrivateFormat.PKCS8
    pem = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
    (directory / "sa.key").write_bytes(pem)
    public = serialization.PublicFormat.SubjectPublicKeyInfo
    (directory / "sa.pub").write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, public))
    (directory / "ca.crt").write_text("-----BEGIN CERTIFICATE-----")
    return directory


@pytest.fixture
async def open_whole(pki: Path) -> AsyncIterator[Callable[..., Awaitable[Caller]]]:
    """``await open_whole(kubernetes_version="1.30", …)``: a caller of a fresh whole API; words as of ``ApiConfig``."""
    opened = []

    async def opener(**settings: Any) -> Caller:
        api = await open_api(ApiConfig(pki_dir=pki, durability="process", **settings))
        opened.append(api)
        return Caller(api)

    yield opener
    for api in opened:
        await api.store.close()


@pytest.fixture
async def whole(open_whole: Callable[..., Awaitable[Caller]]) -> Caller:
    """A caller of a fresh whole API of the newest version."""
    return await open_whole()


def everything(version: str) -> Flags:
    """Return the flags with which all kinds of a version are served."""
    known = {gate.name for gate in FeatureGates(version)}
    gates = tuple(f"{gate}=true" for gate in sorted(set(GATES.values()) & known))
    return Flags(runtime_config=("api/all=true",), feature_gates=gates)
