"""A server that a kubeconfig describes, asked by one POST: token reviews, access reviews, audit events.

Source: Kubernetes' webhook kubeconfig files (``clusters`` is the remote service, ``users`` is this API server).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

if TYPE_CHECKING:
    import aiohttp


class RemoteError(Exception):
    """The server cannot be reached, refused, or answered what is no JSON. ``status``: HTTP's, 0 where there is none."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Remote:
    def __init__(self, kubeconfig: Path) -> None:
        self._kubeconfig = kubeconfig
        self._session: aiohttp.ClientSession | None = None
        self._url = ""

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            from sampan.client.kubeconfig import load

            connection = load(self._kubeconfig)
            context = connection.ssl_context()
            headers = {"Content-Type": "application/json", "Accept": "application/json"}
            if connection.token:
                headers["Authorization"] = f"Bearer {connection.token}"
            connector = aiohttp.TCPConnector(ssl=context if context is not None else False, limit=0)
            self._url = connection.server
            self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        return self._session

    async def post(self, body: bytes, seconds: float) -> Any:
        """Return the decoded answer. Raises ``RemoteError``."""
        import aiohttp

        try:
            timeout = aiohttp.ClientTimeout(total=seconds)
            async with self._open().post(self._url, data=body, timeout=timeout) as answer:
                content = await answer.read()
                if answer.status >= 300:
                    told = content[:200].decode(errors="replace")
                    raise RemoteError(f"{self._url} answered {answer.status}: {told}", answer.status)
                return orjson.loads(content) if content.strip() else None
        except TimeoutError:
            raise RemoteError(f"{self._url} did not answer within {seconds:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise RemoteError(f"{self._url or self._kubeconfig}: {error}") from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
