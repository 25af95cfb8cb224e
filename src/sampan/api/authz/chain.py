"""The chain of authorizers (``--authorization-mode``): the first that allows or denies decides; nobody allows is no.

``pending`` and ``prepare`` are for those that must learn something first (the Node authorizer's pods, a webhook's answer):
``authorize`` itself never waits, so that a request which needs nothing costs nothing more.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sampan.api.authz.decision import MASTERS, Decision
from sampan.api.request import Attributes, User


class Mode(Protocol):
    """One authorizer of the chain."""

    def decide(self, attributes: Attributes) -> Decision: ...

    def pending(self, attributes: Attributes) -> bool:
        """Whether ``prepare`` must run before ``decide`` can tell."""

    async def prepare(self, attributes: Attributes) -> None: ...

    def unresolved(self, user: User) -> str:
        """Return why the rules of a user cannot be listed, "" where there is nothing to say."""


class AlwaysAllow:
    """``AlwaysAllow``: everybody may do everything (tests)."""

    def decide(self, attributes: Attributes) -> Decision:
        return Decision(True)

    def pending(self, attributes: Attributes) -> bool:
        return False

    async def prepare(self, attributes: Attributes) -> None:
        return None

    def unresolved(self, user: User) -> str:
        return ""


class AlwaysDeny(AlwaysAllow):
    """``AlwaysDeny``: nobody but the masters may do anything (tests)."""

    def decide(self, attributes: Attributes) -> Decision:
        return Decision(None, "Everything is forbidden.")


class AuthorizerChain:
    """Authorizes by its modes, in order. ``system:masters`` may do everything."""

    def __init__(self, modes: Sequence[Mode]) -> None:
        self.modes = tuple(modes)
        self._slow = tuple(mode for mode in modes if not getattr(mode, "never_pending", False))

    def authorize(self, attributes: Attributes) -> tuple[bool, str]:
        """Return whether a request is allowed, and why, or why not."""
        if MASTERS in attributes.user.groups:
            return True, ""
        reasons = []
        for mode in self.modes:
            allowed, reason = mode.decide(attributes)
            if allowed is not None:
                return allowed, reason
            if reason:
                reasons.append(reason)
        return False, "\n".join(reasons)

    def pending(self, attributes: Attributes) -> bool:
        """Whether ``prepare`` must be awaited before ``authorize`` knows."""
        for mode in self._slow:
            if mode.pending(attributes):
                return MASTERS not in attributes.user.groups
        return False

    async def prepare(self, attributes: Attributes) -> None:
        """Have the modes learn what they need, up to the first that decides."""
        for mode in self.modes:
            if mode in self._slow and mode.pending(attributes):
                await mode.prepare(attributes)
            if mode.decide(attributes).allowed is not None:
                return
