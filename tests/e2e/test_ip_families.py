"""A cluster of both families of IP, and one of IPv6 alone: up, a Service in each family from pods and the host, down."""

from __future__ import annotations

import json
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from sampan.network.cluster_link import ipv6_works

from .conftest import busybox_archive
from .eventually import eventually
from .network_ask import answers, http
from .up_down_cluster import SAMPAN, new_cluster, unable

pytestmark = [
    pytest.mark.skipif(bool(unable()), reason=unable() or "-"),
    pytest.mark.skipif(not ipv6_works(), reason="this machine has no IPv6, or it is switched off"),
    pytest.mark.skipif(not Path("/usr/bin/busybox").exists(), reason="busybox-static is not installed"),
]
SERVE = "mkdir /w; echo $IPS > /w/index.html; exec httpd -f -p '[::]:8080' -h /w"


def objects(policy: str) -> list[dict[str, Any]]:
    container = {
        "name": "web",
        "image": "busybox:1",
        "command": ["sh", "-c", SERVE],
        "readinessProbe": {"httpGet": {"port": 8080}, "periodSeconds": 1},
        "env": [{"name": "IPS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIPs"}}}],
        "ports": [{"containerPort": 8080, "hostPort": 18080}],
    }
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "server", "labels": {"app": "web"}}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}}
    spec = {"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]}
    return [
        {**pod, "spec": {"containers": [container], "terminationGracePeriodSeconds": 1}},
        {**service, "spec": {**spec, "type": "LoadBalancer", "ipFamilyPolicy": policy}},
    ]


@pytest.mark.parametrize("family, versions", [("dual", [4, 6]), ("ipv6", [6])])
def test_a_cluster_of_a_family(tmp_path: Path, family: str, versions: list[int]) -> None:
    cluster = new_cluster(tmp_path)
    try:
        cluster.up("--ip-family", family)
        archive = tmp_path / "busybox.tar"
        busybox_archive(archive)
        cluster.sampan("image", "load", "--name", cluster.name, str(archive))
        manifest = tmp_path / "web.json"
        listed = objects("RequireDualStack" if family == "dual" else "SingleStack")
        manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": listed}))
        cluster.kubectl("apply", "-f", str(manifest))
        cluster.kubectl("wait", "pod/server", "--for=condition=Ready", "--timeout=60s")

        pod, service, node = (cluster.get(*what) for what in (("pod", "server"), ("service", "web"), ("nodes",)))
        told = [entry["ip"] for entry in pod["status"]["podIPs"]]
        assert [ip_address(ip).version for ip in told] == versions
        assert len(pod["status"]["hostIPs"]) == len(node["items"][0]["spec"]["podCIDRs"]) == len(versions)
        assert [ip_address(ip).version for ip in service["spec"]["clusterIPs"]] == versions

        # from the host: pods, ClusterIPs, LoadBalancer addresses, ports of the node, ports of the node for a pod
        def given() -> list[str]:
            return [entry["ip"] for entry in cluster.get("service", "web")["status"]["loadBalancer"].get("ingress", ())]

        eventually("the LoadBalancer has its addresses", lambda: len(given()) == len(versions))
        ingress = given()
        assert [ip_address(ip).version for ip in ingress] == versions
        node_port = service["spec"]["ports"][0]["nodePort"]
        nodes = [str(ip) for ip in cluster.settings.node_ips]
        every = [(ip, 8080) for ip in told] + [(ip, 80) for ip in (*service["spec"]["clusterIPs"], *ingress)]
        every += [(ip, port) for ip in nodes for port in (node_port, 18080)]
        for ip, port in every:
            eventually(f"{ip} port {port}", lambda ip=ip, port=port: answers(ip, port))
            assert http(ip, port).strip() == ",".join(told)

        # from a pod: itself by the Service's name, and the API by its
        inside = cluster.kubectl("exec", "server", "--", "sh", "-c", "wget -qO- http://web; cat /etc/hosts")
        assert inside.startswith(",".join(told)) and all(f"{ip}\tserver" in inside for ip in told)
        kubernetes = cluster.get("service", "kubernetes")["spec"]["clusterIPs"]
        assert [ip_address(ip).version for ip in kubernetes] == versions[:1]
        assert cluster.kubectl("logs", "server") == ""
        again = cluster.sampan("up", "--name", cluster.name, "--ip-family", "ipv4", check=False)
        assert again.returncode == 1 and f"exists with --ip-family={family}" in again.stderr
    finally:
        cluster.sampan("down", "--name", cluster.name, check=False)
    assert SAMPAN.exists() and not Path(f"/sys/class/net/smp{cluster_index(pod)}").exists()


def cluster_index(pod: dict[str, Any]) -> int:
    """Return the index of a cluster by an address of its pods."""
    ip = pod["status"]["podIPs"][0]["ip"]
    return int(ip.split(".")[1]) - 240 if "." in ip else int(ip.split(":")[2], 16) - 0xF0
