"""TLS of an extender: who is trusted, and the certificate that is shown."""

from __future__ import annotations

import base64
import ssl
import tempfile
from pathlib import Path

from sampan.scheduler.extender_settings import ExtenderSpec
from sampan.scheduler.reading import ConfigurationError


def context_of(spec: ExtenderSpec) -> ssl.SSLContext:
    """Return the TLS of an extender's ``tlsConfig``. Raises ``ConfigurationError``."""
    tls = spec.tls
    try:
        context = ssl.create_default_context()
        if authority := pem(spec, "ca"):
            context = ssl.create_default_context(cadata=authority)
        if tls.get("insecure"):
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        certificate, key = pem(spec, "cert"), pem(spec, "key")
        if certificate and key:
            # ssl reads certificates of its own from files only
            with tempfile.TemporaryDirectory() as folder:
                both = Path(folder) / "client.pem"
                both.touch(mode=0o600)
                both.write_text(f"{certificate}\n{key}\n")
                context.load_cert_chain(both)
        return context
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"extender {spec.url_prefix}: tlsConfig: {error}") from None


def pem(spec: ExtenderSpec, name: str) -> str:
    """Return the PEM of ``caData`` (base64) or ``caFile``, and so for ``cert`` and ``key``; empty when neither is given."""
    if data := spec.tls.get(f"{name}Data"):
        return base64.b64decode(data, validate=True).decode()
    file = spec.tls.get(f"{name}File")
    return (spec.directory / file).read_text() if file else ""
