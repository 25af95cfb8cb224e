"""ServiceAccount tokens: JWTs of the cluster's own key, good while what they are bound to exists.

A token's claims are kept until it expires; that the account and the Pod, Secret or Node it is bound to are still there is
looked up with each request. Source: KEP-1205, KEP-4193 (node claims).
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sampan.api.authn.known import AUTHENTICATED, BadToken, Known, common, remember
from sampan.api.request import User
from sampan.api.tokens import ACCOUNT_PREFIX, Tokens, issuer_of

if TYPE_CHECKING:
    from sampan.api.app import Api

BOUND = {"pod": ("", "pods"), "secret": ("", "secrets"), "node": ("", "nodes")}
EXTRA = "authentication.kubernetes.io/"


class ServiceAccounts:
    def __init__(self, api: Api, tokens: Tokens) -> None:
        self._api = api
        self._tokens = tokens
        self._claims: dict[str, dict[str, Any]] = {}

    def authenticate(self, token: str, audiences: Sequence[str]) -> Known | None:
        """Return the account of a token, None where another issuer made it. Raises ``BadToken``."""
        claims = self._claims.get(token)
        if claims is None:
            if issuer_of(token) != self._tokens.issuer:
                return None
            claims = self._tokens.verify(token)
            remember(self._claims, token, claims)
        if claims["exp"] <= time.time():
            raise BadToken("service account token has expired")
        good_for = common(audiences, claims["aud"])
        if not good_for:
            raise BadToken(f"token audiences {claims['aud']} is invalid for the target audiences {list(audiences)}")
        return Known(self._account(claims), good_for)

    def _account(self, claims: dict[str, Any]) -> User:
        private = claims["kubernetes.io"]
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        self._exists("", "serviceaccounts", namespace, account)
        extra: dict[str, tuple[str, ...]] = {f"{EXTRA}credential-id": (f"JTI={claims.get('jti', '')}",)}
        for kind, (group, plural) in BOUND.items():
            reference = private.get(kind)
            if reference:
                # the node of a pod's token is told, not bound to: the pod's end is the token's
                if kind != "node" or "pod" not in private:
                    self._exists(group, plural, namespace, reference)
                if kind != "secret":
                    extra[f"{EXTRA}{kind}-name"] = (reference.get("name", ""),)
                    extra[f"{EXTRA}{kind}-uid"] = (reference.get("uid", ""),)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        return User(f"{ACCOUNT_PREFIX}{namespace}:{account.get('name', '')}", groups, account.get("uid", ""), extra)

    def _exists(self, group: str, plural: str, namespace: str, reference: Mapping[str, Any]) -> None:
        served = self._api.catalog.get(group, "v1", plural)
        if served is None:
            raise BadToken(f"{plural} are not served")
        record = self._api.store.get(served.key(namespace, str(reference.get("name", ""))))
        if record is None or self._api.parsed(record)["metadata"].get("uid") != reference.get("uid"):
            raise BadToken(f'the {plural} "{reference.get("name")}" of the token does not exist')
