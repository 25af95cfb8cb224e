"""Tokens that somebody else knows: each is sent as a TokenReview to the server of a kubeconfig, and its answer kept.

Source: Kubernetes' "Webhook Token Authentication" (``--authentication-token-webhook-*``).
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import orjson

from sampan.api.authn.known import BadToken, Known, cache, common, weight, with_everyone
from sampan.api.remembered import Remembered
from sampan.api.remote import Remote, RemoteError
from sampan.api.request import User
from sampan.api.resources.reading import items, mapping, text

SECONDS = 30.0
BACKOFF_SECONDS = (0.5, 0.75)
"""Pauses before a server that did not answer is asked again."""


class TokenWebhook:
    def __init__(self, remote: Remote, version: str, ttl_seconds: float, audiences: Sequence[str]) -> None:
        self._remote, self._version, self._ttl = remote, version, ttl_seconds
        self._audiences = tuple(audiences)
        self._answers: Remembered[bytes, tuple[float, Known | str]] = cache()
        self._asking: dict[bytes, asyncio.Task[Known]] = {}

    def authenticate(self, token: str, audiences: Sequence[str]) -> Known | Awaitable[Known]:
        """Return who bears a token. Raises ``BadToken``, at once or when awaited."""
        digest = hashlib.sha256("\0".join((*audiences, "", token)).encode()).digest()  # tokens are not kept
        until, answer = self._answers.get(digest) or (0.0, "")
        if until > time.monotonic():
            if isinstance(answer, str):
                raise BadToken(answer)
            return answer
        return self._once(digest, token, tuple(audiences))

    async def _once(self, digest: bytes, token: str, audiences: tuple[str, ...]) -> Known:
        """Ask; who comes with the same token meanwhile waits for the same answer."""
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.get_running_loop().create_task(self._ask(digest, token, audiences))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        return await asyncio.shield(task)

    async def _ask(self, digest: bytes, token: str, audiences: tuple[str, ...]) -> Known:
        review = {
            "apiVersion": f"authentication.k8s.io/{self._version}",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": list(audiences)},
        }
        status = mapping(await self._post(orjson.dumps(review)), "status")
        if not status.get("authenticated"):
            why = text(status, "error") or "the webhook does not know the token"
            self._answers.put(digest, (time.monotonic() + self._ttl, why), 200 + len(why))
            raise BadToken(why)
        told = items(status, "audiences")
        good_for = common(audiences, told) if told else common(audiences, self._audiences)
        if not good_for:
            raise BadToken("the token is for other audiences")
        known = Known(user_of(mapping(status, "user")), good_for)
        self._answers.put(digest, (time.monotonic() + self._ttl, known), weight(known.user))
        return known

    async def _post(self, body: bytes) -> Any:
        for pause in (*BACKOFF_SECONDS, None):
            try:
                return await self._remote.post(body, SECONDS)
            except RemoteError as error:
                if pause is None:
                    raise BadToken(str(error)) from error
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self._remote.close()


def user_of(info: Any) -> User:
    extra = {key: tuple(map(str, values)) for key, values in mapping(info, "extra").items() if isinstance(values, list)}
    return User(
        text(info, "username"), with_everyone([str(g) for g in items(info, "groups")]), text(info, "uid"), extra
    )
