"""Names that are not the cluster's: asked of resolvers, kept as long as they may be, bounded, and never in a circle."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import dns.flags
import dns.message
import pytest

from sampan.dns import wire
from sampan.dns.forwarding.cache import CacheSettings, TableSettings
from sampan.dns.forwarding.exchange import Address, answers
from sampan.dns.forwarding.forwarder import Forwarder, Rejected
from sampan.dns.forwarding.upstream_answer import Answered
from sampan.dns.forwarding.upstreams import ForwardSettings, Upstreams, nameservers, searches

from .cluster import Cluster, code, data, pending, query
from .upstream import addresses, running, until

NAME = wire.name_to_wire("www.example.org")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def group() -> AsyncIterator[asyncio.TaskGroup]:
    async with asyncio.TaskGroup() as made:
        yield made
        for task in asyncio.all_tasks():
            if (task.get_name() or "").startswith("dns-"):
                task.cancel()


def forwarder(
    group: asyncio.TaskGroup, *lines: ForwardSettings, cache: CacheSettings | None = None, clock: Clock | None = None
) -> Forwarder:
    made = Forwarder(lines, cache, (), group.create_task)
    if clock is not None:
        made._now = clock
    return made


async def asked(one: Forwarder, name: bytes = NAME, kind: int = wire.A) -> Answered:
    found = await one.ask(name, kind, False)
    assert found is not None
    return found


async def test_a_name_outside_is_asked_and_given(group: asyncio.TaskGroup) -> None:
    async with running(addresses({"www.example.org": "CNAME web.example.org", "web.example.org": "192.0.2.1"})) as up:
        responder = Cluster().responder(forwarder=forwarder(group, up.settings(), cache=CacheSettings()))
        first = dns.message.from_wire(await pending(responder, "www.Example.org").finished())
        assert data(first) == ["192.0.2.1"] and not first.flags & dns.flags.AA
        again = responder.answer(query("wwW.example.org"), None)  # type: ignore[arg-type]
        assert isinstance(again, bytes) and data(dns.message.from_wire(again)) == ["192.0.2.1"]
        assert up.udp == ["www.example.org. A"], "the second is given from what is kept"


async def test_that_an_answer_is_authentic_is_told_to_who_asks(group: asyncio.TaskGroup) -> None:
    known = addresses({"www.example.org": "192.0.2.1"})

    def answering(message: dns.message.Message, udp: bool) -> dns.message.Message:
        answer = known(message, udp)
        assert isinstance(answer, dns.message.Message)
        answer.flags |= dns.flags.AD
        return answer

    async with running(answering) as up:
        responder = Cluster().responder(forwarder=forwarder(group, up.settings(), cache=CacheSettings()))
        plain = dns.message.from_wire(await pending(responder, "www.example.org").finished())
        assert not plain.flags & dns.flags.AD
        asking = query("www.example.org", flags=dns.flags.RD | dns.flags.AD)
        kept = responder.answer(asking, None)  # type: ignore[arg-type]
        assert isinstance(kept, bytes) and dns.message.from_wire(kept).flags & dns.flags.AD


async def test_external_names_lead_outside(group: asyncio.TaskGroup) -> None:
    async with running(addresses({"example.org": "192.0.2.1"})) as up:
        cluster = Cluster()
        cluster.namespace("shop")
        cluster.service("out", type="ExternalName", externalName="example.org")
        responder = cluster.responder(forwarder=forwarder(group, up.settings()))
        answer = dns.message.from_wire(await pending(responder, "out.shop.svc.cluster.local").finished())
        assert (data(answer, "CNAME"), data(answer)) == (["example.org."], ["192.0.2.1"])


async def test_the_same_question_is_under_way_once(group: asyncio.TaskGroup) -> None:
    async with running(addresses({"www.example.org": "192.0.2.1"})) as up:
        one = forwarder(group, up.settings())
        await asyncio.gather(*(asked(one) for _ in range(20)))
        assert len(up.udp) == 1


async def test_what_is_cut_short_is_asked_by_tcp(group: asyncio.TaskGroup) -> None:
    whole = addresses({"www.example.org": " ".join(f"192.0.2.{n}" for n in range(1, 200))})

    def answering(message: dns.message.Message, udp: bool) -> dns.message.Message:
        answer = whole(message, udp)
        assert isinstance(answer, dns.message.Message)
        if udp:
            answer.flags |= dns.flags.TC
            answer.answer.clear()
        return answer

    async with running(answering) as up:
        found = await asked(forwarder(group, up.settings()))
        assert found.counts[0] == 199 and up.tcp == up.udp


async def test_force_tcp(group: asyncio.TaskGroup) -> None:
    async with running(addresses({"www.example.org": "192.0.2.1"})) as up:
        await asked(forwarder(group, up.settings(force_tcp=True)))
        assert (up.udp, up.tcp) == ([], ["www.example.org. A"])


async def test_a_resolver_without_edns(group: asyncio.TaskGroup) -> None:
    known = addresses({"www.example.org": "192.0.2.1"})

    def answering(message: dns.message.Message, udp: bool) -> Any:
        if message.edns < 0:
            return known(message, udp)
        answer = dns.message.make_response(message)
        answer.use_edns(-1)
        answer.set_rcode(dns.rcode.FORMERR)
        return answer

    async with running(answering) as up:
        assert (await asked(forwarder(group, up.settings()))).counts[0] == 1


async def test_one_that_does_not_answer_is_left_out_until_it_does(group: asyncio.TaskGroup) -> None:
    silent = True

    def answering(message: dns.message.Message, udp: bool) -> Any:
        return None if silent else addresses({"www.example.org": "192.0.2.9"})(message, udp)

    async with running(answering) as first, running(addresses({"www.example.org": "192.0.2.1"})) as second:
        settings = ForwardSettings(
            addresses=(first.address, second.address),
            policy="sequential",
            read_seconds=0.05,
            check_seconds=0.01,
            max_fails=1,
        )
        one = forwarder(group, settings)
        (line,) = one.lines
        assert (await asked(one)).records()[0][0][-4:] == bytes([192, 0, 2, 1])
        await until(lambda: line.upstreams.is_down(line.upstreams.all[0]))
        before = len(first.udp)
        await asked(one, wire.name_to_wire("other.example.org"))
        assert "other.example.org. A" not in first.udp[before:], "it is not asked while it is down"
        silent = False
        await until(lambda: not line.upstreams.is_down(line.upstreams.all[0]))
        assert (await asked(one)).records()[0][0][-4:] == bytes([192, 0, 2, 9])


async def test_nobody_is_looked_after_under_another_configuration(group: asyncio.TaskGroup) -> None:
    async with running(lambda message, udp: None) as up:
        one = forwarder(group, up.settings(read_seconds=0.02, check_seconds=0.01, max_fails=1))
        assert await one.ask(NAME, wire.A, False) is None
        upstream = one.lines[0].upstreams.all[0]
        assert upstream.checking
        one.close()
        await until(lambda: not upstream.checking)


async def test_when_all_are_down_one_is_asked_all_the_same(group: asyncio.TaskGroup) -> None:
    async with running(addresses({"www.example.org": "192.0.2.1"})) as up:
        one = forwarder(group, up.settings(max_fails=1))
        one.lines[0].upstreams.all[0].fails = 5
        assert (await asked(one)).counts[0] == 1 and one.lines[0].upstreams.broken == 1
        strict = forwarder(group, up.settings(max_fails=1, fail_fast=True))
        strict.lines[0].upstreams.all[0].fails = 5
        assert await strict.ask(NAME, wire.A, False) is None


async def test_no_resolver_is_a_failure_at_once(group: asyncio.TaskGroup) -> None:
    responder = Cluster().responder(forwarder=forwarder(group, ForwardSettings()))
    assert code(dns.message.from_wire(await pending(responder, "www.example.org").finished())) == "SERVFAIL"


async def test_failover(group: asyncio.TaskGroup) -> None:
    def refusing(message: dns.message.Message, udp: bool) -> dns.message.Message:
        answer = dns.message.make_response(message)
        answer.set_rcode(dns.rcode.REFUSED)
        return answer

    async with running(refusing) as bad, running(addresses({"www.example.org": "192.0.2.1"})) as good:
        settings = ForwardSettings(addresses=(bad.address, good.address), policy="sequential")
        assert (await asked(forwarder(group, settings))).code == wire.REFUSED
        settings = replace(settings, failover=frozenset({wire.REFUSED}))
        assert (await asked(forwarder(group, settings))).counts[0] == 1


async def test_lines_stub_domains_and_exceptions(group: asyncio.TaskGroup) -> None:
    stub = replace(ForwardSettings(), zone=wire.name_to_wire("corp.example"))
    root = replace(ForwardSettings(), excluded=(wire.name_to_wire("local"),))
    one = forwarder(group, stub, root)
    for name, line in (("a.corp.example", 0), ("corp.example", 0), ("notcorp.example", 1), ("a.local", None)):
        found = one.line_of(wire.name_to_wire(name))
        assert found is (None if line is None else one.lines[line])


async def test_how_many_are_under_way_is_bounded(group: asyncio.TaskGroup) -> None:
    async with running(lambda message, udp: None) as up:
        one = forwarder(group, up.settings(max_concurrent=2))
        waiting = [
            asyncio.create_task(one.ask(wire.name_to_wire(f"n{n}.example.org"), wire.A, False)) for n in range(2)
        ]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        with pytest.raises(Rejected):
            await one.ask(NAME, wire.A, False)
        assert one.lines[0].rejected == 1
        for task in waiting:
            task.cancel()


# what is kept


async def test_kept_answers_grow_old(group: asyncio.TaskGroup) -> None:
    clock = Clock()
    async with running(addresses({"www.example.org": "192.0.2.1"}, ttl=60)) as up:
        one = forwarder(group, up.settings(), cache=CacheSettings(), clock=clock)
        await asked(one)
        clock.now += 20
        entry = one.kept(NAME, wire.A, False)
        assert entry is not None
        assert one.records(entry)[0][0][len(NAME) + 4 :][:4] == (40).to_bytes(4)
        clock.now += 41
        assert one.kept(NAME, wire.A, False) is None


@pytest.mark.parametrize(("minimum", "seconds"), [(30, 30), (900, 300), (0, 0)])
async def test_denials_are_kept_as_long_as_they_say(group: asyncio.TaskGroup, minimum: int, seconds: int) -> None:
    clock = Clock()
    async with running(addresses({}, minimum=minimum)) as up:
        one = forwarder(group, up.settings(), cache=CacheSettings(), clock=clock)
        assert (await asked(one)).code == wire.NAME_ERROR
        clock.now += seconds - 1
        assert (one.kept(NAME, wire.A, False) is not None) == (seconds > 0)
        clock.now += 2
        assert one.kept(NAME, wire.A, False) is None


async def test_popular_names_are_fetched_ahead(group: asyncio.TaskGroup) -> None:
    clock = Clock()
    async with running(addresses({"www.example.org": "192.0.2.1"}, ttl=100)) as up:
        one = forwarder(group, up.settings(), cache=CacheSettings(prefetch_amount=2), clock=clock)
        await asked(one)
        for _ in range(3):
            assert one.kept(NAME, wire.A, False)
        assert len(up.udp) == 1
        clock.now += 91
        for _ in range(3):
            assert one.kept(NAME, wire.A, False)
        await until(lambda: len(up.udp) == 2)
        assert one.cache is not None and one.cache.counts.prefetches == 1


async def test_stale_answers_while_no_resolver_answers(group: asyncio.TaskGroup) -> None:
    clock, silent = Clock(), False
    known = addresses({"www.example.org": "192.0.2.1"}, ttl=10)

    async with running(lambda message, udp: None if silent else known(message, udp)) as up:
        for settings in (CacheSettings(stale_seconds=3600), CacheSettings(stale_seconds=3600, verify=True)):
            silent = False
            one = forwarder(group, up.settings(read_seconds=0.05), cache=settings, clock=clock)
            responder = Cluster().responder(forwarder=one)
            await pending(responder, "www.example.org").finished()
            silent = True
            clock.now += 100
            answer = responder.answer(query("www.example.org"), None)  # type: ignore[arg-type]
            raw = answer if isinstance(answer, bytes) else await answer.finished()  # type: ignore[union-attr]
            assert data(dns.message.from_wire(raw)) == ["192.0.2.1"]
            assert dns.message.from_wire(raw).answer[0].ttl == 0
            clock.now += 3600
            assert one.kept(NAME, wire.A, False) is None


async def test_no_more_is_kept_than_there_is_room_for(group: asyncio.TaskGroup) -> None:
    async with running(addresses({f"n{n}.example.org": "192.0.2.1" for n in range(9)})) as up:
        one = forwarder(group, up.settings(), cache=CacheSettings(success=TableSettings(capacity=4)))
        for number in range(9):
            await asked(one, wire.name_to_wire(f"n{number}.example.org"))
        assert one.cache is not None
        assert (len(one.cache.tables["success"]), one.cache.counts.evictions["success"]) == (4, 5)


# trust


@pytest.mark.parametrize(
    ("change", "believed"),
    [
        (lambda data: data, True),
        (lambda data: b"\0\0" + data[2:], False),
        (lambda data: data[:2] + b"\x01" + data[3:], False),
        (lambda data: data.replace(b"www", b"xxx"), False),
        (lambda data: data[:4] + b"\0\0" + data[6:], False),
        (lambda data: data[:11], False),
    ],
)
def test_only_the_answer_to_the_question_is_believed(change: Any, believed: bool) -> None:
    asked_for = query("www.example.org", id=7)
    answer = dns.message.make_response(dns.message.from_wire(asked_for)).to_wire()
    assert answers(change(answer), asked_for) is believed


async def test_forwarding_in_a_circle_is_seen_and_stopped(group: asyncio.TaskGroup) -> None:
    one: Forwarder

    def circle(message: dns.message.Message, udp: bool) -> dns.message.Message:
        one.came_back(message.question[0].name.to_wire())  # type: ignore[arg-type]
        answer = dns.message.make_response(message)
        answer.set_rcode(dns.rcode.SERVFAIL)
        return answer

    async with running(circle) as up:
        one = forwarder(group, up.settings())
        await one.look_for_circles()
        assert one.lines[0].looping
        before = len(up.udp)
        assert await one.ask(NAME, wire.A, False) is None and len(up.udp) == before


# resolv.conf


def test_resolvers_that_lead_back_are_left_out() -> None:
    text = "search x y\nnameserver 127.0.0.53\nnameserver 10.1.1.1 # near\nnameserver 10.0.0.10\nnameserver rubbish\n"
    assert nameservers(text, {"10.0.0.10"}) == ["10.1.1.1"]
    assert searches(text) == ("x", "y")


def test_a_resolv_conf_is_read_again_when_it_changes(tmp_path: Path) -> None:
    file = tmp_path / "resolv.conf"
    file.write_text("nameserver 10.1.1.1\n")
    one = Upstreams(ForwardSettings(files=(file,)), (), lambda *_, **__: None)
    one.refresh(10.0)
    assert [upstream.address for upstream in one.all] == [Address("10.1.1.1")]
    file.write_text("nameserver 10.1.1.1\nnameserver 10.1.1.2\n")
    os.utime(file, (1, 1))
    kept = one.all[0]
    one.refresh(20.0)
    assert [upstream.address.host for upstream in one.all] == ["10.1.1.1", "10.1.1.2"] and one.all[0] is kept
