"""Which errors pass by themselves."""

from __future__ import annotations

import contextlib

from sampan.client.errors import ApiError


def expected(error: Exception) -> bool:
    """Whether an error is the API's or the network's, to be tried again."""
    with contextlib.suppress(ImportError):
        import aiohttp

        if isinstance(error, aiohttp.ClientError):
            return True
    return isinstance(error, (ApiError, OSError, TimeoutError))
