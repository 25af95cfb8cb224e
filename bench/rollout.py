"""A rollout of fifty replicas under load through the gateway: how many of its requests failed. There is no peer.

The server ends at SIGTERM at once, as most do; what it is given is a second of ``preStop`` sleep, in which the gateway
learns that the endpoint is on its way out.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from bench.gateway import until_answers
from bench.sampan import Cluster, cluster, run
from bench.table import Row
from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

REPLICAS, CLIENTS, PORT = 50, 4, 8080
IMAGE = "docker.io/library/bench-web:1"
LABELS = {"app": "web"}


def rows() -> Iterator[Row]:
    with cluster("bench-rollout", pods="real") as ours, tempfile.TemporaryDirectory() as directory:
        archive = Path(directory) / "image.tar"
        make_image(archive)
        run("sampan", "image", "load", "--name", ours.name, str(archive))
        load = Load(serve(ours))
        begin = time.perf_counter()
        ours.kubectl("set", "env", "deployment/web", "VERSION=2")
        ours.kubectl("rollout", "status", "deployment/web", "--timeout=300s")
        seconds = time.perf_counter() - begin
        load.stop()
    name = f"rollout of {REPLICAS} replicas under load"
    yield Row(name, seconds, "s")
    yield Row(f"{name}: answered", load.answered, "requests")
    yield Row(f"{name}: failed", load.failed, "requests", aim="0")


def make_image(archive: Path) -> None:
    files = {
        "bin/busybox": ImageFile(Path("/usr/bin/busybox").read_bytes(), 0o755),
        "www/index.html": ImageFile(b"ok\n"),
    }
    command = ("/bin/busybox", "httpd", "-f", "-p", str(PORT), "-h", "/www")
    docker_archive(archive, [IMAGE], files, ImageConfig(command=command))


def serve(ours: Cluster) -> str:
    """Make the Deployment, its Service, Gateway and route; return the Gateway's address when it answers."""
    container = {
        "name": "web",
        "image": IMAGE,
        "imagePullPolicy": "Never",
        "readinessProbe": {"tcpSocket": {"port": PORT}, "periodSeconds": 1},
        "lifecycle": {"preStop": {"sleep": {"seconds": 1}}},
    }
    template = {"metadata": {"labels": LABELS}, "spec": {"containers": [container]}}
    deployment = {"replicas": REPLICAS, "selector": {"matchLabels": LABELS}, "template": template}
    listeners = [{"name": "http", "port": 80, "protocol": "HTTP"}]
    rule = {"backendRefs": [{"name": "web", "port": 80}]}
    gateway = "gateway.networking.k8s.io/v1"
    for version, kind, name, spec in (
        ("apps/v1", "Deployment", "web", deployment),
        ("v1", "Service", "web", {"selector": LABELS, "ports": [{"port": 80, "targetPort": PORT}]}),
        (gateway, "Gateway", "entry", {"gatewayClassName": "sampan", "listeners": listeners}),
        (gateway, "HTTPRoute", "web", {"parentRefs": [{"name": "entry"}], "rules": [rule]}),
    ):
        wanted = {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}
        ours.kubectl("apply", "-f", "-", stdin=json.dumps(wanted))
    ours.kubectl("rollout", "status", "deployment/web", "--timeout=300s")
    ours.kubectl("wait", "gateway/entry", "--for=condition=Programmed", "--timeout=30s")
    address = ours.kubectl("get", "gateway", "entry", "-o", "jsonpath={.status.addresses[0].value}")
    until_answers(f"http://{address}/")
    return address


class Load:
    """Clients that ask one after the other, each on a connection that it keeps, until they are told to stop."""

    def __init__(self, address: str) -> None:
        self.address, self.stopped = address, threading.Event()
        self.answered = self.failed = 0
        self.counting = threading.Lock()
        self.threads = [threading.Thread(target=self.ask) for _ in range(CLIENTS)]
        for thread in self.threads:
            thread.start()

    def ask(self) -> None:
        answered = failed = 0
        connection = HTTPConnection(self.address, timeout=10)
        while not self.stopped.is_set():
            try:
                connection.request("GET", "/")
                answer = connection.getresponse()
                good = answer.status == 200 and answer.read() == b"ok\n"
            except (OSError, HTTPException):
                good = False
                connection.close()
            answered, failed = answered + good, failed + (not good)
        connection.close()
        with self.counting:
            self.answered += answered
            self.failed += failed

    def stop(self) -> None:
        self.stopped.set()
        for thread in self.threads:
            thread.join()
