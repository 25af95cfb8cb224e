"""A Corefile says what is done, or it is told in which line it is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.dns import wire
from sampan.dns.corefile.configuration import DEFAULT, read
from sampan.dns.corefile.grammar import CorefileError, parse
from sampan.dns.forwarding.exchange import Address

KUBEADM = """
.:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success
       disable denial
    }
    loop
    reload
    loadbalance
}
"""
K3S = """
.:53 {
    errors
    health
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
      pods insecure
      fallthrough in-addr.arpa ip6.arpa
    }
    hosts /etc/coredns/NodeHosts {
      ttl 60
      reload 15s
      fallthrough
    }
    prometheus :9153
    forward . /etc/resolv.conf
    cache 30
    loop
    reload
    loadbalance
}
"""


def test_the_default_is_what_it_says() -> None:
    made = read(DEFAULT)
    assert made.is_plain and made.watches_pods
    (block,) = made.blocks
    assert block.autopath and block.loop and block.loadbalance and block.cache is not None
    assert made.listening.health == made.listening.ready == made.listening.metrics == ("", 9153)


def test_kubeadms() -> None:
    made = read(KUBEADM)
    options = made.kubernetes
    assert options is not None
    assert (options.ttl, options.pods, options.endpoint_pod_names, options.zonal) == (30, "insecure", False, False)
    assert options.fallthrough == ("in-addr.arpa", "ip6.arpa")
    assert made.listening.lameduck_seconds == 5 and made.listening.health == ("", 8080)
    (block,) = made.blocks
    assert block.cache is not None and not block.cache.success.enabled and block.forwards[0].max_concurrent == 1000
    assert block.forwards[0].files == (Path("/etc/resolv.conf"),)


def test_k3ss_with_its_file_in_the_config_map() -> None:
    made = read(K3S, files={"NodeHosts": "192.168.1.5 node-1\n"})
    hosts = made.blocks[0].hosts
    assert hosts is not None and (hosts.ttl, hosts.lines, hosts.file) == (60, ("192.168.1.5 node-1",), None)
    assert not made.is_plain


def test_stub_domains_and_the_longest_zone() -> None:
    made = read(
        "consul.local corp.example:53 {\n  forward . 10.150.0.1 tls://9.9.9.9%dns.quad9.net [fd00::1]:5353 dns://10.0.0.2:54\n"
        "  cache 30\n}\n10.0.0.0/23 {\n  forward 10.0.0.0/24 10.1.1.1\n}\n. {\n  forward . 10.0.0.1 {\n    except local\n"
        "    policy sequential\n    health_check 5s no_rec domain example.org\n    failover SERVFAIL REFUSED\n  }\n}\n"
    )
    stub, reverse, root = made.blocks
    assert stub.forwards[0].addresses == (
        Address("10.150.0.1"),
        Address("9.9.9.9", 853, True, "dns.quad9.net"),
        Address("fd00::1", 5353),
        Address("10.0.0.2", 54),
    )
    assert reverse.zones == tuple(wire.name_to_wire(f"{n}.0.10.in-addr.arpa") for n in (0, 1))
    forward = root.forwards[0]
    assert (forward.policy, forward.check_seconds, forward.check_recursion) == ("sequential", 5.0, False)
    assert forward.failover == {wire.SERVER_FAILURE, wire.REFUSED}
    for name, block in (("a.corp.example", stub), ("corp.example", stub), ("xcorp.example", root), ("example", root)):
        assert made.block_of(wire.name_to_wire(name)) is block


def test_snippets_variables_quotes_and_comments() -> None:
    text = '(shared) {\n errors # always\n log\n}\n. {\n import shared\n hosts {\n  {$ADDRESS} "a.example"\n }\n}\n'
    (block,) = parse(text, {"ADDRESS": "10.0.0.1"})
    assert [directive.name for directive in block.directives] == ["errors", "log", "hosts"]
    assert block.directives[2].lines[0][:2] == ("10.0.0.1", ("a.example",))


def test_the_cache() -> None:
    text = ". {\n cache 300 {\n  success 5000 600 10\n  denial 100\n  prefetch 5 2m 20%\n  serve_stale 30m verify 100ms 30s\n"
    cache = read(text + "  servfail 10s\n  keepttl\n }\n}\n").blocks[0].cache
    assert cache is not None
    assert (cache.success.capacity, cache.success.longest_seconds, cache.success.shortest_seconds) == (5000, 600, 10)
    assert (cache.denial.capacity, cache.denial.longest_seconds, cache.keep_ttl) == (100, 300, True)
    assert (cache.prefetch_amount, cache.prefetch_seconds, cache.prefetch_percentage) == (5, 120, 20)
    assert (cache.stale_seconds, cache.verify, cache.verify_seconds, cache.stale_ttl) == (1800, True, 0.1, 30)


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("", 1, "no server block"),
        ("errors", 1, "after 'errors' a { is missing"),
        (". {\n errors\n", 1, "the block is not closed"),
        (". {\n errors }\n", 2, "a } must stand alone"),
        (". {\n import x\n}", 2, "import: 'x' is no snippet above it (there are: none)"),
        (". {\n kubernets cluster.local\n}", 2, "kubernets: there is no such directive here"),
        (". {\n dnssec\n}", 2, "dnssec: there is no such directive here"),
        (". {\n kubernetes\n}", 2, "kubernetes: it takes one zone for the cluster"),
        (
            ". {\n kubernetes a.local b.local\n}",
            2,
            "kubernetes: it takes one zone for the cluster (cluster.local), not a.local",
        ),
        (
            ". {\n kubernetes cluster.local {\n  pods all\n }\n}",
            3,
            "pods: 'all' is none of disabled, insecure, verified",
        ),
        (". {\n kubernetes cluster.local {\n  ttl 4000\n }\n}", 3, "ttl: '4000' is no number from 0 to 3600"),
        (
            ". {\n kubernetes cluster.local {\n  labels a=b\n }\n}",
            3,
            "labels: there is no such option of kubernetes here",
        ),
        (". {\n kubernetes cluster.local {\n  zonal\n  noendpoints\n }\n}", 2, "kubernetes: zonal needs endpoints"),
        (". {\n autopath @kubernetes\n}", 1, "autopath: it needs kubernetes in the same block"),
        (". {\n autopath /etc/resolv.conf\n}", 2, "autopath: it is `autopath @kubernetes`"),
        (". {\n forward .\n}", 2, "forward: it takes FROM and at least one TO"),
        (". {\n forward . dns.example\n}", 2, "forward: dns.example: neither an address nor a file"),
        (
            ". {\n forward . https://10.0.0.1\n}",
            2,
            "forward: https://10.0.0.1: resolvers are asked by UDP, TCP and TLS",
        ),
        (
            ". {\n forward . 10.0.0.1 {\n  policy best\n }\n}",
            3,
            "policy: 'best' is none of random, round_robin, sequential",
        ),
        (". {\n forward . 10.0.0.1 {\n  next NXDOMAIN\n }\n}", 3, "next: there is no such option of forward here"),
        (". {\n cache ten\n}", 2, "cache: its zones are the block's"),
        (". {\n cache {\n  prefetch 5 1m 95%\n }\n}", 3, "prefetch: '95%' is not between 10% and 90%"),
        (". {\n health here\n}", 2, "health: 'here' is no number"),
        (". {\n ready\n}\nx {\n ready\n}", 5, "ready: it is said twice"),
        (". {\n errors\n errors\n}", 3, "errors: it stands in this block already"),
        (". {\n errors\n}\n.:53 {\n errors\n}", 4, "the zone . has a block already, in line 1"),
        (".:1053 {\n errors\n}", 1, ".:1053: this server listens on port 53"),
        ("tls://. {\n errors\n}", 1, "tls://.: DNS over UDP and TCP is served, nothing else"),
        (". {\n rewrite class IN CH\n}", 2, "rewrite: 'class' is not rewritten here"),
        (". {\n rewrite name regex (a b\n}", 2, "rewrite: '(a' is no pattern"),
        (". {\n hosts {\n  nonsense\n }\n}", 3, "nonsense: hosts: neither an option nor an address with names"),
        (". {\n k8s_gateway x {\n  resources Pod\n }\n}", 3, "resources: Pod: there are Service, Ingress, Gateway"),
        (". {\n bufsize 100\n}", 2, "bufsize: it is between 512 and 4096"),
        (f"{'x' * 64}. {{\n errors\n}}", 1, "not a label"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(body: str, line: int, message: str) -> None:
    with pytest.raises(CorefileError) as raised:
        read(body)
    assert str(raised.value).startswith(f"Corefile:{line}: "), raised.value
    assert message in str(raised.value)


@given(st.text(st.sampled_from(list(' \n{}#"$%.:/abc019\t\\')), max_size=80))
def test_no_text_is_anything_but_read_or_refused(text: str) -> None:
    try:
        read(text)
    except CorefileError:
        return
