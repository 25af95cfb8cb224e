"""What is done next for a pod: init containers in turn, sidecars until they have started, then the others; and again after
any crash, for a step is found from what there is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.node import cri_pb2 as cri
from sampan.node.container_config import HASH, spec_hash
from sampan.node.pod_plan import deadline_left, initialized, next_attempt, next_step
from sampan.node.pod_status import phase_of
from sampan.node.pod_view import PodView
from sampan.node.restart_policy import restart_wanted

CREATED, RUNNING, EXITED = cri.CONTAINER_CREATED, cri.CONTAINER_RUNNING, cri.CONTAINER_EXITED


def container(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "x:1", **more}


def pod(*mains: dict[str, Any], inits: tuple[dict[str, Any], ...] = (), policy: str = "Always") -> dict[str, Any]:
    spec = {"restartPolicy": policy, "containers": list(mains) or [container("main")], "initContainers": list(inits)}
    return {"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": spec}


def seen(view: PodView, name: str, state: int, code: int = 0, *, started: bool = True, stale: bool = False) -> None:
    found = view.of(name)
    metadata = cri.ContainerMetadata(name=name)
    found.current = cri.ContainerStatus(id=name, state=state, exit_code=code, metadata=metadata)  # type: ignore[arg-type]
    found.started, found.stale = started and state == RUNNING, stale


def starts(manifest: dict[str, Any], view: PodView) -> list[str]:
    return [c["name"] for c in next_step(manifest, view).starts]


def test_init_containers_take_turns_and_sidecars_open_the_way_when_they_have_started() -> None:
    manifest = pod(inits=(container("a"), container("side", restartPolicy="Always"), container("b")))
    view = PodView()
    assert starts(manifest, view) == ["a"]
    seen(view, "a", RUNNING)
    assert starts(manifest, view) == []
    seen(view, "a", EXITED)
    assert starts(manifest, view) == ["side"]
    seen(view, "side", RUNNING, started=False)
    assert starts(manifest, view) == []
    seen(view, "side", RUNNING)
    assert starts(manifest, view) == ["b"]
    seen(view, "side", EXITED, 1)  # while another init container runs
    seen(view, "b", RUNNING)
    assert starts(manifest, view) == ["side"]
    seen(view, "side", RUNNING)
    seen(view, "b", EXITED)
    assert starts(manifest, view) == ["main"]
    seen(view, "main", RUNNING)
    assert starts(manifest, view) == []
    view.of("a").current = view.of("b").current = None  # collected
    seen(view, "side", EXITED, 1)
    assert starts(manifest, view) == ["side"] and initialized(manifest, view)


def test_a_start_that_was_cut_off_is_made_again_under_its_number() -> None:
    manifest, view = pod(), PodView()
    seen(view, "main", CREATED)
    assert starts(manifest, view) == ["main"] and next_attempt(manifest, "main", view.of("main")) == 0
    seen(view, "main", EXITED, 1)
    assert next_attempt(manifest, "main", view.of("main")) == 1


def test_the_number_of_an_instance_outlives_the_collection_of_those_before() -> None:
    manifest, view = pod(), PodView()
    told = {"name": "main", "restartCount": 4, "containerID": "containerd://x"}
    manifest["status"] = {"containerStatuses": [told]}
    assert next_attempt(manifest, "main", view.of("main")) == 5
    told["containerID"] = ""
    assert next_attempt(manifest, "main", view.of("main")) == 0


def test_a_new_sandbox_begins_with_the_init_containers() -> None:
    manifest = pod(container("once"), container("main"), inits=(container("init"),), policy="OnFailure")
    view = PodView()
    seen(view, "init", EXITED, stale=True)
    seen(view, "once", EXITED, 0, stale=True)
    seen(view, "main", EXITED, 137, stale=True)
    assert starts(manifest, view) == ["init"]
    seen(view, "init", EXITED)
    assert starts(manifest, view) == ["main"], "what had ended well is not done again"


def test_a_post_start_hook_holds_those_that_follow() -> None:
    hook = {"postStart": {"sleep": {"seconds": 1}}}
    manifest, view = pod(container("a"), container("b", lifecycle=hook), container("c")), PodView()
    assert starts(manifest, view) == ["a", "b"]
    for name in "ab":
        seen(view, name, RUNNING)
    view.of("b").hook_pending = True
    assert starts(manifest, view) == []
    view.of("b").hook_pending = False
    assert starts(manifest, view) == ["c"]


def test_ephemeral_containers_start_at_any_time_and_once() -> None:
    manifest, view = pod(inits=(container("init"),)), PodView()
    manifest["spec"]["ephemeralContainers"] = [container("debug")]
    assert starts(manifest, view) == ["debug", "init"]
    seen(view, "debug", EXITED, 1)
    assert starts(manifest, view) == ["init"]


def test_what_runs_another_image_is_stopped() -> None:
    manifest, view = pod(), PodView()
    seen(view, "main", RUNNING)
    current = view.of("main").current
    assert current is not None
    current.annotations[HASH] = spec_hash(container("main"))
    assert next_step(manifest, view).kills == ()
    manifest["spec"]["containers"][0]["image"] = "x:2"
    assert next_step(manifest, view).kills == (("main", "Container main definition changed, will be restarted"),)


@pytest.mark.parametrize(
    ("policy", "rules", "code", "again"),
    [
        ("Never", [("In", [42])], 42, True),
        ("Never", [("In", [42])], 1, False),
        ("Never", [("NotIn", [0, 1])], 7, True),
        ("Never", [("NotIn", [0, 1])], 1, False),
        ("Always", [("In", [42])], 1, True),
        ("OnFailure", [], 0, False),
    ],
)
def test_rules_of_a_container_decide_before_its_policy(
    policy: str, rules: list[tuple[str, list[int]]], code: int, again: bool
) -> None:
    listed = [{"action": "Restart", "exitCodes": {"operator": way, "values": values}} for way, values in rules]
    ruled = container("main", restartPolicy=policy, restartPolicyRules=listed)
    manifest, view = pod(ruled, policy="Never"), PodView()
    seen(view, "main", EXITED, code)
    assert restart_wanted(manifest, ruled, view.of("main")) is again
    ended = "Succeeded" if code == 0 else "Failed"
    assert phase_of(manifest, view) == ("Running" if again else ended)
    assert phase_of(manifest, view, over=True) == ended, "a pod that is deleted restarts nothing"


def test_deadlines() -> None:
    manifest = pod()
    assert deadline_left(manifest, 0) is None
    manifest["spec"]["activeDeadlineSeconds"] = 30
    assert deadline_left(manifest, 0) is None
    manifest["status"] = {"startTime": "1970-01-01T00:01:40Z"}
    assert deadline_left(manifest, 110) == 20 and deadline_left(manifest, 140) == -10


names = st.lists(st.sampled_from(["plain", "sidecar", "hooked"]), max_size=4)


@given(inits=names, mains=names.filter(bool), data=st.data())
def test_whatever_ends_or_crashes_a_pod_comes_to_run(inits: list[str], mains: list[str], data: st.DataObject) -> None:
    """A world that does one thing at a time: a start is made, or cut off between making and starting; what runs may end."""

    def make(kind: str, name: str, init: bool) -> dict[str, Any]:
        more: dict[str, Any] = {"restartPolicy": "Always"} if init and kind == "sidecar" else {}
        return container(name, **more, **({"lifecycle": {"postStart": {}}} if kind == "hooked" else {}))

    manifest = pod(
        *(make(kind, f"m{i}", False) for i, kind in enumerate(mains)),
        inits=tuple(make(kind, f"i{i}", True) for i, kind in enumerate(inits)),
    )
    once = {c["name"] for c in manifest["spec"]["initContainers"] if "restartPolicy" not in c}
    view, trouble = PodView(), 12
    for _ in range(100):
        due = starts(manifest, view)
        if not due:
            break
        for name in due:
            assert not view.of(name).running, "nothing is started twice"
            cut_off = trouble > 0 and data.draw(st.booleans())
            trouble -= 1
            if cut_off:
                seen(view, name, CREATED)
                break
            seen(view, name, EXITED if name in once else RUNNING)
        for name in [n for n, c in view.containers.items() if c.running]:
            if trouble > 0 and data.draw(st.booleans()):
                seen(view, name, EXITED, 1)
                trouble -= 1
    assert phase_of(manifest, view) == "Running"
    assert all(view.of(c["name"]).running for c in manifest["spec"]["containers"])
