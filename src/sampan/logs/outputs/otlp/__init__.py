"""OpenTelemetry's protocol: ``url`` is ``http(s)://host:4318`` (to ``/v1/logs``), or ``grpc://host:4317``, ``grpcs://…``.

``message.py`` is the encoding, ``http.py`` and ``grpc.py`` the two ways.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from sampan.logs.outputs import http_client, tls
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.outputs.output import Output

BATCH_BYTES = 2 << 20
"""Servers take 4 MiB of gRPC if nobody says otherwise."""
PATH = "/v1/logs"


def make(name: str, options: Options) -> Output:
    """Raises ``OptionError``."""
    batch_bytes = options.size("batch_bytes", BATCH_BYTES)
    if not str(options.peek("url")).startswith(("grpc://", "grpcs://")):
        from sampan.logs.outputs.otlp.http import AGAIN, OtlpHttp

        again = frozenset(map(status, options.texts("retry_statuses")))
        return OtlpHttp(name, http_client.client_of(options, PATH), batch_bytes, AGAIN | again)
    from sampan.logs.outputs.otlp.grpc import OtlpGrpc

    url = options.needed("url")
    parts = urlsplit(url)
    if options.one_of("compression", ("none", "gzip"), "none") == "gzip":
        raise OptionError(options.place("compression"), "over gRPC there is none: use http://…, or leave it out")
    if not parts.hostname or parts.path.strip("/"):
        raise OptionError(options.place("url"), f"grpc://HOST:PORT is wanted, not {url!r}")
    tls_options = options.inner("tls")
    contexts = tls.contexts_of(tls_options) if parts.scheme == "grpcs" else None
    return OtlpGrpc(
        name,
        parts.hostname,
        parts.port or 4317,
        contexts=contexts,
        headers=options.mapping("headers"),
        authorization=http_client.authorization_of(options),
        timeout_seconds=options.seconds("timeout", 30.0),
        batch_bytes=batch_bytes,
    )


def status(text: str) -> int:
    return int(text) if text.isdigit() else 0
