"""Replicas that count together: over real sockets and TLS, in one process."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.client.errors import ApiError
from sampan.client.resources import ENDPOINT_SLICES, SECRETS
from sampan.gateway.limits import trust
from sampan.gateway.limits.descriptors import SHARED, Asked
from sampan.gateway.limits.peers import Peers, owner, request_of, wait_of
from sampan.gateway.limits.service import Limits, Service
from sampan.gateway.replicas import Replica

SECOND = 1_000_000_000
NAMES = ("one", "two", "three")


def bucket(source: str, burst: int = 2) -> Asked:
    return Asked(SHARED, f"Middleware shop/limit {source}", burst, 3600 * SECOND)


@asynccontextmanager
async def together(client: LocalClient, *names: str) -> AsyncIterator[dict[str, Peers]]:
    peers = {
        name: Peers(Limits(), Replica(name, "192.0.2.1", "default", lease_seconds=15), "127.0.0.1", client)
        for name in names
    }
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(one.run()) for one in peers.values()]
        async with asyncio.timeout(60):
            seen: set[str] = set()
            async for event in client.watch(ENDPOINT_SLICES, "default"):
                for one in peers.values():
                    one.on_slice(event.type, None, here(event.object))
                seen.add((event.object["metadata"].get("labels") or {}).get("gateway.sampan.dev/replica", ""))
                if seen >= set(names):
                    break
            for one in peers.values():
                await one.counting.wait()
        yield peers
        for task in tasks:
            task.cancel()


def here(piece: dict[str, Any]) -> dict[str, Any]:
    """Return a slice that leads to this machine; the API takes none that does."""
    return {**piece, "endpoints": [{**one, "addresses": ["127.0.0.1"]} for one in piece["endpoints"]]}


def client_of(api: Api) -> LocalClient:
    return LocalClient(api, User("admin", ("system:masters",)))


async def test_each_bucket_is_counted_once(local_api: Api) -> None:
    client = client_of(local_api)
    async with together(client, *NAMES) as peers:
        passed: Counter[str] = Counter()
        sources = [f"address 192.0.2.{number}" for number in range(12)]
        for one in peers.values():
            for source in sources:
                passes, wait = await one.limits.decide([bucket(source)])
                passed[source] += passes
                assert passes or 0 < wait <= 3600 * SECOND
        assert passed == Counter(dict.fromkeys(sources, 2)), "two of three have a token, whoever is asked"
        kept = [len(one.limits.buckets) for one in peers.values()]
        assert sum(kept) == len(sources) and all(kept), "all have a part of the buckets"
        secret = await client.get(SECRETS, trust.SECRET, "default")
        assert secret["type"] == "kubernetes.io/tls"


async def test_who_counts_with_nobody_counts_alone(local_api: Api) -> None:
    async with together(client_of(local_api), "one", "two") as peers:
        one, two = peers["one"], peers["two"]
        source = next(
            f"address {number}" for number in range(99) if owner(bucket(f"address {number}").name, peers) == "two"
        )
        assert (await one.limits.decide([bucket(source, 1)]))[0] is True
        assert (await one.limits.decide([bucket(source, 1)]))[0] is False
        one.places["two"] = two.places["two"]._replace(port=1)
        assert [(await one.limits.decide([bucket(source, 1)]))[0] for _ in range(2)] == [True, False]


async def test_who_has_not_the_certificate_is_not_listened_to(local_api: Api) -> None:
    async with together(client_of(local_api), "one", "two") as peers:
        stranger = Peers(Limits(), replace(peers["one"].replica, name="stranger"), "127.0.0.1", client_of(local_api))
        stranger.places = {"two": peers["two"].places["two"]}
        stranger._context = trust.client_context(*trust.new_pair())
        source = next(
            f"address {number}"
            for number in range(99)
            if owner(bucket(f"address {number}").name, ("two", "stranger")) == "two"
        )
        await stranger.ask([bucket(source)])
        assert len(stranger.limits.buckets) == 1 and len(peers["two"].limits.buckets) == 0


async def test_the_certificate_of_the_first_is_that_of_all(local_api: Api) -> None:
    client = client_of(local_api)
    pairs = await asyncio.gather(*(trust.shared_pair(client, "default") for _ in range(4)))
    assert len(set(pairs)) == 1
    with pytest.raises(ApiError):
        await trust.shared_pair(client, "nowhere")


def test_a_replica_that_goes_moves_its_own_buckets_alone() -> None:
    buckets = [f"bucket {number}" for number in range(300)]
    before = {name: owner(name, NAMES) for name in buckets}
    after = {name: owner(name, NAMES[:2]) for name in buckets}
    assert all(after[name] == before[name] for name in buckets if before[name] != "three")
    assert min(Counter(before.values()).values()) > 50


async def test_an_owner_that_went_while_another_was_asked_is_counted_for(local_api: Api) -> None:
    peers = Peers(Limits(), Replica("one", "192.0.2.1", "default", lease_seconds=15), "127.0.0.1", client_of(local_api))
    assert await peers._ask("two", [bucket("a", 1)]) == 0
    assert await peers._ask("two", [bucket("a", 1)]) > 0


async def test_slices_of_other_namespaces_lead_nobody_away(local_api: Api) -> None:
    peers = Peers(Limits(), Replica("one", "192.0.2.1", "default", lease_seconds=15), "127.0.0.1", client_of(local_api))
    piece = Peers(Limits(), Replica("two", "192.0.2.2", "default", 15), "127.0.0.1", peers._client).slice(7000)
    peers.on_slice("ADDED", None, piece)
    elsewhere = {**piece, "metadata": {**piece["metadata"], "namespace": "shop"}}
    peers.on_slice("ADDED", None, {**elsewhere, "ports": [{"port": 7001}]})
    assert peers.places["two"].port == 7000
    peers.on_slice("DELETED", elsewhere, elsewhere)
    assert peers.places["two"].port == 7000


async def test_what_an_owner_is_asked_is_what_it_reads() -> None:
    limits = Limits()
    request = request_of([bucket("header a b|c", 1)])
    assert wait_of(await Service(limits).answer(request)) == 0
    assert wait_of(await Service(limits).answer(request)) == 3600 * SECOND
    assert wait_of(await Service(limits).answer(request_of([bucket("header a b|d", 1)]))) == 0
