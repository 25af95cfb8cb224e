"""Subject and time of an X.509 certificate, read straight from its DER: all that authentication needs, without
``cryptography``.

Source: RFC 5280 section 4.1 (TBSCertificate), X.690 (tag, length, value).
"""

from __future__ import annotations

import base64
import calendar
import time
from collections.abc import Iterator

SEQUENCE, SET, OID, EXPLICIT_VERSION = 0x30, 0x31, 0x06, 0xA0
COMMON_NAME, ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"
UTF16_TAG = 0x1E
UTC_TIME = 0x17


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield ``(tag, content)`` of the elements that follow each other in ``data``."""
    at = 0
    while at < len(data):
        tag, length = data[at], data[at + 1]
        at += 2
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[at : at + size], "big")
            at += size
        yield tag, data[at : at + length]
        at += length


def subject(certificate: bytes) -> tuple[str, tuple[str, ...]]:
    """Return the common name and the organizations of a certificate (TLS has verified it); "" where there is none."""
    try:
        return names(signed_fields(certificate)[4])
    except (IndexError, StopIteration, ValueError):
        return "", ()


def signed_fields(certificate: bytes) -> list[bytes]:
    """Return what is signed, field by field: serialNumber, signature, issuer, validity, subject, and more."""
    _, whole = next(elements(certificate))
    _, signed = next(elements(whole))
    return [content for tag, content in elements(signed) if tag != EXPLICIT_VERSION]


def validity(certificate: bytes) -> tuple[float, float]:
    """Return when a certificate begins and ends to be good, in seconds since the epoch; (0, 0) where that is not told."""
    try:
        begin, end = (moment(tag, content) for tag, content in elements(signed_fields(certificate)[3]))
    except (IndexError, StopIteration, ValueError):
        return 0.0, 0.0
    return begin, end


def moment(tag: int, content: bytes) -> float:
    """Return a UTCTime (two digits of the year, from 1950) or a GeneralizedTime. Raises ``ValueError``."""
    text = content.decode("ascii")
    if tag == UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    return float(calendar.timegm(time.strptime(text, "%Y%m%d%H%M%SZ")))


def certificates_of(pem: bytes) -> list[bytes]:
    """Return the DER of every certificate of a PEM file. Raises ``ValueError``."""
    begin, end = b"-----BEGIN CERTIFICATE-----", b"-----END CERTIFICATE-----"
    return [base64.b64decode(part.partition(end)[0]) for part in pem.split(begin)[1:]]


def names(relative_names: bytes) -> tuple[str, tuple[str, ...]]:
    common, organizations = "", []
    for _, attributes in elements(relative_names):
        for _, attribute in elements(attributes):
            (_, oid), (tag, value) = elements(attribute)
            text = value.decode("utf-16-be" if tag == UTF16_TAG else "utf-8", "replace")
            if oid == COMMON_NAME:
                common = text
            elif oid == ORGANIZATION:
                organizations.append(text)
    return common, tuple(organizations)
