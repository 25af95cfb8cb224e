"""The examples of the Kubernetes DNS specification 1.1, as bytes in and bytes out; any bytes in, no crash."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.dns import wire
from sampan.dns.forwarder import Forwarder, upstreams_of
from sampan.dns.records import records_of
from sampan.dns.responder import Outside, Responder
from sampan.dns.server import Server, bind, listen
from sampan.dns.zone import Zone

DOMAIN = "cluster.local"


def question(name: str, kind: int = wire.A, *, identity: int = 7, edns: int = 0, flags: int = 0x100) -> bytes:
    head = struct.pack("!HHHHHH", identity, flags, 1, 0, 0, 1 if edns else 0)
    extra = b"\0" + struct.pack("!HHIH", wire.OPT, edns, 0, 0) if edns else b""
    return head + wire.name_to_wire(name) + struct.pack("!HH", kind, 1) + extra


def read(answer: bytes) -> tuple[int, list[tuple[str, int, Any]], int]:
    """Return (response code, answers and additional records, counts of answers)."""
    _, flags, _, answers, authorities, additional = struct.unpack_from("!HHHHHH", answer)
    offset = wire.skip_name(answer, 12) + 4
    found = []
    for _ in range(answers + authorities + additional):
        owner = wire.wire_to_name(wire.expand_name(answer, offset))
        offset = wire.skip_name(answer, offset, pointers=True)
        kind, _, _, size = struct.unpack_from("!HHIH", answer, offset)
        offset += 10
        data: Any = answer[offset : offset + size]
        if kind in (wire.A, wire.AAAA):
            data = socket.inet_ntop(socket.AF_INET if kind == wire.A else socket.AF_INET6, data)
        elif kind in (wire.PTR, wire.CNAME, wire.NS):
            data = wire.wire_to_name(wire.expand_name(answer, offset))
        elif kind == wire.SRV:
            data = (*struct.unpack_from("!HHH", data), wire.wire_to_name(wire.expand_name(answer, offset + 6)))
        offset += size
        if kind != wire.OPT:
            found.append((owner, kind, data))
    assert offset == len(answer)
    return flags & 0xF, found, answers


def service(name: str, **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}]
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": {"type": "ClusterIP", "ports": ports, **spec}}


def piece(*endpoints: dict[str, Any], port: int = 8080) -> dict[str, Any]:
    return {"endpoints": list(endpoints), "ports": [{"name": "http", "port": port, "protocol": "TCP"}]}


@pytest.fixture
def zone() -> Zone:
    made = Zone(DOMAIN, "10.240.64.10")
    made.set_namespace("shop", True)
    slices = [
        piece(
            {"addresses": ["10.240.0.5"], "hostname": "db-0", "conditions": {"ready": True}},
            {"addresses": ["10.240.0.6"], "conditions": {}},
            {"addresses": ["10.240.0.7"], "hostname": "db-2", "conditions": {"ready": False}},
        )
    ]
    made.update(
        {
            "shop/web": records_of(service("web", clusterIP="10.240.64.7"), [], DOMAIN),
            "shop/db": records_of(service("db", clusterIP="None"), slices, DOMAIN),
            "shop/early": records_of(service("early", clusterIP="None", publishNotReadyAddresses=True), slices, DOMAIN),
            "shop/idle": records_of(service("idle", clusterIP="None"), [], DOMAIN),
            "shop/out": records_of(service("out", type="ExternalName", externalName="example.org"), [], DOMAIN),
            "shop/in": records_of(
                service("in", type="ExternalName", externalName="web.shop.svc.cluster.local"), [], DOMAIN
            ),
        }
    )
    return made


def ask(zone: Zone, name: str, kind: int = wire.A, **options: Any) -> tuple[int, list[tuple[str, int, Any]], int]:
    answer = Responder(zone).answer(question(name, kind, **options))
    assert isinstance(answer, bytes)
    return read(answer)


WEB = "web.shop.svc.cluster.local"


def test_a_cluster_ip_has_address_ports_and_a_reverse_name(zone: Zone) -> None:
    assert ask(zone, WEB) == (0, [(WEB, wire.A, "10.240.64.7")], 1)
    assert ask(zone, f"_http._tcp.{WEB}", wire.SRV) == (
        0,
        [(f"_http._tcp.{WEB}", wire.SRV, (0, 100, 80, WEB)), (WEB, wire.A, "10.240.64.7")],
        1,
    )
    reverse = "7.64.240.10.in-addr.arpa"
    assert ask(zone, reverse, wire.PTR) == (0, [(reverse, wire.PTR, WEB)], 1)


def test_a_headless_service_names_its_ready_endpoints(zone: Zone) -> None:
    db = "db.shop.svc.cluster.local"
    code, found, _ = ask(zone, db)
    assert code == 0 and {data for _, _, data in found} == {"10.240.0.5", "10.240.0.6"}
    assert ask(zone, f"db-0.{db}")[1][0][2] == "10.240.0.5"
    assert ask(zone, f"10-240-0-6.{db}")[1][0][2] == "10.240.0.6"
    assert ask(zone, f"db-2.{db}")[0] == wire.NAME_ERROR
    assert ask(zone, "db-2.early.shop.svc.cluster.local")[1][0][2] == "10.240.0.7"
    targets = {data for _, kind, data in ask(zone, f"_http._tcp.{db}", wire.SRV)[1] if kind == wire.SRV}
    assert targets == {(0, 50, 8080, f"db-0.{db}"), (0, 50, 8080, f"10-240-0-6.{db}")}
    assert ask(zone, "idle.shop.svc.cluster.local")[0] == wire.NAME_ERROR


def test_answers_to_many_addresses_turn(zone: Zone) -> None:
    first = {ask(zone, "db.shop.svc.cluster.local", identity=number)[1][0][2] for number in range(4)}
    assert first == {"10.240.0.5", "10.240.0.6"}


def test_no_data_and_no_such_name_differ_and_are_not_remembered(zone: Zone) -> None:
    for name, kind in ((WEB, wire.AAAA), ("shop.svc.cluster.local", wire.A), ("svc.cluster.local", wire.A)):
        code, found, count = ask(zone, name, kind)
        assert (code, count, found[0][1]) == (0, 0, wire.SOA)
    code, found, _ = ask(zone, "nothing.shop.svc.cluster.local")
    assert code == wire.NAME_ERROR
    assert found[0][2][-4:] == b"\0\0\0\0", "the time to remember a negative answer"
    assert ask(zone, f"_tcp.{WEB}")[0] == 0, "a name between others exists"


def test_pods_version_and_the_server_itself(zone: Zone) -> None:
    assert ask(zone, "10-240-0-9.shop.pod.cluster.local")[1][0][2] == "10.240.0.9"
    assert ask(zone, "10-240-0-9.nowhere.pod.cluster.local")[0] == wire.NAME_ERROR
    assert ask(zone, "rubbish.shop.pod.cluster.local")[0] == wire.NAME_ERROR
    assert ask(zone, "dns-version.cluster.local", wire.TXT)[1][0][2] == b"\x051.1.0"
    assert ask(zone, "ns.dns.cluster.local")[1][0][2] == "10.240.64.10"
    assert ask(zone, "cluster.local", wire.SOA)[2] == 1


def test_external_names(zone: Zone) -> None:
    code, found, _ = ask(zone, "in.shop.svc.cluster.local")
    assert (code, [kind for _, kind, _ in found]) == (0, [wire.CNAME, wire.A])
    outside = Responder(zone).answer(question("out.shop.svc.cluster.local"))
    assert isinstance(outside, Outside) and outside.name == wire.name_to_wire("example.org")
    assert ask(zone, "out.shop.svc.cluster.local", wire.CNAME)[1][0][2] == "example.org"


def test_the_case_of_the_question_comes_back(zone: Zone) -> None:
    asked = question("wEb.ShOp.SVC.cluster.LOCAL")
    answer = Responder(zone).answer(asked)
    assert isinstance(answer, bytes) and answer[12 : len(asked)] == asked[12:]
    assert read(answer)[2] == 1


def test_edns_truncation_and_tcp(zone: Zone) -> None:
    many = [{"addresses": [f"10.240.1.{number}"], "conditions": {}} for number in range(1, 120)]
    zone.update({"shop/many": records_of(service("many", clusterIP="None"), [piece(*many)], DOMAIN)})
    responder, name = Responder(zone), "many.shop.svc.cluster.local"
    for asked, udp, count in (
        (question(name), True, 0),
        (question(name, edns=4096), True, 119),
        (question(name), False, 119),
    ):
        answer = responder.answer(asked, udp=udp)
        assert isinstance(answer, bytes)
        assert (read(answer)[2], bool(answer[2] & 2)) == (count, count == 0)
    assert len(responder.answer(question(WEB, edns=1232))) == len(responder.answer(question(WEB))) + 11  # type: ignore[arg-type]


def test_what_cannot_be_answered_is_said(zone: Zone) -> None:
    responder = Responder(zone)
    assert responder.answer(b"short") is None
    assert responder.answer(question(WEB, flags=0x8000)) is None
    assert read(responder.answer(question(WEB, flags=0x1000)))[0] == wire.NOT_IMPLEMENTED  # type: ignore[arg-type]
    assert read(responder.answer(question(WEB, wire.AXFR)))[0] == wire.REFUSED  # type: ignore[arg-type]
    cut = responder.answer(question(WEB)[:-3])
    assert isinstance(cut, bytes) and cut[3] & 0xF == wire.FORMAT_ERROR


def test_records_go_with_their_service_and_shared_ones_with_the_last(zone: Zone) -> None:
    before = len(zone.answers)
    again = records_of(service("other", clusterIP="10.240.64.7"), [], DOMAIN)
    zone.update({"shop/other": again})
    zone.update({"shop/other": {}})
    assert len(zone.answers) == before
    assert ask(zone, "7.64.240.10.in-addr.arpa", wire.PTR)[1][0][2] == WEB
    zone.update({"shop/web": {}})
    assert ask(zone, WEB)[0] == wire.NAME_ERROR
    assert ask(zone, f"_tcp.{WEB}")[0] == wire.NAME_ERROR


@given(st.binary(max_size=300))
def test_no_bytes_crash_the_responder(data: bytes) -> None:
    result = Responder(Zone(DOMAIN, "10.0.0.10")).answer(data)
    assert result is None or isinstance(result, (bytes, Outside))


@given(st.binary(max_size=120), st.integers(0, 65535), st.integers(0, 3))
def test_no_question_crashes_the_responder(tail: bytes, flags: int, additional: int) -> None:
    head = struct.pack("!HHHHHH", 1, flags, 1, 0, 0, additional)
    result = Responder(Zone(DOMAIN, "10.0.0.10")).answer(head + tail)
    assert result is None or isinstance(result, (bytes, Outside))


@given(st.binary(max_size=300))
def test_no_answer_crashes_the_forwarder(data: bytes) -> None:
    try:
        wire.answer_records(data)
    except wire.WireError:
        return


@given(st.from_regex(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63}){0,2}", fullmatch=True))
def test_names_come_back(name: str) -> None:
    assert wire.wire_to_name(wire.name_to_wire(name)) == name


def test_resolvers_that_lead_back_are_left_out() -> None:
    text = "search x\nnameserver 127.0.0.53\nnameserver 10.1.1.1 # near\nnameserver 10.0.0.10\nnameserver rubbish\n"
    assert upstreams_of(text, {"10.0.0.10"}) == ["10.1.1.1"]


class Upstream(asyncio.DatagramProtocol):
    """Answers every question with 192.0.2.1."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        query = wire.parse_query(data)
        data = wire.record(wire.POINTER_TO_QUESTION, wire.A, 60, bytes([192, 0, 2, 1]))
        self.transport.sendto(wire.message(query, 0, [data], [], []), addr)


@pytest.fixture
async def server(zone: Zone, tmp_path: Path) -> AsyncIterator[tuple[str, int]]:
    """A server on the loopback, with a resolver at 127.0.0.1 as if it were an outer one."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Upstream, local_addr=("127.0.0.1", 0))
    forwarder = Forwarder(set(), tmp_path / "resolv.conf", transport.get_extra_info("sockname")[1])
    forwarder._read, forwarder._upstreams = 0.0, ["127.0.0.1"]
    sockets = bind("127.0.0.1", 0)

    stop = asyncio.Event()
    started = asyncio.Event()

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            await listen(Server(zone, forwarder, group), sockets, group)
            started.set()

    task = asyncio.create_task(run())
    await asyncio.wait_for(started.wait(), 5)
    yield sockets[0].getsockname()
    stop.set()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    transport.close()


async def by_udp(address: tuple[str, int], data: bytes) -> bytes:
    def exchange() -> bytes:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
            client.settimeout(5)
            client.sendto(data, address)
            return client.recv(4096)

    return await asyncio.to_thread(exchange)


async def test_udp_tcp_and_forwarding_over_sockets(server: tuple[str, int]) -> None:
    assert read(await by_udp(server, question(WEB)))[1][0][2] == "10.240.64.7"
    answer = await by_udp(server, question("www.example.org", identity=99))
    assert answer[:2] == b"\0\x63" and read(answer)[1][0][2] == "192.0.2.1"
    kinds = [kind for _, kind, _ in read(await by_udp(server, question("out.shop.svc.cluster.local")))[1]]
    assert kinds == [wire.CNAME, wire.A]
    reader, writer = await asyncio.open_connection(*server)
    for _ in range(2):
        writer.write(struct.pack("!H", len(question(WEB))) + question(WEB))
        size = struct.unpack("!H", await reader.readexactly(2))[0]
        assert read(await reader.readexactly(size))[1][0][2] == "10.240.64.7"
    writer.close()


async def test_outer_names_fail_at_once_without_a_resolver(zone: Zone, tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        made = Server(zone, Forwarder(set(), tmp_path / "none"), group)
        made.forwarder._load = list  # type: ignore[method-assign]
        asked = question("www.example.org")
        outside = made.responder.answer(asked)
        assert isinstance(outside, Outside)
        assert read(await made.forwarded(asked, outside, udp=True))[0] == wire.SERVER_FAILURE
