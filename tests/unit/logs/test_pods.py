"""What the API knows of pods, for records of theirs."""

from __future__ import annotations

from unittest.mock import Mock

import pytest

from sampan.logs import pods as pods_of_node
from sampan.logs.pods import RULE, Pods


def test_a_rule_that_there_is_not_is_said_once_for_a_pod_and_pods_are_not_remembered_for_ever(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pods_of_node, "REMEMBERED", 3)
    pods = Pods(Mock())
    for number in range(10):
        metadata = {"namespace": "n", "name": f"p{number}", "uid": f"u{number}", "annotations": {RULE: "none"}}
        pods._changed("ADDED", None, {"metadata": metadata})
        for restart in range(3):
            assert pods.rule_of(f"/var/log/pods/n_p{number}_u{number}/main/{restart}.log", {"other"}) == ""
    assert len(caplog.records) == 10
    assert len(pods._unknown) == 3
