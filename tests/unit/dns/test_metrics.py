"""What is counted, under CoreDNS's names."""

from __future__ import annotations

from sampan.api.metrics.exposition import lines

from .cluster import NOBODY, Cluster, ask, query


def test_every_answer_is_counted_once() -> None:
    cluster = Cluster()
    cluster.namespace("shop")
    cluster.service("web", clusterIP="10.240.64.7")
    responder = cluster.responder()
    for _ in range(3):
        ask(responder, "web.shop.svc.cluster.local")
    ask(responder, "web.shop.svc.cluster.local", "AAAA")
    ask(responder, "no.shop.svc.cluster.local", udp=False)
    responder.answer(query("web.shop.svc.cluster.local")[:-1], NOBODY)
    shown = "\n".join(lines(responder.metrics.families(responder)))
    labels = 'server="dns://:53",zone=".",view=""'
    for line in (
        f'coredns_dns_requests_total{{{labels},proto="udp",family="1",type="A"}} 3',
        f'coredns_dns_requests_total{{{labels},proto="udp",family="1",type="AAAA"}} 1',
        f'coredns_dns_requests_total{{{labels},proto="tcp",family="1",type="A"}} 1',
        f'coredns_dns_requests_total{{{labels},proto="udp",family="1",type="other"}} 1',
        f'coredns_dns_responses_total{{{labels},rcode="NOERROR",plugin="kubernetes"}} 4',
        f'coredns_dns_responses_total{{{labels},rcode="NXDOMAIN",plugin="kubernetes"}} 1',
        f'coredns_dns_responses_total{{{labels},rcode="FORMERR",plugin=""}} 1',
        f'coredns_dns_response_size_bytes_count{{{labels},proto="udp"}} 5',
        "# TYPE coredns_dns_request_duration_seconds histogram",
        'coredns_autopath_success_total{server="dns://:53"} 0',
        "coredns_reload_failed_total 0",
    ):
        assert line in shown, line
    assert shown == "\n".join(lines(responder.metrics.families(responder))), "looking changes nothing"
