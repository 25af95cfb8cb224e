"""Every check at every version, on the pods of ``tests/pod_security_fixtures.py``; and that what is refused can be mended."""

from __future__ import annotations

import pytest

from sampan.schema.json_diff import json_diff
from sampan.schema.patch import json_patch
from sampan.security import Level, Standard
from sampan.security.fixes import edited, fix
from sampan.security.standards import Evaluator
from tests.pod_security_fixtures import NEWEST, pods

PSS = Evaluator()
LEVELS = (Level.BASELINE, Level.RESTRICTED)


@pytest.mark.parametrize("minor", range(NEWEST + 1))
@pytest.mark.parametrize("level", LEVELS)
def test_what_is_let_through_and_what_is_refused(level: Level, minor: int) -> None:
    standard = Standard(level, minor)
    for check, pod, allowed in pods(level, minor):
        verdict = PSS.judge(standard, pod["metadata"], pod["spec"])
        assert verdict.allowed is allowed, (check, pod, verdict.detail)
        assert bool(PSS.violated(standard, pod["metadata"], pod["spec"])) is not allowed


@pytest.mark.parametrize("minor", (0, 8, 18, 19, 22, 25, 31, 35, NEWEST))
@pytest.mark.parametrize("level", LEVELS)
def test_everything_refused_has_a_smallest_fix(level: Level, minor: int) -> None:
    standard = Standard(level, minor)
    for check, pod, allowed in pods(level, minor):
        made = fix(PSS, standard, pod["metadata"], pod["spec"])
        assert made.reached and bool(made.edits) is not allowed, (check, pod)
        for one in made.edits:
            fewer = [edit for edit in made.edits if edit is not one]
            assert not PSS.judge(standard, *edited(pod["metadata"], pod["spec"], fewer)).allowed, (check, one)
        metadata, spec = made.pod
        patch = list(json_diff(pod, {"metadata": metadata, "spec": spec}))
        assert json_patch(pod, patch) == {"metadata": metadata, "spec": spec}
