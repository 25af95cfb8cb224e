"""Errors of the API as its clients see them: a ``Status`` with reason, message and details."""

from __future__ import annotations

from sampan.schema.objects import Object


class ApiUnreachable(ConnectionError):
    """The API did not answer: refused, reset, timed out, or cut in the middle. A later attempt may succeed."""


class ApiError(Exception):
    """An answer of the API that is not a success. ``status`` is the ``Status`` object it sent."""

    def __init__(self, code: int, status: Object) -> None:
        super().__init__(status.get("message") or f"HTTP {code}")
        self.code = code
        self.status = status

    @property
    def reason(self) -> str:
        """The machine-readable reason: NotFound, AlreadyExists, Conflict, Invalid, Expired, …"""
        return str(self.status.get("reason", ""))

    @property
    def is_not_found(self) -> bool:
        return self.code == 404

    @property
    def is_conflict(self) -> bool:
        return self.code == 409 and self.reason == "Conflict"

    @property
    def already_exists(self) -> bool:
        return self.reason == "AlreadyExists"

    def has_cause(self, reason: str) -> bool:
        """Whether the details name a cause with this reason."""
        causes = (self.status.get("details") or {}).get("causes") or ()
        return any(cause.get("reason") == reason for cause in causes)

    @property
    def is_expired(self) -> bool:
        return self.code == 410
