"""/healthz, /livez, /readyz, /version and /metrics as Kubernetes' clients know them; and what takes too long."""

from __future__ import annotations

import asyncio
import re
from bisect import bisect_left
from typing import Any

import orjson
import pytest

from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.metrics.exposition import Family, Histogram, HistogramFamily, Sample, lines
from sampan.api.metrics.page import own_time
from sampan.api.metrics.requests import BUCKETS, Series
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


async def test_what_dashboards_show(http: Asgi, local_api: Api) -> None:
    from sampan.client.workqueue import WorkQueue

    await http("GET", "/metrics")  # from now on it is known that somebody looks
    queue = WorkQueue("shown")
    queue.add("key")
    assert await queue.get() == "key"
    policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"]}
    spec = {"matchConstraints": {"resourceRules": [rule]}, "validations": [{"expression": "object.data.a == '1'"}]}
    policy, binding = {"metadata": {"name": "one"}, "spec": spec}, {"policyName": "one", "validationActions": ["Deny"]}
    assert (await http("POST", policies, policy)).status == 201
    bound = {"metadata": {"name": "bound"}, "spec": binding}
    assert (await http("POST", policies.replace("policies", "policybindings"), bound)).status == 201
    for value, code in (("1", 201), ("2", 422)):
        body = {"metadata": {"name": f"a{value}"}, "data": {"a": value}}
        assert (await http("POST", "/api/v1/namespaces/default/configmaps", body)).status == code
    assert (await http("GET", "/api/v1/componentstatuses")).status == 200
    await http("GET", "/api/v1/namespaces/default/configmaps")
    assert (await LocalClient(local_api, ADMIN).raw("GET", "/version"))[0] == 200
    text = (await http("GET", "/metrics")).body.decode()
    step = "apiserver_admission_step_admission_duration_seconds_count"
    checks = "apiserver_validating_admission_policy_check_total"
    policy_labels = 'policy="one",policy_binding="bound",error_type="no_error"'
    for line in (
        r'apiserver_request_sli_duration_seconds_bucket\{.*verb="POST".*resource="configmaps".*le="\+Inf"\} 2',
        r'apiserver_request_sli_duration_seconds_count\{.*verb="POST".*resource="configmaps".*\} 2',
        r'apiserver_response_sizes_count\{component="apiserver",verb="LIST".*resource="configmaps".*\} 1',
        rf'{step}\{{type="admit",operation="CREATE",rejected="false"\}} [3-9]',
        rf'{step}\{{type="validate",operation="CREATE",rejected="true"\}} 1',
        r'apiserver_admission_controller_admission_duration_seconds_count\{name="ValidatingAdmissionPolicy".*"true"\} 1',
        rf'{checks}\{{{policy_labels},enforcement_action="allow"\}} 1',
        rf'{checks}\{{{policy_labels},enforcement_action="deny"\}} 1',
        r'apiserver_validating_admission_policy_check_duration_seconds_count\{.*enforcement_action="deny"\} 1',
        r'apiserver_requested_deprecated_apis\{group="",version="v1",resource="componentstatuses".*\} 1',
        r'workqueue_depth\{name="shown"\} 0',
        r'workqueue_queue_duration_seconds_count\{name="shown"\} 1',
        r'workqueue_unfinished_work_seconds\{name="shown"\} \d',
        r'rest_client_requests_total\{code="200",host="in-process",method="GET"\} [1-9]',
        r'etcd_requests_total\{operation="create"\} [1-9]',
        r'authentication_attempts\{result="success"\} [1-9]',
        r'authorization_attempts_total\{result="allowed"\} [1-9]',
        r"process_virtual_memory_max_bytes [1-9]",
    ):
        assert re.search(f"^{line}", text, re.MULTILINE), line


async def test_indicators_of_health(http: Asgi, local_api: Api) -> None:
    text = (await http("GET", "/metrics/slis")).body.decode()
    assert 'kubernetes_healthcheck{name="etcd",type="readyz"} 1\n' in text
    local_api.ready_checks["gateway"] = lambda: "not yet"
    assert (await http("GET", "/readyz")).status == 500
    text = (await http("GET", "/metrics/slis")).body.decode()
    assert 'kubernetes_healthcheck{name="gateway",type="readyz"} 0\n' in text
    assert 'kubernetes_healthchecks_total{name="gateway",status="error",type="readyz"} 1\n' in text
    assert 'kubernetes_healthchecks_total{name="ping",status="success",type="readyz"} 1\n' in text


def test_webhooks_are_no_part_of_the_servers_own_time() -> None:
    series = Series()
    series.counts[bisect_left(BUCKETS, 2.0)] += 2
    series.total = 4.0
    assert own_time(series) == ([0] * 9 + [2] + [0] * 12, 4.0)
    series.outside = [0] * (len(BUCKETS) + 1)
    series.outside[bisect_left(BUCKETS, 2.0)] -= 1
    series.outside[bisect_left(BUCKETS, 0.01)] += 1
    series.outside_total = 1.99
    counts, total = own_time(series)
    assert (counts[0], counts[9], sum(counts)) == (1, 1, 2) and total == pytest.approx(2.01)


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
    async with asyncio.timeout(60):
        await answered.wait()
        assert not ended.is_set()
        may_end.set()
        await asked
    assert ended.is_set() and sent[0]["status"] == 504
    status = orjson.loads(b"".join(message["body"] for message in sent[1:]))
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
