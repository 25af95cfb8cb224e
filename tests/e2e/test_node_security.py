"""Security contexts on a real node: what the kernel says of the processes, what the node refuses, what the commands show."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

from .eventually import eventually
from .up_down_cluster import Cluster

IMAGE = "docker.io/library/users:1"
HARD = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def users_archive(path: Path) -> None:
    """Write an image whose user ``web`` is in a group that no pod knows of."""
    files = {"bin/busybox": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755)}
    files |= {f"bin/{applet}": ImageFile(link="busybox") for applet in ("sh", "sleep", "cat", "id", "touch")}
    files["etc/passwd"] = ImageFile(b"root:x:0:0:root:/:/bin/sh\nweb:x:1000:1001::/:/bin/sh\n")
    files["etc/group"] = ImageFile(b"root:x:0:\nweb:x:1001:\nstaff:x:50:web\n")
    docker_archive(path, [IMAGE], files, ImageConfig(command=("/bin/sh",), environment={"PATH": "/bin"}, user="web"))


def pod(
    name: str, own: Any = None, *, image: str = IMAGE, of_pod: Any = None, command: str = "sleep|1000", **spec: Any
) -> dict[str, Any]:
    words = ["/bin/busybox", *command.split("|")]
    container = {"name": "c", "image": image, "command": words, "securityContext": own or {}}
    whole = {"terminationGracePeriodSeconds": 0, "securityContext": of_pod or {}, "containers": [container], **spec}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": whole}


RUNNING = (
    pod("plain", image="busybox:1"),
    pod("image-user"),
    pod(
        "hard",
        HARD,
        of_pod={"runAsNonRoot": True, "runAsUser": 1000, "fsGroup": 77, "seccompProfile": {"type": "RuntimeDefault"}},
    ),
    pod("all", {"privileged": True}),
    pod("drops", {"runAsUser": 0}, command="su|web|-c|exec sleep 1000"),
)
REFUSED = (
    pod("app-armor", {"appArmorProfile": {"type": "RuntimeDefault"}}),
    pod("sysctl", of_pod={"sysctls": [{"name": "net.core.somaxconn", "value": "1"}]}),
    pod("root", image="busybox:1", of_pod={"runAsNonRoot": True}),
    pod("name", of_pod={"runAsNonRoot": True}),
    pod("no-profile", {"seccompProfile": {"type": "Localhost", "localhostProfile": "none.json"}}),
)


class Pods:
    """The pods of this file in a namespace of their own."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.namespace = f"security-{uuid.uuid4().hex[:6]}"

    def kubectl(self, *words: str) -> str:
        return self.cluster.kubectl("-n", self.namespace, *words)

    def status(self, name: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl("get", "pod", name, "-o", "json"))["status"])

    def kernel(self, name: str) -> dict[str, str]:
        """Return what the kernel says of a pod's process, from inside."""
        lines = self.kubectl("exec", name, "--", "cat", "/proc/1/status").splitlines()
        return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


@pytest.fixture(scope="module")
def pods(real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    directory = tmp_path_factory.mktemp("security")
    users_archive(directory / "users.tar")
    real_cluster.sampan("image", "load", "--name", real_cluster.name, str(directory / "users.tar"))
    made = Pods(real_cluster)
    real_cluster.kubectl("create", "namespace", made.namespace)
    manifest = directory / "pods.json"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": [*RUNNING, *REFUSED]}))
    made.kubectl("apply", "-f", str(manifest))
    names = [f"pod/{one['metadata']['name']}" for one in RUNNING]
    made.kubectl("wait", *names, "--for=condition=Ready", "--timeout=60s")
    yield made
    real_cluster.kubectl("delete", "namespace", made.namespace, "--wait=false")


def test_the_kernel_holds_what_the_pod_says(pods: Pods) -> None:
    hard = pods.kernel("hard")
    assert hard["Uid"].split() == ["1000"] * 4 and set(hard["Groups"].split()) == {"50", "77", "1001"}
    assert int(hard["CapBnd"], 16) == 0 and hard["NoNewPrivs"] == "1" and hard["Seccomp"] == "2"
    plain = pods.kernel("plain")
    assert int(plain["CapEff"], 16) == 0xA80425FB and plain["NoNewPrivs"] == "0" and plain["Seccomp"] == "0"
    privileged = pods.kernel("all")
    assert int(privileged["CapBnd"], 16) & 0x200000, "privileged may have CAP_SYS_ADMIN"
    assert int(privileged["CapEff"], 16) == 0, "and its image's user is not root"
    image = pods.kernel("image-user")
    assert image["Uid"].split()[0] == "1000" and image["Gid"].split()[0] == "1001"
    with pytest.raises(AssertionError, match="Read-only file system"):
        pods.kubectl("exec", "hard", "--", "touch", "/x")


def test_the_status_says_who_runs(pods: Pods) -> None:
    linux = pods.status("hard")["containerStatuses"][0]["user"]["linux"]
    assert (linux["uid"], linux["gid"]) == (1000, 1001) and {50, 77} <= set(linux["supplementalGroups"])
    assert pods.status("plain")["containerStatuses"][0]["user"]["linux"]["uid"] == 0


@pytest.mark.parametrize(
    ("name", "reason", "message"),
    [
        ("root", "CreateContainerConfigError", "container has runAsNonRoot and image will run as root (pod: "),
        ("name", "CreateContainerConfigError", "container has runAsNonRoot and image has non-numeric user (web)"),
        ("no-profile", "CreateContainerError", "kubelet/seccomp/none.json"),
    ],
)
def test_containers_that_cannot_be_made_as_asked_wait(pods: Pods, name: str, reason: str, message: str) -> None:
    waiting = f"jsonpath={{.status.containerStatuses[0].state.waiting.reason}}={reason}"
    pods.kubectl("wait", f"pod/{name}", f"--for={waiting}", "--timeout=60s")
    assert message in pods.status(name)["containerStatuses"][0]["state"]["waiting"]["message"]


def test_pods_that_the_node_cannot_protect_as_asked_fail(pods: Pods) -> None:
    names = ["sysctl"] if Path("/sys/kernel/security/apparmor").exists() else ["sysctl", "app-armor"]
    for name in names:
        pods.kubectl("wait", f"pod/{name}", "--for=jsonpath={.status.phase}=Failed", "--timeout=60s")
        status = pods.status(name)
        assert status["reason"] in ("SysctlForbidden", "AppArmor") and status["message"].startswith(
            "Pod was rejected: "
        )
        assert "containerStatuses" not in status, "nothing of it was started"


def effective(pods: Pods, name: str, *words: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Return the exit code of ``sampan security effective``, and its rows by setting."""
    where = ("--name", pods.cluster.name, "-n", pods.namespace)
    done = pods.cluster.sampan("security", "effective", name, *where, "-o", "json", *words, check=False)
    return done.returncode, {row["setting"]: row for row in json.loads(done.stdout)}


@pytest.mark.parametrize("name", ["plain", "image-user", "hard", "all"])
def test_what_is_shown_is_what_runs(pods: Pods, name: str) -> None:
    code, rows = effective(pods, name, "--live")
    assert code == 0, [row for row in rows.values() if row["differs"]]


def test_values_have_their_sources(pods: Pods) -> None:
    _, rows = effective(pods, "hard")
    assert (rows["groups"]["value"], rows["groups"]["source"]) == ([50, 77], "[P]+image")
    assert rows["runAsGroup"]["source"] == "image" and rows["readOnlyRootFilesystem"]["source"] == "[C]"
    assert "live" not in rows["groups"]


def test_a_process_that_became_another_is_told(pods: Pods) -> None:
    code, rows = effective(pods, "drops", "--live", "--event")
    assert code == 1 and {name for name, row in rows.items() if row["differs"]} >= {
        "runAsUser",
        "effectiveCapabilities",
    }
    assert (rows["runAsUser"]["value"], rows["runAsUser"]["live"]) == (0, 1000)

    def told() -> bool:
        events = pods.kubectl("get", "events", "--field-selector", "reason=SecurityContextDiffers")
        return "pod/drops" in events and "c: runAsUser is 1000, not 0" in events

    eventually("it is told", told)


def test_the_chain_down_to_the_kernel(pods: Pods) -> None:
    where = ("--name", pods.cluster.name, "-n", pods.namespace)
    told = json.loads(pods.cluster.sampan("oci", "explain", "hard", *where, "-o", "json").stdout)
    (container,) = told["containers"]
    assert container["createContainer"]["linux"]["security_context"]["run_as_user"] == {"value": 1000}
    assert container["oci"]["process"]["user"]["uid"] == container["kernel"]["uid"] == 1000
    assert told["sandbox"]["runPodSandbox"]["metadata"]["name"] == "hard"
    rows = {row["topic"]: row for row in container["rows"]}
    assert not [line for line in rows["mounts"]["kernel"] if line.startswith("no ")]
    assert any(line.startswith("that path in ") for line in rows["cgroup"]["kernel"])
    text = pods.cluster.sampan("oci", "explain", "hard", *where).stdout
    assert "RunPodSandbox → " in text and "capabilities  drop=ALL" in text
    pods.kubectl("wait", "pod/root", "--for=jsonpath={.status.containerStatuses[0].state.waiting}", "--timeout=60s")
    assert "no container has been made" in pods.cluster.sampan("oci", "explain", "root", *where).stdout


def test_the_tightest_context_that_works_is_proven(pods: Pods) -> None:
    where = ("--name", pods.cluster.name, "-n", pods.namespace)
    words = ("plain", "--for", "0.2", "--seccomp", "plain", "--check", "test -n $POD_IP", "-o", "json")
    done = pods.cluster.sampan("security", "least", *where, *words)
    assert "Pod Security: baseline now, restricted then" in done.stderr
    patch = json.loads(done.stdout)["spec"]
    assert patch["containers"][0]["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert patch["securityContext"]["seccompProfile"] == {"type": "Localhost", "localhostProfile": "plain.json"}
    assert patch["securityContext"]["runAsNonRoot"] is True
    profile = json.loads((pods.cluster.settings.kubelet_dir / "seccomp" / "plain.json").read_text())
    assert {"execve", "nanosleep", "clock_nanosleep"} & set(profile["syscalls"][0]["names"])
    assert "least" not in pods.kubectl("get", "pods", "-o", "name"), "the copies are gone"
