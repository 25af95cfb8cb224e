"""Addresses and configurations of outputs: what they mean, and that what they cannot mean is refused with its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sampan.cli import logs
from sampan.logs.log_record import Fields
from sampan.logs.outputs.options import OptionError, Options, bytes_of, seconds_of
from sampan.logs.outputs.patterns import Pattern
from sampan.logs.outputs.registry import output_named, outputs_of, values_of
from sampan.logs.outputs.spool import Spooled
from tests.unit.logs.remote import delivery


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("json:-", {"type": "json", "path": "-", "name": "stdout"}),
        ("sqlite:/a.db", {"type": "sqlite", "path": "/a.db", "name": "sqlite:/a.db"}),
        ("http://h/logs?x=1", {"type": "http", "url": "http://h/logs?x=1", "name": "http://h/logs?x=1"}),
        ("otlp+grpc://h:4317", {"type": "otlp", "url": "grpc://h:4317", "name": "otlp+grpc://h:4317"}),
        (
            "elasticsearch+https://u:p%40@h:9200/x?index=a-{namespace}",
            {
                "type": "elasticsearch", "url": "https://h:9200/x", "user": "u", "password": "p@",
                "index": "a-{namespace}", "name": "elasticsearch+https://h:9200/x",
            },
        ),
        ("kafka://a:1,b:2/t", {"type": "kafka", "url": "kafka://a:1,b:2/t", "name": "kafka://a:1,b:2/t"}),
        ("syslog+udp://h?facility=local0", {"type": "syslog", "url": "udp://h", "facility": "local0", "name": "syslog+udp://h"}),
    ],
)  # fmt: skip
def test_addresses(address: str, expected: dict[str, str]) -> None:
    assert values_of(address) == expected


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("kafak:x", "this is no output"),
        ("json:", "this is no output"),
        ("json+x:y", "this is no output"),
        ("loki:h", "loki.SCHEME://HOST… is wanted"),
        ("otlp+ftp://h", "url: http://… or https://… is wanted"),
        ("syslog+http://h", "url: udp://HOST, tcp://HOST or tls://HOST is wanted"),
        ("otlp+grpc://h/path", "url: grpc://HOST:PORT is wanted"),
        ("otlp+grpc://h?compression=gzip", "compression: over gRPC there is none"),
        ("loki+http://h?lables=x", "lables: there is no such option"),
        ("loki+http://h?labels=a b", "is no name of a label"),
        ("loki+http://h?batch_bytes=many", "batch_bytes: a size such as 512Mi is wanted, not 'many'"),
        ("loki+http://h?spool.limit=12", "spool.limit: 0 .no spool. or at least 1Mi is wanted"),
        ("loki+http://h?tls.key=/none", "tls.key: there is no such option"),
        ("loki+https://h?tls.ca=/none", "tls.ca: /none is no file of certificates"),
        ("loki+https://h?tls.key=/none", "tls.certificate: a key is of no use without it"),
        ("elasticsearch+http://h?index={", "index: '{': a brace is alone"),
        ("elasticsearch+http://h?index={a b}", "index: {a b} is no name of a label"),
        ("elasticsearch+http://u:p@h?api_key=x", "api_key: there is user as well"),
        ("elasticsearch+http://h?api_key_env=SAMPAN_NO_SUCH", "api_key_env: the environment has no SAMPAN_NO_SUCH"),
        ("elasticsearch+http://h?api_key_env=HOME&api_key=x", "api_key_env: there is api_key as well"),
        ("elasticsearch+http://h?api_key_file=/none", "api_key_file: /none: No such file"),
        ("kafka://h/t?compression=zstd", "compression: one of none, gzip is wanted"),
        ("syslog+udp://h?message_bytes=1Mi", "message_bytes: a datagram has 65507 bytes at most"),
        ("syslog+tcp://h?facility=loud", "facility: one of kern, "),
    ],
)
def test_what_is_refused(address: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        output_named(address, tmp_path)


@pytest.mark.parametrize(
    "address",
    [
        "elasticsearch+https://bob:hunter2@h?tls.insecure_skip_verify=true&nothing=1",
        "elasticsearch+https://h?api_key=hunter2&tls.insecure_skip_verify=true&nothing=1",
        "pigeon://bob:hunter2@h",
    ],
)
def test_no_message_has_a_password(address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(OptionError) as error:
        output_named(address, tmp_path)
    assert "hunter2" not in str(error.value) + caplog.text


@pytest.mark.parametrize("url", ["https://bob:hunter2@h", ["https://h", "https://bob:hunter2@i"]])
def test_an_address_of_a_configuration_has_no_password(url: Any, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"outputs\[0\].url: who we are has no place in it") as error:
        outputs_of([], [{"type": "elasticsearch", "name": "a", "url": url}], tmp_path)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize(
    ("configured", "message"),
    [
        ({"type": "json"}, "outputs: a list is wanted"),
        ([3], r"outputs\[0\]: a mapping of options is wanted, not 3"),
        ([{"name": "a"}], r"outputs\[0\].type: it is wanted"),
        ([{"type": "pigeon", "name": "a"}], r"outputs\[0\].type: one of json, "),
        ([{"type": "json", "path": "/a"}], r"outputs\[0\].name: it is wanted"),
        ([{"type": "json", "name": "a"}], r"outputs\[0\].path: it is wanted"),
        ([{"type": "json", "name": "a", "path": "/a", "spool": {}}], r"outputs\[0\].spool: there is no such option"),
        ([{"type": "http", "name": "a", "url": "http://h", "tls": 3}], r"outputs\[0\].tls: a mapping of options"),
        (
            [{"type": "http", "name": "a", "url": "http://h", "headers": {"a": []}}],
            r"0\].headers: a mapping of texts",
        ),
        ([{"type": "json", "name": "a", "path": "/a"}] * 2, "outputs: two are called 'a'"),
    ],
)
def test_configurations_that_are_refused(configured: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=message):
        outputs_of([], configured, tmp_path)


def test_what_goes_over_a_network_stands_behind_a_spool(tmp_path: Path) -> None:
    first, second, third = outputs_of(
        ["json:-", "http://u:p@h/logs"],
        [
            {
                "type": "loki",
                "name": "l",
                "url": "http://h",
                "spool": {"limit": 0},
                "labels": {"job": "x", "ns": "{namespace}"},
            }
        ],
        tmp_path,
    )
    assert isinstance(second, Spooled)
    assert not isinstance(first, Spooled)
    assert not isinstance(third, Spooled)
    assert second.name == "http://h/logs"
    assert second.folder.parent == tmp_path / "spool"


def test_sizes_and_durations() -> None:
    assert [bytes_of(text) for text in ("7", "2Ki", "3MiB", "1G", "5k", "x", "-1", True)] == [
        7, 2048, 3 << 20, 10**9, 5000, None, None, None,
    ]  # fmt: skip
    assert [seconds_of(text) for text in ("7", "250ms", "1.5s", "2m", "1h", "soon")] == [7, 0.25, 1.5, 120, 3600, None]
    options = Options({"a": "x,y", "b": {"c": 1}, "d": "p=q,r=s=t", "e.f": "yes"}, "o")
    assert options.texts("a") == ("x", "y")
    assert options.mapping("b") == {"c": "1"}
    assert options.mapping("d") == {"p": "q", "r": "s=t"}
    assert options.inner("e").flag("f")
    options.done()


def test_names_made_of_records() -> None:
    one, other = delivery("a"), delivery("b", stream=1)
    fields = Fields()
    fields.attributes = {"user": "Ann"}
    with_fields = (*one[:3], fields)
    assert [Pattern("logs-{namespace}-{pod}")(each) for each in (one, other, one)] == [
        "logs-shop-web-1", "logs-shop-web-2", "logs-shop-web-1",
    ]  # fmt: skip
    assert Pattern("x-{labels.app|none}-{attributes.user|nobody}")(with_fields) == "x-none-Ann"
    assert Pattern("{attributes.user|nobody}")(one) == "nobody"
    assert Pattern("{resource.service.name}")(one) == "web-1"
    assert Pattern("logs-{time:%Y.%m.%d}")(one) == "logs-2026.11.30"
    assert Pattern("{namespace}", clean=str.upper)(one) == "SHOP"


def test_a_secret_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAMPAN_TEST_SECRET", "s3")
    assert Options({"password_env": "SAMPAN_TEST_SECRET"}, "o").secret("password") == "s3"


def test_a_spool_of_an_output_that_is_gone_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (gone := tmp_path / "spool" / "old-1234").mkdir(parents=True)
    (gone / "00000000000000000000.spool").write_bytes(b"x" * 70)
    output_named("json:-", tmp_path)
    assert not caplog.text
    outputs_of(["json:-"], None, tmp_path)
    assert f"{gone}: 70 bytes are of an output that there is no more" in caplog.text


def test_the_example_is_a_configuration(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEARCH_PASSWORD", "s3")
    example = Path(__file__).parents[3] / "examples" / "logs" / "outputs.yaml"
    assert logs.run_words(["agent", "--config", str(example), "--check"]) == 0
    assert "outputs: collector, search, loki, audit, hook, archive" in capsys.readouterr().out
