"""Spans, access logs in their forms and places, and metrics as Prometheus reads them: from a real Envoy to real receivers."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .eventually import eventually
from .gateway_world import (
    Alone,
    ask,
    free_port,
    gateway_object,
    on_host,
    parameters_of,
    parameters_ref,
    route_object,
    to,
)
from .otlp import Collector
from .raw_backend import RawBackend

FIELDS = {"code": "%RESPONSE_CODE%", "host": "%REQ(:AUTHORITY)%", "route": "%ROUTE_NAME%", "mark": "%REQ(X-MARK)%"}


class Front:
    def __init__(self, folder: Path, collector: Collector) -> None:
        self.port, self.metrics, self.collector, self.backend = free_port(), free_port(), collector, RawBackend()
        self.logs = folder / "logs"
        self.alone = Alone(folder, "--metrics-port", str(self.metrics), "--log-dir", str(self.logs))

    def write(self, **parameters: Any) -> None:
        self.alone.write(
            parameters_of("p", **parameters),
            gateway_object({"name": "http", "port": self.port, "protocol": "HTTP"}, infrastructure=parameters_ref("p")),
            *on_host("default", "raw", "127.0.0.1", self.backend.port),
            *on_host("default", "collector", "127.0.0.1", self.collector.port),
            route_object("HTTPRoute", "well.known", to("raw"), hostnames=["shop.example", "*.wide.example"]),
        )

    def ask(self, host: str = "shop.example", **headers: str) -> int:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(f"127.0.0.1:{self.port}", "/x", host=host, **headers).status
        return 0

    def marked(self, found: Any) -> Any:
        """Ask with a mark of its own until ``found`` makes something of it; return that."""
        result: list[Any] = []

        def holds() -> bool:
            mark = secrets.token_hex(8)
            assert self.ask(x_mark=mark) == 200
            with contextlib.suppress(AssertionError):
                eventually("what was sent arrives", lambda: bool(found(mark)), 2)
            result[:] = [found(mark)]
            return bool(result[0])

        eventually("it arrives", holds, 40)
        return result[0]


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    folder = tmp_path_factory.mktemp("telemetry")
    (folder / "logs").mkdir()
    with Collector() as collector:
        made = Front(folder, collector)
        made.write()
        with made.alone:
            eventually("the gateway answers", lambda: made.ask() == 200)
            yield made
        made.backend.end()


def test_spans_have_the_names_of_gateway_and_route(front: Front) -> None:
    front.write(tracing={"backendRef": {"name": "collector", "port": 80}, "serviceName": "edge"})
    trace = secrets.token_hex(16)

    def found() -> dict[str, Any] | None:
        front.ask(traceparent=f"00-{trace}-{'1' * 16}-01")
        return next((span for span in front.collector.spans if span["trace_id"].hex() == trace), None)

    eventually("the span arrives", lambda: found() is not None, 40)
    span = found()
    assert span is not None
    assert (span["name"], span["parent_span_id"].hex()) == ("GET default/well.known/0", "1" * 16)
    attributes = span["attributes"]
    assert (attributes["gateway"], attributes["route"]) == ("default/front", "default/well.known/0")
    assert attributes["listener"] == str(front.port) and attributes["http.status_code"] == "200"
    assert span["resource"]["service.name"] == "edge"
    sent_on = front.backend.requests[-1].header("traceparent")
    assert sent_on is not None and sent_on.split("-")[1] == trace, "the backend goes on with the trace"


def test_access_logs_as_text_and_as_json(front: Front) -> None:
    log = front.logs / "access.log"

    def line(mark: str) -> str | None:
        lines = log.read_text().splitlines() if log.exists() else []
        return next((one for one in lines if mark in one), None)

    front.write(accessLog={"format": "%REQ(:METHOD)% %REQ(:PATH)% %RESPONSE_CODE% %REQ(X-MARK)% %ROUTE_NAME%"})
    assert re.fullmatch(r"GET /x 200 \w{16} default/well\.known/0", front.marked(line))
    front.write(accessLog={"json": FIELDS})
    told = json.loads(front.marked(line))
    assert told == {"code": 200, "host": "shop.example", "route": "default/well.known/0", "mark": told["mark"]}


def test_access_logs_to_stdout_and_by_otlp(front: Front) -> None:
    otlp = {"backendRef": {"name": "collector", "port": 80}, "serviceName": "edge"}
    front.write(accessLog={"stdout": True, "otlp": otlp, "json": FIELDS})
    log = front.logs / "access.log"

    def record(mark: str) -> Any:
        return next((one for one in front.collector.records if one["attributes"].get("mark") == mark), None)

    found = front.marked(record)
    mark = found["attributes"]["mark"]
    assert found["attributes"]["route"] == "default/well.known/0"
    assert (found["resource"]["service.name"], found["resource"]["gateway"]) == ("edge", "default/front")
    eventually("it is on stdout", lambda: f'"mark":"{mark}"' in front.alone.log.read_text())
    assert not log.exists() or mark not in log.read_text(), "there is no file where none is asked for"
    front.write(accessLog={"otlp": otlp, "format": "%REQ(X-MARK)% was here"})

    def line(mark: str) -> bool:
        wanted = f"{mark} was here"
        return any(one.get("body", {}).get("string_value") == wanted for one in front.collector.records)

    front.marked(line)


def test_what_is_wrong_with_it_is_told(front: Front) -> None:
    front.write(tracing={"backendRef": {"name": "nobody"}})
    told = "ResolvedRefs: BackendNotFound: GatewayParameters: spec.tracing.backendRef: Service default/nobody does not exist"
    eventually("a collector that is not there", lambda: front.alone.told(told))
    front.write(accessLog={"otlp": {"backendRef": {"name": "collector", "port": 81}}})
    told = "GatewayParameters: spec.accessLog.otlp.backendRef: Service default/collector has no port 81"
    eventually("a port that is not there", lambda: front.alone.told(told))
    front.write(accessLog={"format": "x", "json": {"a": "b"}})
    eventually(
        "two formats", lambda: front.alone.told("format and json are two forms of one line: only one may be set")
    )
    assert front.ask() == 200


SAMPLE = re.compile(r"^([a-zA-Z_:][\w:]*)\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')


def test_metrics_have_labels_for_gateways_services_and_routes(front: Front) -> None:
    front.write(metrics={"routes": True})

    def samples() -> dict[str, list[dict[str, str]]]:
        found: dict[str, list[dict[str, str]]] = {}
        answer = ask(f"127.0.0.1:{front.metrics}", "/metrics")
        assert answer.headers["content-type"].startswith("text/plain")
        for name, labels, value in SAMPLE.findall(answer.raw.decode()):
            found.setdefault(name, []).append({**dict(LABEL.findall(labels)), "": value})
        return found

    gateway = {"gateway_namespace": "default", "gateway_name": "front", "gateway_port": str(front.port)}
    service = {"service_namespace": "default", "service_name": "raw", "service_port": "80"}
    route = {"route_namespace": "default", "route_name": "well_known", "route_rule": "0"}

    def counted(name: str, **labels: str) -> bool:
        return any(labels.items() <= one.items() and float(one[""]) > 0 for one in samples().get(name, ()))

    def all_counted() -> bool:
        assert front.ask() == 200 and front.ask("a.wide.example") == 200
        return (
            counted("envoy_http_downstream_rq_xx", envoy_response_code_class="2", **gateway)
            and counted("envoy_http_downstream_rq_time_count", **gateway)
            and counted("envoy_cluster_upstream_rq_total", envoy_cluster_name="default/raw/80", **service)
            and counted("envoy_vhost_route_upstream_rq_total", host="shop.example", **route)
            and counted(
                "envoy_vhost_route_upstream_rq_xx", host="*.wide.example", envoy_response_code_class="2", **route
            )
            and counted("envoy_vhost_route_upstream_rq_time_count", host="shop.example", **route)
        )

    eventually("all is counted, under its labels", all_counted)
