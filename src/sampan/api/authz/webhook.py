"""The Webhook authorizer: a SubjectAccessReview is sent to the server of a kubeconfig, and its answer kept for a while.

What is not known yet makes a request wait (``pending``, ``prepare``); ``decide`` itself answers from what is kept. A server
that does not answer has no opinion. Source: Kubernetes' "Webhook Mode" (``--authorization-webhook-*``).
"""

from __future__ import annotations

import logging
import time
from typing import Any

import orjson

from sampan.api.authn.known import remember
from sampan.api.authz.decision import NO_OPINION, Decision
from sampan.api.remote import Remote, RemoteError
from sampan.api.request import Attributes, User
from sampan.api.resources.reading import mapping, text
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.api")

SECONDS = 30.0
UNANSWERED_SECONDS = 1.0
"""How long a server that did not answer is not asked the same again."""


class WebhookAuthorizer:
    def __init__(self, remote: Remote, version: str, allowed_seconds: float, denied_seconds: float) -> None:
        self._remote, self._version = remote, version
        self._allowed_seconds, self._denied_seconds = allowed_seconds, denied_seconds
        self._answers: dict[bytes, tuple[float, Decision]] = {}

    def pending(self, attributes: Attributes) -> bool:
        return self._answers.get(spec_of(attributes), (0.0, NO_OPINION))[0] <= time.monotonic()

    def unresolved(self, user: User) -> str:
        return "webhook authorizer does not support user rule resolution"

    def decide(self, attributes: Attributes) -> Decision:
        # what is kept may have become too old since ``pending``: it is the answer that was given to this request
        return self._answers.get(spec_of(attributes), (0.0, NO_OPINION))[1]

    async def prepare(self, attributes: Attributes) -> None:
        key = spec_of(attributes)
        review = b'{"apiVersion":"authorization.k8s.io/%b","kind":"SubjectAccessReview","spec":%b}'
        try:
            answer = await self._remote.post(review % (self._version.encode(), key), SECONDS)
        except RemoteError as error:
            logger.error("the authorization webhook: %s", error)
            remember(self._answers, key, (time.monotonic() + UNANSWERED_SECONDS, NO_OPINION))
            return
        decision = decision_of(answer)
        seconds = self._allowed_seconds if decision.allowed else self._denied_seconds
        remember(self._answers, key, (time.monotonic() + max(seconds, UNANSWERED_SECONDS), decision))

    async def close(self) -> None:
        await self._remote.close()


def decision_of(review: Any) -> Decision:
    status = mapping(review, "status")
    reason = text(status, "reason")
    if status.get("denied"):
        return Decision(False, reason)
    return Decision(True if status.get("allowed") else None, reason)


def spec_of(at: Attributes) -> bytes:
    """Return the spec of the review that asks about a request: also what answers are kept by."""
    user = at.user
    spec: Object = {"user": user.name, "groups": list(user.groups)}
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    if not at.resource:
        spec["nonResourceAttributes"] = {"path": at.path, "verb": at.verb}
        return orjson.dumps(spec)
    asked = {
        "namespace": at.namespace,
        "verb": at.verb,
        "group": at.group,
        "version": at.version,
        "resource": at.resource,
        "subresource": at.subresource,
        "name": at.name,
    }
    spec["resourceAttributes"] = {key: value for key, value in asked.items() if value}
    for key, raw in (("fieldSelector", at.field_selector), ("labelSelector", at.label_selector)):
        if raw:
            spec["resourceAttributes"][key] = {"rawSelector": raw}
    return orjson.dumps(spec)
