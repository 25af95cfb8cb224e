"""The chain of authorizers (``--authorization-mode``): the first that allows or denies decides; nobody allows is no.

``pending`` and ``prepare`` are for those that must learn something first (the Node authorizer's pods, a webhook's answer):
``authorize`` itself never waits, so that a request which needs nothing costs nothing more. What ``prepare`` came to is kept
with the request: nothing that happens meanwhile (an answer forgotten, a configuration read anew) changes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from sampan.api.authz.decision import MASTERS, Decision
from sampan.api.request import Attributes, User

ALLOWED = Decision(True)


class Mode(Protocol):
    """One authorizer of the chain."""

    def decide(self, attributes: Attributes) -> Decision: ...

    def pending(self, attributes: Attributes) -> bool:
        """Whether ``prepare`` must run before ``decide`` can tell."""

    async def prepare(self, attributes: Attributes) -> None:
        """Learn what ``decide`` needs; what it would be and shall not be kept goes into ``attributes.learned``."""

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
        self.use(modes)

    def use(self, modes: Sequence[Mode]) -> None:
        """Ask other modes from now on."""
        self.modes = tuple(modes)
        self._slow = tuple(mode for mode in modes if not getattr(mode, "never_pending", False))

    def authorize(self, attributes: Attributes) -> tuple[bool, str]:
        """Return whether a request is allowed, and why, or why not."""
        allowed, reason, _ = self.decide(attributes)
        return bool(allowed), reason

    def decide(self, attributes: Attributes) -> Decision:
        """Return what the modes make of a request; ``allowed`` None: nobody allows it, and nobody denies it."""
        if MASTERS in attributes.user.groups:
            return ALLOWED
        if attributes.verdict is not None:
            return attributes.verdict
        reasons = []
        for mode in self.modes:
            decision = mode.decide(attributes)
            if decision.allowed is not None:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(None, "\n".join(reasons))

    def pending(self, attributes: Attributes) -> bool:
        """Whether ``prepare`` must be awaited before ``authorize`` knows."""
        for mode in self._slow:
            if mode.pending(attributes):
                return MASTERS not in attributes.user.groups
        return False

    async def prepare(self, attributes: Attributes) -> None:
        """Have the modes learn what they need, up to the first that decides; the request keeps the decision."""
        reasons: list[str] = []
        errors: list[str] = []
        for mode in self.modes:
            if not getattr(mode, "never_pending", False) and mode.pending(attributes):
                await mode.prepare(attributes)
            decision = attributes.learned or mode.decide(attributes)
            attributes.learned = None
            if decision.allowed is not None:
                attributes.verdict = decision
                return
            reasons += [decision.reason] if decision.reason else ()
            errors += [decision.error] if decision.error else ()
        error = errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]" if errors else ""
        attributes.verdict = Decision(None, "\n".join(reasons), error)
