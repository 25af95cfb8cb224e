"""What a hook keeps of a request that Envoy has ended."""

from __future__ import annotations

import pytest

from sampan.gateway.plugins.envoy_memory import StreamRequest


def test_a_request_that_is_over_is_not_read() -> None:
    request = StreamRequest(1, {})
    headers = request.headers
    request.end()
    for read in (lambda: headers["x-a"], lambda: list(headers), lambda: request.path, lambda: request.client):
        with pytest.raises(RuntimeError, match="the request is over"):
            read()
