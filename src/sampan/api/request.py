"""What flows through the app: who asks (``User``), for what (``Attributes``), and the request itself.

``Attributes`` is what authorization and admission see; it is Kubernetes' ``RequestInfo`` in one flat record.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sampan.api.resource import Resource
from sampan.schema.decode import Decoded, DecodeError
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.authz.decision import Decision


@dataclass(frozen=True, slots=True)
class User:
    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def info(self) -> Object:
        """Return the user as ``UserInfo`` of authentication.k8s.io/v1, without what is empty."""
        made: Object = {"username": self.name}
        if self.uid:
            made["uid"] = self.uid
        if self.groups:
            made["groups"] = list(self.groups)
        if self.extra:
            made["extra"] = {key: list(values) for key, values in self.extra.items()}
        return made


ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass(slots=True)
class Attributes:
    """One request as the authorizer sees it. ``verb`` is Kubernetes' (get, list, watch, create, update, patch, delete,
    deletecollection, or the lower-case HTTP method for ``path`` requests outside resources)."""

    user: User
    verb: str
    path: str
    group: str = ""
    version: str = ""
    resource: str = ""
    """The plural; empty for non-resource paths."""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    rest: str = ""
    """What follows the subresource in the path (``pods/x/proxy/rest``)."""
    field_selector: str = ""
    label_selector: str = ""
    """The selectors of a list, watch or deletecollection, as they were sent."""
    verdict: Decision | None = None
    """What the authorizers came to, where one of them had to learn something first."""
    learned: Decision | None = None
    """What one of them has just learned (``authz/chain.py``)."""

    def selects(self, field: str, value: str) -> bool:
        """Whether the request is only about objects whose field has a value."""
        terms = self.field_selector.split(",")
        return f"{field}={value}" in terms or f"{field}=={value}" in terms


@dataclass(slots=True)
class Request:
    """A request after routing. ``body`` is the whole body; ``query`` holds the last value of each parameter and
    ``query_lists`` all of them (exec repeats ``command``). ``warnings`` become ``Warning`` headers."""

    api: Api
    user: User
    attributes: Attributes
    method: str
    query: Mapping[str, str]
    query_lists: Mapping[str, list[str]]
    headers: Mapping[str, str]
    """Lower-case names."""
    body: bytes = b""
    decoded: Decoded | DecodeError | None = None
    """What the body says, or what is wrong with it, where that has been found out beside the loop."""
    warnings: list[str] = field(default_factory=list)
    audit_annotations: dict[str, str] = field(default_factory=dict)
    """What admission noted about the request."""

    answer_headers: tuple[tuple[bytes, bytes], ...] = ()
    """Headers of the answer beside its own: what flow control and the audit log say of themselves."""
    outside_seconds: float = 0.0
    """How long others were waited for (webhooks): no part of the server's own time."""

    @property
    def dry_run(self) -> bool:
        return self.query.get("dryRun") == "All"


@dataclass(slots=True)
class Response:
    """An answer with a whole body. Watches, logs and WebSockets answer for themselves through ASGI."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def length(self) -> int:
        """How many bytes the body has."""
        return len(self.body)

    def parts(self) -> Iterable[bytes]:
        """Return the body in the pieces that it is sent in."""
        return (self.body,)


Handler = Callable[[Request], Awaitable[Response]]
"""What serves a subresource or a review: raises ``StatusError`` or returns a ``Response``."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
StreamHandler = Callable[[Request, Scope, Receive, Send], Awaitable[None]]
"""What serves a connection itself (exec, attach, port-forward, log, proxy), http or websocket, after authn and authz.
The body is not read. A ``StatusError`` raised before the answer has begun becomes the answer."""


@dataclass(slots=True)
class Admission:
    """One write as admission plugins see it. ``object`` may be changed in place by mutating plugins (None on delete);
    ``old`` is what is stored (None on create). ``operation`` is CREATE, UPDATE, DELETE or CONNECT."""

    api: Api
    user: User
    operation: str
    resource: Resource
    subresource: str
    namespace: str
    name: str
    object: Object | None
    old: Object | None
    dry_run: bool = False
    warnings: list[str] = field(default_factory=list)
    audit_annotations: dict[str, str] = field(default_factory=dict)
    """What plugins want to have in the audit log; the request's own dict."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """The query of a write; the ``DeleteOptions`` of a deletion."""
    body_kind: str = ""
    """The kind of ``object`` where it is not the resource itself but a subresource's body (Binding, PodExecOptions)."""
    reinvoke: bool = False
    """Set by a plugin that changed the object: the mutating plugins are run a second time (never a third)."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What plugins remember between their turns in one admission, by plugin."""
    request: Request | None = None
    """The request it comes from."""
