"""Real servers of logs on free ports: started, killed, started again, and asked for what they have.

rsyslogd is Debian's. The others are not to be had there; the tests of each run where it is (README.md here says how one gets
it) and are skipped elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.eventually import eventually

HERE = Path(__file__).parent
STARTING_SECONDS = 180.0
"""A JVM on a loaded machine."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


def program(name: str, variable: str) -> str:
    """Return where a program is: as the variable says, or on the PATH. Skips the test where it is not."""
    found = os.environ.get(variable) or shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if not found:
        pytest.skip(f"there is no {name} here ({variable} says where it is)")
    return found


def jars(variable: str) -> str:
    """Return a class path of the jars in the folder that a variable names. Skips the test where it does not."""
    folder = os.environ.get(variable)
    if not folder or shutil.which("java") is None:
        pytest.skip(f"{variable} names no folder of jars, or there is no Java")
    return f"{folder}/*"


def answer(url: str, body: bytes | None = None, method: str | None = None) -> bytes:
    request = urllib.request.Request(url, body, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as response:
        content: bytes = response.read()
        return content


class Server:
    """``output`` are the options of an output to it; ``taken`` returns what it has, as ``(id, text)``."""

    idempotent = False
    """Whether it keeps what it is sent twice once."""
    goes_by: int = signal.SIGKILL
    """How it is ended in the middle: one that acknowledges before it has written asks to be let."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def command(self) -> list[str]:
        raise NotImplementedError

    def is_up(self) -> bool:
        with socket.socket() as asking:
            return asking.connect_ex(("127.0.0.1", self.port)) == 0

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log, cwd=self.folder)
        process = self._process

        def up() -> bool:
            said = (self.folder / "server.log").read_text(errors="replace")[-3000:]
            assert process.poll() is None, f"it has ended: {said}"
            return self.is_up()

        eventually("the server is up", up, STARTING_SECONDS)

    def kill(self) -> None:
        if self._process is not None:
            self._process.send_signal(self.goes_by)
            self._process.wait(60)
            self._process = None

    def taken(self) -> list[tuple[str, str]]:
        raise NotImplementedError

    def output(self) -> dict[str, Any]:
        raise NotImplementedError


class Rsyslog(Server):
    """Writes what it gets to a file, one object of JSON a line. ``tls``: CA, certificate and key."""

    def __init__(self, folder: Path, tls: tuple[Path, Path, Path] | None = None) -> None:
        super().__init__(folder)
        self._program, self._tls = program("rsyslogd", "SAMPAN_RSYSLOGD"), tls
        drivers = [*Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so"), *Path("/usr/lib").glob("rsyslog/lmnsd_ossl.so")]
        if tls is not None and not drivers:
            pytest.skip("rsyslog is here without rsyslog-openssl")

    def command(self) -> list[str]:
        driver, of_input = "", ""
        if self._tls is not None:
            ca, certificate, key = self._tls
            driver = (
                f'defaultNetstreamDriver="ossl" defaultNetstreamDriverCAFile="{ca}" '
                f'defaultNetstreamDriverCertFile="{certificate}" defaultNetstreamDriverKeyFile="{key}"'
            )
            of_input = 'streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="x509/certvalid"'
        configuration = f"""
global(workDirectory="{self.folder}" maxMessageSize="8k" parser.escapeControlCharactersOnReceive="off" {driver})
module(load="imtcp" {of_input})
module(load="imudp")
input(type="imtcp" port="{self.port}" address="127.0.0.1")
input(type="imudp" port="{self.port}" address="127.0.0.1" rcvbufSize="4m")
template(name="json" type="list" option.jsonf="on") {{
  property(outname="text" name="msg" format="jsonf")
  property(outname="data" name="structured-data" format="jsonf")
}}
action(type="omfile" file="{self.folder}/taken.json" template="json" flushOnTXEnd="on")
"""
        (self.folder / "rsyslog.conf").write_text(configuration)
        return [self._program, "-n", "-f", str(self.folder / "rsyslog.conf"), "-i", str(self.folder / "rsyslog.pid")]

    def output(self) -> dict[str, Any]:
        return {"type": "syslog", "url": f"tcp://127.0.0.1:{self.port}", "bom": False, "message_bytes": 4096}

    def taken(self) -> list[tuple[str, str]]:
        path = self.folder / "taken.json"
        found: dict[str, str] = {}
        single = []
        for line in path.read_text().splitlines() if path.exists() else ():
            message = json.loads(line)
            identity = message["data"].partition('@32473 id="')[2].partition('"')[0]
            part = message["data"].partition('part="')[2].partition('"')[0]
            if part:
                found[identity] = ("" if part == "1" else found.get(identity, "")) + message["text"]
            else:
                single.append((identity, message["text"]))
        return single + list(found.items())


class Collector(Server):
    """The OpenTelemetry Collector, with its receiver of OTLP and its exporter to a file."""

    goes_by = signal.SIGTERM

    def __init__(self, folder: Path, scheme: str = "http") -> None:
        super().__init__(folder)
        self._program, self._scheme, self._grpc = program("otelcol", "SAMPAN_OTELCOL"), scheme, free_port()

    def command(self) -> list[str]:
        protocols = {"http": {"endpoint": f"127.0.0.1:{self.port}"}, "grpc": {"endpoint": f"127.0.0.1:{self._grpc}"}}
        exporter = {"path": str(self.folder / "taken.json"), "append": True, "flush_interval": "50ms"}
        logs = {"receivers": ["otlp"], "exporters": ["file"]}
        configuration = {
            "receivers": {"otlp": {"protocols": protocols}},
            "exporters": {"file": exporter},
            "service": {"telemetry": {"metrics": {"level": "none"}}, "pipelines": {"logs": logs}},
        }
        (self.folder / "collector.yaml").write_text(yaml.safe_dump(configuration))
        return [self._program, "--config", str(self.folder / "collector.yaml")]

    def output(self) -> dict[str, Any]:
        port = self._grpc if self._scheme == "grpc" else self.port
        return {"type": "otlp", "url": f"{self._scheme}://127.0.0.1:{port}"}

    def taken(self) -> list[tuple[str, str]]:
        path = self.folder / "taken.json"
        found = []
        for line in path.read_text().splitlines() if path.exists() else ():
            for stream in json.loads(line)["resourceLogs"]:
                for record in stream["scopeLogs"][0]["logRecords"]:
                    ids = [
                        one["value"]["stringValue"] for one in record["attributes"] if one["key"] == "log.record.uid"
                    ]
                    found.append((ids[0], record["body"]["stringValue"]))
        return found


class VictoriaLogs(Server):
    """Takes Loki's push. Loki itself is not used here: its licence is not ours to build it under."""

    goes_by = signal.SIGTERM

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._program = program("victoria-logs", "SAMPAN_VICTORIA_LOGS")

    def command(self) -> list[str]:
        flags = {
            "httpListenAddr": f"127.0.0.1:{self.port}",
            "storageDataPath": self.folder / "data",
            "retentionPeriod": "100y",
        }
        return [self._program, *(f"-{name}={value}" for name, value in flags.items())]

    def output(self) -> dict[str, Any]:
        return {"type": "loki", "url": f"http://127.0.0.1:{self.port}/insert"}

    def taken(self) -> list[tuple[str, str]]:
        answer(f"http://127.0.0.1:{self.port}/internal/force_flush")
        lines = answer(f"http://127.0.0.1:{self.port}/select/logsql/query?query=*").splitlines()
        return [(record["log_record_uid"], record["_msg"]) for record in map(json.loads, lines)]


class OpenSearch(Server):
    """One node of OpenSearch, of Maven's jars."""

    idempotent = True
    kind, variable, source = "opensearch", "SAMPAN_OPENSEARCH_JARS", "OpenSearchNode.java"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._jars = jars(self.variable)

    def command(self) -> list[str]:
        words = [self._jars, str(HERE / self.source), str(self.folder), str(self.port)]
        return ["java", "-Xmx512m", "-cp", *words]

    def is_up(self) -> bool:
        try:
            return b'"status":"red"' not in answer(f"http://127.0.0.1:{self.port}/_cluster/health")
        except (OSError, urllib.error.URLError):
            return False

    def ask(self, path: str, body: Any = None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        return json.loads(answer(f"http://127.0.0.1:{self.port}{path}", data, method))

    def output(self) -> dict[str, Any]:
        return {"type": self.kind, "url": f"http://127.0.0.1:{self.port}"}

    def taken(self) -> list[tuple[str, str]]:
        try:
            self.ask("/_refresh", {}, "POST")
            found = self.ask("/logs-*/_search?size=10000&ignore_unavailable=true", {"query": {"match_all": {}}}, "POST")
        except urllib.error.HTTPError as error:
            assert error.code == 503, error  # its shards are not back yet
            return []
        return [(hit["_id"], hit["_source"]["message"]) for hit in found["hits"]["hits"]]


class Elasticsearch(OpenSearch):
    """One node of Elasticsearch 7.10, the last one under the Apache licence, of Maven's jars."""

    kind, variable, source = "elasticsearch", "SAMPAN_ELASTICSEARCH_JARS", "ElasticsearchNode.java"


class Kafka(Server):
    """One broker of Kafka, its own controller, of Maven's jars. ``tls`` (CA, certificate, key): a second listener wants
    a certificate, and of ``agent`` the password ``s3``."""

    def __init__(self, folder: Path, tls: tuple[Path, Path, Path] | None = None) -> None:
        super().__init__(folder)
        self._jars, controller = jars("SAMPAN_KAFKA_JARS"), free_port()
        self.controller, self.secure_port = controller, free_port()
        settings = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{controller}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": folder / "data",
            "offsets.topic.replication.factor": 1,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "num.partitions": 3,
        }
        if tls is not None:
            settings |= self._secured(*tls)
        self._properties = folder / "server.properties"
        self._properties.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        tool = ["java", "-cp", self._jars, "kafka.tools.StorageTool", "format", "-t", "dF0pkzNVTQ2Qm3lhnx2YIQ"]
        subprocess.run([*tool, "-c", str(self._properties)], check=True, capture_output=True, timeout=STARTING_SECONDS)

    def command(self) -> list[str]:
        return ["java", "-Xmx400m", "-cp", self._jars, "kafka.Kafka", str(self._properties)]

    def _secured(self, ca: Path, certificate: Path, key: Path) -> dict[str, Any]:
        both = self.folder / "keystore.pem"
        both.write_bytes(key.read_bytes() + certificate.read_bytes())
        plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
        return {
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},SASL_SSL://127.0.0.1:{self.secure_port},"
            f"CONTROLLER://127.0.0.1:{self.controller}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAINTEXT",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_ssl.plain.sasl.jaas.config": f'{plain} required user_agent="s3";',
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": both,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": ca,
            "ssl.client.auth": "required",
        }

    def output(self) -> dict[str, Any]:
        return {"type": "kafka", "brokers": f"127.0.0.1:{self.port}", "topic": "logs-{namespace}", "timeout": "5s"}

    def messages(self) -> list[Any]:
        async def read() -> list[Any]:
            from aiokafka import AIOKafkaConsumer, TopicPartition

            consumer = AIOKafkaConsumer(
                "logs-shop", bootstrap_servers=f"127.0.0.1:{self.port}", auto_offset_reset="earliest"
            )
            await consumer.start()
            try:
                parts = [TopicPartition("logs-shop", part) for part in consumer.partitions_for_topic("logs-shop") or ()]
                ends = await consumer.end_offsets(parts)
                found: list[Any] = []
                while any([await consumer.position(part) < ends[part] for part in parts]):
                    for messages in (await consumer.getmany(timeout_ms=1000)).values():
                        found += messages
                return found
            finally:
                await consumer.stop()

        return asyncio.run(read())

    def taken(self) -> list[tuple[str, str]]:
        return [
            (dict(message.headers)["id"].decode(), json.loads(message.value)["text"]) for message in self.messages()
        ]


class Agent:
    """``sampan logs agent`` on a folder of the test."""

    def __init__(self, folder: Path, outputs: list[dict[str, Any]], **configuration: Any) -> None:
        self.folder, self.logs = folder, folder / "pods" / "shop_web-1_5b1f" / "main"
        self.logs.mkdir(parents=True)
        named = [{"name": output["type"], **output} for output in outputs]
        whole = {"paths": [str(folder / "pods")], "outputs": named, **configuration}
        (folder / "agent.yaml").write_text(yaml.safe_dump(whole))
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, *lines: str) -> None:
        with (self.logs / "0.log").open("a") as file:
            file.writelines(f"2026-11-30T10:00:00.5Z stdout F {line}\n" for line in lines)

    def command(self) -> list[str]:
        agent = [sys.executable, "-m", "sampan.cli.main", "logs", "agent", "--config", str(self.folder / "agent.yaml")]
        return [*agent, "--state", str(self.folder / "state"), "--flush-seconds", "0.2"]

    def once(self, seconds: float = 180) -> str:
        """Read what is there, deliver it and end; return what was said."""
        done = subprocess.run([*self.command(), "--once"], capture_output=True, text=True, timeout=seconds)
        assert done.returncode == 0, done.stderr
        return done.stderr

    def start(self) -> None:
        with (self.folder / "agent.log").open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)

    def said(self) -> str:
        return (self.folder / "agent.log").read_text()

    def kill(self, number: int = signal.SIGKILL) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None


def running(server: Server) -> Iterator[Server]:
    """Run a server for a test, as a fixture does."""
    try:
        server.start()
        yield server
    finally:
        server.kill()
