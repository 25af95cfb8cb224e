"""pods/proxy and services/proxy: every method, with and without a path, to a server that stands for a pod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from sampan.api.local import LocalClient
from sampan.store import Put
from sampan.store.layout import prefix_of

from .conftest import Asgi, HeaderAuthenticator

PODS, SERVICES = "/api/v1/namespaces/default/pods", "/api/v1/namespaces/default/services"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices"


@pytest.fixture
async def echo() -> AsyncIterator[int]:
    """A server on 127.0.0.1 that says what it was asked; its port."""

    async def said(request: web.Request) -> web.Response:
        body = (await request.read()).decode()
        text = f"{request.method} {request.path_qs} {body} {request.headers.get('authorization', '-')}"
        return web.Response(
            text=text, status=int(request.query.get("status", "200")), headers={"X-Asked": request.method}
        )

    app = web.Application()
    app.router.add_route("*", "/{any:.*}", said)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    yield runner.addresses[0][1]
    await runner.cleanup()


async def prepare(call: Any, port: int) -> None:
    container = {"name": "web", "image": "web", "ports": [{"containerPort": port}]}
    await call(
        "POST",
        PODS,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web"}, "spec": {"containers": [container]}},
    )
    await call(
        "POST",
        PODS,
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "new"}, "spec": {"containers": [container]}},
    )
    _, pod = await call("GET", f"{PODS}/web")
    await call("PUT", f"{PODS}/web/status", {**pod, "status": {"podIP": "127.0.0.1", "podIPs": [{"ip": "127.0.0.1"}]}})
    ports = [{"name": "http", "port": 80}, {"name": "other", "port": 81}]
    for name, listed in (("web", ports), ("one", ports[:1]), ("none", ports[:1])):
        made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": {"ports": listed}}
        await call("POST", SERVICES, made)
        labels = {"kubernetes.io/service-name": name}
        piece = {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {"name": name, "labels": labels},
            "addressType": "IPv4",
            "ports": [{"name": "http", "port": port}],
            "endpoints": [{"addresses": ["192.0.2.1"]}] if name != "none" else [],
        }
        await call("POST", SLICES, piece)
        # the API takes no loopback address, and the test has no other
        key = f"{prefix_of('endpointslices.discovery.k8s.io')}default/{name}"
        stored = call.api.store.get(key)
        value = stored.value.replace(b"192.0.2.1", b"127.0.0.1")
        await call.api.store.commit([Put(key, value, expected=stored.revision)])


@pytest.fixture
async def http(whole: Any, echo: int) -> AsyncIterator[Any]:
    await prepare(whole, echo)
    whole.api.authenticator = HeaderAuthenticator()
    yield Asgi(whole.api)
    for close in whole.api.closing:
        await close()


async def test_every_method_reaches_pods_and_services(http: Any, echo: int) -> None:
    ways = [
        f"{PODS}/web",
        f"{PODS}/web:{echo}",
        f"{PODS}/http:web:{echo}",
        f"{SERVICES}/web:80",
        f"{SERVICES}/web:http",
    ]
    ways += [f"{SERVICES}/http:web:http", f"{SERVICES}/one"]
    for way in ways:
        for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
            body = None if method in ("GET", "HEAD") else b"said"
            answer = await http(method, f"{way}/proxy/some/path?a=1&a=2", body)
            assert (answer.status, answer.headers["x-asked"]) == (200, method), (way, method)
            if method != "HEAD":
                assert answer.body.decode() == f"{method} /some/path?a=1&a=2 {'said' if body else ''} -"
        # without a path a browser is sent to where relative links work; other methods go on
        answer = await http("GET", f"{way}/proxy?a=1")
        assert (answer.status, answer.headers["location"]) == (301, f"{way}/proxy/?a=1")
        answer = await http("GET", f"{way}/proxy/?status=418")
        assert (answer.status, answer.body) == (418, b"GET /?status=418  -")
        assert (await http("POST", f"{way}/proxy", b"x")).body == b"POST / x -"
        assert (await http("GET", f"{way}/proxy/folder/")).body == b"GET /folder/  -"


@pytest.mark.parametrize(
    "path, code, message",
    [
        (f"{PODS}/lost/proxy/", 404, 'pods "lost" not found'),
        (f"{PODS}/new/proxy/", 400, "pod new has no address yet"),
        (f"{PODS}/web:http/proxy/", 400, "invalid port 'http': a pod's port is a number"),
        (f"{PODS}/ftp:web:80/proxy/", 400, 'invalid pod request "ftp:web:80"'),
        (f"{SERVICES}/web/proxy/", 503, "no service port '' found for service \"web\""),
        (f"{SERVICES}/web:99/proxy/", 503, "no service port '99' found for service \"web\""),
        (f"{SERVICES}/web:81/proxy/", 503, 'no endpoints available for service "web"'),
        (f"{SERVICES}/none/proxy/", 503, 'no endpoints available for service "none"'),
        (f"{PODS}/web:1/proxy/", 503, "error trying to reach service: "),
    ],
)
async def test_what_cannot_be_reached_is_said(http: Any, path: str, code: int, message: str) -> None:
    answer = await http("GET", path)
    assert (answer.status, answer.json["code"]) == (code, code) and answer.json["message"].startswith(message)


async def test_a_client_of_the_same_process_gets_the_whole_answer(http: Any, whole: Any) -> None:
    status, body = await LocalClient(whole.api, whole.user).raw("GET", f"{SERVICES}/one/proxy/healthz")
    assert (status, body) == (200, b"GET /healthz  -")
