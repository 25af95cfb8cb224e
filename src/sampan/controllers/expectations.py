"""What a controller has asked for and not yet seen in its informer, so that nothing is made twice.

A key with open expectations is not reconciled by count until the informer has caught up, or the expectations are too old
to be believed (a create that never arrived). Source: the contract of ``ControllerExpectations`` in Kubernetes.
"""

from __future__ import annotations

import time

BELIEVED_SECONDS = 60.0


class Expectations:
    """Uids and names awaited, per key."""

    def __init__(self) -> None:
        self._awaited: dict[str, dict[str, float]] = {}

    def expect(self, key: str, token: str) -> None:
        """Await ``token`` (``+name`` of a creation, ``-uid`` of a deletion)."""
        self._awaited.setdefault(key, {})[token] = time.monotonic()

    def seen(self, key: str, token: str) -> None:
        awaited = self._awaited.get(key)
        if awaited is not None:
            awaited.pop(token, None)
            if not awaited:
                del self._awaited[key]

    def satisfied(self, key: str) -> bool:
        """Whether nothing is awaited any more."""
        awaited = self._awaited.get(key)
        if not awaited:
            return True
        now = time.monotonic()
        for token in [token for token, since in awaited.items() if now - since > BELIEVED_SECONDS]:
            del awaited[token]
        return not awaited

    def forget(self, key: str) -> None:
        self._awaited.pop(key, None)
