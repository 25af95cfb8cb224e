"""Whatever a webhook answers, it is read or refused: never an error of ours."""

from __future__ import annotations

import contextlib
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.api.admission.admission_review import InvalidReview, denied, verdict
from sampan.api.conversion import answered, taken
from sampan.api.errors import StatusError

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
WORDS = st.sampled_from(["v1", "AdmissionReview", "admission.k8s.io/v1", "W10=", "JSONPatch", "Success", "u"])
FIELDS = "uid allowed status patch patchType warnings auditAnnotations code message reason details metadata result"
KEYS = st.sampled_from([*FIELDS.split(), "convertedObjects", "labels", "annotations", "name"])
WILD = st.recursive(
    SCALARS | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS | st.text(max_size=3), inner, max_size=5),
    max_leaves=12,
)
HEADS = {"kind": st.just("AdmissionReview"), "apiVersion": st.just("admission.k8s.io/v1")}


@given(st.fixed_dictionaries(HEADS | {"response": WILD}) | WILD, st.booleans(), st.sampled_from(["v1", "v1beta1"]))
def test_admission_reviews(answer: Any, mutating: bool, version: str) -> None:
    with contextlib.suppress(InvalidReview):
        found = verdict(version, "u", mutating, answer)
        refusal = denied("hook", found.result)
        assert 400 <= refusal.code < 600 and refusal.status()["message"]


CONVERSIONS = {"kind": st.just("ConversionReview"), "apiVersion": st.just("apiextensions.k8s.io/v1")}
BEFORE = {"apiVersion": "e.x/v1", "kind": "Widget", "metadata": {"name": "n", "uid": "u"}}


@given(st.fixed_dictionaries(CONVERSIONS | {"response": WILD}) | WILD, WILD)
def test_conversion_reviews(answer: Any, converted: Any) -> None:
    with contextlib.suppress(StatusError):
        assert isinstance(answered(answer, "v1", "u", "e.x/v1, Kind=Widget"), list)
    same = {"apiVersion": "e.x/v2", "kind": "Widget", "metadata": {"name": "n", "uid": "u"}}
    for after in (converted, {**same, "spec": converted}, {**same, "metadata": converted}):
        with contextlib.suppress(StatusError):
            made = taken(BEFORE, after, "e.x/v2", "e.x/v1, Kind=Widget")
            assert made["metadata"]["name"] == "n" and made["metadata"]["uid"] == "u"
