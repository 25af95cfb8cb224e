"""ServiceAccount tokens: signing and verifying JWTs (ES256), and the OpenID discovery documents of the issuer.

Source: KEP-1205 (bound tokens), kubernetes pkg/serviceaccount (claims), RFC 7519.
"""

from __future__ import annotations

import base64
import hashlib
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson

from sampan.api.authn.jws import ALGORITHM, BadSignature, encoded, signed, verified
from sampan.api.authn.token_keys import POINT_BYTES, SigningKey, VerifyingKey, public_der, signing_key, verifying_key
from sampan.schema.objects import Object

MIN_SECONDS = 600
MAX_SECONDS = 1 << 32
ACCOUNT_PREFIX = "system:serviceaccount:"


class BadToken(Exception):
    """The token is not ours, is expired or is for another audience."""


def issuer_of(token: str) -> str:
    """Return who says to have made a JWT, unverified; "" where it is none."""
    parts = token.split(".")
    if len(parts) != 3:
        return ""
    try:
        claims = orjson.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except ValueError:  # orjson's error for what nests too deeply, too
        return ""
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else ""


def check_time(claims: dict[str, Any], now: float) -> None:
    """Raise ``BadToken`` where a token's time is over, has not come, or is not told (RFC 7519 4.1.4 to 4.1.6)."""
    times = {name: claims[name] for name in ("exp", "nbf", "iat") if name in claims}
    if "exp" not in times or not all(type(at) in (int, float) for at in times.values()):
        raise BadToken("the token does not say for how long it is good")
    if times["exp"] <= now:
        raise BadToken("the token has expired")
    if max(times.get("nbf", 0), int(times.get("iat", 0))) > now:
        raise BadToken("the token is not good yet")


class Tokens:
    """Signs and verifies with the cluster's ServiceAccount key pair."""

    def __init__(self, pki_dir: Path, issuer: str) -> None:
        self.pki_dir = pki_dir
        self.issuer = issuer
        self.audiences: tuple[str, ...] = (issuer,)
        self._public: VerifyingKey | None = None
        self._private: SigningKey | None = None
        self._id = ""

    def _public_pem(self) -> bytes:
        return (self.pki_dir / "sa.pub").read_bytes()

    def _public_key(self) -> VerifyingKey:
        if self._public is None:
            self._public = verifying_key(self._public_pem())
        return self._public

    def _private_key(self) -> SigningKey:
        if self._private is None:
            self._private = signing_key((self.pki_dir / "sa.key").read_bytes())
        return self._private

    def key_id(self) -> str:
        """Return the base64url SHA-256 of the public key's DER, as Kubernetes names its keys."""
        if not self._id:
            self._id = encoded(hashlib.sha256(public_der(self._public_pem())).digest())
        return self._id

    def issue(
        self,
        account: Object,
        audiences: Sequence[str],
        seconds: int,
        bound: tuple[str, str, str] | None = None,
        node: tuple[str, str] | None = None,
    ) -> tuple[str, int]:
        """Return ``(token, expiry in seconds since the epoch)`` of a ServiceAccount. ``bound``: kind, name and uid;
        ``node``: name and uid of the node of the pod it is bound to."""
        metadata, now = account["metadata"], int(time.time())
        private: dict[str, Any] = {
            "namespace": metadata["namespace"],
            "serviceaccount": {"name": metadata["name"], "uid": metadata["uid"]},
        }
        if bound is not None:
            private[bound[0].lower()] = {"name": bound[1], "uid": bound[2]}
        if node is not None:
            private["node"] = {"name": node[0], "uid": node[1]}
        claims = {
            "aud": list(audiences) or list(self.audiences),
            "exp": now + seconds,
            "iat": now,
            "iss": self.issuer,
            "jti": str(uuid.uuid4()),
            "kubernetes.io": private,
            "nbf": now,
            "sub": f"{ACCOUNT_PREFIX}{metadata['namespace']}:{metadata['name']}",
        }
        return signed(claims, self._private_key(), self.key_id()), now + seconds

    def verify(self, token: str) -> dict[str, Any]:
        """Return the claims of a token that this key has signed and that is in time; ``aud`` is a list. Raises
        ``BadToken``."""
        try:
            claims = verified(token, self._public_key())
        except BadSignature as error:
            raise BadToken(str(error)) from error
        check_time(claims, time.time())
        if claims.get("iss") != self.issuer:
            raise BadToken("the token has another issuer")
        if not isinstance(claims.get("kubernetes.io"), dict):
            raise BadToken("the token has no kubernetes.io claim")
        audiences = claims.get("aud") or []
        claims["aud"] = [audiences] if isinstance(audiences, str) else audiences
        return claims

    def configuration(self) -> Object:
        """Return ``/.well-known/openid-configuration``."""
        return {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": [ALGORITHM],
        }

    def key_set(self) -> Object:
        """Return ``/openid/v1/jwks`` (RFC 7517)."""
        point = public_der(self._public_pem())[-POINT_BYTES:]
        x, y = point[: POINT_BYTES // 2], point[POINT_BYTES // 2 :]
        key = {"kty": "EC", "use": "sig", "alg": ALGORITHM, "kid": self.key_id(), "crv": "P-256"}
        return {"keys": [{**key, "x": encoded(x), "y": encoded(y)}]}
