"""The subject of an X.509 certificate, read straight from its DER: all that authentication needs, without ``cryptography``.

Source: RFC 5280 section 4.1 (TBSCertificate), X.690 (tag, length, value).
"""

from __future__ import annotations

from collections.abc import Iterator

SEQUENCE, SET, OID, EXPLICIT_VERSION = 0x30, 0x31, 0x06, 0xA0
COMMON_NAME, ORGANIZATION = b"\x55\x04\x03", b"\x55\x04\x0a"
UTF16_TAG = 0x1E


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
        _, whole = next(elements(certificate))
        _, signed = next(elements(whole))
        fields = [content for tag, content in elements(signed) if tag != EXPLICIT_VERSION]
        # serialNumber, signature, issuer, validity, subject
        return names(fields[4])
    except (IndexError, StopIteration):
        return "", ()


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
