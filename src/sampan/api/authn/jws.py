"""Compact signatures by ES256: the form of ServiceAccount tokens (RFC 7515 3.1, RFC 7518 3.4).

Tokens of others, with other algorithms, are PyJWT's; but that brings a client of HTTP and every kind of key, 4 MB in each API
whose first pod has a token.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any

import orjson

from sampan.api.authn.libcrypto import NUMBER_BYTES
from sampan.api.authn.token_keys import SigningKey, VerifyingKey

ALGORITHM = "ES256"
SEGMENT = re.compile(r"[A-Za-z0-9_-]*")


class BadSignature(ValueError):
    """The token is none, or somebody else has signed it."""


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def decoded(segment: str) -> bytes:
    """Return the bytes of a segment. Raises ``BadSignature``."""
    if not SEGMENT.fullmatch(segment) or len(segment) % 4 == 1:
        raise BadSignature("a segment is not base64url")
    return base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))


def mapping(segment: str) -> dict[str, Any]:
    """Return the JSON object of a segment. Raises ``BadSignature``."""
    try:
        found = orjson.loads(decoded(segment))
    except orjson.JSONDecodeError as error:
        raise BadSignature(f"a segment is not JSON: {error}") from error
    if not isinstance(found, dict):
        raise BadSignature("a segment is not a JSON object")
    return found


def signed(claims: Mapping[str, Any], key: SigningKey, key_id: str) -> str:
    """Return a token with claims that a P-256 key has signed."""
    header = {"alg": ALGORITHM, "kid": key_id}
    text = f"{encoded(orjson.dumps(header))}.{encoded(orjson.dumps(claims))}"
    return f"{text}.{encoded(key.sign(text.encode()))}"


def verified(token: str, key: VerifyingKey) -> dict[str, Any]:
    """Return the claims of a token that the owner of a P-256 key has signed. Raises ``BadSignature``."""
    segments = token.split(".")
    if len(segments) != 3:
        raise BadSignature("a token has three segments")
    header = mapping(segments[0])
    if header.get("alg") != ALGORITHM or "crit" in header:
        raise BadSignature(f"a token of this cluster is signed by {ALGORITHM}")
    signature = decoded(segments[2])
    if len(signature) != 2 * NUMBER_BYTES:
        raise BadSignature("the signature has the wrong length")
    if not key.verifies(signature, f"{segments[0]}.{segments[1]}".encode()):
        raise BadSignature("the signature is not of this cluster's key")
    return mapping(segments[1])
