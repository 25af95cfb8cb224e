"""AdmissionReview: what a webhook is asked, and what its answer says. Pure.

Source: admission.k8s.io/v1 and v1beta1; kubernetes/apiserver pkg/admission/plugin/webhook/request.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from typing import Any, NamedTuple

import orjson

from sampan.api.errors import StatusError
from sampan.api.request import User
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object

GROUP = "admission.k8s.io"
VERSIONS = ("v1", "v1beta1")


class InvalidReview(Exception):
    """Why an answer is none."""


class Subject(NamedTuple):
    """What is admitted, in one version: the resource and kind as a webhook sees them."""

    group: str
    version: str
    plural: str
    subresource: str
    kind: tuple[str, str, str]

    def resource_entry(self) -> Object:
        return {"group": self.group, "version": self.version, "resource": self.plural}

    def kind_entry(self) -> Object:
        return {"group": self.kind[0], "version": self.kind[1], "kind": self.kind[2]}


class Question(NamedTuple):
    """One request for admission, as it is told to a webhook."""

    sent_as: Subject
    asked_as: Subject
    name: str
    namespace: str
    operation: str
    user: User
    object: Object | None
    old: Object | None
    dry_run: bool
    options: Object | None


class Verdict(NamedTuple):
    """What a webhook answered. ``patch`` are the operations of a JSON patch, [] for none."""

    allowed: bool
    result: Object
    patch: list[Object]
    warnings: list[str]
    annotations: dict[str, str]


def request_of(question: Question) -> Object:
    """Return the ``request`` of a review; CEL's variable ``request`` is the same without the objects."""
    made: Object = {
        "uid": str(uuid.uuid4()),
        "kind": question.sent_as.kind_entry(),
        "resource": question.sent_as.resource_entry(),
    }
    if question.sent_as.subresource:
        made["subResource"] = question.sent_as.subresource
    made["requestKind"] = question.asked_as.kind_entry()
    made["requestResource"] = question.asked_as.resource_entry()
    if question.asked_as.subresource:
        made["requestSubResource"] = question.asked_as.subresource
    if question.name:
        made["name"] = question.name
    if question.namespace:
        made["namespace"] = question.namespace
    made["operation"] = question.operation
    made["userInfo"] = question.user.info()
    made["object"], made["oldObject"] = question.object, question.old
    made["dryRun"] = question.dry_run
    made["options"] = question.options
    return made


def review_version(webhook: Object) -> str:
    """Return the newest version both sides know, in the webhook's order. Raises ``InvalidReview``."""
    for version in items(webhook, "admissionReviewVersions"):
        if version in VERSIONS:
            return str(version)
    raise InvalidReview("webhook does not accept known AdmissionReview versions (v1, v1beta1)")


def review(version: str, request: Object) -> bytes:
    return orjson.dumps({"kind": "AdmissionReview", "apiVersion": f"{GROUP}/{version}", "request": request})


def verdict(version: str, uid: str, mutating: bool, answer: Any) -> Verdict:
    """Read an answer. Raises ``InvalidReview``."""
    if not isinstance(answer, dict):
        raise InvalidReview("webhook response was absent")
    response = answer.get("response")
    if not isinstance(response, dict):
        raise InvalidReview("webhook response was absent")
    if version == "v1":
        check_v1(uid, mutating, answer, response)
    annotations = {str(key): str(value) for key, value in mapping(response, "auditAnnotations").items()}
    warnings = [str(text) for text in items(response, "warnings")]
    patch = decoded_patch(response.get("patch")) if mutating and response.get("patch") else []
    kind = response.get("patchType") or "JSONPatch"
    if patch and kind != "JSONPatch":
        raise InvalidReview(f'unsupported patch type "{kind}"')
    return Verdict(response.get("allowed") is True, mapping(response, "status"), patch, warnings, annotations)


def check_v1(uid: str, mutating: bool, answer: Object, response: Object) -> None:
    given = response.get("uid", "")
    if given != uid:
        raise InvalidReview(f'expected response.uid="{uid}", got "{given}"')
    kind, api_version = answer.get("kind", ""), answer.get("apiVersion", "")
    if (api_version, kind) != (f"{GROUP}/v1", "AdmissionReview"):
        got = f"{api_version}, Kind={kind}" if "/" in str(api_version) else f"/{api_version}, Kind={kind}"
        raise InvalidReview(f"expected webhook response of {GROUP}/v1, Kind=AdmissionReview, got {got}")
    patch, kind = response.get("patch"), response.get("patchType")
    if not mutating:
        if patch:
            raise InvalidReview("validating webhook may not return response.patch")
        if kind is not None:
            raise InvalidReview("validating webhook may not return response.patchType")
    elif patch and kind is None:
        raise InvalidReview("webhook returned response.patch but not response.patchType")
    elif not patch and kind is not None:
        raise InvalidReview("webhook returned response.patchType but not response.patch")
    elif kind == "":
        raise InvalidReview('webhook returned invalid response.patchType of ""')


def decoded_patch(patch: Any) -> list[Object]:
    try:
        operations = orjson.loads(base64.b64decode(patch, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise InvalidReview(f"received undecodable patch in webhook response: {error}") from None
    if not isinstance(operations, list):
        raise InvalidReview("received undecodable patch in webhook response: it is not a list of operations")
    return operations


def denied(webhook: str, result: Object) -> StatusError:
    """Return the refusal of a webhook as its answer words it (``ToStatusErr``)."""
    by = f'admission webhook "{webhook}" denied the request'
    code = result.get("code")
    code = code if isinstance(code, int) and 400 <= code < 600 else 400
    why = result.get("message") or result.get("reason")
    message = f"{by}: {why}" if why else f"{by} without explanation"
    details = result.get("details")
    error = StatusError(code, str(result.get("reason") or ""), message, details=dict(details) if details else None)
    error.metadata = mapping(result, "metadata")
    return error
