"""AdmissionReviews in and out, and the object that sends them here."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from sampan.schema.causes import invalid
from sampan.security.admission import Outcome
from sampan.webhook.configuration import configuration
from sampan.webhook.review import ReviewError, answer, asked, request_of

REQUEST = {
    "uid": "u",
    "kind": {"group": "", "version": "v1", "kind": "Pod"},
    "namespace": "shop",
    "name": "web",
    "operation": "CREATE",
    "userInfo": {"username": "jane"},
    "object": {"metadata": {"name": "web"}},
}


def review(**changed: Any) -> dict[str, Any]:
    return {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": REQUEST, **changed}


def test_what_is_asked() -> None:
    request = request_of(asked(review()))
    assert (request.namespace, request.user, request.is_pod, request.old) == ("shop", "jane", True, None)


@pytest.mark.parametrize(
    "given",
    [None, [], {}, review(apiVersion="admission.k8s.io/v1beta1"), review(request=None), review(request={"uid": ""})],
)
def test_what_is_no_review(given: Any) -> None:
    with pytest.raises(ReviewError):
        asked(given)


def test_answers() -> None:
    assert answer(REQUEST, Outcome())["response"] == {"uid": "u", "allowed": True}
    told = answer(REQUEST, Outcome(warnings=["w"], annotations={"a": "b"}))["response"]
    assert told == {"uid": "u", "allowed": True, "warnings": ["w"], "auditAnnotations": {"a": "b"}}
    refused = answer(REQUEST, Outcome(refusal="violates it"))["response"]
    assert refused["allowed"] is False and refused["status"]["code"] == 403
    assert refused["status"]["message"] == 'pods "web" is forbidden: violates it'
    namespace = {**REQUEST, "kind": {"group": "", "kind": "Namespace"}}
    wrong = answer(namespace, Outcome(wrong=[invalid("metadata.labels[x]", "y", "must be z")]))["response"]
    assert wrong["status"]["message"] == 'Namespace "web" is invalid: metadata.labels[x]: Invalid value: "y": must be z'


def test_the_configuration_spares_and_trusts() -> None:
    made = configuration({"url": "https://h/validate"}, b"ca", "Ignore", ["kube-system"])
    pods, others = made["webhooks"]
    assert (pods["failurePolicy"], others["failurePolicy"]) == ("Ignore", "Ignore")
    assert base64.b64decode(pods["clientConfig"]["caBundle"]) == b"ca"
    assert pods["namespaceSelector"]["matchExpressions"][0]["values"] == ["kube-system"]
    assert configuration({}, b"", "Fail", [])["webhooks"][0]["namespaceSelector"] == {}
