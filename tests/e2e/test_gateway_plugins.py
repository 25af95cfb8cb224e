"""Plugins in a real Envoy: settings that change live, and plugins that fail without anybody else noticing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .eventually import eventually
from .gateway_world import Answer, Connection, Load, address_of, apply, ask, on_host, own_address, serve
from .test_gateway_middlewares import Mirror
from .up_down_cluster import Cluster

NAMESPACE = "gateway-plugins"
MARK = """
def make(settings):
    def request(request):
        request.headers["x-in"] = settings["mark"]
        request.response_headers["x-mark"] = settings["mark"]
    return request
"""
MARK_TOML = """
name = "mark"
factory = "plugin:make"
settings = {type = "object", properties = {mark = {type = "string", default = "one", maxLength = 10}}}
"""
WRONG = {
    "import": "import nothing_of_that_name\n",
    "raises": "def request(request):\n    request.headers['x-half'] = 'y'\n    raise ValueError('on purpose')\n",
    "awaits": "import asyncio\nasync def request(request):\n    await asyncio.Event().wait()\n",
    "blocks": "import time\ndef request(request):\n    time.sleep(3)\n",
    "garbage": "def request(request):\n    return {'status': 200}\n",
    "splits": "def request(request):\n    request.response_headers['x-a'] = 'b\\r\\nx-evil: 1'\n",
}

WRAP = """
import json
from urllib.parse import parse_qs

class Wrap:
    '''Puts the answer's JSON into an object, as a middleware of Starlette would.'''

    def __init__(self, app, *, mark):
        self.app, self.mark = app, mark

    async def __call__(self, scope, receive, send):
        wrong = parse_qs(scope["query_string"].decode()).get("wrong", [""])[0]
        if wrong == "raises":
            raise ValueError("on purpose")
        if wrong == "late":
            await self.app(scope, receive, lambda message: 1 / 0)
        if wrong == "garbage":
            await send({"type": "http.response.start", "status": "two hundred"})
        if wrong == "nothing":
            return
        if wrong == "awaits":
            import asyncio
            await asyncio.Event().wait()
        scope["headers"].append((b"x-in", self.mark.encode()))
        start, body = None, b""

        async def collect(message):
            nonlocal start, body
            if message["type"] == "http.response.start":
                start = message
                return
            body += message.get("body", b"")
            if not message.get("more_body"):
                wrapped = json.dumps({"mark": self.mark, "was": json.loads(body)}).encode()
                kept = [pair for pair in start["headers"] if pair[0] != b"content-length"]
                length = (b"content-length", str(len(wrapped)).encode())
                await send({**start, "headers": [*kept, length, (b"x-mark", self.mark.encode())]})
                await send({"type": "http.response.body", "body": wrapped})

        await self.app(scope, receive, collect)
"""
WRAP_TOML = """
kind = "asgi"
entry-point = "plugin:Wrap"
settings = {type = "object", required = ["mark"], properties = {mark = {type = "string"}}}
"""


def plugin(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": NAMESPACE}
    return {"apiVersion": "gateway.sampan.dev/v1alpha1", "kind": "Plugin", "metadata": metadata, "spec": spec}


def route(name: str, *plugins: str) -> dict[str, Any]:
    """A route at the path of its name."""
    references = [{"group": "gateway.sampan.dev", "kind": "Plugin", "name": one} for one in plugins]
    rule = {
        "matches": [{"path": {"type": "PathPrefix", "value": f"/{name}"}}],
        "filters": [{"type": "ExtensionRef", "extensionRef": reference} for reference in references],
        "backendRefs": [{"name": "mirror", "port": 80}],
    }
    return {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"parentRefs": [{"name": "front"}], "rules": [rule]},
    }


@pytest.fixture(scope="module")
def front(real_cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, str]]:
    """The cluster and the address of a Gateway with plugins that work and plugins that fail."""
    server = serve(Mirror)
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "front", "namespace": NAMESPACE},
        "spec": {"gatewayClassName": "sampan", "listeners": [{"name": "http", "port": 80, "protocol": "HTTP"}]},
    }
    apply(real_cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, gateway)

    found = address_of(real_cluster, NAMESPACE)
    objects: list[dict[str, Any]] = [
        *on_host(NAMESPACE, "mirror", own_address(found), server.server_address[1]),
        plugin("mark", path=str(mark_directory(tmp_path_factory.mktemp("mark")))),
        route("mark", "mark"),
        route("plain"),
    ]
    folder = tmp_path_factory.mktemp("wrap")
    (folder / "plugin.py").write_text(WRAP)
    (folder / "plugin.toml").write_text(WRAP_TOML)
    for name, failure in (("wrap", "Closed"), ("wrap2", "Open")):
        settings = {"mark": name}
        objects.append(plugin(name, path=str(folder), settings=settings, failure=failure, timeout="1500ms"))
    objects += [route("wrap", "wrap"), route("wrap2", "wrap2"), route("both", "wrap", "wrap2", "mark")]
    for name, source in WRONG.items():
        for failure in ("Open", "Closed"):
            key = f"{name}-{failure.lower()}"
            objects += [plugin(key, source=source, failure=failure, timeout="300ms"), route(key, key)]
    apply(real_cluster, *objects)
    eventually("the routes are served", lambda: ask(found, "/mark").status == 200)

    def wrapped(path: str) -> dict[str, Any]:
        answer = ask(found, path)
        return answer.told if answer.status == 200 else {}

    # what is open is served before its plugin is there, too
    eventually("the open one is there", lambda: "mark" in wrapped("/wrap2"), 180)
    eventually("both are there", lambda: "mark" in wrapped("/both").get("was", {}))
    yield real_cluster, found
    server.shutdown()
    real_cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


def mark_directory(folder: Path) -> Path:
    (folder / "plugin.py").write_text(MARK)
    (folder / "plugin.toml").write_text(MARK_TOML)
    return folder


def set_spec(cluster: Cluster, name: str, **spec: Any) -> None:
    patch = json.dumps({"spec": spec})
    cluster.kubectl("-n", NAMESPACE, "patch", "plugin", name, "--type=merge", "-p", patch)


def accepted(cluster: Cluster, name: str) -> dict[str, Any]:
    status = cluster.get("-n", NAMESPACE, "plugin", name).get("status", {})
    return next((entry for entry in status.get("conditions", ()) if entry["type"] == "Accepted"), {})


def test_settings_change_live_and_no_request_fails(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    assert ask(address, "/mark").headers["x-mark"] == "one"
    with Load(Connection(address), "/mark") as load:
        for mark in ("two", "three"):
            set_spec(cluster, "mark", settings={"mark": mark})
            eventually(f"the mark {mark}", lambda mark=mark: load.marks[-1:] == [mark])  # type: ignore[misc]
    assert ask(address, "/mark").told["headers"]["x-in"] == "three"


def test_settings_that_are_wrong_are_refused_and_the_old_ones_serve(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    before = ask(address, "/mark").headers["x-mark"]
    set_spec(cluster, "mark", settings={"mark": "longer than ten"})
    eventually("the plugin says why", lambda: "spec.settings.mark: " in accepted(cluster, "mark").get("message", ""))
    assert accepted(cluster, "mark")["status"] == "False"
    assert ask(address, "/mark").headers["x-mark"] == before
    set_spec(cluster, "mark", settings={"mark": None, "mork": "x"})
    eventually("an unknown one", lambda: "spec.settings.mork: " in accepted(cluster, "mark").get("message", ""))
    set_spec(cluster, "mark", settings={"mork": None, "mark": before})
    eventually("it is well again", lambda: accepted(cluster, "mark").get("status") == "True")


@pytest.mark.parametrize("name", WRONG)
def test_a_plugin_that_fails_opens_or_closes_its_own_routes_only(front: tuple[Cluster, str], name: str) -> None:
    _, address = front
    with Load(Connection(address), "/plain") as plain, Load(Connection(address), "/mark") as marked:
        eventually("the open one passes", lambda: ask(address, f"/{name}-open").status == 200)
        opened: Answer = ask(address, f"/{name}-open")
        assert opened.status == 200 and "x-half" not in opened.told["headers"]
        assert "x-evil" not in opened.headers
        for _ in range(3):
            closed = ask(address, f"/{name}-closed")
            assert closed.status == 500
        eventually("others are served", lambda: all(load.codes[200] > 5 for load in (plain, marked)))


def test_an_asgi_middleware_changes_requests_and_bodies(front: tuple[Cluster, str]) -> None:
    _, address = front
    eventually("it is served", lambda: ask(address, "/wrap").status == 200)
    found = ask(address, "/wrap/a%20b?c=d&e=%2F", "POST", b"x" * 3_000_000, x_kept="yes")
    assert found.headers["x-mark"] == "wrap" and found.told["mark"] == "wrap"
    was = found.told["was"]
    assert (was["path"], was["body"]) == ("/wrap/a%20b?c=d&e=%2F", 3_000_000)
    assert was["headers"]["x-in"] == "wrap" and was["headers"]["x-kept"] == "yes"
    assert was["headers"]["host"] == address and "x-sampan-table" not in was["headers"]
    assert "x-sampan-table" not in ask(address, "/plain").told["headers"]


def test_middlewares_and_hooks_stand_in_one_another(front: tuple[Cluster, str]) -> None:
    _, address = front
    eventually("both are served", lambda: ask(address, "/both").status == 200)
    found = ask(address, "/both")
    assert (found.told["mark"], found.told["was"]["mark"]) == ("wrap", "wrap2")


@pytest.mark.parametrize(
    ("wrong", "closed", "opened"),
    [
        ("raises", 500, 200),
        ("garbage", 500, 200),
        ("nothing", 500, 200),
        ("awaits", 500, 200),
        ("late", 500, 500),  # the backend was asked already: it is not asked twice
    ],
)
def test_a_middleware_that_fails(front: tuple[Cluster, str], wrong: str, closed: int, opened: int) -> None:
    _, address = front
    assert ask(address, f"/wrap?wrong={wrong}").status == closed
    passed = ask(address, f"/wrap2?wrong={wrong}", "POST", b"12345")
    assert passed.status == opened
    if opened == 200:
        assert passed.told["body"] == 5
    assert ask(address, "/wrap").status == 200


def test_a_middleware_is_swapped_live_and_refuses_websockets(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    with Load(Connection(address), "/wrap") as load:
        for mark in ("three", "four", "wrap"):  # what it was stays for the other tests
            set_spec(cluster, "wrap", settings={"mark": mark})
            eventually(f"the mark {mark}", lambda mark=mark: load.marks[-1:] == [mark])  # type: ignore[misc]
    assert ask(address, "/wrap", Connection="Upgrade", Upgrade="websocket").status == 501


def test_users_of_a_canary_take_another_route(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    example = Path(__file__).parents[2] / "examples" / "plugins" / "canary"
    there = route("canary", "canary")
    (plain,) = there["spec"]["rules"]
    chosen = json.loads(json.dumps(plain))
    chosen["matches"][0]["headers"] = [{"name": "x-canary", "value": "yes"}]
    header = {"set": [{"name": "x-route", "value": "canary"}]}
    chosen["filters"].append({"type": "RequestHeaderModifier", "requestHeaderModifier": header})
    there["spec"]["rules"] = [plain, chosen]
    apply(cluster, plugin("canary", path=str(example), settings={"percent": 50}, reroutes=True), there)
    eventually("it is served", lambda: ask(address, "/canary", x_user="ann").status == 200)
    assert ask(address, "/canary", x_user="ann").told["headers"].get("x-route") == "canary"
    assert "x-route" not in ask(address, "/canary", x_user="bob").told["headers"]
    assert "x-route" not in ask(address, "/canary", x_user="bob", x_canary="yes").told["headers"]


def test_a_plugin_from_a_config_map_follows_it(front: tuple[Cluster, str]) -> None:
    cluster, address = front

    def config_map(mark: str) -> dict[str, Any]:
        data = {"plugin.py": MARK, "plugin.toml": MARK_TOML.replace('"one"', f'"{mark}"')}
        return {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": "m", "namespace": NAMESPACE},
            "data": data,
        }

    apply(cluster, plugin("mapped", configMapRef={"name": "m"}), route("mapped", "mapped"))
    eventually("it is missed", lambda: "ConfigMap m does not exist" in accepted(cluster, "mapped").get("message", ""))
    for mark in ("first", "second"):
        apply(cluster, config_map(mark))
        eventually(mark, lambda mark=mark: ask(address, "/mapped").headers.get("x-mark") == mark)  # type: ignore[misc]


def test_what_plugins_did_is_shown_with_tracebacks(front: tuple[Cluster, str]) -> None:
    cluster, address = front

    def shown(*words: str) -> str:
        return cluster.sampan("gateway", "plugins", "--name", cluster.name, *words).stdout

    def has_failed() -> bool:
        """Before it is live, its routes answer 500, too."""
        return ask(address, "/raises-closed").status == 500 and "ValueError: on purpose" in shown()

    eventually("it fails", has_failed)
    table = shown().splitlines()
    lines = {line.split()[1]: line for line in table[1:]}
    assert "ValueError: on purpose" in lines["raises-closed"] and " Live " in lines["raises-closed"]
    assert " Refused " in lines["import-closed"] and "nothing_of_that_name" in lines["import-closed"]
    one = shown(f"{NAMESPACE}/raises-closed")
    assert "Traceback" in one and "plugin.py" in one and "line 3" in one
    ask(address, "/wrap")
    found = json.loads(shown(f"{NAMESPACE}/wrap", "-o", "json"))[0]
    assert found["state"] == "Live" and found["counters"]["requests"] >= 1


def test_a_plugin_in_a_process_of_its_own(front: tuple[Cluster, str]) -> None:
    cluster, address = front
    source = "import os\n\ndef request(request):\n    if 'exit' in request.path:\n        os._exit(3)\n"
    source += "    request.response_headers['x-pid'] = str(os.getpid())\n"
    apply(cluster, plugin("outside", source=source, isolation="Process"), route("outside", "outside"))
    eventually("it is served", lambda: "x-pid" in ask(address, "/outside").headers)
    first = ask(address, "/outside").headers["x-pid"]
    assert ask(address, "/outside?exit").status == 500
    eventually("another process serves", lambda: ask(address, "/outside").headers.get("x-pid", first) != first)
    shown = cluster.sampan("gateway", "plugins", "--name", cluster.name, f"{NAMESPACE}/outside").stdout
    assert (
        "Live" in shown and "its process was started again 1 times, the last time as it ended with exit code 3" in shown
    )
