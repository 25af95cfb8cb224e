"""Custom resources from one version to another: by name only, or by a webhook (ConversionReview).

A webhook gets a batch of objects and may change everything but kind, name, namespace and uid; of metadata only labels and
annotations are taken. Errors are what kube-apiserver says. Source: apiextensions-apiserver
pkg/apiserver/conversion/{converter,webhook_converter}.go; apiextensions.k8s.io/v1 ConversionReview.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any, Protocol

import orjson

from sampan.api.errors import StatusError
from sampan.api.resources.reading import items, mapping, text
from sampan.api.webhook_client import CallError, WebhookClient
from sampan.schema.names import validate_annotations, validate_labels
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from collections.abc import Sequence

GROUP = "apiextensions.k8s.io"
TIMEOUT_SECONDS = 30.0
"""kube-apiserver's limit of any call to a webhook that has none of its own."""


class Converter(Protocol):
    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        """Return the objects in another version of their kind. Raises ``StatusError`` 500."""


class ByName:
    """Strategy None: only ``apiVersion`` differs."""

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        return [{**obj, "apiVersion": api_version} for obj in objects]


class ByWebhook:
    """Strategy Webhook."""

    def __init__(self, client: WebhookClient, conversion: Object) -> None:
        webhook = mapping(conversion, "webhook")
        self._client = client
        self._client_config = mapping(webhook, "clientConfig")
        self._versions = items(webhook, "conversionReviewVersions")

    async def convert(self, objects: Sequence[Object], api_version: str) -> list[Object]:
        if not objects:
            return []
        subject = shown_kind(objects[0])
        version = next((known for known in self._versions if known in ("v1", "v1beta1")), "")
        if not version:
            raise failure("no supported conversion review versions")
        uid = str(uuid.uuid4())
        review = {
            "kind": "ConversionReview",
            "apiVersion": f"{GROUP}/{version}",
            "request": {"uid": uid, "desiredAPIVersion": api_version, "objects": list(objects)},
        }
        try:
            answer = await self._client.post(self._client_config, orjson.dumps(review), TIMEOUT_SECONDS)
        except CallError as error:
            raise failure(f"conversion webhook for {subject} failed: {error}") from None
        found = answered(answer, version, uid, subject)
        if len(found) != len(objects):
            raise failure(f"conversion webhook for {subject} returned {len(found)} objects, expected {len(objects)}")
        return [taken(before, after, api_version, subject) for before, after in zip(objects, found, strict=True)]


def converter(client: WebhookClient, definition: Object) -> Converter:
    """Return the converter of a definition."""
    conversion = mapping(definition, "spec", "conversion")
    return ByWebhook(client, conversion) if conversion.get("strategy") == "Webhook" else ByName()


def failure(message: str) -> StatusError:
    """Return the error as clients see it: a 500 without a reason."""
    return StatusError(500, "", message)


def shown_kind(obj: Object) -> str:
    return f"{obj.get('apiVersion')}, Kind={obj.get('kind')}"


def answered(answer: Any, version: str, uid: str, subject: str) -> list[Any]:
    """Return the converted objects of an answer. Raises 500."""

    def failed(why: str) -> StatusError:
        return failure(f"conversion webhook for {subject} failed: {why}")

    if not isinstance(answer, dict):
        raise failed("no response provided")
    if version == "v1":
        got = shown_kind({"apiVersion": answer.get("apiVersion", ""), "kind": answer.get("kind", "")})
        if got != f"{GROUP}/v1, Kind=ConversionReview":
            raise failed(f"expected webhook response of {GROUP}/v1, Kind=ConversionReview, got {got}")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise failed("no response provided")
    if version == "v1" and response.get("uid", "") != uid:
        raise failed(f'expected response.uid="{uid}", got "{response.get("uid", "")}"')
    status = text(response, "result", "status")
    if status != "Success":
        raise failed(text(response, "result", "message") or f"response.result.status was '{status}', not 'Success'")
    return items(response, "convertedObjects")


def taken(before: Object, after: Any, api_version: str, subject: str) -> Object:
    """Return a converted object with its own metadata, labels and annotations aside. Raises 500."""

    def refused(why: str) -> StatusError:
        return failure(f"conversion webhook for {subject} returned invalid {why}")

    if not isinstance(after, dict):
        raise refused("object at index 0: it is not an object")
    if after.get("apiVersion") != api_version:
        why = f"invalid groupVersion (expected {api_version}, received {after.get('apiVersion', '')})"
        raise refused(f"object at index 0: {why}")
    if after.get("kind") != before.get("kind"):
        why = f"invalid kind (expected {before.get('kind')}, received {after.get('kind', '')})"
        raise refused(f"object at index 0: {why}")
    for field, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        had, has = text(before, "metadata", field), text(after, "metadata", field)
        if had != has:
            raise refused(f"object: must have the same {shown}: {had} != {has}")
    try:
        return {**after, "metadata": restored(before["metadata"], after.get("metadata"))}
    except ValueError as error:
        raise refused(f"metadata: {error}") from None


def restored(before: Object, after: Any) -> Object:
    """Return the old metadata with the new labels and annotations. Raises ``ValueError``."""
    if not isinstance(after, dict):
        raise ValueError("missing metadata in converted object")
    made = dict(before)
    for field, check in (("labels", validate_labels), ("annotations", validate_annotations)):
        found = after.get(field)
        if found is None:
            made.pop(field, None)
            continue
        if not isinstance(found, dict):
            raise ValueError(f"invalid metadata.{field} of type {type(found).__name__} in converted object")
        for key, value in found.items():
            if not isinstance(value, str):
                kind = type(value).__name__
                raise ValueError(f"metadata.{field}[{key}] must be a string, but is {kind} in converted object")
        causes = check(found) if found != before.get(field) else []
        if causes:
            raise ValueError(", ".join(f"{cause.field}: {cause.message}" for cause in causes))
        made[field] = found
    return made
