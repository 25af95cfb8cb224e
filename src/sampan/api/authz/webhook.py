"""The Webhook authorizer: a SubjectAccessReview is sent to the server of a kubeconfig, and its answer kept for a while.

What is not known yet makes a request wait (``pending``, ``prepare``); ``decide`` itself answers from what is kept. Match
conditions (CEL over the review's spec) say which requests are asked about; what a server that does not answer means is
``failurePolicy``. Source: Kubernetes' "Webhook Mode" (``--authorization-webhook-*``), KEP-3221.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.authn.known import cache
from sampan.api.authz.decision import NO_OPINION, Decision
from sampan.api.remembered import Remembered
from sampan.api.remote import Remote, RemoteError
from sampan.api.request import Attributes, User
from sampan.api.resources.reading import mapping, text
from sampan.schema.objects import Object
from sampan.schema.selectors import OPERATORS, SelectorError, parse_field_selector, parse_label_selector

if TYPE_CHECKING:
    from sampan.schema.cel.admission import MatchConditions

logger = logging.getLogger("sampan.api")

BACKOFF_SECONDS = (0.5, 0.75, 1.125, 1.6875)
"""Pauses before a server that is in trouble is asked again (``DefaultAuthWebhookRetryBackoff``)."""
TROUBLE = (429, 500, 504)
WORDS = {operator: word for word, operator in OPERATORS.items()} | {"=": "In", "==": "In", "!=": "NotIn"}
"""An operator of a selector as SubjectAccessReviews write it; others (``gt``) are left out, which asks for more."""
NOT_AT_ALL = 0.0
NOTHING = (0.0, NO_OPINION)


@dataclass(frozen=True)
class Settings:
    """How one webhook is asked."""

    version: str = "v1"
    allowed_seconds: float = 300.0
    denied_seconds: float = 30.0
    """How long an answer is kept; 0: not at all."""
    timeout_seconds: float = 30.0
    denies_on_error: bool = False
    conditions: MatchConditions | None = None
    selectors: bool = True
    """Whether the Kubernetes version sends the selectors of lists (KEP-4601)."""


class WebhookAuthorizer:
    def __init__(self, remote: Remote, settings: Settings) -> None:
        self._remote, self._settings = remote, settings
        self._answers: Remembered[bytes, tuple[float, Decision]] = cache()

    def pending(self, attributes: Attributes) -> bool:
        return (self._answers.get(self._key(attributes)) or NOTHING)[0] <= time.monotonic()

    def unresolved(self, user: User) -> str:
        return "webhook authorizer does not support user rule resolution"

    def decide(self, attributes: Attributes) -> Decision:
        return (self._answers.get(self._key(attributes)) or NOTHING)[1]

    async def prepare(self, attributes: Attributes) -> None:
        attributes.learned = await self._asked(attributes)

    async def _asked(self, attributes: Attributes) -> Decision:
        settings = self._settings
        spec = spec_of(attributes, settings.selectors)
        if settings.conditions is not None:
            match = settings.conditions.match({"request": seen(spec)})
            if match.error:
                return self._failed(match.error)
            if not match.matches:
                return NO_OPINION
        key = orjson.dumps(spec)
        try:
            answer = await self._post(key)
        except RemoteError as error:
            logger.error("the authorization webhook: %s", error)
            return self._failed(str(error))
        decision = decision_of(answer)
        seconds = settings.allowed_seconds if decision.allowed else settings.denied_seconds
        if seconds > NOT_AT_ALL:
            self._answers.put(key, (time.monotonic() + seconds, decision), 400 + len(key) + len(decision.reason))
        return decision

    def _failed(self, why: str) -> Decision:
        return Decision(False if self._settings.denies_on_error else None, "", why)

    def _key(self, attributes: Attributes) -> bytes:
        return orjson.dumps(spec_of(attributes, self._settings.selectors))

    async def _post(self, spec: bytes) -> Any:
        review = b'{"apiVersion":"authorization.k8s.io/%b","kind":"SubjectAccessReview","spec":%b}'
        body = review % (self._settings.version.encode(), spec)
        for pause in (*BACKOFF_SECONDS, None):
            try:
                return await self._remote.post(body, self._settings.timeout_seconds)
            except RemoteError as error:
                if pause is None or error.status not in TROUBLE:
                    raise
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def close(self) -> None:
        await self._remote.close()


def decision_of(review: Any) -> Decision:
    status = mapping(review, "status")
    reason = text(status, "reason")
    if status.get("denied"):
        both = "webhook subject access review returned both allow and deny response" if status.get("allowed") else ""
        return Decision(False, reason, both)
    return Decision(True if status.get("allowed") else None, reason)


def spec_of(at: Attributes, selectors: bool) -> Object:
    """Return the spec of the review that asks about a request: also what answers are kept by."""
    user = at.user
    spec: Object = {"user": user.name, "groups": list(user.groups)}
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {key: list(values) for key, values in user.extra.items()}
    if not at.resource:
        spec["nonResourceAttributes"] = {"path": at.path, "verb": at.verb}
        return spec
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
    if selectors and (at.field_selector or at.label_selector):
        for key, terms in (("fieldSelector", fields(at.field_selector)), ("labelSelector", labels(at.label_selector))):
            if terms:
                spec["resourceAttributes"][key] = {"requirements": terms}
    return spec


def fields(selector: str) -> list[Object]:
    try:
        terms = parse_field_selector(selector).terms
    except SelectorError:
        return []  # refused later; until then it asks for more
    return [{"key": field, "operator": WORDS[operator], "values": [value]} for field, operator, value in terms]


def labels(selector: str) -> list[Object]:
    try:
        requirements = parse_label_selector(selector).requirements
    except SelectorError:
        return []
    return [
        {"key": one.key, "operator": WORDS[one.operator], **({"values": list(one.values)} if one.values else {})}
        for one in requirements
        if one.operator in WORDS
    ]


TEXTS = ("namespace", "verb", "group", "version", "resource", "subresource", "name")


def seen(spec: Mapping[str, Any]) -> Object:
    """Return a spec as match conditions see it: every text is there, empty ones too."""
    made: Object = {"uid": "", "extra": {}, **spec}
    if "resourceAttributes" in spec:
        made["resourceAttributes"] = {**dict.fromkeys(TEXTS, ""), **spec["resourceAttributes"]}
    return made
