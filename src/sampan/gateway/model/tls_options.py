"""What a listener's ``tls.options`` ask of its handshakes. An option that is not known is refused, not passed over.

Source: Gateway API v1, ListenerTLSConfig (its options belong to implementations).
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.gateway.kinds.resources import OWN_GROUP
from sampan.gateway.model.verdicts import Unsupported

MIN_VERSION = f"{OWN_GROUP}/tls-min-version"
CIPHER_SUITES = f"{OWN_GROUP}/tls-cipher-suites"
VERSIONS = ("1.2", "1.3")


class TlsOptions(NamedTuple):
    min_version: str = ""
    """Of ``VERSIONS``; ``""``: 1.2."""
    cipher_suites: tuple[str, ...] = ()
    """Of TLS 1.2, by the names of OpenSSL; TLS 1.3 has its own."""


USUAL = TlsOptions()


def tls_options(options: dict[str, str]) -> TlsOptions:
    """Return the options of a listener. Raises ``Unsupported``, the field at the beginning."""
    for name in options:
        if name not in (MIN_VERSION, CIPHER_SUITES):
            raise Unsupported(f"tls.options[{name}]: this option is not served; {MIN_VERSION} and {CIPHER_SUITES} are")
    version = options.get(MIN_VERSION, "")
    if version and version not in VERSIONS:
        raise Unsupported(f"tls.options[{MIN_VERSION}]: Unsupported value: {version!r}: supported values: 1.2, 1.3")
    suites = tuple(name.strip() for name in options.get(CIPHER_SUITES, "").split(",") if name.strip())
    if CIPHER_SUITES in options and not suites:
        raise Unsupported(f"tls.options[{CIPHER_SUITES}]: Required value: names of cipher suites, with commas between")
    return TlsOptions(version, suites)
