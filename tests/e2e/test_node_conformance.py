"""What Kubernetes' conformance list asks of a node and no other test here shows: termination messages, init containers that
fail, restarts by policy, deadlines, expansions, variables of Services, /etc/hosts. Many pods, one wait for all of them."""

from __future__ import annotations

from typing import Any

from .eventually import eventually
from .space import Space, pod, state


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox:1", "command": ["sh", "-c", script], **more}


FALLBACK = {"terminationMessagePolicy": "FallbackToLogsOnError"}
MESSAGES = (
    container("quiet", "echo logged", **FALLBACK),
    container("file", "echo -n written > /dev/termination-log; echo logged", **FALLBACK),
    container("log", "echo -n logged; exit 1", **FALLBACK),
    container(
        "own",
        "echo -n mine > /dev/own-path",
        terminationMessagePath="/dev/own-path",
        securityContext={"runAsUser": 1000},
    ),
)


def terminated(space: Space, name: str) -> dict[str, dict[str, Any]]:
    statuses = space.pod(name).get("status", {}).get("containerStatuses") or ()
    return {entry["name"]: entry["state"].get("terminated") for entry in statuses}


def phase(space: Space, name: str) -> str:
    return str(space.pod(name).get("status", {}).get("phase"))


def test_what_conformance_asks_of_a_node(space: Space) -> None:
    never = {"restartPolicy": "Never"}
    data = {"volumes": [{"name": "data", "emptyDir": {}}]}
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    once = "[ -e /data/ran ] && exit 0; touch /data/ran; exit 1"
    service = {"selector": {"app": "none"}, "ports": [{"port": 8765, "targetPort": 8080}]}
    space.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "fooservice"}, "spec": service})
    fails = {"initContainers": [container("init", "exit 1")]}
    env = [
        {"name": "PATH_PART", "valueFrom": {"fieldRef": {"fieldPath": "metadata.annotations['part']"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu"}}},
        {"name": "HOST_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
        {"name": "WHOLE", "value": "$(HOST_IP);;$(CPU);;$$(CPU)"},
    ]
    expanded = [{"name": "data", "mountPath": "/sub", "subPathExpr": "$(PATH_PART)"}]
    fixed = pod("expanded", "touch /sub/f; env | busybox sort; sleep 1000", data, env=env, volumeMounts=expanded)
    fixed["metadata"]["annotations"] = {"part": "/absolute"}
    hosts = [{"name": "hosts", "hostPath": {"path": "/etc/hosts", "type": "File"}}]
    original = {"volumeMounts": [{"name": "hosts", "mountPath": "/etc/hosts"}]}
    host = {"hostNetwork": True, "restartPolicy": "Never"}
    space.apply(
        pod("messages", "true", {**never, "containers": list(MESSAGES)}),
        pod("once", once, {"restartPolicy": "OnFailure", **data}, **mount),
        pod("init-never", "sleep 1000", {**never, **fails}),
        pod("init-always", "sleep 1000", fails),
        pod("deadline", "sleep 1000"),
        pod(
            "grpc",
            "trap 'exit 0' TERM; sleep 1000 & wait",
            livenessProbe={"grpc": {"port": 2333}, "failureThreshold": 1},
        ),
        fixed,
        pod("managed", "cat /etc/hosts", never),
        pod("own-hosts", "cat /etc/hosts", {**never, "volumes": hosts}, **original),
        pod("host-network", "cat /etc/hosts", host),
        pod("arguments", "", command=None, args=["sh", "-c", "echo from arguments; sleep 1000"]),
    )
    space("wait", "pod/deadline", "--for=condition=Ready", "--timeout=60s")
    space("patch", "pod", "deadline", "-p", '{"spec": {"activeDeadlineSeconds": 1}}')

    def all_ended() -> bool:
        ended = terminated(space, "messages")
        return len(ended) == len(MESSAGES) and all(ended.values())

    eventually("all have ended", all_ended)
    told = {name: ended.get("message", "") for name, ended in terminated(space, "messages").items()}
    assert told == {"quiet": "", "file": "written", "log": "logged", "own": "mine"}
    eventually("it succeeds the second time", lambda: phase(space, "once") == "Succeeded")
    assert state(space, "once")["restartCount"] == 1
    eventually("its init container fails it", lambda: phase(space, "init-never") == "Failed")
    assert state(space, "init-never")["state"]["waiting"]["reason"] == "PodInitializing"
    inits = lambda: space.pod("init-always")["status"]["initContainerStatuses"]  # noqa: E731
    eventually("its init container is restarted", lambda: inits()[0]["restartCount"] >= 1)
    assert phase(space, "init-always") == "Pending"
    assert state(space, "init-always")["state"]["waiting"]["reason"] == "PodInitializing"
    eventually("its time is over", lambda: space.pod("deadline")["status"].get("reason") == "DeadlineExceeded")
    assert phase(space, "deadline") == "Failed"
    eventually("it is restarted", lambda: state(space, "grpc").get("restartCount", 0) >= 1)

    def waits() -> str:
        return str(state(space, "expanded")["state"].get("waiting", {}).get("reason"))

    eventually("it cannot be made", lambda: waits() == "CreateContainerConfigError")
    space("annotate", "pod", "expanded", "part=relative", "--overwrite")
    space.ready("expanded")
    eventually("it has printed all", lambda: "WHOLE=" in space("logs", "expanded"))
    node = str(space.cluster.settings.node_ip)
    cores = space.cluster.get("node", space.cluster.settings.node_name)["status"]["allocatable"]["cpu"]
    log = space("logs", "expanded")
    assert f"WHOLE={node};;{cores};;$(CPU)\n" in log
    for expected in (
        "FOOSERVICE_SERVICE_PORT=8765",
        "FOOSERVICE_PORT_8765_TCP_PROTO=tcp",
        "FOOSERVICE_SERVICE_HOST=10.",
    ):
        assert expected in log

    eventually(
        "they have ended", lambda: {phase(space, n) for n in ("managed", "own-hosts", "host-network")} == {"Succeeded"}
    )
    header = "# Kubernetes-managed hosts file."
    assert header in space("logs", "managed")
    assert header not in space("logs", "own-hosts") + space("logs", "host-network")
    eventually("its arguments are the image's command", lambda: space("logs", "arguments") == "from arguments\n")
