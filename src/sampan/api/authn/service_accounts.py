"""ServiceAccount tokens: JWTs of the cluster's own key, good while what they are bound to exists.

A token's claims are kept until it expires; that the account and the Pod, Secret or Node it is bound to are still there is
looked up with each request: a minute after one of them was to be gone, the token is no good, whatever holds it.
Source: KEP-1205, KEP-4193 (node claims); kubernetes pkg/serviceaccount/claims.go.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.api.authn import legacy_tokens
from sampan.api.authn.known import AUTHENTICATED, BadToken, Known, cache, common
from sampan.api.remembered import Remembered
from sampan.api.request import User
from sampan.api.tokens import ACCOUNT_PREFIX, Tokens, issuer_of
from sampan.schema.durations import parse_time
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.store import Record

BOUND = {"pod": ("", "pods"), "secret": ("", "secrets"), "node": ("", "nodes")}
EXTRA = "authentication.kubernetes.io/"
LEEWAY_SECONDS = 60.0
"""How long a token outlives the deletionTimestamp of what it is bound to (go-jose's DefaultLeeway)."""
CLAIMS_BYTES = 3000
"""About what the claims of a token, or its user, take beside their text."""


class Seen(NamedTuple):
    """Whose token it was when it came last, and the records that it is bound to as they were then."""

    user: User
    records: Sequence[Record]
    secret: Object | None = None
    """The Secret that holds the token, where one does."""
    day: str = ""
    """When that was noted as used."""
    until: float = math.inf
    """When something that is being deleted takes the token with it."""

    def still(self, api: Api) -> bool:
        get = api.store.get
        for record in self.records:  # noqa: SIM110
            if get(record.key) is not record:
                return False
        return True


class ServiceAccounts:
    def __init__(self, api: Api, tokens: Tokens) -> None:
        self._api = api
        self._tokens = tokens
        self._claims: Remembered[str, dict[str, Any]] = cache()
        self._seen: Remembered[str, Seen] = cache()

    def authenticate(self, token: str, audiences: Sequence[str]) -> Known | None:
        """Return the account of a token, None where another issuer made it. Raises ``BadToken``."""
        claims = self._claims.get(token)
        if claims is None:
            if issuer_of(token) != self._tokens.issuer:
                return None
            claims = self._tokens.verify(token)
            self._claims.put(token, claims, CLAIMS_BYTES + 3 * len(token))
        now = time.time()
        if claims["exp"] <= now:
            raise BadToken("service account token has expired")
        good_for = common(audiences, claims["aud"])
        if not good_for:
            raise BadToken(f"token audiences {claims['aud']} is invalid for the target audiences {list(audiences)}")
        seen = self._seen.get(token)
        if seen is None or not seen.still(self._api):
            seen = self._account(claims)
            self._seen.put(token, seen, CLAIMS_BYTES + len(token))
        if seen.until <= now:
            raise BadToken("service account token has been invalidated")
        secret = seen.secret
        if secret is not None and seen.day != (today := legacy_tokens.today()):
            seen = seen._replace(day=today)
            self._seen.put(token, seen, CLAIMS_BYTES + len(token))
            legacy_tokens.note_use(self._api, secret)
        return Known(seen.user, good_for)

    def _account(self, claims: dict[str, Any]) -> Seen:
        """Return whose token it is, and what it is bound to. Raises ``BadToken``."""
        private = claims["kubernetes.io"]
        namespace, account = private.get("namespace", ""), private.get("serviceaccount") or {}
        records = [self._bound("", "serviceaccounts", namespace, account)]
        secret: Object | None = None
        extra: dict[str, tuple[str, ...]] = {f"{EXTRA}credential-id": (f"JTI={claims.get('jti', '')}",)}
        for kind, (group, plural) in BOUND.items():
            reference = private.get(kind)
            if reference:
                # the node of a pod's token is told, not bound to: the pod's end is the token's
                if kind != "node" or "pod" not in private:
                    records.append(self._bound(group, plural, namespace, reference))
                if kind == "secret":
                    secret = self._api.parsed(records[-1])
                    legacy_tokens.check(secret, account.get("name", ""))
                else:
                    extra[f"{EXTRA}{kind}-name"] = (reference.get("name", ""),)
                    extra[f"{EXTRA}{kind}-uid"] = (reference.get("uid", ""),)
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED)
        name = f"{ACCOUNT_PREFIX}{namespace}:{account.get('name', '')}"
        user = User(name, groups, account.get("uid", ""), extra)
        return Seen(user, records, secret, until=min(map(self._end, records)) + LEEWAY_SECONDS)

    def _end(self, record: Record) -> float:
        """Return when an object that is being deleted is to be gone, in seconds since the epoch."""
        deleted = self._api.parsed(record)["metadata"].get("deletionTimestamp")
        moment = parse_time(deleted) if deleted else None
        return moment.timestamp() if moment is not None else math.inf

    def _bound(self, group: str, plural: str, namespace: str, reference: Mapping[str, Any]) -> Record:
        served = self._api.catalog.get(group, "v1", plural)
        if served is None:
            raise BadToken(f"{plural} are not served")
        record = self._api.store.get(served.key(namespace, str(reference.get("name", ""))))
        if record is None or self._api.parsed(record)["metadata"].get("uid") != reference.get("uid"):
            raise BadToken(f'the {plural} "{reference.get("name")}" of the token does not exist')
        return record
