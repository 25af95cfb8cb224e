"""What Kubernetes' conformance suite asks of DNS ([sig-network] DNS), and what users of it ask beyond, in real pods by dig.

| conformance: "DNS should …" | test |
|---|---|
| provide DNS for the cluster | `test_the_cluster` |
| provide /etc/hosts entries for the cluster | `test_hosts_entries` |
| provide DNS for services | `test_services` |
| resolve DNS of partial qualified names for services | `test_partial_names` |
| provide DNS for pods for Hostname | `test_hostname_and_subdomain` |
| provide DNS for pods for Subdomain | `test_hostname_and_subdomain` |
| provide DNS for ExternalName services | `test_external_names` |
| support configurable pod DNS nameservers | `test_dns_config_of_a_pod` |
| resolve partial names on hostNetwork pods (ClusterFirstWithHostNet) | `test_policies` |
"""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dns.message
import dns.rrset
import pytest

from sampan.dns.corefile.configuration import DEFAULT

from .dig import Dig, dig_archive
from .eventually import eventually
from .space import Space, pod
from .up_down_cluster import Cluster

pytestmark = pytest.mark.skipif(not shutil.which("dig"), reason="bind9-dnsutils is not installed")

SELECTED = {"part": "db"}


@pytest.fixture(scope="module")
def made(real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Space]:
    """A namespace with a Deployment, a StatefulSet, a pod with hostname and subdomain, Services, and the pod that asks."""
    archive = tmp_path_factory.mktemp("dig") / "dig.tar"
    dig_archive(archive)
    real_cluster.sampan("image", "load", "--name", real_cluster.name, str(archive))
    space = Space(real_cluster)
    named = pod("querier", "sleep 1000", {"hostname": "dns-querier-1", "subdomain": "db"})
    named["metadata"]["labels"] = SELECTED
    space.apply(
        pod("client", "sleep 1000", image="dig:1"),
        named,
        service("db", clusterIP="None", selector=SELECTED),
        service("web", selector={"app": "web"}),
        workload("Deployment", "web", {"app": "web"}),
        workload("StatefulSet", "db", {**SELECTED, "app": "db"}, serviceName="db"),
    )
    space("wait", "--for=condition=Ready", "pod", "--all", "--timeout=60s")
    space("rollout", "status", "statefulset/db", "--timeout=60s")
    space("rollout", "status", "deployment/web", "--timeout=60s")
    dig, web = Dig(space, "client"), json.loads(space("get", "pods", "-l", "app=web", "-o", "json"))["items"][0]
    zone = f"{space.name}.svc.cluster.local"
    eventually("the set's peers are known", lambda: len(dig(f"db.{zone}")) == 2)
    eventually("so is the Deployment's", lambda: dig(f"{web['metadata']['name']}.web.{zone}") != [])
    try:
        yield space
    finally:
        real_cluster.kubectl("delete", "namespace", space.name, "--wait=false")


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": ports, **spec}}


def workload(kind: str, name: str, labels: dict[str, str], **spec: Any) -> dict[str, Any]:
    template = {"metadata": {"labels": labels}, "spec": pod(name, "sleep 1000")["spec"]}
    whole = {"replicas": 1, "selector": {"matchLabels": labels}, "template": template, **spec}
    return {"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name}, "spec": whole}


@pytest.fixture
def dig(made: Space) -> Dig:
    return Dig(made, "client")


def ip_of(space: Space, name: str) -> str:
    return str(space.pod(name)["status"]["podIP"])


def test_the_cluster(made: Space, dig: Dig) -> None:
    kubernetes = made.cluster.get("service", "kubernetes")["spec"]["clusterIP"]
    for name in ("kubernetes.default", "kubernetes.default.svc", "kubernetes.default.svc.cluster.local."):
        assert kubernetes in dig("+search", name)
        assert kubernetes in dig("+search", "+tcp", name)
    assert kubernetes in dig.out("nslookup", "kubernetes.default.svc.cluster.local")


def test_hosts_entries(made: Space) -> None:
    hosts = made("exec", "querier", "--", "cat", "/etc/hosts")
    full = f"dns-querier-1.db.{made.name}.svc.cluster.local"
    assert hosts.startswith("# Kubernetes-managed hosts file.") and "127.0.0.1\tlocalhost" in hosts
    assert f"{ip_of(made, 'querier')}\t{full}\tdns-querier-1" in hosts


def test_services(made: Space, dig: Dig) -> None:
    web = made.cluster.get("service", "web", "-n", made.name)["spec"]["clusterIP"]
    name = f"web.{made.name}.svc.cluster.local"
    assert dig(name) == [web]
    assert dig(f"_http._tcp.{name}", "SRV") == [f"0 100 80 {name}."]
    assert dig("-x", web) == [f"{name}."]
    db = f"db.{made.name}.svc.cluster.local"
    addresses = sorted(ip_of(made, one) for one in ("querier", "db-0"))
    assert dig(db) == addresses
    assert dig(f"_http._tcp.{db}", "SRV") == [f"0 50 8080 db-0.{db}.", f"0 50 8080 dns-querier-1.{db}."]


def test_partial_names(made: Space, dig: Dig) -> None:
    web = made.cluster.get("service", "web", "-n", made.name)["spec"]["clusterIP"]
    for name in ("web", f"web.{made.name}", f"web.{made.name}.svc"):
        assert web in dig("+search", name)
    assert dig("+search", "_http._tcp.web", "SRV") == [f"0 100 80 web.{made.name}.svc.cluster.local."]
    assert dig("+search", "db-0.db") == [ip_of(made, "db-0")]


def test_hostname_and_subdomain(made: Space, dig: Dig) -> None:
    full = f"dns-querier-1.db.{made.name}.svc.cluster.local"
    assert dig(full) == [ip_of(made, "querier")]
    assert ip_of(made, "querier") in dig(f"db.{made.name}.svc.cluster.local")
    assert dig("-x", ip_of(made, "querier")) == [f"{full}."]
    assert made("exec", "querier", "--", "hostname").strip() == "dns-querier-1"


def test_names_of_pods_of_a_deployment_and_their_way_back(made: Space, dig: Dig) -> None:
    items = json.loads(made("get", "pods", "-l", "app=web", "-o", "json"))["items"]
    (name, ip) = (items[0]["metadata"]["name"], items[0]["status"]["podIP"])
    full = f"{name}.web.{made.name}.svc.cluster.local"
    assert dig(full) == [ip] and dig("-x", ip) == [f"{full}."]
    alone = f"client.{made.name}.pod.cluster.local"
    assert dig(alone) == [ip_of(made, "client")] and dig("-x", ip_of(made, "client")) == [f"{alone}."]
    assert dig(f"{ip.replace('.', '-')}.{made.name}.pod.cluster.local") == [ip]
    assert dig.status(f"10-9-9-9.{made.name}.pod.cluster.local") == "NXDOMAIN"


def test_external_names(made: Space, dig: Dig) -> None:
    space, name = made, f"far.{made.name}.svc.cluster.local"
    space.apply(service("far", type="ExternalName", externalName=f"web.{space.name}.svc.cluster.local"))
    eventually("the first target", lambda: dig(name, "CNAME") == [f"web.{space.name}.svc.cluster.local."])
    assert len(dig(name)) == 2, "the target's address comes along"
    space("patch", "service", "far", "-p", '{"spec": {"externalName": "bar.example.com"}}')
    eventually("the second target", lambda: dig(name, "CNAME") == ["bar.example.com."])
    change = {"type": "ClusterIP", "externalName": None, "ports": [{"port": 80}]}
    space("patch", "service", "far", "-p", json.dumps({"spec": change}))
    address = space.cluster.get("service", "far", "-n", space.name)["spec"]["clusterIP"]
    eventually("the address", lambda: dig(name) == [address])
    space("delete", "service", "far")


def test_dns_config_of_a_pod(made: Space) -> None:
    config = {
        "nameservers": ["1.1.1.1"],
        "searches": ["resolv.conf.local"],
        "options": [{"name": "ndots", "value": "2"}],
    }
    made.apply(pod("configured", "sleep 1000", {"dnsPolicy": "None", "dnsConfig": config}))
    made.ready("configured")
    lines = made("exec", "configured", "--", "cat", "/etc/resolv.conf").splitlines()
    assert sorted(lines) == ["nameserver 1.1.1.1", "options ndots:2", "search resolv.conf.local"]


def test_policies(made: Space) -> None:
    merged = {"nameservers": ["10.9.9.9"], "searches": ["own.example"], "options": [{"name": "ndots", "value": "3"}]}
    made.apply(
        pod("first", "sleep 1000", {"dnsConfig": merged}),
        pod("default", "sleep 1000", {"dnsPolicy": "Default"}),
        pod("hostnet", "sleep 1000", {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}, image="dig:1"),
        pod("host", "sleep 1000", {"hostNetwork": True, "hostAliases": [{"ip": "10.9.9.8", "hostnames": ["a", "b"]}]}),
    )
    settings = made.cluster.settings
    first = f"search {made.name}.svc.cluster.local svc.cluster.local cluster.local"
    for name in ("first", "default", "hostnet", "host"):
        made.ready(name)
    shown = {
        name: made("exec", name, "--", "cat", "/etc/resolv.conf") for name in ("first", "default", "hostnet", "host")
    }
    assert f"nameserver {settings.dns_service_ip}\nnameserver 10.9.9.9\n" in shown["first"]
    assert first in shown["first"] and "own.example" in shown["first"] and "ndots:3" in shown["first"]
    for name in ("default", "host"):  # ClusterFirst of a hostNetwork pod is Default
        assert str(settings.dns_service_ip) not in shown[name] and "cluster.local" not in shown[name]
    assert first in shown["hostnet"]
    web = made.cluster.get("service", "web", "-n", made.name)["spec"]["clusterIP"]
    assert Dig(made, "hostnet")("+search", "web") == [web]
    hosts = made("exec", "host", "--", "cat", "/etc/hosts")
    assert hosts.startswith("# Kubernetes-managed hosts file (host network).")
    assert hosts.endswith("# Entries added by HostAliases.\n10.9.9.8\ta\tb\n")


def test_names_of_a_pod_beyond_its_own(made: Space) -> None:
    made.apply(
        pod("full", "sleep 1000", {"hostname": "h", "subdomain": "db", "setHostnameAsFQDN": True}),
        pod("override", "sleep 1000", {"hostnameOverride": "db.example.com"}),
        pod("too-long", "sleep 1000", {"hostname": "h" * 60, "subdomain": "db", "setHostnameAsFQDN": True}),
    )
    for name in ("full", "override"):
        made.ready(name)
    assert made("exec", "full", "--", "hostname").strip() == f"h.db.{made.name}.svc.cluster.local"
    assert made("exec", "override", "--", "hostname").strip() == "db.example.com"
    eventually(
        "the event", lambda: "is too long" in made("get", "events", "--field-selector=involvedObject.name=too-long")
    )


def test_a_peer_that_was_asked_for_in_vain_is_there_at_once(made: Space, dig: Dig) -> None:
    name = f"db-1.db.{made.name}.svc.cluster.local"
    assert dig.status(name) == "NXDOMAIN"
    made("scale", "statefulset/db", "--replicas=2")
    made("wait", "--for=jsonpath={.status.readyReplicas}=2", "statefulset/db", "--timeout=60s")
    eventually(
        "the new peer", lambda: dig(name) == [ip_of(made, "db-1")], 25
    )  # sooner than what is not there is forgotten
    made("scale", "statefulset/db", "--replicas=1")


class Upstream(threading.Thread):
    """A resolver on the host's end of the link: it knows ``www.example.org`` and counts what it is asked."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((address, 0))
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        host, port = self.socket.getsockname()
        return f"{host}:{port}"

    def run(self) -> None:
        while True:
            try:
                data, source = self.socket.recvfrom(4096)
            except OSError:
                return
            asked = dns.message.from_wire(data)
            name = str(asked.question[0].name).lower()
            self.asked.append(f"{name} {asked.question[0].rdtype.name}")
            answer = dns.message.make_response(asked, recursion_available=True)
            if name == "www.example.org." and asked.question[0].rdtype.name == "A":
                answer.answer.append(dns.rrset.from_text(name, 60, "IN", "A", "192.0.2.1"))
            elif name != "www.example.org.":
                answer.set_rcode(dns.rcode.NXDOMAIN)
            self.socket.sendto(answer.to_wire(), source)


@pytest.fixture
def upstream(made: Space) -> Iterator[Upstream]:
    """An upstream that the cluster's Corefile names; the Corefile is as it was afterwards."""
    one = Upstream(str(made.cluster.settings.host_ip))
    one.start()
    put_corefile(made, DEFAULT.replace("forward . /etc/resolv.conf", f"forward . {one.address}"))
    try:
        yield one
    finally:
        put_corefile(made, DEFAULT)
        one.socket.close()


def put_corefile(space: Space, text: str) -> None:
    patch = json.dumps({"data": {"Corefile": text}})
    space.cluster.kubectl("patch", "configmap", "coredns", "-n", "kube-system", "--type=merge", "-p", patch)


def reasons(space: Space) -> str:
    return space.cluster.kubectl("get", "events", "-n", "kube-system", "--field-selector=involvedObject.name=coredns")


def test_a_name_outside_costs_one_question(made: Space, dig: Dig, upstream: Upstream) -> None:
    eventually("the changed Corefile", lambda: dig("www.example.org.") == ["192.0.2.1"])
    shown = dig.out("dig", "+search", "+showsearch", "www.example.org")
    assert shown.count("status:") == 1 and "192.0.2.1" in shown, "the first step of the search is the last"
    assert f"www.example.org.{made.name}.svc.cluster.local" in shown
    assert upstream.asked.count("www.example.org. A") == 1, "it is kept"


def test_a_corefile_that_is_wrong_is_told_and_not_taken(made: Space, dig: Dig) -> None:
    put_corefile(made, ".:53 {\n    kubernets cluster.local\n}\n")
    eventually("the event", lambda: "Corefile:2: kubernets: there is no such directive" in reasons(made))
    assert dig("+search", "kubernetes.default")[-1:], "the one before is in force"
    hosts = "hosts {\n 10.1.2.3 printer.example\n fallthrough\n}"
    put_corefile(made, DEFAULT.replace("loadbalance", f"loadbalance\n{hosts}"))
    eventually("a new name", lambda: dig("printer.example.") == ["10.1.2.3"])
    put_corefile(made, DEFAULT)
    eventually("its end", lambda: dig("printer.example.") != ["10.1.2.3"])


def test_metrics_health_and_readiness(made: Space, dig: Dig) -> None:
    where = f"http://{made.cluster.settings.node_ip}:9153"
    dig(f"web.{made.name}.svc.cluster.local")
    shown = dig.out("wget", "-qO-", f"{where}/metrics")
    for name in (
        'coredns_dns_requests_total{server="dns://',
        'rcode="NOERROR",plugin="kubernetes"}',
        "coredns_dns_request_duration_seconds_bucket",
        "coredns_cache_entries",
        "coredns_autopath_success_total",
        "coredns_build_info",
    ):
        assert name in shown, name
    assert (dig.out("wget", "-qO-", f"{where}/health"), dig.out("wget", "-qO-", f"{where}/ready")) == ("OK", "OK")


def test_why(made: Space) -> None:
    cluster = made.cluster

    def why(*words: str) -> str:
        return cluster.sampan("dns", "why", "--name", cluster.name, "-n", made.name, *words, check=False).stdout

    found = why("kubernetes.default", "--from", "client")
    assert "one round trip: the server walks the search" in found
    assert f"1. kubernetes.default.{made.name}.svc.cluster.local  NXDOMAIN" in found
    assert f"there is no Namespace default.{made.name}" not in found
    assert "Service default/kubernetes (ClusterIP)" in found and "TTL 5" in found and "but the server says" not in found
    found = why("db", "--from", "client")
    assert f"Service {made.name}/db (Headless)" in found and "ready  Pod db-0  hostname db-0" in found
    assert "there is no Service" in why("nothing", "--from", "client")


def test_names_on_the_host(made: Space) -> None:
    cluster = made.cluster
    told = cluster.sampan("dns", "--help").stdout
    assert "host" in told
    told = cluster.sampan("dns", "host", "--name", cluster.name).stdout
    assert f"resolvectl dns smp{cluster.settings.index} {cluster.settings.node_ip}" in told
    before = Path("/etc/hosts").read_text()
    try:
        cluster.sampan("dns", "host", "--name", cluster.name, "--use", "hosts")
        web = cluster.get("service", "web", "-n", made.name)["spec"]["clusterIP"]
        name = f"web.{made.name}.svc.cluster.local"
        done = subprocess.run(["getent", "hosts", name], capture_output=True, text=True)
        assert done.stdout.split() == [web, name]
    finally:
        cluster.sampan("dns", "host", "--name", cluster.name, "--undo")
    assert Path("/etc/hosts").read_text() == before


def test_what_a_resolver_cannot_take_is_told(made: Space) -> None:
    config = {"nameservers": ["10.9.9.1", "10.9.9.2", "10.9.9.3"], "searches": [f"s{n}.example" for n in range(32)]}
    made.apply(pod("limits", "sleep 1000", {"dnsConfig": config}))
    made.ready("limits")
    lines = made("exec", "limits", "--", "cat", "/etc/resolv.conf").splitlines()
    assert sum(line.startswith("nameserver") for line in lines) == 3

    def told() -> str:
        return made("get", "events", "--field-selector=involvedObject.name=limits,reason=DNSConfigForming")

    eventually("both events", lambda: "Nameserver limits" in told() and "Search Line limits" in told())


def test_names_of_a_gateway_and_its_routes(made: Space, dig: Dig) -> None:
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "gate"},
        "spec": {"gatewayClassName": "sampan", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    }
    route = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop"},
        "spec": {
            "parentRefs": [{"name": "gate"}],
            "hostnames": ["www.shop.example"],
            "rules": [{"backendRefs": [{"name": "web", "port": 80}]}],
        },
    }
    put_corefile(made, DEFAULT.replace("loadbalance", "loadbalance\n k8s_gateway shop.example"))
    try:
        made.apply(gateway, route, service("pay", type="LoadBalancer"))
        made("wait", "gateway/gate", "--for=condition=Programmed", "--timeout=60s")
        address = made("get", "gateway", "gate", "-o", "jsonpath={.status.addresses[0].value}")
        eventually("the route's name", lambda: dig("www.shop.example.") == [address])
        balancer = "jsonpath={.status.loadBalancer.ingress[0].ip}"
        eventually("the Service has an address", lambda: made("get", "service", "pay", "-o", balancer) != "")
        given = made("get", "service", "pay", "-o", balancer)
        eventually("the Service's name", lambda: dig(f"pay.{made.name}.shop.example.") == [given] != [""])
        assert dig.status("nothing.shop.example.") == "NXDOMAIN"
        found = made.cluster.sampan("dns", "why", "--name", made.cluster.name, "www.shop.example.").stdout
        assert f"HTTPRoute {made.name}/shop" in found and f"A {address}" in found
    finally:
        put_corefile(made, DEFAULT)
