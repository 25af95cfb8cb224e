"""Who asks: client certificates (CN = user, O = groups) and ServiceAccount tokens. Nobody: the caller is anonymous.

Both are answered from a cache: certificates by the digest of their DER, tokens by their text until they expire; that the
objects a token is bound to still exist is looked up each time. Source: Kubernetes' "Authenticating".
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sampan.api.der import subject
from sampan.api.errors import unauthorized
from sampan.api.request import User
from sampan.api.tokens import ACCOUNT_PREFIX, BadToken, Tokens

if TYPE_CHECKING:
    from sampan.api.app import Api

AUTHENTICATED = "system:authenticated"
CACHED = 4096
BOUND = {"pod": ("", "pods"), "secret": ("", "secrets"), "node": ("", "nodes")}
EXTRA = "authentication.kubernetes.io/"


class CertificateAndTokenAuthenticator:
    """Knows the users of one API. The TLS layer has verified the certificate against the cluster's CA."""

    def __init__(self, api: Api, tokens: Tokens) -> None:
        self.api = api
        self.tokens = tokens
        self._certificates: dict[bytes, User] = {}
        self._claims: dict[str, dict[str, Any]] = {}

    def authenticate(self, headers: Mapping[str, str], peer_certificate_der: bytes | None) -> User | None:
        """Return who asks, None where nothing says it. Raises 401."""
        authorization = headers.get("authorization", "")
        if peer_certificate_der is not None:
            return self._by_certificate(peer_certificate_der)
        token = bearer(authorization) or websocket_token(headers)
        if token:
            try:
                return self.by_token(token)
            except BadToken:
                raise unauthorized() from None
        if authorization:
            raise unauthorized()
        return None

    def _by_certificate(self, der: bytes) -> User:
        digest = hashlib.sha256(der).digest()
        user = self._certificates.get(digest)
        if user is None:
            name, groups = subject(der)
            if not name:
                raise unauthorized()
            user = User(name, (*groups, AUTHENTICATED))
            remember(self._certificates, digest, user)
        return user

    def by_token(self, token: str, audiences: Sequence[str] = ()) -> User:
        """Return the ServiceAccount of a token. Raises ``BadToken``."""
        known = self._claims.get(token) if not audiences else None
        if known is None or known["exp"] <= time.time():
            known = self.tokens.verify(token, audiences)
            if not audiences:
                remember(self._claims, token, known)
        return self._account(known)

    def _account(self, claims: dict[str, Any]) -> User:
        private = claims["kubernetes.io"]
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        self._exists("", "serviceaccounts", namespace, account)
        extra: dict[str, tuple[str, ...]] = {f"{EXTRA}credential-id": (f"JTI={claims.get('jti', '')}",)}
        for kind, (group, plural) in BOUND.items():
            reference = private.get(kind)
            if reference:
                self._exists(group, plural, namespace, reference)
                extra[f"{EXTRA}{kind}-name"] = (reference.get("name", ""),)
                extra[f"{EXTRA}{kind}-uid"] = (reference.get("uid", ""),)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(f"{ACCOUNT_PREFIX}{namespace}:{account.get('name', '')}", groups, account.get("uid", ""), extra)

    def _exists(self, group: str, plural: str, namespace: str, reference: Mapping[str, Any]) -> None:
        served = self.api.catalog.get(group, "v1", plural)
        if served is None:
            raise BadToken(f"{plural} are not served")
        record = self.api.store.get(served.key(namespace, str(reference.get("name", ""))))
        if record is None or self.api.parsed(record)["metadata"].get("uid") != reference.get("uid"):
            raise BadToken(f'the {plural} "{reference.get("name")}" of the token does not exist')


def bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def websocket_token(headers: Mapping[str, str]) -> str:
    """Return the token a browser sends as a WebSocket subprotocol (``base64url.bearer.authorization.k8s.io.<token>``)."""
    prefix = "base64url.bearer.authorization.k8s.io."
    for protocol in headers.get("sec-websocket-protocol", "").split(","):
        encoded = protocol.strip()
        if encoded.startswith(prefix):
            import base64
            import binascii

            encoded = encoded[len(prefix) :]
            try:
                return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode()
            except (binascii.Error, UnicodeDecodeError):
                raise unauthorized() from None
    return ""


def remember(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= CACHED:
        del cache[next(iter(cache))]
    cache[key] = value
