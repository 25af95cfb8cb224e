"""How containers of real pods start and end: in which order, with which hooks and signals, and when they start again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .eventually import eventually
from .space import Space, pod, state


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    mounts = [{"name": "host", "mountPath": "/host"}, {"name": "shared", "mountPath": "/shared"}]
    return {"name": name, "image": "busybox:1", "command": ["sh", "-c", script], "volumeMounts": mounts, **more}


def said(what: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", f"echo {what} >> /host/order"]}}


def waits_for(signal: str, then: str) -> str:
    return f"trap '{then}; exit 0' {signal}; touch /shared/up; while true; do sleep 0.05; done"


def test_starts_and_ends_come_in_order(space: Space, tmp_path: Path) -> None:
    order = tmp_path / "order"
    variable = {"name": "A", "valueFrom": {"fileKeyRef": {"volumeName": "shared", "path": "env", "key": "A"}}}
    side = container(
        "side",
        waits_for("TERM", "echo side-ends >> /host/order"),
        restartPolicy="Always",
        startupProbe={"exec": {"command": ["cat", "/shared/up"]}},
        lifecycle={"preStop": said("side-hook")},
    )
    main = container(
        "main",
        f'echo "main $A" >> /host/order; {waits_for("USR1", "echo main-usr1 >> /host/order")}',
        env=[variable],
        lifecycle={"postStart": said("main-hook"), "stopSignal": "SIGUSR1"},
    )
    spec = {
        "os": {"name": "linux"},
        "terminationGracePeriodSeconds": 20,
        "initContainers": [container("init", "echo \"A='from a file'\" > /shared/env"), side],
        "containers": [main, container("next", f"echo next >> /host/order; {waits_for('TERM', 'true')}")],
        "volumes": [
            {"name": "host", "hostPath": {"path": str(tmp_path)}},
            {"name": "shared", "emptyDir": {}},
        ],
    }
    space.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "ordered"}, "spec": spec})
    space.ready("ordered")
    statuses = {entry["name"]: entry for entry in space.pod("ordered")["status"]["containerStatuses"]}
    assert statuses["main"]["stopSignal"] == "SIGUSR1"
    eventually("all have begun", lambda: len(order.read_text().splitlines()) == 3)
    begun = order.read_text().splitlines()
    assert sorted(begun[:2]) == ["main from a file", "main-hook"] and begun[2] == "next"
    space("delete", "pod", "ordered", "--timeout=60s")
    ended = order.read_text().splitlines()[3:]
    assert sorted(ended[:2]) == ["main-usr1", "side-hook"] and ended[2:] == ["side-ends"]


def test_containers_start_again_by_their_rules(space: Space) -> None:
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    once = "[ -e /data/ran ] && exit 0; touch /data/ran; exit 42"
    spec = {"restartPolicy": "Never", "volumes": [{"name": "data", "emptyDir": {}}]}
    more = {"restartPolicy": "Never", "restartPolicyRules": [rule]}
    mounts = [{"name": "data", "mountPath": "/data"}]
    named = {
        "setHostnameAsFQDN": True,
        "subdomain": "sub",
        "hostAliases": [{"ip": "10.9.9.9", "hostnames": ["a", "b"]}],
    }
    long = {**named, "hostname": "h" * 60}
    space.apply(
        pod("ruled", once, spec, volumeMounts=mounts, **more),
        pod("named", "hostname; cat /etc/hosts; exec sleep 1234", named),
        pod("long", "sleep 1000", long),
    )
    eventually("it succeeds", lambda: space.pod("ruled").get("status", {}).get("phase") == "Succeeded")
    assert state(space, "ruled")["restartCount"] == 1
    space.ready("named")
    eventually("its hosts", lambda: "10.9.9.9\ta\tb" in space("logs", "named"))
    assert space("logs", "named").startswith(f"named.sub.{space.name}.svc.cluster.local\n")
    arguments = ["--image=busybox:1", "--target=main", "-c", "look", "--image-pull-policy=Never", "--profile=general"]
    space("debug", "named", *arguments, "--", "cat", "/proc/1/cmdline")
    eventually("it has looked", lambda: "1234" in space.run("logs", "named", "-c", "look").stdout)
    space("debug", "named", "--image=busybox:1", "-c", "again", "--image-pull-policy=Never", "--", "echo", "second")
    eventually("another has, too", lambda: space.run("logs", "named", "-c", "again").stdout == "second\n")
    assert len(space.pod("named")["status"]["ephemeralContainerStatuses"]) == 2

    def told() -> bool:
        events = json.loads(space("get", "events", "-o", "json"))["items"]
        return any("FQDN" in event["message"] and "is too long" in event["message"] for event in events)

    eventually("what is too long is told", told)
