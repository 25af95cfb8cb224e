"""/healthz, /livez, /readyz, /version and /metrics as Kubernetes' clients know them; and what takes too long."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import orjson
import pytest

from sampan.api.app import Api
from sampan.api.metrics.exposition import Family, Histogram, HistogramFamily, Sample, lines
from sampan.api.request import Request, Response, User

from .conftest import Asgi

ADMIN = User("admin", ("system:masters", "system:authenticated"))


class AsAdmin:
    def authenticate(self, headers: Any, certificate: Any, front_proxy: Any = None) -> User | None:
        return ADMIN if headers.get("authorization") else None


@pytest.fixture
def http(local_api: Api) -> Asgi:
    local_api.authenticator = AsAdmin()
    return Asgi(local_api, {"authorization": "Bearer x"})


async def test_health_checks(http: Asgi, local_api: Api) -> None:
    assert (await http("GET", "/livez")).body == b"ok"
    answer = await http("GET", "/readyz?verbose")
    text = answer.body.decode()
    assert answer.status == 200 and text.startswith("[+]ping ok\n") and text.endswith("readyz check passed\n")
    assert "[+]etcd ok" in text and "[+]informer-sync ok" in text and "[+]shutdown ok" in text
    assert (await http("GET", "/readyz/etcd")).body == b"ok"
    assert (await http("GET", "/readyz/nothing")).status == 404
    local_api.ready_checks["gateway"] = lambda: "not yet"
    answer = await http("GET", "/readyz")
    assert answer.status == 500 and b"[-]gateway failed: reason withheld\n" in answer.body
    answer = await http("GET", "/readyz/gateway")
    assert answer.status == 500 and answer.body == b"internal server error: not yet\n"
    answer = await http("GET", "/readyz?verbose&exclude=gateway&exclude=unknown")
    assert answer.status == 200 and b"[+]gateway excluded: ok" in answer.body
    assert b'warn: some health checks cannot be excluded: no matches for "unknown"' in answer.body
    assert (await http("GET", "/livez")).status == 200
    local_api.stopping = True
    assert (await http("GET", "/readyz/shutdown")).status == 500


async def test_the_unknown_may_ask_for_health_and_nothing_else(local_api: Api) -> None:
    http = Asgi(local_api)
    for path, code in (
        ("/healthz", 200),
        ("/readyz", 200),
        ("/version", 200),
        ("/readyz/etcd", 403),
        ("/metrics", 403),
    ):
        assert (await http("GET", path)).status == code, path


async def test_metrics_have_kubernetes_names(http: Asgi) -> None:
    await http("GET", "/api/v1/namespaces/default/pods?limit=1")
    await http("GET", "/api/v1/namespaces/default/pods/none")
    await http("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "a"}})
    answer = await http("GET", "/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    text = answer.body.decode()
    for line in (
        r'apiserver_request_total\{component="apiserver",verb="LIST",group="",version="v1",resource="pods",subresource="",'
        r'scope="namespace",dry_run="",code="200"\} 1',
        r'apiserver_request_total\{.*verb="GET".*resource="pods".*scope="resource".*code="404"\} 1',
        r'apiserver_request_duration_seconds_bucket\{.*resource="configmaps".*le="\+Inf"\} 1',
        r'apiserver_storage_objects\{resource="configmaps"\} \d+',
        r'apiserver_resource_objects\{group="rbac.authorization.k8s.io",resource="clusterroles"\} \d+',
        r'apiserver_flowcontrol_nominal_limit_seats\{priority_level="workload-low"\} 82',
        r'apiserver_flowcontrol_dispatched_requests_total\{priority_level="exempt"\} [4-9]',
        r'apiserver_current_inflight_requests\{request_kind="mutating"\} 0',
        r'etcd_request_duration_seconds_count\{operation="create"\} [1-9]',
        r"process_cpu_seconds_total \d+",
        r"process_resident_memory_bytes [1-9]\d+",
        r'kubernetes_build_info\{major="1",minor="37",git_version="v1.37.0\+sampan".*\} 1',
    ):
        assert re.search(f"^{line}", text, re.MULTILINE), line


def test_the_format_of_samples() -> None:
    histogram = Histogram({"a": 'say "hi"\n'}, (0.5, 1.0), (1, 2, 3), 4.5)
    found = list(lines([HistogramFamily("h", "Help.", [histogram]), Family("empty", "gauge", "None.", [])]))
    assert found == [
        "# HELP h Help.",
        "# TYPE h histogram",
        'h_bucket{a="say \\"hi\\"\\n",le="0.5"} 1',
        'h_bucket{a="say \\"hi\\"\\n",le="1"} 3',
        'h_bucket{a="say \\"hi\\"\\n",le="+Inf"} 6',
        'h_sum{a="say \\"hi\\"\\n"} 4.5',
        'h_count{a="say \\"hi\\"\\n"} 6',
    ]
    assert list(lines([Family("up", "gauge", "Up.", [Sample({}, 1.0)])]))[2] == "up 1"


async def test_what_takes_too_long_is_answered_and_goes_on(http: Asgi, local_api: Api) -> None:
    answered, may_end, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(request: Request) -> Response:
        await may_end.wait()
        ended.set()
        return Response(b"too late")

    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)
        if message["type"] == "http.response.body":
            answered.set()

    local_api.route("/slow", slow)
    headers = [(b"authorization", b"Bearer x")]
    scope = {"type": "http", "method": "GET", "path": "/slow", "query_string": b"timeout=50ms", "headers": headers}
    asked = asyncio.ensure_future(local_api(scope, receive, send))
    async with asyncio.timeout(10):
        await answered.wait()
        assert not ended.is_set()
        may_end.set()
        await asked
    assert ended.is_set() and len(sent) == 2 and sent[0]["status"] == 504
    status = orjson.loads(sent[1]["body"])
    assert status["reason"] == "Timeout"
    assert status["message"] == "Timeout: request did not complete within the allotted timeout"
    answer = await http("GET", "/version?timeout=soon")
    assert answer.status == 400 and answer.json["message"] == "invalid timeout specified in the request URL"
    assert (await http("GET", "/version?timeout=32s")).status == 200


async def test_a_body_that_never_ends_is_given_up(http: Asgi, local_api: Api) -> None:
    local_api.request_seconds = 0.05
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if not sent:
            sent.append(None)
            return {"type": "http.request", "body": b"{", "more_body": True}
        await asyncio.get_running_loop().create_future()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"authorization", b"Bearer x"), (b"content-type", b"application/json")]
    path = "/api/v1/namespaces/default/configmaps"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": headers}
    await local_api(scope, receive, send)
    assert sent[1]["status"] == 504
