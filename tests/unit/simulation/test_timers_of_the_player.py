"""The player's one timer: what is due is played, also when the clock says that the timer rang too early."""

from __future__ import annotations

import asyncio
from typing import Any

from sampan.client.informer import Informer
from sampan.client.resources import NODES, PODS
from sampan.simulation.logs import LogBook
from sampan.simulation.player import Player


class Silent:
    """A client that is never asked."""

    streams_lists = False


def make_player() -> Player:
    client: Any = Silent()
    events: Any = None
    pods, nodes = Informer(client, PODS), Informer(client, NODES)
    ranges = {"pod_cidr": "10.0.0.0/24", "node_cidr": "10.0.1.0/24"}
    player = Player(client, pods, nodes, events, LogBook(), kubelet_version="v1", **ranges)
    node = {"metadata": {"name": "n", "annotations": {"sim.sampan.dev/simulated": "true"}}, "status": {}}
    nodes.objects["n"] = node
    annotations = {"sim.sampan.dev/start-seconds": "5"}
    metadata = {"name": "p", "namespace": "d", "uid": "u", "resourceVersion": "1", "annotations": annotations}
    pods.objects["d/p"] = {"kind": "Pod", "metadata": metadata, "spec": {"nodeName": "n", "containers": []}}
    return player


async def test_a_timer_that_rings_too_early_loses_nothing() -> None:
    player = make_player()
    item = (PODS, "d/p")
    assert player._considered(item) is None and player._heap  # it is due in five seconds
    due = player._heap[0][0]
    loop = asyncio.get_running_loop()
    real = loop.time
    try:
        loop.time = lambda: due - 0.0015  # type: ignore[method-assign]
        player._ring()
        found = player._considered(item)
    finally:
        loop.time = real  # type: ignore[method-assign]
    assert found is not None and found[2].then == {"phase": "Running"}
    assert player._marked == {item: None} and not player._heap
    if player._timer is not None:
        player._timer.cancel()


async def test_an_object_that_nobody_thought_of_does_not_end_the_others() -> None:
    player = make_player()
    odd = {"kind": "Pod", "metadata": {"name": "odd", "namespace": "d"}}
    player.pods.objects = {"d/odd": odd, **player.pods.objects}
    player._mark((PODS, "d/odd"))
    player._mark((PODS, "d/p"))
    playing = asyncio.ensure_future(player.run())
    for _ in range(3):
        await asyncio.sleep(0)
    assert not playing.done() and player._due.keys() == {(PODS, "d/p")}
    playing.cancel()
    await asyncio.wait([playing])
    if player._timer is not None:
        player._timer.cancel()
