"""Policies out of a namespace's labels."""

from __future__ import annotations

import pytest

from sampan.security.levels import LATEST, Level, Policy, PolicyError, Standard, policy_of, standard

P = "pod-security.kubernetes.io/"
B, R, NONE = Level.BASELINE, Level.RESTRICTED, Standard()


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({}, Policy()),
        ({"enforce": "baseline"}, Policy(Standard(B), NONE, Standard(B))),
        ({"enforce": "baseline", "enforce-version": "v1.30"}, Policy(Standard(B, 30), NONE, Standard(B, 30))),
        ({"enforce": "restricted", "warn": "baseline"}, Policy(Standard(R), NONE, Standard(B))),
        ({"enforce": "restricted", "warn": "privileged"}, Policy(Standard(R), NONE, NONE)),
        ({"enforce": "restricted", "warn-version": "v1.25"}, Policy(Standard(R), NONE, Standard(R, 25))),
        ({"audit": "restricted", "audit-version": "v1.0"}, Policy(NONE, Standard(R, 0), NONE)),
        ({"enforce-version": "v1.30"}, Policy(Standard(Level.PRIVILEGED, 30), NONE, NONE)),
    ],
)
def test_labels(labels: dict[str, str], expected: Policy) -> None:
    assert policy_of({P + key: value for key, value in labels.items()}) == (expected, [])


def test_what_is_wrong_is_named_and_counts_as_strict() -> None:
    policy, wrong = policy_of({f"{P}enforce": "strict", f"{P}audit": "x", f"{P}warn-version": "1.30"})
    assert policy == Policy(Standard(R), NONE, NONE)
    assert [(cause.field, cause.message) for cause in wrong] == [
        (f"metadata.labels[{P}enforce]", 'Invalid value: "strict": must be one of privileged, baseline, restricted'),
        (f"metadata.labels[{P}audit]", 'Invalid value: "x": must be one of privileged, baseline, restricted'),
        (f"metadata.labels[{P}warn-version]", 'Invalid value: "1.30": must be "latest" or "v1.x"'),
    ]


@pytest.mark.parametrize("text", ["v1", "v1.", "v1.01", "v2.1", "1.30", "latest ", "v1.-1", ""])
def test_versions_that_are_none(text: str) -> None:
    with pytest.raises(PolicyError):
        standard(f"baseline:{text} ")


def test_standards_as_text() -> None:
    assert str(standard("restricted:v1.30")) == "restricted:v1.30"
    assert str(standard("baseline")) == "baseline:latest"
    assert standard("baseline:latest") == Standard(B, LATEST)


def test_of_privileged_the_version_does_not_matter() -> None:
    assert Policy(Standard(Level.PRIVILEGED, 3)).same(Policy())
    assert not Policy(Standard(B, 3)).same(Policy(Standard(B)))
