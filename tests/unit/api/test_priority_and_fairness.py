"""API Priority and Fairness: classification, seats, queues, 429; and that a busy client starves nobody."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.app import Api
from sampan.api.authz.chain import AlwaysAllow, AuthorizerChain
from sampan.api.flowcontrol.bootstrap import levels, schemas
from sampan.api.flowcontrol.classify import distinguisher, in_order, matching
from sampan.api.flowcontrol.control import FlowControl, TooManyRequests
from sampan.api.flowcontrol.levels import Seats
from sampan.api.flowcontrol.queues import Queues, Waiting
from sampan.api.local import LocalClient
from sampan.api.request import Attributes, User

from .conftest import Asgi

GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
LONG = {"queues": 64, "handSize": 6, "queueLengthLimit": 500}
EVERYWHERE = {"verbs": ["*"], "nonResourceURLs": ["*"]}
EVERYBODY = ("system:authenticated",)
ADMIN = User("admin", ("system:masters", *EVERYBODY))
ACCOUNT = User("system:serviceaccount:shop:web", ("system:serviceaccounts", *EVERYBODY))


def asked(user: User, verb: str = "get", resource: str = "pods", group: str = "", namespace: str = "ns") -> Attributes:
    return Attributes(user, verb, "", group, "v1", resource, "", namespace, "x")


@pytest.mark.parametrize(
    ("user", "attributes", "schema"),
    [
        (ADMIN, {}, "exempt"),
        (ACCOUNT, {}, "service-accounts"),
        (User("system:serviceaccount:kube-system:x", ("system:serviceaccounts",)), {}, "kube-system-service-accounts"),
        (User("system:node:n", ("system:nodes",)), {}, "system-nodes"),
        (User("system:node:n", ("system:nodes",)), {"resource": "nodes", "namespace": ""}, "system-node-high"),
        (
            User("system:kube-scheduler", EVERYBODY),
            {"verb": "update", "resource": "leases", "group": "coordination.k8s.io"},
            "system-leader-election",
        ),
        (User("system:kube-controller-manager", EVERYBODY), {}, "kube-controller-manager"),
        (User("jane", EVERYBODY), {}, "global-default"),
    ],
)
def test_the_bootstrap_schemas_classify(user: User, attributes: dict[str, str], schema: str) -> None:
    found = matching(in_order(schemas()), asked(user, **attributes))
    assert found is not None and found["metadata"]["name"] == schema


def test_paths_and_distinguishers() -> None:
    ordered = in_order(schemas())
    found = matching(ordered, Attributes(User("jane", EVERYBODY), "get", "/readyz"))
    assert found is not None and found["metadata"]["name"] == "probes"
    manager = asked(User("system:kube-controller-manager", EVERYBODY), namespace="shop")
    schema = matching(ordered, manager)
    assert schema is not None and distinguisher(schema, manager) == "shop"


def test_seats_are_shared_lent_and_never_oversold() -> None:
    seats = Seats(600)
    seats.configure(levels())
    nominal = {name: level.nominal for name, level in seats.levels.items()}
    # ceil(600 * shares / 245), as Kubernetes' documentation of the limits has it
    assert nominal == {
        "exempt": 0,
        "system": 74,
        "node-high": 98,
        "leader-election": 25,
        "workload-high": 98,
        "workload-low": 245,
        "global-default": 49,
        "catch-all": 13,
    }
    low = seats.levels["workload-low"]
    while seats.fits(low, 1):
        seats.take(low, 1)
    # it has borrowed what others lend, and no more: each is served at once up to what it keeps
    assert low.used > low.nominal
    for level in seats.levels.values():
        if not level.exempt and level is not low:
            assert seats.fits(level, level.reserved)
    assert seats.taken <= seats.total


@given(
    st.lists(st.tuples(st.sampled_from(["system", "workload-low", "global-default"]), st.integers(1, 10)), max_size=200)
)
def test_taking_and_giving_back_balances(steps: list[tuple[str, int]]) -> None:
    seats = Seats(60)
    seats.configure(levels())
    begin, held = seats.taken, []
    for name, width in steps:
        level = seats.levels[name]
        if seats.fits(level, width):
            seats.take(level, width)
            held.append((level, width))
        elif held:
            seats.give_back(*held.pop(0))
    for level, width in held:
        seats.give_back(level, width)
    assert seats.taken == begin and all(level.used == 0 for level in seats.levels.values())


async def test_queues_are_dealt_and_served_in_turn() -> None:
    queues = Queues(64, 6, 50)
    hand = queues.hand("a flow")
    assert len(set(hand)) == 6 and hand == queues.hand("a flow") != queues.hand("another flow")
    loop = asyncio.get_running_loop()
    order: dict[int, str] = {}

    def put(flow: str, count: int, seats: int) -> None:
        for _ in range(count):
            waiting = Waiting(seats, loop.create_future())
            order[id(waiting)] = flow
            assert queues.put(queues.hand(flow)[:1], waiting) is not None

    put("busy", 40, 1)
    put("wide", 4, 10)
    put("calm", 2, 1)
    served = []
    while (queue := queues.next()) is not None:
        served.append(order[id(queues.take(queue))])
    assert served.count("busy") == 40 and queues.waiting == 0
    assert "calm" in served[:3] and served.index("calm", served.index("calm") + 1) < 8
    assert served[:12].count("wide") <= 2


def control(api: Api, seats: int, wait_seconds: float = 60.0) -> FlowControl:
    return FlowControl(api, seats, wait_seconds)


async def test_waiting_leaving_and_429(local_api: Api) -> None:
    control_ = control(local_api, 1, wait_seconds=0.01)
    await control_.load()
    flow = control_.flow_of(asked(ACCOUNT))
    level, taken = flow.level, 0
    while control_.enter(flow, 1):  # borrowed seats go too
        taken += 1
    with pytest.raises(TooManyRequests):
        await control_.wait(flow, 1)
    waits = asyncio.ensure_future(control_.wait(flow, 1))
    await asyncio.sleep(0)
    control_.seats.give_back(level, 1)
    await waits
    assert level.rejected == {("service-accounts", "time-out"): 1} and level.waiting == 0
    gone = asyncio.ensure_future(control_.wait(flow, 1))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(gone, return_exceptions=True)
    assert control_.seats.waiting == 0
    for _ in range(taken):
        control_.seats.give_back(level, 1)
    assert level.used == 0


async def test_a_websocket_watch_waits_for_its_turn(local_api: Api) -> None:
    class ByHeader:
        def authenticate(self, headers: Any, certificate: Any, front_proxy: Any = None) -> User | None:
            return User("root", ("system:masters",)) if headers.get("x-root") else ACCOUNT

    local_api.authenticator, local_api.authorizer = ByHeader(), AuthorizerChain([AlwaysAllow()])
    local_api.flow_control = control_ = control(local_api, 1, wait_seconds=0.01)
    await control_.load()
    flow = control_.flow_of(asked(ACCOUNT))
    while control_.enter(flow, 1):
        pass
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": "/api/v1/pods", "query_string": b"watch=1", "headers": [], "subprotocols": []}
    await local_api(scope | {"extensions": {"websocket.http.response": {}}}, receive, send)
    assert sent[0]["type"] == "websocket.http.response.start" and sent[0]["status"] == 429


async def test_large_lists_cost_more(local_api: Api) -> None:
    control_ = control(local_api, 100)
    await control_.load()
    at = asked(ACCOUNT, verb="list")
    assert control_.width(at) == 1
    control_.learn(at, 1024 * 1024)
    assert control_.width(at) == 5
    control_.learn(at, 1 << 30)
    assert control_.width(at) == 10
    control_.learn(at, 100)
    assert control_.width(at) == 1


async def test_objects_headers_and_status(local_api: Api) -> None:
    admin = LocalClient(local_api, ADMIN)
    code, listed = await admin.raw("GET", f"{GROUP}/flowschemas")
    found = {item["metadata"]["name"]: item for item in orjson.loads(listed)["items"]}
    assert code == 200 and len(found) == 13
    condition = found["service-accounts"]["status"]["conditions"][0]
    assert (condition["type"], condition["status"], condition["reason"]) == ("Dangling", "False", "Found")
    answer = await Asgi(local_api)("GET", "/version")
    assert answer.headers["x-kubernetes-pf-flowschema-uid"] == found["global-default"]["metadata"]["uid"]
    assert answer.headers["x-kubernetes-pf-prioritylevel-uid"]
    code, _ = await admin.raw("DELETE", f"{GROUP}/flowschemas/catch-all")
    assert code == 403
    spec = {
        "priorityLevelConfiguration": {"name": "nowhere"},
        "matchingPrecedence": 5,
        "rules": [{"subjects": [{"kind": "User", "user": {"name": "jane"}}], "nonResourceRules": [EVERYWHERE]}],
    }
    code, _ = await admin.raw("POST", f"{GROUP}/flowschemas", body={"metadata": {"name": "mine"}, "spec": spec})
    assert code == 201
    _, mine = await admin.raw("GET", f"{GROUP}/flowschemas/mine")
    assert orjson.loads(mine)["status"]["conditions"][0]["status"] == "True"
    wrong = {"metadata": {"name": "wrong"}, "spec": {**spec, "matchingPrecedence": 20000, "rules": [{"subjects": []}]}}
    code, refused = await admin.raw("POST", f"{GROUP}/flowschemas", body=wrong)
    assert code == 422 and "must not be greater than 10000" in orjson.loads(refused)["message"]


@pytest.mark.parametrize(("version", "group_version", "shares"), [
    ("1.25", "v1beta2", "assuredConcurrencyShares"),
    ("1.27", "v1beta3", "nominalConcurrencyShares"),
])  # fmt: skip
async def test_older_versions_have_their_own_words(
    throwaway_pki: Any, version: str, group_version: str, shares: str
) -> None:
    from sampan.api.server import ApiConfig, open_api

    api = await open_api(ApiConfig(pki_dir=throwaway_pki, kubernetes_version=version))
    path = f"{GROUP.removesuffix('v1')}{group_version}/prioritylevelconfigurations/workload-low"
    _, found = await LocalClient(api, ADMIN).raw("GET", path)
    level = orjson.loads(found)
    assert level["apiVersion"].endswith(group_version) and level["spec"]["limited"][shares] == 100
    await api.close()


async def test_a_busy_client_does_not_starve_another(local_api: Api) -> None:
    """One user keeps 300 requests under way; another asks one after the other. Without flow control each of his waits for
    all of the first's; with it for few of them."""
    admin = LocalClient(local_api, ADMIN)
    path = f"{GROUP}/prioritylevelconfigurations/global-default"
    level = orjson.loads((await admin.raw("GET", path))[1])
    level["spec"]["limited"] |= {"nominalConcurrencyShares": 100, "limitResponse": {"type": "Queue", "queuing": LONG}}
    assert (await admin.raw("PUT", path, body=level))[0] == 200
    rbac = "rbac.authorization.k8s.io"
    subject = {"kind": "Group", "name": "system:authenticated", "apiGroup": rbac}
    reference = {"kind": "ClusterRole", "name": "edit", "apiGroup": rbac}
    binding = {"metadata": {"name": "all"}, "subjects": [subject], "roleRef": reference}
    await admin.raw("POST", f"/apis/{rbac}/v1/clusterrolebindings", body=binding)

    class ByHeader:
        def authenticate(self, headers: Any, certificate: Any, front_proxy: Any = None) -> User:
            return User(headers["x-user"], EVERYBODY)

    local_api.authenticator = ByHeader()
    maps = "/api/v1/namespaces/default/configmaps"

    async def overtaken(seats: int | None) -> int:
        """Return how many requests of the busy client were answered while one of the calm client's waited (median)."""
        local_api.flow_control = None
        if seats is not None:
            local_api.flow_control = control(local_api, seats)
            await local_api.flow_control.load()
        busy, calm = Asgi(local_api, {"x-user": "busy"}), Asgi(local_api, {"x-user": "calm"})
        stop, answered = asyncio.Event(), 0

        async def flood() -> None:
            nonlocal answered
            while not stop.is_set():
                answer = await busy("POST", maps, {"metadata": {"generateName": "busy-"}})
                assert answer.status == 201
                answered += 1

        flooding = [asyncio.ensure_future(flood()) for _ in range(300)]
        await asyncio.sleep(0)
        found = []
        for _ in range(15):
            before = answered
            answer = await calm("POST", maps, {"metadata": {"generateName": "calm-"}})
            assert answer.status == 201
            found.append(answered - before)
        stop.set()
        await asyncio.gather(*flooding)
        return sorted(found)[7]

    without, with_control = await overtaken(None), await overtaken(30)
    assert without >= 290 and with_control <= 90, (without, with_control)
