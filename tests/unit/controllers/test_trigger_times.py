"""Which moment the endpoints of a Service are written for."""

from __future__ import annotations

from sampan.controllers.trigger_times import TRIGGER_TIME, TriggerTimes, with_trigger
from sampan.schema.objects import Object

SERVICE: Object = {"metadata": {"creationTimestamp": "2026-01-01T00:00:05Z"}}


def pod(name: str, second: int) -> Object:
    conditions = [
        {"type": "Initialized", "lastTransitionTime": "2026-01-01T00:00:01Z"},
        {"type": "Ready", "lastTransitionTime": f"2026-01-01T00:00:{second:02}Z"},
    ]
    return {"metadata": {"name": name}, "status": {"conditions": conditions}}


def test_the_oldest_of_what_is_new_since_the_last_look_counts() -> None:
    """Nothing told it: ``kubeproxy_network_programming_duration_seconds`` was empty."""
    triggers = TriggerTimes()
    look = lambda *pods: triggers.look("default/web", SERVICE, pods)[-3:]  # noqa: E731
    assert look() == "05Z", "the Service is new"
    assert look() == ""
    assert look(pod("a", 20), pod("b", 10), {"metadata": {"name": "c"}}) == "10Z"
    assert look(pod("a", 20), pod("b", 10)) == ""
    assert look(pod("a", 30), pod("b", 10)) == "30Z"
    assert look(pod("b", 10)) == "", "nobody knows when a pod went"
    triggers.forget("default/web")
    assert not triggers._known


def test_what_is_written_for_nothing_known_tells_no_moment() -> None:
    assert with_trigger({TRIGGER_TIME: "old", "a": "b"}, "") == {"a": "b"}
    assert with_trigger(None, "now") == {TRIGGER_TIME: "now"}
