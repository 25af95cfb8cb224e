"""Images of a private registry (TLS, a password), local storage that has limits, host ports and RuntimeClasses: real pods."""

from __future__ import annotations

import http.client
import json
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

from .eventually import eventually
from .space import Space, pod, state
from .up_down_cluster import Cluster

PASSWORD = "open sesame"


def certificate(folder: Path, address: str) -> tuple[Path, Path]:
    """Write a self-signed certificate of an address, and its key."""
    key, cert = folder / "registry.key", folder / "registry.crt"
    name = ["-subj", "/CN=registry", "-addext", f"subjectAltName=IP:{address}"]
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    subprocess.run([*words, "-keyout", str(key), "-out", str(cert), *name], check=True, capture_output=True)
    return cert, key


@pytest.fixture
def registry(real_cluster: Cluster, tmp_path: Path) -> Iterator[str]:
    """A registry on the host's end of the cluster's link that wants TLS and a password; it has ``shop:1``."""
    if not shutil.which("docker-registry"):
        pytest.skip("docker-registry is not installed")
    host = str(real_cluster.settings.host_ip)
    with socket.socket() as probe:
        probe.bind((host, 0))
        address = f"{host}:{probe.getsockname()[1]}"
    cert, key = certificate(tmp_path, host)
    (tmp_path / "users").write_bytes(b"alice:" + bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(5)))
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"level": "error", "accesslog": {"disabled": True}},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "store")}},
        "http": {"addr": address, "tls": {"certificate": str(cert), "key": str(key)}},
        "auth": {"htpasswd": {"realm": "shop", "path": str(tmp_path / "users")}},
    }
    (tmp_path / "registry.yml").write_text(json.dumps(config))
    hosts = real_cluster.settings.containerd_dir / "certs.d" / address
    hosts.mkdir(parents=True)
    (hosts / "hosts.toml").write_text(f'server = "https://{address}"\n[host."https://{address}"]\nca = "{cert}"\n')
    with subprocess.Popen(
        ["docker-registry", "serve", str(tmp_path / "registry.yml")], stderr=subprocess.DEVNULL
    ) as served:
        try:
            answers(address, cert)
            push(real_cluster, tmp_path, f"{address}/team/shop:1", cert)
            yield address
        finally:
            served.terminate()
            shutil.rmtree(hosts)


def answers(address: str, cert: Path) -> None:
    host, _, port = address.rpartition(":")
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPSConnection(host, int(port), context=ssl.create_default_context(cafile=str(cert)))
        try:
            connection.request("GET", "/v2/")
            assert connection.getresponse().status == 401
            return
        except ConnectionError:
            assert time.monotonic() < deadline, "the registry does not answer"
            time.sleep(0.05)
        finally:
            connection.close()


def push(cluster: Cluster, folder: Path, name: str, cert: Path) -> None:
    files = {"bin/busybox": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755)}
    files |= {f"bin/{applet}": ImageFile(link="busybox") for applet in ("sh", "sleep")}
    docker_archive(
        folder / "shop.tar", [name], files, ImageConfig(command=("sleep", "1000"), environment={"PATH": "/bin"})
    )
    ctr = ["ctr", "--address", str(cluster.settings.containerd_socket), "-n", "k8s.io", "images"]
    subprocess.run([*ctr, "import", str(folder / "shop.tar")], check=True, capture_output=True)
    hosts = str(cluster.settings.containerd_dir / "certs.d")
    words = [*ctr, "push", "--hosts-dir", hosts, "--user", f"alice:{PASSWORD}", name]
    pushed = subprocess.run(words, capture_output=True, text=True)
    assert pushed.returncode == 0, pushed.stderr
    subprocess.run([*ctr, "remove", "--sync", name], check=True, capture_output=True)


def waiting(space: Space, name: str) -> str:
    return str(state(space, name)["state"].get("waiting", {}).get("reason"))


def test_a_private_image_is_for_those_with_a_password_and_storage_has_limits(space: Space, registry: str) -> None:
    filled = "busybox dd if=/dev/zero of=/data/f bs=1048576 count=3; sleep 1000"
    mounts = [{"name": "data", "mountPath": "/data"}]
    volumes = [{"name": "data", "emptyDir": {"sizeLimit": "1Mi"}}]
    space.apply(pod("full", filled, {"volumes": volumes}, volumeMounts=mounts))
    image = f"{registry}/team/shop:1"
    words = ["--docker-server", registry, "--docker-username", "alice"]
    space("create", "secret", "docker-registry", "right", *words, "--docker-password", PASSWORD)
    space("create", "secret", "docker-registry", "wrong", *words, "--docker-password", "no")

    def shop(name: str, *secrets: str, policy: str = "IfNotPresent") -> dict[str, Any]:
        spec = {"imagePullSecrets": [{"name": secret} for secret in secrets]}
        return pod(name, "sleep 1000", spec, image=image, imagePullPolicy=policy)

    space.apply(shop("without"), shop("with", "wrong", "right"))
    space.ready("with")
    eventually("it is refused", lambda: waiting(space, "without") in ("ErrImagePull", "ImagePullBackOff"))
    eventually("it is backed off", lambda: waiting(space, "without") == "ImagePullBackOff")
    message = state(space, "without")["state"]["waiting"]["message"]
    assert f'Back-off pulling image "{image}": ErrImagePull' in message
    space.apply(shop("never", policy="Never"), shop("again", "right", policy="Never"))
    space.ready("again")
    eventually("it may not use another's", lambda: waiting(space, "never") == "ErrImageNeverPull")
    told = lambda: space("get", "events", "-o", "jsonpath={.items[*].message}")  # noqa: E731
    eventually("it is told", lambda: "Successfully pulled image" in told())
    eventually("it is evicted", lambda: space.pod("full").get("status", {}).get("reason") == "Evicted")
    status = space.pod("full")["status"]
    assert (status["phase"], status["message"]) == (
        "Failed",
        'Usage of EmptyDir volume "data" exceeds the limit "1Mi". ',
    )
    targets = [c for c in status["conditions"] if c["type"] == "DisruptionTarget"]
    assert targets[0]["reason"] == "TerminationByKubelet"


def test_host_ports_and_runtime_classes(space: Space) -> None:
    settings = space.cluster.settings
    serves = "mkdir -p /www; echo $HOSTNAME > /www/index.html; exec httpd -f -p 8080 -h /www"
    ports = [{"containerPort": 8080, "hostPort": 18080}]
    local = [{"containerPort": 8080, "hostPort": 18080, "hostIP": "127.0.0.1", "protocol": "UDP"}]
    runtime = {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": space.name},
        "handler": "runc",
    }
    unknown = {**runtime, "metadata": {"name": f"{space.name}-none"}, "handler": "none"}
    space.apply(runtime, unknown)
    space.apply(
        pod("web", serves, ports=[*ports, *local], readinessProbe={"httpGet": {"port": 8080}}),
        pod("classy", "sleep 1000", {"runtimeClassName": space.name}),
        pod("unclassy", "sleep 1000", {"runtimeClassName": f"{space.name}-none"}),
    )
    for name in ("web", "classy"):
        space.ready(name)

    def fetch() -> bytes:
        connection = http.client.HTTPConnection(str(settings.node_ip), 18080, timeout=5)
        connection.request("GET", "/")
        return connection.getresponse().read()

    assert fetch() == b"web\n"
    space("delete", "pod", "web", "--timeout=60s")
    with pytest.raises(ConnectionError):
        fetch()
    told = lambda: space("get", "events", "-o", "jsonpath={.items[*].message}")  # noqa: E731
    eventually("the other waits", lambda: 'no runtime for "none" is configured' in told())
    space.cluster.kubectl("delete", "runtimeclass", space.name, f"{space.name}-none")
