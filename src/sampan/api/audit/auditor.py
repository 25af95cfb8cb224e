"""The auditor of an API: makes the Events of each request and gives them to the backends.

``begin`` is asked when it is known who asks; it returns None where the policy wants nothing of the request. The ``Entry`` it
returns otherwise is told what becomes of the request, and writes an Event at each stage that the policy does not omit.
Source: audit.k8s.io/v1 Event; k8s.io/apiserver pkg/audit (request.go).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

import orjson

from sampan.api.audit.policy import LEVELS, Policy, Wanted
from sampan.api.request import Request, Response, Scope, User
from sampan.schema.objects import Object

METADATA, REQUEST, RESPONSE = 1, 2, 3
DECISION, REASON = "authorization.k8s.io/decision", "authorization.k8s.io/reason"


class Backend(Protocol):
    def write(self, event: Object) -> None:
        """Take an Event over; never waits."""

    async def close(self) -> None: ...


class Auditor:
    def __init__(self, policy: Policy, backends: Sequence[Backend]) -> None:
        self.policy = policy
        self.backends = tuple(backends)
        self.events = 0

    def begin(self, request: Request, user: User, *, uri: str, sources: list[str]) -> Entry | None:
        """Return what follows a request, None where nothing is wanted of it. The stage RequestReceived is written."""
        wanted = self.policy.wanted(request.attributes)
        return Entry(self, wanted, request, user, uri, sources) if wanted.level else None

    def refused(self, scope: Scope, headers: Mapping[str, str], attempted: str) -> None:
        """Write down that somebody could not say who he is."""
        status = {
            "metadata": {},
            "status": "Failure",
            "message": f"Authentication failed, attempted: {attempted}" if attempted else "Authentication failed",
            "reason": "Unauthorized",
            "code": 401,
        }
        now = timestamp()
        event: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": "Metadata",
            "auditID": audit_id(headers),
            "stage": "ResponseStarted",
            "requestURI": uri_of(scope),
            "verb": scope.get("method", "GET").lower(),
            "user": {},
            "sourceIPs": sources_of(scope, headers),
            "responseStatus": status,
            "requestReceivedTimestamp": now,
            "stageTimestamp": now,
        }
        self.write(event)

    def write(self, event: Object) -> None:
        self.events += 1
        for backend in self.backends:
            backend.write(event)

    async def close(self) -> None:
        for backend in self.backends:
            await backend.close()


class Entry:
    """One request in the audit log."""

    def __init__(
        self, auditor: Auditor, wanted: Wanted, request: Request, user: User, uri: str, sources: list[str]
    ) -> None:
        self._auditor, self._wanted, self._request = auditor, wanted, request
        self.id = audit_id(request.headers)
        at = request.attributes
        self._event: Object = {
            "kind": "Event",
            "apiVersion": "audit.k8s.io/v1",
            "level": LEVELS[wanted.level],
            "auditID": self.id,
            "stage": "",
            "requestURI": uri,
            "verb": at.verb,
            "user": user.info(),
            "sourceIPs": sources,
        }
        agent = request.headers.get("user-agent")
        if agent:
            self._event["userAgent"] = agent
        if at.resource:
            self._event["objectRef"] = reference(request)
        self._event["requestReceivedTimestamp"] = timestamp()
        self._stage("RequestReceived")

    def impersonated(self, user: User) -> None:
        self._event["impersonatedUser"] = user.info()

    def decided(self, allowed: bool, reason: str) -> None:
        annotations = self._event.setdefault("annotations", {})
        annotations[DECISION] = "allow" if allowed else "forbid"
        annotations[REASON] = reason

    def started(self) -> None:
        """A watch or a stream has begun to answer."""
        self._event["responseStatus"] = {"metadata": {}, "code": 200}
        self._stage("ResponseStarted")

    def complete(self, answer: Response | None, code: int = 200) -> None:
        """The request is answered; ``answer`` None: by a stream."""
        self._bodies(answer)
        self._event["responseStatus"] = status_of(answer, code)
        if self._request.audit_annotations:
            self._event.setdefault("annotations", {}).update(self._request.audit_annotations)
        self._stage("ResponseComplete")

    def panicked(self, error: BaseException) -> None:
        self._bodies(None)
        message = f"APIServer panic'd: {error}"
        self._event["responseStatus"] = {
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": "InternalError",
            "code": 500,
        }
        self._stage("Panic")

    def _bodies(self, answer: Response | None) -> None:
        if not self._request.attributes.resource:
            return
        if self._wanted.level >= REQUEST and self._request.body:
            self._event["requestObject"] = self._object(self._request.body)
        if self._wanted.level >= RESPONSE and answer is not None and "json" in answer.content_type:
            self._event["responseObject"] = self._object(answer.body)

    def _object(self, body: bytes) -> Any:
        """Return a body as it goes into the Event: as it is, unless something must be left out."""
        if not self._wanted.omit_managed_fields and body[:1] in b"{[":
            try:
                orjson.loads(body)
            except ValueError:
                return None
            return orjson.Fragment(body.strip())
        value = decoded(body)
        for obj in value.get("items", ()) if isinstance(value, dict) and "items" in value else (value,):
            if self._wanted.omit_managed_fields and isinstance(obj, dict) and isinstance(obj.get("metadata"), dict):
                obj["metadata"].pop("managedFields", None)
        return value

    def _stage(self, stage: str) -> None:
        if stage in self._wanted.omit_stages:
            return
        self._auditor.write({**self._event, "stage": stage, "stageTimestamp": timestamp()})


def decoded(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except ValueError:
        import yaml

        try:
            return yaml.safe_load(body)
        except (yaml.YAMLError, UnicodeDecodeError):
            return None


def audit_id(headers: Mapping[str, str]) -> str:
    """Return the id that the caller gave, or a new one."""
    return headers.get("audit-id", "")[:64] or str(uuid.uuid4())


def timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def reference(request: Request) -> Object:
    at = request.attributes
    found = {
        "resource": at.resource,
        "namespace": at.namespace,
        "name": at.name,
        "apiGroup": at.group,
        "apiVersion": at.version,
        "subresource": at.subresource,
    }
    return {key: value for key, value in found.items() if value}


def status_of(answer: Response | None, code: int) -> Object:
    """Return how a request ended, as a Status."""
    if answer is None or answer.status < 400:
        return {"metadata": {}, "code": code if answer is None else answer.status}
    status = decoded(answer.body) if "json" in answer.content_type else None
    if not isinstance(status, dict) or status.get("kind") != "Status":
        return {"metadata": {}, "status": "Failure", "code": answer.status}
    return {key: value for key, value in status.items() if key not in ("kind", "apiVersion")}


def uri_of(scope: Scope) -> str:
    query = scope.get("query_string", b"").decode("latin-1")
    return f"{scope['path']}?{query}" if query else str(scope["path"])


def sources_of(scope: Scope, headers: Mapping[str, str]) -> list[str]:
    """Return the addresses a request came by: what proxies say, and who is connected."""
    found = [part.strip() for part in headers.get("x-forwarded-for", "").split(",") if part.strip()]
    real = headers.get("x-real-ip", "").strip()
    if real and real not in found:
        found.append(real)
    client = scope.get("client")
    if client and client[0] not in found[-1:]:
        found.append(client[0])
    return found


def attempted_of(headers: Mapping[str, str]) -> str:
    """Return how somebody tried to say who he is, in Kubernetes' words."""
    scheme = headers.get("authorization", "").partition(" ")[0].lower()
    return {"basic": "basic", "bearer": "bearer"}.get(scheme, "unknown" if scheme else "")
