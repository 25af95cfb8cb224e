"""Answers that are not a success: each is a ``Status`` object with Kubernetes' reason, message and details.

Raise ``StatusError`` (or one of the makers below) anywhere under the app; it becomes the response.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sampan.api.resource import Cause, Resource
from sampan.schema.objects import Object


class StatusError(Exception):
    """A refusal. ``code`` is the HTTP status; ``retry_after_seconds`` also becomes the header."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        *,
        details: dict[str, Any] | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.retry_after_seconds = retry_after_seconds
        self.metadata: dict[str, Any] = {}

    def status(self) -> Object:
        """Return the ``Status`` object."""
        details = dict(self.details or {})
        if self.retry_after_seconds is not None:
            details["retryAfterSeconds"] = self.retry_after_seconds
        status: Object = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": self.metadata,
            "status": "Failure",
            "message": self.message,
            "reason": self.reason,
            "code": self.code,
        }
        if details:
            status["details"] = details
        if not self.reason:
            del status["reason"]
        return status


def _details(resource: Resource, name: str) -> dict[str, Any]:
    details = {"name": name, "group": resource.group, "kind": resource.plural}
    return {key: value for key, value in details.items() if value}


def bad_request(message: str) -> StatusError:
    return StatusError(400, "BadRequest", message)


def unauthorized() -> StatusError:
    return StatusError(401, "Unauthorized", "Unauthorized")


def timed_out() -> StatusError:
    message = "Timeout: request did not complete within the allotted timeout"
    return StatusError(504, "Timeout", message, details={})


def internal_error(why: str) -> StatusError:
    details = {"causes": [{"message": why}]}
    return StatusError(500, "InternalError", f"Internal error occurred: {why}", details=details)


def not_found(resource: Resource, name: str) -> StatusError:
    return StatusError(404, "NotFound", f'{resource.qualified} "{name}" not found', details=_details(resource, name))


def already_exists(resource: Resource, name: str) -> StatusError:
    message = f'{resource.qualified} "{name}" already exists'
    return StatusError(409, "AlreadyExists", message, details=_details(resource, name))


def conflict(resource: Resource, name: str, why: str = "") -> StatusError:
    why = why or ("the object has been modified; please apply your changes to the latest version and try again")
    message = f'Operation cannot be fulfilled on {resource.qualified} "{name}": {why}'
    return StatusError(409, "Conflict", message, details=_details(resource, name))


def forbidden(resource: Resource, name: str, why: str) -> StatusError:
    subject = f'{resource.qualified} "{name}" is forbidden' if name else f"{resource.qualified} is forbidden"
    return StatusError(403, "Forbidden", f"{subject}: {why}", details=_details(resource, name))


def invalid(resource: Resource, name: str, causes: Sequence[Cause]) -> StatusError:
    """422 with one cause a field, as Kubernetes words it (``Pod "x" is invalid: spec.containers: Required value``)."""
    causes = tuple(dict.fromkeys(causes))  # the same is said once
    lines = [f"{cause.field}: {cause.message}" for cause in causes]
    text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    group = "" if resource.group == "events.k8s.io" else resource.group  # those are judged as the core group's
    kind = f"{resource.kind}.{group}" if group else resource.kind
    details = {"name": name, "group": group, "kind": resource.kind}
    details = {key: value for key, value in details.items() if value}
    causes_json = [{"reason": c.reason, "message": c.message, "field": c.field} for c in causes]
    return StatusError(
        422, "Invalid", f'{kind} "{name}" is invalid: {text}', details={**details, "causes": causes_json}
    )


def undeterminable(name: str) -> StatusError:
    text = f"the name of the object ({name} based on URL) was undeterminable: name must be provided"
    return bad_request(text)


def must_be_specified(resource: Resource, name: str) -> StatusError:
    """422 for an update without resourceVersion where one is needed: it names the resource, not the kind."""
    message = "Invalid value: 0: must be specified for an update"
    cause = {"reason": "FieldValueInvalid", "message": message, "field": "metadata.resourceVersion"}
    text = f'{resource.qualified} "{name}" is invalid: metadata.resourceVersion: {message}'
    return StatusError(422, "Invalid", text, details={**_details(resource, name), "causes": [cause]})


def method_not_allowed(what: str = "the server does not allow this method on the requested resource") -> StatusError:
    return StatusError(405, "MethodNotAllowed", what)


def service_unavailable(message: str) -> StatusError:
    return StatusError(503, "ServiceUnavailable", message, retry_after_seconds=1)


def expired(message: str) -> StatusError:
    return StatusError(410, "Expired", message)
