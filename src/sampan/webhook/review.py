"""An AdmissionReview answered by the rules of Pod Security. Pure. Source: admission.k8s.io/v1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sampan.schema.objects import Object
from sampan.security.admission import Outcome, Request

PLURALS = {"Pod": "pods", "Namespace": "namespaces"}


class ReviewError(ValueError):
    """What is no AdmissionReview of ours; the message says why."""


def asked(review: Any) -> Object:
    """Return the request of an AdmissionReview. Raises ``ReviewError``."""
    if not isinstance(review, Mapping) or review.get("kind") != "AdmissionReview":
        raise ReviewError("this is no AdmissionReview")
    if review.get("apiVersion") != "admission.k8s.io/v1":
        raise ReviewError(f"AdmissionReview of {review.get('apiVersion')!r}: admission.k8s.io/v1 is spoken here")
    request = review.get("request")
    if not isinstance(request, Mapping) or not request.get("uid"):
        raise ReviewError("an AdmissionReview without a request")
    return dict(request)


def request_of(request: Object) -> Request:
    """Return what is asked, as Pod Security looks at it."""
    kind = request.get("kind") or {}
    return Request(
        group=kind.get("group", ""),
        kind=kind.get("kind", ""),
        namespace=request.get("namespace", ""),
        user=(request.get("userInfo") or {}).get("username", ""),
        object=request.get("object") or {},
        old=request.get("oldObject"),
    )


def answer(request: Object, outcome: Outcome) -> Object:
    """Return the AdmissionReview that answers a request."""
    name = request.get("name") or ((request.get("object") or {}).get("metadata") or {}).get("name") or ""
    refusal, code, reason = outcome.refusal, 403, "Forbidden"
    kind = (request.get("kind") or {}).get("kind", "")
    if refusal:
        refusal = f'{PLURALS.get(kind, kind)} "{name}" is forbidden: {refusal}'
    elif outcome.wrong:
        causes = [f"{cause.field}: {cause.message}" for cause in outcome.wrong]
        said = causes[0] if len(causes) == 1 else f"[{', '.join(causes)}]"
        refusal, code, reason = f'{kind} "{name}" is invalid: {said}', 422, "Invalid"
    response: Object = {"uid": request["uid"], "allowed": not refusal}
    if refusal:
        status = {"apiVersion": "v1", "kind": "Status", "status": "Failure", "metadata": {}}
        response["status"] = {**status, "message": refusal, "reason": reason, "code": code}
    if outcome.warnings:
        response["warnings"] = outcome.warnings
    if outcome.annotations:
        response["auditAnnotations"] = outcome.annotations
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
