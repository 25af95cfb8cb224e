"""ServiceAccount tokens of pods, asked of the API and asked anew when four fifths of their time are over.

Source: authentication.k8s.io/v1 TokenRequest, bound to the pod.
"""

from __future__ import annotations

import time

from sampan.client.protocol import Client
from sampan.client.resources import SERVICE_ACCOUNTS
from sampan.schema.objects import Object


class Tokens:
    """Tokens by pod, audience and lifetime."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._known: dict[tuple[str, str, int], tuple[str, float]] = {}

    async def token(self, pod: Object, audience: str, seconds: int) -> str:
        """Return a token of the pod's ServiceAccount that is good for a while."""
        metadata = pod["metadata"]
        key = (metadata["uid"], audience, seconds)
        token, until = self._known.get(key, ("", 0.0))
        if time.monotonic() < until:
            return token
        request = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [audience] if audience else [],
                "expirationSeconds": seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": metadata["name"], "uid": metadata["uid"]},
            },
        }
        answer = await self._client.create(
            SERVICE_ACCOUNTS,
            request,
            metadata["namespace"],
            name=pod["spec"].get("serviceAccountName") or "default",
            subresource="token",
        )
        token = str(answer["status"]["token"])
        self._known[key] = (token, time.monotonic() + seconds * 0.8)
        return token

    def renew(self) -> None:
        """Have all tokens asked for anew when they are wanted next: by a clock that was set they may be over."""
        self._known.clear()

    def forget(self, uid: str) -> None:
        """Drop the tokens of a pod that is gone."""
        for key in [key for key in self._known if key[0] == uid]:
            del self._known[key]
