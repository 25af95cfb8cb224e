"""Bootstrap tokens: ``<id>.<secret>``, kept in Secrets ``kube-system/bootstrap-token-<id>``.

A new node joins with one; it is ``system:bootstrap:<id>`` in ``system:bootstrappers`` and what groups the Secret adds.
Source: Kubernetes' "Authenticating with Bootstrap Tokens"; cluster-bootstrap/token/api.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sampan.api.authn.known import BadToken, Known, common, with_everyone
from sampan.api.request import User
from sampan.schema.objects import Object
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.app import Api

TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
EVERYONE = "system:bootstrappers"
TYPE = "bootstrap.kubernetes.io/token"
PREFIX = prefix_of("secrets") + "kube-system/bootstrap-token-"


class BootstrapTokens:
    def __init__(self, api: Api, audiences: Sequence[str]) -> None:
        self._api = api
        self._audiences = audiences

    def authenticate(self, token: str, audiences: Sequence[str]) -> Known | None:
        """Return who bears the token, None where it is none. Raises ``BadToken``."""
        parts = TOKEN.fullmatch(token)
        good_for = common(audiences, self._audiences)
        if parts is None or not good_for:
            return None
        record = self._api.store.get(PREFIX + parts[1])
        if record is None:
            raise BadToken(f"there is no bootstrap token {parts[1]}")
        groups = allowed_groups(self._api.parsed(record), parts[1], parts[2])
        return Known(User(f"system:bootstrap:{parts[1]}", with_everyone(groups)), good_for)


def allowed_groups(secret: Object, token_id: str, token_secret: str) -> list[str]:
    """Return the groups of who bears a token; raises ``BadToken`` where its Secret does not allow it."""
    data = texts(secret)
    if secret["metadata"].get("deletionTimestamp") or secret.get("type") != TYPE:
        raise BadToken("the bootstrap token is being deleted, or its Secret is of another type")
    if not hmac.compare_digest(data.get("token-secret", ""), token_secret) or data.get("token-id") != token_id:
        raise BadToken("the bootstrap token has another secret")
    if expired(data.get("expiration", "")):
        raise BadToken("the bootstrap token has expired")
    if data.get("usage-bootstrap-authentication") != "true":
        raise BadToken("the bootstrap token is not for authentication")
    added = data.get("auth-extra-groups", "")
    groups = sorted({EVERYONE, *(added.split(",") if added else ())})
    for group in groups:
        if group != EVERYONE and not GROUP.fullmatch(group):
            raise BadToken(f"the bootstrap token has the group {group!r}, which is none of bootstrappers")
    return groups


def texts(secret: Object) -> dict[str, str]:
    """Return the data of a Secret; what is no ASCII text is "" (nothing of a token is)."""
    found = {}
    for key, value in (secret.get("data") or {}).items():
        try:
            found[key] = base64.b64decode(value).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            found[key] = ""
    return found


def expired(expiration: str) -> bool:
    """Whether an RFC 3339 time is past; one that cannot be read is."""
    if not expiration:
        return False
    try:
        moment = datetime.fromisoformat(expiration)
    except ValueError:
        return True
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() <= time.time()
