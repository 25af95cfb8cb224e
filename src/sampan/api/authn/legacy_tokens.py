"""Tokens that Secrets hold: the day of their last use is noted on the Secret, and one that was marked invalid is refused.

Source: KEP-2799 (reduction of Secret-based ServiceAccount tokens).
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sampan.api.authn.known import BadToken
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api

logger = logging.getLogger("sampan.api")

LAST_USED, INVALID_SINCE = "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"


def today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def check(secret: Object, account: str) -> None:
    """Raise ``BadToken`` for the token of a Secret that was marked invalid."""
    metadata = secret["metadata"]
    if (metadata.get("labels") or {}).get(INVALID_SINCE):
        namespace = metadata["namespace"]
        raise BadToken(
            f"the token in secret {namespace}/{metadata['name']} for service account {namespace}/{account} has been marked "
            f"invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the "
            f"'{INVALID_SINCE}' label from the secret to temporarily allow use of this token"
        )


def note_use(api: Api, secret: Object) -> None:
    """Have the Secret say that it was used today; nobody waits for that."""
    if (secret["metadata"].get("labels") or {}).get(LAST_USED) != today():
        api.spawn("legacy-token-use", _write(api, secret))


async def _write(api: Api, secret: Object) -> None:
    from sampan.api.local import LocalClient
    from sampan.api.request import User
    from sampan.client.errors import ApiError
    from sampan.client.resources import SECRETS

    metadata = secret["metadata"]
    client = LocalClient(api, User("system:apiserver", ("system:masters", "system:authenticated")))
    patch = {"metadata": {"uid": metadata["uid"], "labels": {LAST_USED: today()}}}
    try:
        await client.patch(SECRETS, metadata["name"], patch, metadata["namespace"])
    except ApiError as error:
        logger.info("secret %s/%s: its use was not noted: %s", metadata["namespace"], metadata["name"], error)
