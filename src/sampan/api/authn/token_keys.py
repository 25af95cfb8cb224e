"""The key pair of ServiceAccount tokens (P-256): by the interpreter's own OpenSSL, or by ``cryptography`` where that is out
of reach. Both sign and verify alike; signatures are ES256's 64 bytes (RFC 7518 3.4)."""

from __future__ import annotations

import base64
import binascii
from typing import TYPE_CHECKING, Protocol

from sampan.api.authn.libcrypto import BadKey, PrivateKey, PublicKey, der_of, library, numbers_of

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey, EllipticCurvePublicKey

P256_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
"""What each SubjectPublicKeyInfo of an uncompressed point of P-256 begins with (RFC 5480)."""
POINT_BYTES = 64


class SigningKey(Protocol):
    def sign(self, data: bytes) -> bytes:
        """Return the signature over ``data``."""


class VerifyingKey(Protocol):
    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether a signature is this key's over ``data``."""


def reachable() -> bool:
    """Whether the interpreter's own OpenSSL can be called."""
    try:
        library()
    except (OSError, AttributeError):
        return False
    return True


def signing_key(pem: bytes) -> SigningKey:
    """Return the private key of a PEM file. Raises ``BadKey``."""
    return PrivateKey(pem) if reachable() else CryptographyPrivateKey(pem)


def verifying_key(pem: bytes) -> VerifyingKey:
    """Return the public key of a PEM file. Raises ``BadKey``."""
    public_der(pem)
    return PublicKey(pem) if reachable() else CryptographyPublicKey(pem)


def public_der(pem: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of a P-256 key in a PEM file; its last 64 bytes are x and y. Raises ``BadKey``."""
    body = b"".join(line for line in pem.split() if b"-" not in line and line not in (b"PUBLIC", b"BEGIN", b"END"))
    try:
        der = base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise BadKey(f"no key in PEM: {error}") from None
    if not der.startswith(P256_PREFIX) or len(der) != len(P256_PREFIX) + POINT_BYTES:
        raise BadKey("the key is not of P-256")
    return der


class CryptographyPrivateKey:
    def __init__(self, pem: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            self._key: EllipticCurvePrivateKey = load_pem_private_key(pem, None)  # type: ignore[assignment]
        except ValueError as error:
            raise BadKey(str(error)) from None
        self._algorithm = ECDSA(SHA256())

    def sign(self, data: bytes) -> bytes:
        return numbers_of(self._key.sign(data, self._algorithm))


class CryptographyPublicKey:
    def __init__(self, pem: bytes) -> None:
        from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.serialization import load_pem_public_key

        self._key: EllipticCurvePublicKey = load_pem_public_key(pem)  # type: ignore[assignment]
        self._algorithm = ECDSA(SHA256())

    def verifies(self, signature: bytes, data: bytes) -> bool:
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(der_of(signature), data, self._algorithm)
        except InvalidSignature:
            return False
        return True
