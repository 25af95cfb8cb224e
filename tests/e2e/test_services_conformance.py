"""What Kubernetes' conformance suite asks of Services, with real pods: see docs/conformance-network.md."""

from __future__ import annotations

import json
from typing import Any

from .eventually import eventually
from .network_ask import answers, dns_by_tcp, dns_by_udp, http
from .space import Space, pod

SERVE = "mkdir /w; hostname > /w/index.html; exec httpd -f -p 8080 -h /w"


def service(name: str, selector: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    body = {"selector": selector, "ports": [{"name": "http", "port": 80, "targetPort": 8080}], **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": body}


def web(name: str) -> dict[str, Any]:
    made = pod(name, SERVE, readinessProbe={"httpGet": {"port": 8080}, "periodSeconds": 1})
    made["metadata"]["labels"] = {"app": "web", "name": name}
    return made


def begin(space: Space, count: int) -> None:
    names = [f"web-{number}" for number in range(count)]
    space.apply(*(web(name) for name in names), pod("client", "sleep 600"))
    for name in (*names, "client"):
        space.ready(name)


def seen(space: Space, url: str, times: int = 24) -> set[str]:
    """Return which pods answered a pod."""
    asked = "; ".join([f"wget -qO- {url}"] * times)
    return set(space.run("exec", "client", "--", "sh", "-c", asked).stdout.split())


def of(space: Space, name: str) -> dict[str, Any]:
    return dict(json.loads(space("get", "service", name, "-o", "json"))["spec"])


def patch(space: Space, name: str, **spec: Any) -> None:
    space("patch", "service", name, "--type=merge", "-p", json.dumps({"spec": spec}))


def test_node_ports_affinity_and_pods_among_themselves(space: Space) -> None:
    begin(space, 3)
    node = str(space.cluster.settings.node_ip)
    everyone = {"web-0", "web-1", "web-2"}
    for name in everyone:  # pods reach each other, and the node reaches pods
        ip = space.pod(name)["status"]["podIP"]
        assert seen(space, f"http://{ip}:8080", 1) == {name} and http(ip, 8080).strip() == name
    space.apply(service("web", {"app": "web"}, type="NodePort"))
    port, address = of(space, "web")["ports"][0]["nodePort"], of(space, "web")["clusterIP"]
    eventually("the node's port", lambda: answers(node, port))
    for url in ("http://web", f"http://{address}", f"http://{node}:{port}"):
        eventually(f"every pod at {url}", lambda url=url: seen(space, url) == everyone)
    assert {http(node, port).strip() for _ in range(60)} == everyone
    for affinity, many in (("ClientIP", False), ("None", True), ("ClientIP", False)):
        patch(space, "web", sessionAffinity=affinity)
        for url in (f"http://{address}", f"http://{node}:{port}"):
            eventually(f"{affinity} at {url}", lambda url=url, many=many: (len(seen(space, url)) > 1) is many)
    # one after the other goes: the endpoints follow, and at last nobody is there, which is said at once
    for number, name in enumerate(sorted(everyone), 1):
        space("delete", "pod", name)
        left = everyone - {f"web-{gone}" for gone in range(number)}
        if left:
            eventually("those who are left", lambda left=left: seen(space, f"http://{address}", 6) <= left)
    eventually("refused", lambda: not answers(address, 80))


def test_a_service_changes_its_type(space: Space) -> None:
    begin(space, 1)
    node = str(space.cluster.settings.node_ip)
    space.apply(service("named", None, type="ExternalName", externalName="web.example.org", ports=None))
    assert not of(space, "named").get("clusterIP")
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    patch(space, "named", type="ClusterIP", externalName=None, selector={"app": "web"}, ports=ports)
    eventually("ClusterIP by name", lambda: seen(space, "http://named", 1) == {"web-0"})
    assert seen(space, f"http://{of(space, 'named')['clusterIP']}", 1) == {"web-0"}
    address = of(space, "named")["clusterIP"]
    back = {"type": "ExternalName", "externalName": "kubernetes.default.svc.cluster.local", "clusterIP": None}
    patch(space, "named", **back, clusterIPs=None)
    assert not of(space, "named").get("clusterIP") and not of(space, "named").get("clusterIPs")
    eventually("the address to be nobody's", lambda: not answers(address, 80))
    lookup = ("exec", "client", "--", "nslookup", "named")
    kubernetes = space.cluster.settings.kubernetes_service_ip
    eventually("the other's address", lambda: str(kubernetes) in space.run(*lookup).stdout)
    patch(space, "named", type="NodePort", externalName=None, selector={"app": "web"}, ports=ports)
    port = of(space, "named")["ports"][0]["nodePort"]
    eventually("the node's port", lambda: answers(node, port))
    assert http(node, port).strip() == "web-0"
    eventually("the name, again", lambda: seen(space, "http://named", 1) == {"web-0"})
    patch(space, "named", **back, clusterIPs=None)
    assert "nodePort" not in of(space, "named")["ports"][0]
    eventually("the port to be nobody's", lambda: not answers(node, port))


def test_one_port_of_two_protocols(space: Space) -> None:
    """The cluster's own DNS behind a Service of the test: port 53 of TCP and of UDP, then of each alone."""
    both = [{"name": protocol.lower(), "port": 53, "protocol": protocol} for protocol in ("TCP", "UDP")]
    space.apply(service("names", None, ports=both))
    address = of(space, "names")["clusterIP"]
    piece = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "names", "labels": {"kubernetes.io/service-name": "names"}},
        "addressType": "IPv4",
        "ports": both,
        "endpoints": [{"addresses": [str(space.cluster.settings.node_ip)]}],
    }
    assert not dns_by_udp(address) and not dns_by_tcp(address)
    space.apply(piece)
    eventually("both", lambda: dns_by_udp(address) and dns_by_tcp(address))
    patch(space, "names", ports=both[:1])
    eventually("TCP alone", lambda: dns_by_tcp(address) and not dns_by_udp(address))
    patch(space, "names", ports=both[1:])
    eventually("UDP alone", lambda: dns_by_udp(address) and not dns_by_tcp(address))


def test_endpoints_of_several_ports_and_slices(space: Space) -> None:
    begin(space, 2)
    ports = [{"name": "a", "port": 80, "targetPort": 8080}, {"name": "b", "port": 81, "targetPort": 8080}]
    space.apply(service("several", None, ports=ports))
    address = of(space, "several")["clusterIP"]
    assert not answers(address, 80)
    ips = [space.pod(f"web-{number}")["status"]["podIP"] for number in range(2)]
    # each port in a slice of its own, and one port's endpoints in two slices
    for number, (name, ip) in enumerate((("a", ips[0]), ("b", ips[1]), ("b", ips[0]))):
        space.apply(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": f"several-{number}", "labels": {"kubernetes.io/service-name": "several"}},
                "addressType": "IPv4",
                "ports": [{"name": name, "port": 8080, "protocol": "TCP"}],
                "endpoints": [{"addresses": [ip]}],
            }
        )
    eventually("the first port", lambda: seen(space, f"http://{address}:80", 8) == {"web-0"})
    eventually("the second port", lambda: seen(space, f"http://{address}:81") == {"web-0", "web-1"})
    space("delete", "endpointslice", "several-1")
    eventually("what is left", lambda: seen(space, f"http://{address}:81", 8) == {"web-0"})
    # labels that say that another proxies it, or that it is headless, take it away, and give it back
    for label in ("service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"):
        space("label", "service", "several", f"{label}=x")
        eventually(f"nobody with {label}", lambda: not answers(address, 80))
        space("label", "service", "several", f"{label}-")
        eventually(f"all again without {label}", lambda: answers(address, 80))
