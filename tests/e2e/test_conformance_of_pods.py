"""More of what Kubernetes' conformance list asks of nodes: commands and variables, hooks and probes over HTTP and TCP, users,
logs over a WebSocket, generations. Many pods, made together; docs/conformance-node-storage.md says which is which."""

from __future__ import annotations

import asyncio
import base64
import datetime
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import yaml

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

from .eventually import eventually
from .space import Space, pod, state

IMAGE = "docker.io/library/entry:1"
NEVER = {"restartPolicy": "Never"}
SERVES = "mkdir /www; echo well > /www/health; exec httpd -f -vv -p 8080 -h /www"


def container(name: str, script: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": "busybox:1", "command": ["sh", "-c", script], **more}


def bare(name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "image": IMAGE, **more}


def of_field(name: str, path: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}


def of_amount(name: str, resource: str) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"resourceFieldRef": {"resource": resource}}}


def phase(space: Space, name: str) -> str:
    return str(space.pod(name).get("status", {}).get("phase"))


def test_commands_variables_and_users(space: Space, tmp_path: Path) -> None:
    files = {f"bin/{name}": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755) for name in ("echo", "printf")}
    docker_archive(tmp_path / "entry.tar", [IMAGE], files, ImageConfig(("/bin/echo", "entry"), ("of-image",)))
    space.cluster.sampan("image", "load", "--name", space.cluster.name, str(tmp_path / "entry.tar"))
    own = {"command": ["/bin/printf", "%s\n"]}
    images = [bare("whole"), bare("args", args=["given"]), bare("command", **own), bare("both", **own, args=["x"])]
    config = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"one": "1"}}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"two.2": "2"}}
    env = [
        {"name": "C", "valueFrom": {"configMapKeyRef": {"name": "c", "key": "one"}}},
        {"name": "S", "valueFrom": {"secretKeyRef": {"name": "s", "key": "two.2"}}},
        of_field("NAME", "metadata.name"), of_field("SPACE", "metadata.namespace"), of_field("UID_", "metadata.uid"),
        of_field("IP", "status.podIP"), of_field("HOST", "status.hostIP"), of_field("HOSTS", "status.hostIPs"),
        of_amount("CPU", "limits.cpu"), of_amount("ASKED", "requests.memory"),
        {"name": "NEW", "value": "$(C);$(S)"},
    ]  # fmt: skip
    amounts = {"requests": {"cpu": "10m", "memory": "32Mi"}, "limits": {"cpu": "1", "memory": "64Mi"}}
    prefixed = [{"prefix": "p-", "secretRef": {"name": "s"}}, {"configMapRef": {"name": "c"}}]
    variables = pod("variables", "", NEVER, env=env, envFrom=prefixed, resources=amounts)
    script = (
        r"echo command $(C); busybox tr '\0' '\n' < /proc/1/environ; $0 $1"  # a shell leaves out names like p-two.2
    )
    main = {"command": ["sh", "-c", script], "args": ["echo", "args $(S)"]}
    variables["spec"]["containers"][0] |= main
    who = "id -u; id -g; grep CapEff /proc/self/status; grep NoNewPrivs /proc/self/status"
    who += "; touch /here 2>/dev/null && echo written"
    users = {
        **NEVER,
        "securityContext": {
            "runAsUser": 1001,
            "runAsGroup": 2002,
            "sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}],
        },
        "containers": [
            container("pod", f"{who}; cat /proc/sys/kernel/shm_rmid_forced"),
            container("container", who, securityContext={"runAsUser": 65534, "runAsGroup": 3003, "privileged": False}),
            container("root", who, securityContext={"runAsUser": 0, "readOnlyRootFilesystem": False}),
            container("strict", who, securityContext={"allowPrivilegeEscalation": False}),
        ],
    }
    inits = {**NEVER, "initContainers": [container("first", "true"), container("second", "true")]}
    back = {"volumes": [{"name": "data", "emptyDir": {}}]}
    mount = [{"name": "data", "mountPath": "/data", "subPathExpr": "$(PART)"}]
    space.apply(
        config, secret, variables,
        pod("images", "", {**NEVER, "containers": images}), pod("users", "", users), pod("inits", "true", inits),
        pod("back", "true", back, env=[{"name": "PART", "value": ".."}], volumeMounts=mount),
        pod("fails", "exit 3"),
    )  # fmt: skip
    for name in ("variables", "images", "users", "inits"):
        eventually(f"{name} ends", lambda name=name: phase(space, name) in ("Succeeded", "Failed"))  # type: ignore[misc]
    said = {name: space("logs", "images", "-c", name) for name in ("whole", "args", "command", "both")}
    assert said == {"whole": "entry of-image\n", "args": "entry given\n", "command": "\n", "both": "x\n"}

    found, log = space.pod("variables"), space("logs", "variables").splitlines()
    address, node = found["status"]["podIP"], str(space.cluster.settings.node_ip)
    for expected in (
        "command 1", "args 2", "C=1", "S=2", "NEW=1;2", "p-two.2=2", "one=1", "NAME=variables", f"SPACE={space.name}",
        f"UID_={found['metadata']['uid']}", f"IP={address}", f"HOST={node}", f"HOSTS={node}", "CPU=1", f"ASKED={32 << 20}",
    ):  # fmt: skip
        assert expected in log, expected

    ran = {name: space("logs", "users", "-c", name).splitlines() for name in ("pod", "container", "root", "strict")}
    assert ran["pod"][:2] == ["1001", "2002"] and ran["pod"][-1] == "1" and ran["container"][:2] == ["65534", "3003"]
    assert int(ran["container"][2].split()[1], 16) == 0 and "a80425fb" in ran["root"][2], "no CAP_SYS_ADMIN among them"
    assert ran["root"][0] == "0" and ran["root"][-1] == "written" and ran["strict"][3].split()[1] == "1"

    ended = space.pod("inits")["status"]
    assert ended["phase"] == "Succeeded" and [entry["restartCount"] for entry in ended["initContainerStatuses"]] == [
        0,
        0,
    ]
    assert all(entry["state"]["terminated"]["reason"] == "Completed" for entry in ended["initContainerStatuses"])

    def waits() -> bool:
        waiting = state(space, "back")["state"].get("waiting", {})
        return waiting.get("reason") == "CreateContainerConfigError" and "not within volume path" in waiting["message"]

    eventually("it waits", waits)
    eventually("it has failed", lambda: "terminated" in str(state(space, "fails")))
    space("delete", "pod", "fails", "--timeout=60s")


def test_hooks_and_probes(space: Space) -> None:
    space.apply(pod("server", SERVES, readinessProbe={"tcpSocket": {"port": 8080}}))
    space.ready("server")
    host = space.pod("server")["status"]["podIP"]

    def ask(path: str) -> dict[str, Any]:
        return {"httpGet": {"path": path, "port": 8080, "host": host}}

    hooks = {"lifecycle": {"postStart": ask("/post-start"), "preStop": ask("/pre-stop")}}
    waits = "trap 'exit 0' TERM; sleep 1000 & wait"
    quick = {"periodSeconds": 1, "failureThreshold": 1, "timeoutSeconds": 20}
    port = {"ports": [{"name": "http", "containerPort": 8080}]}
    slow: dict[str, Any] = {"exec": {"command": ["true"]}, "initialDelaySeconds": 3}
    space.apply(
        pod("hooked", waits, **hooks),
        pod(
            "http",
            SERVES,
            livenessProbe={"httpGet": {"path": "/health", "port": "http"}, **quick, "initialDelaySeconds": 2},
            **port,
        ),
        pod("tcp", SERVES, livenessProbe={"tcpSocket": {"port": 8080}, **quick, "initialDelaySeconds": 2}),
        pod(
            "exec",
            f"touch /alive; {waits}",
            livenessProbe={"exec": {"command": ["cat", "/alive"]}, **quick, "initialDelaySeconds": 1},
        ),
        pod("missing", SERVES, livenessProbe={"httpGet": {"path": "/none", "port": 8080}, **quick}),
        pod("later", waits, readinessProbe=slow),
        pod("never", waits, readinessProbe={"exec": {"command": ["false"]}, **quick}),
    )
    space.ready("hooked")
    eventually("the hook after its start", lambda: "/post-start" in space("logs", "server"))
    space("delete", "pod", "hooked", "--timeout=60s")
    eventually("the hook before its end", lambda: "/pre-stop" in space("logs", "server"))
    eventually("it is restarted", lambda: state(space, "missing").get("restartCount", 0) >= 1)
    space.ready("later")
    status = space.pod("later")["status"]
    ready = next(one["lastTransitionTime"] for one in status["conditions"] if one["type"] == "Ready")
    began = status["containerStatuses"][0]["state"]["running"]["startedAt"]
    waited = datetime.datetime.fromisoformat(ready) - datetime.datetime.fromisoformat(began)
    assert waited.total_seconds() >= slow["initialDelaySeconds"] - 1, "of times in whole seconds"
    for name in ("http", "tcp", "exec", "later", "never"):
        assert state(space, name)["restartCount"] == 0, name
    assert not state(space, "never")["ready"]


def test_logs_over_a_web_socket_and_generations(space: Space, tmp_path: Path) -> None:
    space.apply(pod("talker", "echo container is alive; sleep 1000"))
    eventually("it has talked", lambda: space.run("logs", "talker").stdout == "container is alive\n")
    admin = yaml.safe_load(space.cluster.settings.kubeconfig("admin").read_text())
    server, user = admin["clusters"][0]["cluster"]["server"], admin["users"][0]["user"]
    for name in ("certificate", "key"):
        (tmp_path / name).write_bytes(base64.b64decode(user[f"client-{name}-data"]))
    trust = ssl.create_default_context(cafile=str(space.cluster.settings.pki_dir / "ca.crt"))
    trust.load_cert_chain(tmp_path / "certificate", tmp_path / "key")

    async def read(protocol: str, container: str = "main") -> list[Any]:
        url = f"{server}/api/v1/namespaces/{space.name}/pods/talker/log?container={container}"
        protocols = (protocol,) if protocol else ()
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(url, protocols=protocols, ssl=trust) as socket,
        ):
            return [message.data async for message in socket]

    assert b"".join(asyncio.run(read("binary.k8s.io"))) == b"container is alive\n"
    assert asyncio.run(read(""))[0] == b"", "an empty message says that it is heard"
    assert "Y29udGFpbmVyIGlzIGFsaXZlCg==" in asyncio.run(read("base64.binary.k8s.io"))

    assert space.pod("talker")["metadata"]["generation"] == 1
    for number in range(20):
        space("patch", "pod", "talker", "-p", f'{{"spec": {{"activeDeadlineSeconds": {5000 - number}}}}}')

    def generations() -> tuple[int, int]:
        found = space.pod("talker")
        return found["metadata"]["generation"], found["status"]["observedGeneration"]

    eventually("all of it is observed", lambda: generations() == (21, 21))
