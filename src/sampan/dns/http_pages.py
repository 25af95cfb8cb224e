"""``/health``, ``/ready`` and ``/metrics`` over plain HTTP, on the ports that the Corefile says; several may share one.

Source: CoreDNS's ``health``, ``ready`` and ``prometheus``.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

Page = Callable[[], tuple[int, str]]
"""Return the status and the text."""
LONGEST_REQUEST = 8192
PATIENCE_SECONDS = 5.0
REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


class Pages:
    """The pages of each address, served until ``close``. ``serve`` replaces what was served before."""

    def __init__(self) -> None:
        self._servers: dict[tuple[str, int], asyncio.Server] = {}
        self._pages: dict[tuple[str, int], dict[str, Page]] = {}

    @property
    def addresses(self) -> dict[tuple[str, int], tuple[str, int]]:
        """Where each address is really served: a port of 0 is any."""
        return {where: server.sockets[0].getsockname()[:2] for where, server in self._servers.items()}

    async def serve(self, pages: dict[tuple[str, int], dict[str, Page]]) -> None:
        """Serve these pages. Raises ``OSError`` where an address cannot be had; those served before stay then."""
        fresh = {}
        try:
            for where in pages:
                if where not in self._servers:
                    fresh[where] = await asyncio.start_server(
                        lambda reader, writer, where=where: self._answer(reader, writer, where),  # type: ignore[misc]
                        where[0] or None,
                        where[1],
                        limit=LONGEST_REQUEST,
                    )
        except OSError:
            for server in fresh.values():
                server.close()
            raise
        for where in [where for where in self._servers if where not in pages]:
            self._servers.pop(where).close()
        self._servers |= fresh
        self._pages = pages

    def close(self) -> None:
        for server in self._servers.values():
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, where: tuple[str, int]) -> None:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, *_ = (*head.split(b"\r\n")[0].decode("latin-1").split(), "", "")
                page = self._pages.get(where, {}).get(path.partition("?")[0])
                if page is None:
                    status, text = 404, "404 page not found\n"
                elif method not in ("GET", "HEAD"):
                    status, text = 405, "method not allowed\n"
                else:
                    status, text = page()
                body = text.encode()
                lines = (
                    f"HTTP/1.1 {status} {REASONS.get(status, '')}",
                    "Content-Type: text/plain; version=0.0.4; charset=utf-8",
                    f"Content-Length: {len(body)}",
                    "Connection: close",
                )
                writer.write("\r\n".join((*lines, "", "")).encode() + (b"" if method == "HEAD" else body))
                await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass
        finally:
            with contextlib.suppress(OSError):
                writer.close()
