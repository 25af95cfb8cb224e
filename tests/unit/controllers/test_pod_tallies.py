"""Tallies of pods say the same as counting them anew, whatever happened to the pods."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sampan.controllers.pod_tally import Tallies, tally_of
from sampan.schema.objects import Object
from sampan.schema.selectors import label_selector


class Deaf:
    """An informer that nothing happens in: the tests tell the tallies themselves."""

    def add_handler(self, handler: Any) -> None: ...


def pod(name: str, owner: str, phase: str, ready: bool, going: bool, app: str) -> Object:
    metadata: Object = {"name": name, "namespace": "default", "uid": name, "labels": {"app": app, "all": "have"}}
    if owner:
        metadata["ownerReferences"] = [{"kind": "ReplicaSet", "name": owner, "uid": owner, "controller": True}]
    if going:
        metadata["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    conditions = [{"type": "Ready", "status": str(ready)}]
    return {"metadata": metadata, "status": {"phase": phase, "conditions": conditions}}


states = st.tuples(
    st.sampled_from(["", "one", "two"]),
    st.sampled_from(["Pending", "Running", "Succeeded", "Failed"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from(["web", "db"]),
)
steps = st.lists(st.tuples(st.integers(0, 4), st.one_of(st.none(), states)), max_size=40)


@given(steps)
def test_they_follow_every_change(changes: list[tuple[int, Any]]) -> None:
    tallies = Tallies(Deaf(), "ReplicaSet")  # type: ignore[arg-type]
    there: dict[int, Object] = {}
    for number, state in changes:
        old = there.pop(number, None)
        if state is None:
            if old is not None:
                tallies._on_pod("DELETED", old, old)
            continue
        new = there[number] = pod(f"p{number}", *state)
        tallies._on_pod("ADDED" if old is None else "MODIFIED", old, new)
    for uid in ("one", "two"):
        mine = [p for p in there.values() if (p["metadata"].get("ownerReferences") or [{}])[0].get("uid") == uid]
        kept, anew = tallies.of(uid), tally_of(mine)
        assert (kept.active, kept.ready, kept.terminating) == (anew.active, anew.ready, anew.terminating)
        for wanted in ({"app": "web"}, {"app": "db"}, {"all": "have"}):
            assert kept.labelled(wanted) == anew.labelled(wanted)
            selector = label_selector({"matchLabels": wanted})
            assert kept.has_strays(selector) == anew.has_strays(selector)
    assert set(tallies._of) <= {"one", "two"}


def test_owners_without_pods_are_forgotten() -> None:
    tallies = Tallies(Deaf(), "ReplicaSet")  # type: ignore[arg-type]
    one = pod("a", "one", "Running", True, False, "web")
    tallies._on_pod("ADDED", None, one)
    assert tallies.of("one").active == 1
    tallies._on_pod("DELETED", one, one)
    assert not tallies._of
