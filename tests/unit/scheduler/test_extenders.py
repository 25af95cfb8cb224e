"""Extenders: a web service that filters, scores and binds beside the plugins."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from sampan.client.resources import PODS
from sampan.scheduler.configuration import Configuration, parse
from sampan.schema.objects import Object
from tests.unit.scheduler.conftest import Setting, Start
from tests.unit.scheduler.made import node
from tests.unit.scheduler.test_binding_cycle import pod, told
from tests.unit.scheduler.test_preemption_runs import classes
from tests.unit.scheduler.test_preemption_runs import pod as ranked

Answer = Callable[[Object], Any]


class Service:
    """An extender; ``answers`` say what it does, ``asked`` what it was asked."""

    def __init__(self) -> None:
        self.answers: dict[str, Answer] = {}
        self.asked: list[tuple[str, Object]] = []
        self.port = 0

    async def serve(self, request: web.Request) -> web.StreamResponse:
        verb, body = request.match_info["verb"], await request.json()
        self.asked.append((verb, body))
        answer = self.answers[verb](body)
        if asyncio.iscoroutine(answer):
            answer = await answer
        return web.json_response(answer) if not isinstance(answer, int) else web.Response(status=answer)

    def configuration(self, **fields: Any) -> Configuration:
        extender = {"urlPrefix": f"http://127.0.0.1:{self.port}/ext", **fields}
        head = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
        return parse({**head, "extenders": [extender]}, Path())


@pytest.fixture
async def service() -> AsyncIterator[Service]:
    made = Service()
    app = web.Application()
    app.router.add_post("/ext/{verb}", made.serve)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def names(body: Object) -> list[str]:
    return [one["metadata"]["name"] for one in body["Nodes"]["items"]]


def only(*kept: str, never: dict[str, str] | None = None) -> Answer:
    """Answer as a Go service does: fields in capitals."""

    def answer(body: Object) -> Object:
        there = {one["metadata"]["name"]: one for one in body["Nodes"]["items"]}
        failed = {name: "too blue" for name in there if name not in kept and name not in (never or {})}
        found = [there[name] for name in kept if name in there]
        return {
            "Nodes": {"items": found},
            "FailedNodes": failed,
            "FailedAndUnresolvableNodes": never or {},
            "Error": "",
        }

    return answer


async def two_nodes(setting: Setting) -> None:
    for name in ("one", "two"):
        await setting.add_node(node(name))


async def test_it_refuses_nodes_and_says_why(start: Start, service: Service) -> None:
    setting = start(service.configuration(filterVerb="filter"))
    await two_nodes(setting)
    service.answers["filter"] = only("two")
    await setting.client.create(PODS, pod("first", cpu="1"))
    bound = await setting.until("first", lambda p: p["spec"].get("nodeName"))
    assert bound["spec"]["nodeName"] == "two"
    verb, body = service.asked[0]
    assert verb == "filter" and body["Pod"]["metadata"]["name"] == "first" and sorted(names(body)) == ["one", "two"]
    # the plugins were asked first: it hears only of nodes that they let through
    service.answers["filter"] = only(never={"one": "never"})
    await setting.client.create(PODS, pod("large", cpu="4"))
    refused = await setting.until("large", lambda p: told(p)[0] == "Unschedulable")
    assert told(refused)[1].startswith("0/2 nodes are available: 1 Insufficient cpu, 1 never.")
    assert names(service.asked[-1][1]) == ["one"]
    # whatever happens may matter to it
    service.answers["filter"] = only("three")
    await setting.add_node(node("three"))
    await setting.until("large", lambda p: p["spec"].get("nodeName") == "three")


async def test_its_points_count_with_the_plugins(start: Start, service: Service) -> None:
    setting = start(service.configuration(prioritizeVerb="rank", weight=50, nodeCacheCapable=True))
    await two_nodes(setting)
    # as a Python service writes it: small letters
    for best in ("two", "one", "two"):
        service.answers["rank"] = lambda body, best=best: [
            {"host": name, "score": 10 if name == best else 0} for name in body["NodeNames"]
        ]
        await setting.client.create(PODS, pod(f"to-{best}-{len(service.asked)}", cpu="1"))
        await setting.until(f"to-{best}-{len(service.asked)}", lambda p: p["spec"].get("nodeName"))
        (last,) = [p for p in setting.pods if p["metadata"]["name"] == f"to-{best}-{len(service.asked) - 1}"]
        assert last["spec"]["nodeName"] == best
    assert service.asked[0][1]["Nodes"] is None


async def test_it_binds_what_is_its_own(start: Start, service: Service) -> None:
    resources = [{"name": "example.com/chip", "ignoredByScheduler": True}]
    setting = start(service.configuration(bindVerb="bind", managedResources=resources))
    await setting.add_node(node("one"))

    async def bind(body: Object) -> Object:
        metadata = {"name": body["PodName"], "uid": body["PodUID"]}
        target = {"kind": "Node", "name": body["Node"]}
        binding = {"apiVersion": "v1", "kind": "Binding", "metadata": metadata, "target": target}
        await setting.client.create(PODS, binding, body["PodNamespace"], name=body["PodName"], subresource="binding")
        return {}

    service.answers["bind"] = bind
    chip = pod("chip", cpu="1")
    sizes = {"example.com/chip": "1", "cpu": "1"}
    chip["spec"]["containers"][0]["resources"] = {"requests": sizes, "limits": sizes}
    await setting.client.create(PODS, chip)
    # no node has the resource: it is the extender's to say where it is
    await setting.until("chip", lambda p: p["spec"].get("nodeName") == "one")
    assert [verb for verb, _ in service.asked] == ["bind"]
    await setting.client.create(PODS, pod("plain", cpu="1"))
    await setting.until("plain", lambda p: p["spec"].get("nodeName"))
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda body: 500, "failed filter with extender at URL"),
        (lambda body: {"error": "no mood"}, "no mood"),
        (lambda body: {"nodes": 5}, "the answer is no list of nodes"),
        (lambda body: asyncio.sleep(30), "context deadline exceeded"),
    ],
    ids=["status", "its own error", "nonsense", "silence"],
)
async def test_one_that_fails_fails_the_pod_unless_it_may_be_ignored(
    start: Start, service: Service, answer: Answer, message: str
) -> None:
    service.answers["filter"] = answer
    setting = start(service.configuration(filterVerb="filter", httpTimeout="300ms"))
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web", cpu="1"))
    failed = await setting.until("web", lambda p: told(p)[0] == "SchedulerError")
    assert message in told(failed)[1]
    service.answers["filter"] = only("one")
    await setting.until("web", lambda p: p["spec"].get("nodeName"))


async def test_one_that_may_be_ignored_is(start: Start, service: Service) -> None:
    service.answers["filter"] = lambda body: 500
    setting = start(service.configuration(filterVerb="filter", ignorable=True))
    await setting.add_node(node("one"))
    await setting.client.create(PODS, pod("web", cpu="1"))
    await setting.until("web", lambda p: p["spec"].get("nodeName") == "one")


async def test_the_node_must_still_do_when_it_has_answered(start: Start, service: Service) -> None:
    setting = start(service.configuration(filterVerb="filter"))
    await setting.add_node(node("one", cpu="4"))
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def think(body: Object) -> Object:
        asked.set()
        await go_on.wait()
        return only("one")(body)

    service.answers["filter"] = think
    await setting.client.create(PODS, pod("slow", cpu="3"))
    await asked.wait()
    # meanwhile somebody else puts a pod there
    await setting.client.create(
        PODS, {**pod("quick", cpu="3"), "spec": {**pod("quick", cpu="3")["spec"], "nodeName": "one"}}
    )
    await setting.until("quick", lambda p: "default/quick" in setting.scheduler.cluster.placed)
    go_on.set()
    refused = await setting.until("slow", lambda p: told(p)[0] == "Unschedulable")
    assert "1 Insufficient cpu" in told(refused)[1]
    await setting.client.delete(PODS, "quick", "default", grace_period_seconds=0)
    await setting.until("slow", lambda p: p["spec"].get("nodeName") == "one")


async def test_a_pod_that_goes_while_it_is_asked_is_forgotten(start: Start, service: Service) -> None:
    setting = start(service.configuration(filterVerb="filter"))
    await setting.add_node(node("one"))
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def think(body: Object) -> Object:
        asked.set()
        await go_on.wait()
        return only("one")(body)

    service.answers["filter"] = think
    await setting.client.create(PODS, pod("gone", cpu="3"))
    await asked.wait()
    await setting.client.delete(PODS, "gone", "default", grace_period_seconds=0)
    await setting.client.create(PODS, pod("next", cpu="3"))
    await setting.until("next", lambda p: setting.pods.get("default/gone") is None)
    go_on.set()
    await setting.until("next", lambda p: p["spec"].get("nodeName"))
    assert list(setting.scheduler.cluster.placed) == ["default/next"]


def test_its_tls_is_what_the_configuration_says(throwaway_pki: Path) -> None:
    from sampan.scheduler.extender_tls import context_of
    from sampan.scheduler.reading import ConfigurationError

    def spec(**tls: Any) -> Any:
        extender = {"urlPrefix": "http://x.example", "enableHTTPS": True, "tlsConfig": tls}
        head = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
        return parse({**head, "extenders": [extender]}, throwaway_pki).extenders[0]

    assert spec().url_prefix == "https://x.example"
    assert context_of(spec(insecure=True)).verify_mode is ssl.CERT_NONE
    authority = next(throwaway_pki.glob("*ca*.crt"))
    trusting = context_of(spec(caFile=authority.name))
    assert len(trusting.get_ca_certs()) == 1 and trusting.check_hostname
    with pytest.raises(ConfigurationError, match="tlsConfig"):
        context_of(spec(caFile="nowhere.crt"))


async def test_it_says_whose_room_is_taken(start: Start, service: Service) -> None:
    setting = start(service.configuration(preemptVerb="preempt", nodeCacheCapable=True))
    await classes(setting)
    for name in ("one", "two"):
        await setting.add_node(node(name, cpu="4"))
        await setting.client.create(PODS, ranked(f"on-{name}", "low", "3", nodeName=name))
        await setting.until(f"on-{name}", lambda p: p["spec"].get("nodeName"))
    asked: list[Object] = []

    def only_two(body: Object) -> Object:
        asked.append(body)
        return {"NodeNameToMetaVictims": {"two": body["NodeNameToMetaVictims"]["two"]}}

    service.answers["preempt"] = only_two
    await setting.client.create(PODS, ranked("dear", "high", "3"))
    waiting = await setting.until("dear", lambda p: p.get("status", {}).get("nominatedNodeName"))
    assert waiting["status"]["nominatedNodeName"] == "two"
    await setting.until("on-two", lambda p: "deletionTimestamp" in p["metadata"])
    assert asked[0]["Pod"]["metadata"]["name"] == "dear" and asked[0]["NodeNameToVictims"] is None
    (there,) = [p for p in setting.pods if p["metadata"]["name"] == "on-one"]
    assert asked[0]["NodeNameToMetaVictims"]["one"] == {
        "Pods": [{"UID": there["metadata"]["uid"]}],
        "NumPDBViolations": 0,
    }
    assert "deletionTimestamp" not in there["metadata"]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"NodeNameToMetaVictims": {}}, "preemption: no candidate node for preemption"),
        ({"NodeNameToMetaVictims": {"one": {"Pods": []}}}, 'expected at least one victim pod on node "one"'),
        ({"NodeNameToMetaVictims": {"one": {"Pods": [{"UID": "x"}]}}}, "but the pod is not found on that node"),
        ({"NodeNameToMetaVictims": {"nine": {"Pods": []}}}, 'nodeinfo not found for node name "nine"'),
        (500, "failed preempt with extender at URL"),
    ],
)
async def test_nobody_goes_when_it_takes_the_room_away_or_fails(
    start: Start, service: Service, answer: Any, said: str
) -> None:
    setting = start(service.configuration(preemptVerb="preempt"))
    await classes(setting)
    await setting.add_node(node("one", cpu="4"))
    await setting.client.create(PODS, ranked("cheap", "low", "3", nodeName="one"))
    await setting.until("cheap", lambda p: p["spec"].get("nodeName"))
    service.answers["preempt"] = lambda body: answer
    await setting.client.create(PODS, ranked("dear", "high", "3"))
    refused = await setting.until("dear", lambda p: said in told(p)[1])
    assert told(refused)[0] == "Unschedulable"
    (body,) = [body for verb, body in service.asked if verb == "preempt"][:1]
    assert [one["metadata"]["name"] for one in body["NodeNameToVictims"]["one"]["Pods"]] == ["cheap"]
    (there,) = [p for p in setting.pods if p["metadata"]["name"] == "cheap"]
    assert "deletionTimestamp" not in there["metadata"]
