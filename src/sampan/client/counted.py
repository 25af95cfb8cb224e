"""What the clients of this process have asked of APIs, for its metrics (``rest_client_requests_total``)."""

from __future__ import annotations

REQUESTS: dict[tuple[str, str, str], int] = {}
"""How many, by method, host and code."""


def counted(method: str, host: str, code: int) -> None:
    """Count a request that was answered."""
    key = (method, host, str(code))
    REQUESTS[key] = REQUESTS.get(key, 0) + 1
