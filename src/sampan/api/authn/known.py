"""What an authenticator of bearer tokens is: a function from a token to who bears it."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Any, NamedTuple, Protocol

from sampan.api.remembered import Remembered
from sampan.api.request import User
from sampan.api.tokens import BadToken as BadToken

AUTHENTICATED = "system:authenticated"
CACHED_BYTES = 4 << 20


class Known(NamedTuple):
    """Who bears a token, and for which of the audiences that were asked for it is good."""

    user: User
    audiences: tuple[str, ...]


Found = Known | None | Awaitable[Known | None]
"""None: the token is not of this authenticator's kind. Awaitable: somebody else has to be asked."""


class TokenAuthenticator(Protocol):
    def authenticate(self, token: str, audiences: Sequence[str]) -> Found:
        """Return who bears the token. Raises ``BadToken`` for one of its kind that is no good."""


def with_everyone(groups: Sequence[str]) -> tuple[str, ...]:
    """Return the groups with the one that every authenticated user is in."""
    return tuple(groups) if AUTHENTICATED in groups else (*groups, AUTHENTICATED)


def common(asked: Sequence[str], good_for: Sequence[str]) -> tuple[str, ...]:
    """Return the audiences of ``asked`` that a token is good for."""
    return tuple(audience for audience in asked if audience in good_for)


def cache() -> Remembered[Any, Any]:
    """Return a place for what callers came to be. It is bounded by bytes: names and tokens are as long as others like."""
    return Remembered(CACHED_BYTES)


def weight(user: User) -> int:
    """Return about how many bytes of memory a user takes."""
    texts = [user.name, user.uid, *user.groups]
    texts += (text for key, values in user.extra.items() for text in (key, *values))
    return 500 + 60 * len(texts) + sum(map(len, texts))
