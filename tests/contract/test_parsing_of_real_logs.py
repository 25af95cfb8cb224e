"""What programs really write is parsed: Envoy's access log, in its default form and as JSON, and kubectl's klog."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from sampan.logs.processing.draft import Draft
from tests.unit.logs.processing.drafts import Taken, take

BIN = Path(sys.executable).parent
FIELDS = {
    "start_time": "%START_TIME%", "method": "%REQ(:METHOD)%", "path": "%REQ(:PATH)%", "response_code": "%RESPONSE_CODE%",
    "response_flags": "%RESPONSE_FLAGS%", "duration": "%DURATION%", "authority": "%REQ(:AUTHORITY)%",
    "bytes_sent": "%BYTES_SENT%", "user_agent": "%REQ(USER-AGENT)%", "upstream_host": "%UPSTREAM_HOST%",
}  # fmt: skip
LOG = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"
MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
ROUTER = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"


def bootstrap(port: int, home: Path) -> dict[str, Any]:
    """An Envoy that answers everything with 418, and writes it down twice."""
    logs: list[dict[str, Any]] = [{"@type": LOG, "path": str(home / "line.log")}]
    logs += [{"@type": LOG, "path": str(home / "json.log"), "log_format": {"json_format": FIELDS}}]
    manager = {
        "@type": MANAGER,
        "stat_prefix": "test",
        "http_filters": [{"name": "router", "typed_config": {"@type": ROUTER}}],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [
                        {"match": {"prefix": "/"}, "direct_response": {"status": 418, "body": {"inline_string": "tea"}}}
                    ],
                }
            ]
        },
        "access_log": [{"name": "file", "typed_config": log} for log in logs],
    }
    listener = {
        "name": "http",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
    }
    return {"static_resources": {"listeners": [listener]}}


def ask(port: int) -> int:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/a/b?c=d", headers={"User-Agent": "test/1"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.fixture
def access_logs(tmp_path: Path) -> dict[str, str]:
    """Lines of Envoy's for one request, by their form."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = tmp_path / "envoy.json"
    config.write_text(json.dumps(bootstrap(port, tmp_path)))
    word = [
        str(BIN / "envoy"),
        "-c",
        str(config),
        "--use-dynamic-base-id",
        "--concurrency",
        "1",
        "--log-level",
        "error",
    ]
    envoy = subprocess.Popen(
        [*word, "--file-flush-interval-msec", "50"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 60
        while True:
            try:
                assert ask(port) == 418
                break
            except OSError:
                assert envoy.poll() is None and time.monotonic() < until, "Envoy does not listen"
                time.sleep(0.05)
    finally:
        envoy.terminate()
        envoy.wait(60)  # what it has written down is in the files then
    return {form: (tmp_path / f"{form}.log").read_text().splitlines()[-1] for form in ("line", "json")}


@pytest.mark.skipif(not (BIN / "envoy").exists(), reason="there is no Envoy")
def test_envoys_access_log(access_logs: dict[str, str]) -> None:
    for form, line in access_logs.items():
        for format in ("auto", "envoy"):
            taken = take({"processing": [{"parse": format}]}, line)
            [fields] = taken.fields
            assert taken.texts == [line], form
            assert abs(fields.time_unix_nano - time.time_ns()) < 600 * 10**9
            expected = {
                "http.request.method": "GET", "url.path": "/a/b", "url.query": "c=d", "http.response.status_code": 418,
                "http.response.body.size": 3, "user_agent.original": "test/1", "server.address": "127.0.0.1",
            }  # fmt: skip
            assert expected.items() <= fields.attributes.items(), (form, fields.attributes)
            assert isinstance(fields.attributes["envoy.duration_ms"], int)


def test_kubectls_klog() -> None:
    kubectl = shutil.which("kubectl", path=str(BIN)) or shutil.which("kubectl")
    assert kubectl is not None
    word = [
        kubectl,
        "get",
        "pods",
        "-v=6",
        "--kubeconfig=/dev/null",
        "--server=http://127.0.0.1:1",
        "--request-timeout=1s",
    ]
    lines = [
        line for line in subprocess.run(word, capture_output=True, text=True).stderr.splitlines() if line[:1] in "IWE"
    ]
    lines = [line for line in lines if line[1:5].isdigit()]
    taken: Taken = take({"processing": [{"parse": "auto"}]}, *lines)
    assert len(lines) > 3 and taken.pipeline.steps[0].tally == {"parsed": len(lines)}
    gates = [
        fields.attributes
        for text, fields in zip(taken.texts, taken.fields, strict=True)
        if text == "Feature gate default state"
    ]
    assert any(gate["feature"] == "ClientsAllowCBOR" and gate["enabled"] == "false" for gate in gates)
    for fields in taken.fields:
        assert isinstance(fields, Draft)
        assert fields.severity_number in (9, 13, 17)
        assert str(fields.attributes["code.file.path"]).endswith(".go") and fields.attributes["code.line.number"] > 0  # type: ignore[operator]
        # klog writes local time without a zone
        assert abs(fields.time_unix_nano - time.time_ns()) < 15 * 3600 * 10**9


def test_pythons_logging() -> None:
    """As ``logging.basicConfig`` writes it, and by a pattern for the fields of it."""
    made = logging.makeLogRecord(
        {"name": "shop.orders", "levelno": 30, "levelname": "WARNING", "msg": "late", "created": 1796032805.5}
    )
    line = logging.Formatter("%(asctime)s %(levelname)s %(name)s %(message)s").format(made)
    [fields] = take({"processing": [{"parse": "auto"}]}, line).fields
    assert (fields.severity_number, fields.severity_text) == (13, "WARNING") and fields.time_unix_nano
    pattern = r"^(?P<time>\S+ \S+) (?P<level>\w+) (?P<logger>\S+) (?P<message>.*)"
    taken = take({"processing": [{"parse": {"format": "regex", "pattern": pattern}}]}, line)
    assert taken.texts == ["late"] and taken.fields[0].attributes == {"logger": "shop.orders"}
