"""The examples of the Kubernetes DNS specification 1.1, section by section, and what RFCs ask of the answers around them."""

from __future__ import annotations

import dns.edns
import dns.flags
import dns.message
import dns.rcode
import pytest

from sampan.dns import wire

from .cluster import NOBODY, Cluster, ask, code, data, query

WEB = "web.shop.svc.cluster.local"
DB = "db.shop.svc.cluster.local"


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.namespace("shop", "default")
    made.service("web", clusterIP="10.240.64.7", clusterIPs=["10.240.64.7", "fd00::7"])
    made.service("db", clusterIP="None")
    made.service("early", clusterIP="None", publishNotReadyAddresses=True)
    made.service("idle", clusterIP="None")
    made.service("out", type="ExternalName", externalName="example.org")
    made.service("in", type="ExternalName", externalName=f"{WEB}.")
    endpoints = [
        {"addresses": ["10.240.0.5"], "hostname": "db-0", "conditions": {"ready": True}},
        {"addresses": ["10.240.0.6"], "conditions": {}},
        {"addresses": ["10.240.0.7"], "hostname": "db-2", "conditions": {"ready": False}},
    ]
    made.piece("db", *endpoints)
    made.piece("early", *endpoints)
    return made


def test_2_2_the_schema_version(cluster: Cluster) -> None:
    assert data(cluster.ask("dns-version.cluster.local", "TXT"), "TXT") == ['"1.1.0"']


def test_2_3_1_the_addresses_of_a_cluster_ip(cluster: Cluster) -> None:
    assert data(cluster.ask(WEB)) == ["10.240.64.7"]
    assert data(cluster.ask(WEB, "AAAA"), "AAAA") == ["fd00::7"]
    assert cluster.ask(WEB).flags & dns.flags.AA


def test_2_3_2_the_ports_of_a_cluster_ip(cluster: Cluster) -> None:
    answer = cluster.ask(f"_http._tcp.{WEB}", "SRV")
    assert data(answer, "SRV") == [f"0 100 80 {WEB}."]
    assert data(answer, "A", "additional") + data(answer, "AAAA", "additional") == ["10.240.64.7", "fd00::7"]


def test_unnamed_ports_have_no_srv(cluster: Cluster) -> None:
    cluster.service("plain", clusterIP="10.240.64.8", ports=[{"port": 80}])
    assert code(cluster.ask("_tcp.plain.shop.svc.cluster.local", "SRV")) == "NXDOMAIN"


def test_2_3_3_the_reverse_names_of_a_cluster_ip(cluster: Cluster) -> None:
    assert data(cluster.ask("7.64.240.10.in-addr.arpa", "PTR"), "PTR") == [f"{WEB}."]
    reverse = dns.name.from_text("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa")
    assert data(cluster.ask(str(reverse)[:-1], "PTR"), "PTR") == [f"{WEB}."]


def test_2_4_1_the_addresses_of_ready_endpoints(cluster: Cluster) -> None:
    assert data(cluster.ask(DB)) == ["10.240.0.5", "10.240.0.6"]
    assert data(cluster.ask(f"db-0.{DB}")) == ["10.240.0.5"]
    assert data(cluster.ask(f"10-240-0-6.{DB}")) == ["10.240.0.6"]
    assert code(cluster.ask(f"db-2.{DB}")) == "NXDOMAIN"
    assert code(cluster.ask("idle.shop.svc.cluster.local")) == "NXDOMAIN", "no endpoint is ready"


def test_2_4_1_several_addresses_under_one_hostname(cluster: Cluster) -> None:
    twins = [
        {"addresses": [ip], "hostname": "twin", "conditions": {}} for ip in ("10.240.0.8", "10.240.0.9", "fd00::9")
    ]
    cluster.service("pair", clusterIP="None")
    cluster.piece("pair", *twins)
    assert data(cluster.ask("twin.pair.shop.svc.cluster.local")) == ["10.240.0.8", "10.240.0.9"]
    assert data(cluster.ask("twin.pair.shop.svc.cluster.local", "AAAA"), "AAAA") == ["fd00::9"]


def test_publish_not_ready_addresses(cluster: Cluster) -> None:
    assert data(cluster.ask("db-2.early.shop.svc.cluster.local")) == ["10.240.0.7"]
    assert len(data(cluster.ask("early.shop.svc.cluster.local"))) == 3


def test_2_4_2_the_ports_of_endpoints(cluster: Cluster) -> None:
    answer = cluster.ask(f"_http._tcp.{DB}", "SRV")
    assert data(answer, "SRV") == [f"0 50 8080 10-240-0-6.{DB}.", f"0 50 8080 db-0.{DB}."]
    assert data(answer, "A", "additional") == ["10.240.0.5", "10.240.0.6"]


def test_2_4_3_the_reverse_names_of_endpoints(cluster: Cluster) -> None:
    found = data(cluster.ask("5.0.240.10.in-addr.arpa", "PTR"), "PTR")
    assert found == [f"db-0.{DB}.", "db-0.early.shop.svc.cluster.local."]


def test_2_5_external_names_are_followed(cluster: Cluster) -> None:
    answer = cluster.ask("in.shop.svc.cluster.local")
    assert data(answer, "CNAME") == [f"{WEB}."] and data(answer) == ["10.240.64.7"]
    assert data(cluster.ask("out.shop.svc.cluster.local", "CNAME"), "CNAME") == ["example.org."]
    assert code(cluster.ask("x.out.shop.svc.cluster.local")) == "NXDOMAIN", "nothing is below an ExternalName"


def test_external_names_in_a_circle_end(cluster: Cluster) -> None:
    for one, other in (("a", "b"), ("b", "a")):
        cluster.service(one, type="ExternalName", externalName=f"{other}.shop.svc.cluster.local")
    answer = cluster.ask("a.shop.svc.cluster.local")
    assert code(answer) == "SERVFAIL" and len(data(answer, "CNAME")) == 2


def test_an_external_name_of_another_services_that_is_not_there(cluster: Cluster) -> None:
    cluster.service("lost", type="ExternalName", externalName="nothing.shop.svc.cluster.local")
    answer = cluster.ask("lost.shop.svc.cluster.local")
    assert (code(answer), data(answer, "CNAME")) == ("NXDOMAIN", ["nothing.shop.svc.cluster.local."])


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("4only.shop.svc.cluster.local", "AAAA", "NOERROR"),
        (WEB, "MX", "NOERROR"),
        (f"_tcp.{WEB}", "A", "NOERROR"),
        ("shop.svc.cluster.local", "A", "NOERROR"),
        ("svc.cluster.local", "A", "NOERROR"),
        ("cluster.local", "A", "NOERROR"),
        ("dns.cluster.local", "A", "NOERROR"),
        ("nothing.shop.svc.cluster.local", "A", "NXDOMAIN"),
        ("web.nowhere.svc.cluster.local", "A", "NXDOMAIN"),
        ("nowhere.svc.cluster.local", "A", "NXDOMAIN"),
        (f"x.y.{WEB}", "A", "NXDOMAIN"),
        ("cluster.local", "TYPE65400", "NOERROR"),
    ],
)
def test_no_data_and_no_such_name_differ_and_are_not_remembered(
    cluster: Cluster, name: str, kind: str, expected: str
) -> None:
    cluster.service("4only", clusterIP="10.240.64.9")
    answer = cluster.ask(name, kind)
    assert (code(answer), answer.answer) == (expected, [])
    (soa,) = answer.authority
    assert (str(soa.name), soa.ttl, soa[0].minimum) == ("cluster.local.", 0, 0), "how long the denial may be kept"


def test_a_name_asked_in_vain_is_there_with_its_event(cluster: Cluster) -> None:
    responder = cluster.responder()
    assert code(ask(responder, "db-7.db.shop.svc.cluster.local")) == "NXDOMAIN"
    cluster.piece("db", {"addresses": ["10.240.0.17"], "hostname": "db-7", "conditions": {}}, name="db-2")
    assert data(ask(responder, "db-7.db.shop.svc.cluster.local")) == ["10.240.0.17"]
    cluster.piece("db", name="db-2")
    assert code(ask(responder, "db-7.db.shop.svc.cluster.local")) == "NXDOMAIN"


def test_answers_to_many_addresses_turn(cluster: Cluster) -> None:
    responder = cluster.responder()
    first = {str(ask(responder, DB, id=number).answer[0][0]) for number in range(4)}
    assert first == {"10.240.0.5", "10.240.0.6"}


def test_the_case_of_the_question_comes_back(cluster: Cluster) -> None:
    for name, expected in (("wEb.ShOp.SVC.cluster.LOCAL", "NOERROR"), ("NoThing.shop.svc.cluster.local", "NXDOMAIN")):
        asked = query(name)
        answer = cluster.responder().answer(asked, NOBODY)
        assert isinstance(answer, bytes) and answer[12 : len(asked)] == asked[12:]
        assert code(dns.message.from_wire(answer)) == expected


def test_what_does_not_fit_is_cut_short_and_whole_by_tcp(cluster: Cluster) -> None:
    many = [{"addresses": [f"10.240.1.{number}"], "conditions": {}} for number in range(1, 120)]
    cluster.service("many", clusterIP="None")
    cluster.piece("many", *many)
    name = "many.shop.svc.cluster.local"
    cut = cluster.ask(name)
    # as many as fit: resolvers that cannot ask by TCP live on them
    assert cut.flags & dns.flags.TC and len(data(cut)) == (512 - len(query(name))) // 16
    for options in ({"use_edns": 0, "payload": 4096}, {"udp": False}):
        whole = cluster.ask(name, **options)
        assert len(data(whole)) == 119 and not whole.flags & dns.flags.TC
    half = cluster.ask(name, use_edns=0, payload=1232)
    assert half.flags & dns.flags.TC and len(half.to_wire()) <= 1232
    ports = cluster.ask(f"_http._tcp.{name}", "SRV", use_edns=0, payload=4096)
    assert ports.flags & dns.flags.TC and not data(ports, "A", "additional"), "what goes along is left out first"


def test_edns(cluster: Cluster) -> None:
    plain, edns = cluster.ask(WEB), cluster.ask(WEB, use_edns=0, payload=1232, want_dnssec=True)
    assert (plain.edns, edns.edns) == (-1, 0)
    assert edns.ednsflags & dns.flags.DO and edns.payload == wire.OUR_UDP_SIZE
    unknown = cluster.ask(WEB, use_edns=0, options=[dns.edns.GenericOption(65001, b"x" * 40)])
    assert data(unknown) == ["10.240.64.7"] and not unknown.options, "options that nobody knows are passed over"
    bad = cluster.ask(WEB, use_edns=1)
    assert (bad.rcode(), bad.edns, bad.answer) == (dns.rcode.BADVERS, 0, [])


def test_records_go_with_their_service_and_shared_ones_with_the_last(cluster: Cluster) -> None:
    zone = cluster.follower.zone
    before = dict(zone.answers)
    cluster.service("other", clusterIP="10.240.64.7")
    pointers = data(cluster.ask("7.64.240.10.in-addr.arpa", "PTR"), "PTR")
    assert pointers == ["other.shop.svc.cluster.local.", f"{WEB}."]
    cluster.no_service("other")
    assert zone.answers == before
    cluster.no_service("web")
    assert code(cluster.ask(WEB)) == code(cluster.ask(f"_tcp.{WEB}")) == "NXDOMAIN"


def test_a_service_that_changes_its_kind(cluster: Cluster) -> None:
    cluster.service("web", type="ExternalName", externalName=DB)
    assert data(cluster.ask(WEB)) == ["10.240.0.5", "10.240.0.6"]
    cluster.service("web", clusterIP="None")
    assert code(cluster.ask(WEB)) == "NXDOMAIN"
    cluster.service("web", clusterIP="10.240.64.7")
    assert data(cluster.ask(WEB)) == ["10.240.64.7"]


def test_any_gets_one_set_of_records(cluster: Cluster) -> None:
    assert data(cluster.ask(WEB, "ANY")) == ["10.240.64.7"]
    assert code(cluster.ask("nothing.shop.svc.cluster.local", "ANY")) == "NXDOMAIN"
