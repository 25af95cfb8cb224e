"""Leader election against the in-process API, on a clock of the test's own."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.errors import ApiUnreachable
from sampan.client.leases import Elector, LeaseConfig, LostLease, next_spec
from sampan.client.resources import LEASES

ADMIN = User("admin", ("system:masters", "system:authenticated"))


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def elector(api: Api, identity: str, clock: Clock) -> Elector:
    return Elector(LocalClient(api, ADMIN), LeaseConfig("vip", identity), clock)


async def test_one_wins_and_the_other_takes_over_when_it_falls_silent(local_api: Api) -> None:
    clock = Clock()
    one, two = elector(local_api, "one", clock), elector(local_api, "two", clock)
    assert await one.try_once()
    assert not await two.try_once()
    clock.now += 9
    assert one.leads
    assert await one.try_once()
    clock.now += 11
    assert not one.leads, "the holder gives up before anyone may take over"
    assert not await two.try_once(), "a renewal was seen only now: the wait begins here"
    clock.now += 14
    assert not await two.try_once()
    clock.now += 2
    assert await two.try_once()
    assert not await one.try_once()
    lease = await LocalClient(local_api, ADMIN).get(LEASES, "vip", "kube-system")
    assert lease["spec"]["holderIdentity"] == "two"
    assert lease["spec"]["leaseTransitions"] == two.transitions == 1
    assert lease["spec"]["renewTime"].endswith("Z")
    assert len(lease["spec"]["renewTime"]) == len("2026-01-01T00:00:00.000000Z")


async def test_both_at_once_never_both_win(local_api: Api) -> None:
    clock = Clock()
    electors = [elector(local_api, f"e{number}", clock) for number in range(5)]
    won = await asyncio.gather(*(one.try_once() for one in electors))
    assert sum(won) == 1


async def test_it_leads_until_the_work_is_done_and_lets_go(local_api: Api) -> None:
    config = LeaseConfig("job", "one", lease_seconds=3, renew_deadline_seconds=2, retry_seconds=0.05)
    one = Elector(LocalClient(local_api, ADMIN), config, Clock())

    async def work() -> None:
        assert one.leads
        await asyncio.sleep(0.2)  # some renewals
        assert one.leads

    await asyncio.wait_for(one.run(work), 60)
    lease = await LocalClient(local_api, ADMIN).get(LEASES, "job", "kube-system")
    assert not lease["spec"].get("holderIdentity")
    other = Elector(LocalClient(local_api, ADMIN), LeaseConfig("job", "two"))
    assert await other.try_once()


async def test_what_runs_is_cancelled_when_the_api_is_away_too_long(local_api: Api) -> None:
    client: Any = LocalClient(local_api, ADMIN)
    config, clock = LeaseConfig("away", "one", retry_seconds=0.05), Clock()
    one = Elector(client, config, clock)
    stopped = asyncio.Event()

    async def unreachable(*_: Any, **__: Any) -> Any:
        clock.now += config.renew_deadline_seconds
        raise ApiUnreachable("away")

    async def work() -> None:
        client.get = unreachable
        try:
            await asyncio.sleep(1000)
        finally:
            stopped.set()

    with pytest.raises(LostLease):
        await asyncio.wait_for(one.run(work), 60)
    assert stopped.is_set()
    assert not one.leads


def test_times_must_make_sense() -> None:
    with pytest.raises(ValueError, match="must hold"):
        LeaseConfig("a", "b", lease_seconds=5, renew_deadline_seconds=5)


def test_the_acquire_time_stays_while_the_holder_does() -> None:
    config = LeaseConfig("a", "me")
    first = next_spec({}, config, "t1")
    assert (first["acquireTime"], first["leaseTransitions"]) == ("t1", 0)
    assert next_spec(first, config, "t2")["acquireTime"] == "t1"
    taken = next_spec(first, LeaseConfig("a", "you"), "t3")
    assert (taken["acquireTime"], taken["leaseTransitions"]) == ("t3", 1)
