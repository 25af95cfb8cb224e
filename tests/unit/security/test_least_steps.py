"""Steps to the tightest context: what each takes away, which folders stay writable, what is proposed as a patch."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from sampan.security import Level, Standard
from sampan.security.least import (
    STEPS,
    Evidence,
    changes,
    effective_steps,
    folders,
    held,
    needed,
    only_capabilities,
    tightened,
    without,
)
from sampan.security.shadow import RUN, copy_of, losses
from sampan.security.standards import Evaluator

SEEN = {"c": Evidence(uids=frozenset((0,)), written=("/tmp/x", "/var/cache/web/a/b", "/srv/up/f"))}


def spec(own: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "containers": [{"name": "c", "image": "i", **({"securityContext": own} if own is not None else {})}],
        **more,
    }


def test_all_steps_reach_restricted() -> None:
    loose = spec({"privileged": True, "seccompProfile": {"type": "Unconfined"}}, hostPID=True)
    before = copy.deepcopy(loose)
    made = tightened(loose, STEPS, SEEN)
    assert loose == before, "the original is not touched"
    assert Evaluator().judge(Standard(Level.RESTRICTED), {}, made).allowed
    assert made["securityContext"]["runAsUser"] == 1000
    mounts = {mount["mountPath"] for mount in made["containers"][0]["volumeMounts"]}
    assert mounts == {"/tmp", "/var/cache/web", "/srv/up"}
    assert effective_steps(made, SEEN) == [], "nothing is left to take"


def test_a_user_that_is_not_root_stays() -> None:
    made = tightened(spec(), [STEPS[-1]], {"c": Evidence(uids=frozenset((70,)))})
    assert made["securityContext"] == {"runAsNonRoot": True, "runAsUser": 70, "runAsGroup": 70}
    asked = tightened(spec({"runAsUser": 5}), [STEPS[-1]], {})
    assert asked["containers"][0]["securityContext"] == {} and asked["securityContext"]["runAsUser"] == 5


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ((), []),
        (("/x",), []),
        (("/tmp/a/b", "/tmp/c"), ["/tmp"]),
        (("/run/.",), ["/run"]),
        (("/var/lib/a/1", "/var/lib/a/b/2", "/var/lib/c/3"), ["/var/lib/a", "/var/lib/c"]),
        (("/srv/a/f", "/srv/a/b/f"), ["/srv/a"]),
    ],
)
def test_folders_that_must_be_writable(written: tuple[str, ...], expected: list[str]) -> None:
    assert folders(written) == expected


def test_volumes_that_are_mounted_already_are_left() -> None:
    mounted = spec()
    mounted["containers"][0]["volumeMounts"] = [{"name": "t", "mountPath": "/tmp"}]
    made = tightened(mounted, [STEPS[5]], {"c": Evidence(written=("/tmp/x",))})
    assert made["containers"][0]["volumeMounts"] == mounted["containers"][0]["volumeMounts"] and "volumes" not in made


def test_capabilities_one_by_one() -> None:
    loose = spec({"capabilities": {"add": ["NET_ADMIN"], "drop": ["MKNOD"]}})
    assert "NET_ADMIN" in held(loose)["c"] and "MKNOD" not in held(loose)["c"]
    less = without(loose, "c", "NET_ADMIN")["containers"][0]["securityContext"]["capabilities"]
    assert less == {"drop": ["MKNOD", "NET_ADMIN"]}
    assert needed({("c", "CHOWN"): False, ("c", "KILL"): True}) == {"c": ["CHOWN"]}
    only_capabilities(loose, {"c": ["CHOWN"]})
    assert loose["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN"]}


def test_the_patch_says_only_what_changes() -> None:
    old = spec(
        {"privileged": True, "runAsUser": 5}, hostPID=True, hostIPC=False, volumes=[{"name": "v", "emptyDir": {}}]
    )
    new = tightened(old, STEPS, {"c": Evidence(written=("/tmp/x",))})
    patch = changes(old, new)
    assert patch["hostPID"] is None and patch["volumes"] == [{"name": "writable-tmp", "emptyDir": {}}]
    (container,) = patch["containers"]
    assert container["name"] == "c" and container["securityContext"]["privileged"] is None
    assert container["volumeMounts"] == [{"name": "writable-tmp", "mountPath": "/tmp"}]
    assert changes(old, old) == {}


def test_a_copy_does_no_harm() -> None:
    pod = {
        "metadata": {"name": "web", "namespace": "shop", "uid": "u", "labels": {"app": "web"}, "ownerReferences": [{}]}
    }
    data = {"name": "d", "persistentVolumeClaim": {"claimName": "d"}}
    whole = spec(nodeName="n", volumes=[data, {"name": "c", "configMap": {"name": "c"}}])
    whole["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 80}]
    made = copy_of(pod, whole, "web-least-1", "run")
    assert made["metadata"] == {"name": "web-least-1", "namespace": "shop", "labels": {RUN: "run"}}
    assert "nodeName" not in made["spec"] and made["spec"]["containers"][0]["ports"] == [{"containerPort": 80}]
    assert made["spec"]["volumes"] == [{"name": "d", "emptyDir": {}}, {"name": "c", "configMap": {"name": "c"}}]
    assert losses(whole) == ["volume d is empty in the copies"]
