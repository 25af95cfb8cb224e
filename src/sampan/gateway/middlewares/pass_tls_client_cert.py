"""``passTLSClientCert``: the backend is told the client's certificate, whole (``pem``) or what stands in it (``info``).

A Gateway asks clients for certificates by ``tls.frontend``; who has none, or comes without TLS, gets neither header through.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

OPTIONS = ("pem", "info")
HOOK = "pass_tls_client_cert"
WANTS_CERTIFICATE = True
FLAGS = ("notAfter", "notBefore", "sans", "serialNumber")
NAMES = ("country", "province", "locality", "organization", "commonName", "serialNumber", "domainComponent")
INFO = {"subject": (*NAMES, "organizationalUnit"), "issuer": NAMES}


def settings_of(settings: Object, namespace: str, world: World) -> dict[str, Any]:
    """Return what the hook is told. Raises ``Unsupported``."""
    info = settings.get("info")
    for name, value in (info or {}).items():
        if name not in (*FLAGS, *INFO):
            raise Unsupported(f"info.{name}: this option is not served")
        for part in value or {} if name in INFO else ():
            if part not in INFO[name]:
                raise Unsupported(f"info.{name}.{part}: this option is not served")
    if not settings.get("pem") and info is None:
        raise Unsupported("pem: neither pem nor info is asked for")
    return {"pem": bool(settings.get("pem")), "info": info}
