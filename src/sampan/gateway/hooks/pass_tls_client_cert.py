"""The client's certificate in headers for the backend, written as Traefik writes it.

Source: Traefik v3, passtlsclientcert: ``X-Forwarded-Tls-Client-Cert`` is the PEM without its first and last line and its line
breaks; ``X-Forwarded-Tls-Client-Cert-Info`` is ``Subject="…";Issuer="…";SerialNumber="…";NB="…";NA="…";SAN="…"``, escaped.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any
from urllib.parse import quote_plus, unquote

from sampan.gateway.plugins.host import Function
from sampan.gateway.plugins.request import Request

PEM, INFO = "x-forwarded-tls-client-cert", "x-forwarded-tls-client-cert-info"
MOST_REMEMBERED = 1000
NAMES = (
    ("domainComponent", "DC", "0.9.2342.19200300.100.1.25"),
    ("country", "C", "2.5.4.6"),
    ("province", "ST", "2.5.4.8"),
    ("locality", "L", "2.5.4.7"),
    ("organization", "O", "2.5.4.10"),
    ("organizationalUnit", "OU", "2.5.4.11"),
    ("serialNumber", "SN", "2.5.4.5"),
    ("commonName", "CN", "2.5.4.3"),
)
"""Option, how it is written, its object identifier; in the order in which they are told."""


def make(settings: dict[str, Any]) -> Function:
    """``settings``: ``pem``, and ``info`` as Traefik has it (None: not asked for)."""

    @lru_cache(MOST_REMEMBERED)
    def told(certificate: str) -> dict[str, str]:
        pem = unquote(certificate)
        found = {}
        if settings["pem"]:
            found[PEM] = "".join(line for line in pem.splitlines() if not line.startswith("-----"))
        if settings["info"] is not None:
            found[INFO] = quote_plus(info_of(pem, settings["info"]))
        return found

    def request(request: Request) -> Any:
        found = told(request.certificate) if request.certificate else {}
        for name in (PEM, INFO):
            if found.get(name):
                request.headers[name] = found[name]
            elif name in request.headers:
                del request.headers[name]
        return None

    return request


def info_of(pem: str, wanted: dict[str, Any]) -> str:
    """Return what is asked of a certificate."""
    from cryptography import x509

    certificate = x509.load_pem_x509_certificate(pem.encode())
    parts = []
    for option, label, name in (
        ("subject", "Subject", certificate.subject),
        ("issuer", "Issuer", certificate.issuer),
    ):
        text = name_of(name, wanted.get(option) or {})
        if text:
            parts.append(f'{label}="{text}"')
    if wanted.get("serialNumber"):
        parts.append(f'SerialNumber="{certificate.serial_number}"')
    if wanted.get("notBefore"):
        parts.append(f'NB="{int(certificate.not_valid_before_utc.timestamp())}"')
    if wanted.get("notAfter"):
        parts.append(f'NA="{int(certificate.not_valid_after_utc.timestamp())}"')
    if wanted.get("sans"):
        sans = alternative_names(certificate)
        if sans:
            parts.append(f'SAN="{",".join(sans)}"')
    return ";".join(parts)


def name_of(name: Any, wanted: dict[str, Any]) -> str:
    return ",".join(
        f"{short}={attribute.value}"
        for option, short, identifier in NAMES
        if wanted.get(option)
        for attribute in name
        if attribute.oid.dotted_string == identifier
    )


def alternative_names(certificate: Any) -> list[str]:
    """Return host names, addresses of mail, addresses and URIs of a certificate."""
    from cryptography import x509

    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    kinds = (x509.DNSName, x509.RFC822Name, x509.IPAddress, x509.UniformResourceIdentifier)
    return [str(value) for kind in kinds for value in found.get_values_for_type(kind)]
