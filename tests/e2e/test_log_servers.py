"""The agent and real servers: everything arrives, whoever is killed in between. Those that are not here are skipped."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.eventually import eventually
from tests.e2e.log_servers.servers import (
    Agent,
    Collector,
    Elasticsearch,
    Kafka,
    OpenSearch,
    Rsyslog,
    Server,
    VictoriaLogs,
    running,
)
from tests.unit.logs.certificates import Authority

TRACE = ["ERROR it failed", "Traceback (most recent call last):", '  File "a.py", line 1, in f', 'ValueError: ü ]"\\x']
LONG = "INFO long " + "äx" * 5000
KINDS: dict[str, Any] = {
    "rsyslog": Rsyslog,
    "otlp-http": Collector,
    "otlp-grpc": lambda folder: Collector(folder, "grpc"),
    "loki": VictoriaLogs,
    "opensearch": OpenSearch,
    "elasticsearch": Elasticsearch,
    "kafka": Kafka,
}


@pytest.fixture(params=KINDS)
def server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    (tmp_path / "server").mkdir()
    yield from running(KINDS[request.param](tmp_path / "server"))


def agent_of(tmp_path: Path, *outputs: dict[str, Any], **configuration: Any) -> Iterator[Agent]:
    agent = Agent(tmp_path / "agent", list(outputs), **configuration)
    try:
        yield agent
    finally:
        agent.kill()


@pytest.fixture
def agent(server: Server, tmp_path: Path) -> Iterator[Agent]:
    yield from agent_of(tmp_path, server.output())


def lines(first: int, count: int) -> list[str]:
    return [f"INFO {number} is a line of this file" for number in range(first, first + count)]


def test_everything_arrives_once(server: Server, agent: Agent) -> None:
    expected = [*lines(0, 500), "\n".join(TRACE), LONG, *lines(500, 5)]
    agent.write(*lines(0, 500), *TRACE, LONG, *lines(500, 5))
    said = agent.once()
    eventually("all is there", lambda: len(server.taken()) >= len(expected), 60)
    taken = server.taken()
    assert sorted(text for _, text in taken) == sorted(expected)
    assert len({identity for identity, _ in taken}) == len(expected)
    assert "refused" not in said


def test_whoever_is_killed_nothing_is_lost(server: Server, agent: Agent) -> None:
    """The server goes in the middle, the agent goes while the server is away, both come back."""
    agent.write(*lines(0, 200))
    agent.start()
    eventually("the first are there", lambda: len(server.taken()) >= 150, 90)
    server.kill()
    agent.write(*lines(200, 200))
    eventually(
        "the agent has seen it",
        lambda: any(word in agent.said() for word in ("does not take", "not ack", "Unable")),
        90,
    )
    agent.kill()
    agent.write(*lines(400, 200))
    agent.start()
    server.start()
    agent.write(*lines(600, 20))
    expected = set(lines(0, 620))
    if isinstance(server, Rsyslog):  # syslog acknowledges nothing: what its process had read when it was killed is gone
        expected -= set(lines(0, 400))
    eventually("all is there", lambda: expected <= {text for _, text in server.taken()}, 150)
    agent.kill(signal.SIGTERM)
    taken = server.taken()
    once = dict(taken)
    if not isinstance(server, Rsyslog):
        assert sorted(once.values()) == sorted(lines(0, 620)), "each has one id, however often it was sent"
    if server.idempotent:
        assert len(taken) == 620


@pytest.fixture
def search(tmp_path: Path) -> Iterator[OpenSearch]:
    (tmp_path / "server").mkdir()
    opensearch = OpenSearch(tmp_path / "server")
    for server in running(opensearch):
        assert server is opensearch
        yield opensearch


def test_a_data_stream_and_a_record_that_does_not_fit_it(search: OpenSearch, tmp_path: Path) -> None:
    search.ask("/_index_template/logs", {"index_patterns": ["logs-*-*"], "data_stream": {}, "priority": 200}, "PUT")
    for agent in agent_of(tmp_path, search.output(), processing=[{"parse": "json"}]):
        agent.write('{"a":1,"msg":"first"}', '{"a":{"b":2},"msg":"does not fit"}', '{"a":3,"msg":"last"}')
        said = agent.once()
    assert len(search.ask("/_data_stream/logs-sampan-shop")["data_streams"][0]["indices"]) == 1
    found = search.taken()
    assert len(found) == 2
    assert "1 records are refused" in said
    assert "mapper_parsing_exception" in said


@pytest.fixture
def kafka(tmp_path: Path) -> Iterator[Kafka]:
    (tmp_path / "server").mkdir()
    broker = Kafka(tmp_path / "server")
    for server in running(broker):
        assert server is broker
        yield broker


def test_records_of_a_stream_keep_their_order_in_kafka(kafka: Kafka, tmp_path: Path) -> None:
    long = "INFO long " + '"x' * 3000
    for agent in agent_of(tmp_path, {**kafka.output(), "message_bytes": "3Ki"}):
        agent.write(*lines(0, 300), long)
        said = agent.once()
    messages = kafka.messages()
    assert {message.key for message in messages} == {b"5b1f/main/stdout"}
    assert {message.timestamp for message in messages} == {1796032800500}
    assert len({message.partition for message in messages}) == 1
    texts = [text for _, text in kafka.taken()]
    assert texts[:300] == lines(0, 300)
    assert len(texts) > 302
    assert "".join(texts[300:]) == long
    assert "refused" not in said


def test_kafka_over_tls_with_a_certificate_and_a_password(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    authority = Authority(tmp_path / "server")
    certificate, key = authority.issue("agent")
    tls = {"ca": str(authority.path), "certificate": str(certificate), "key": str(key)}
    broker = Kafka(tmp_path / "server", (authority.path, *authority.issue("server")))
    for _ in running(broker):
        url = f"kafka://127.0.0.1:{broker.secure_port}/logs-{{namespace}}"
        for agent in agent_of(tmp_path, {"type": "kafka", "url": url, "tls": tls, "user": "agent", "password": "s3"}):
            agent.write(*lines(0, 50))
            agent.once()
        assert [text for _, text in broker.taken()] == lines(0, 50)


def test_syslog_over_tls_and_datagrams(tmp_path: Path) -> None:
    (tmp_path / "server").mkdir()
    authority = Authority(tmp_path / "server")
    server = Rsyslog(tmp_path / "server", (authority.path, *authority.issue("server")))
    certificate, key = authority.issue("agent")
    tls = {"ca": str(authority.path), "certificate": str(certificate), "key": str(key)}
    for _ in running(server):
        secure = {**server.output(), "name": "tls", "url": f"tls://localhost:{server.port}", "tls": tls}
        datagrams = {**server.output(), "name": "udp", "url": f"udp://127.0.0.1:{server.port}"}
        for agent in agent_of(tmp_path, secure, datagrams):
            agent.write(*lines(0, 100), *TRACE)
            agent.once()
        eventually("both are there", lambda: len(server.taken()) == 202, 60)
        assert sorted(text for _, text in server.taken()) == sorted([*lines(0, 100), "\n".join(TRACE)] * 2)
