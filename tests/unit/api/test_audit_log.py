"""The audit log: the policy's levels and rules, what an Event holds at each stage, the file and its turns, the webhook."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from sampan.api import flags
from sampan.api.app import Api
from sampan.api.audit.auditor import Auditor
from sampan.api.audit.log_file import LogFile
from sampan.api.audit.policy import LEVELS, Policy, read_policy
from sampan.api.audit.webhook import Batching, WebhookBackend
from sampan.api.local import LocalClient
from sampan.api.remote import Remote, RemoteError
from sampan.api.request import Attributes, User

from .conftest import Asgi

ADMIN = User("admin", ("system:masters", "system:authenticated"))
JANE = User("jane", ("dev", "system:authenticated"))


def core(*resources: str, group: str = "", **more: Any) -> list[dict[str, Any]]:
    return [{"group": group, "resources": list(resources), **more}]


RULES: list[dict[str, Any]] = [
    {"level": "None", "nonResourceURLs": ["/healthz*", "/version"]},
    {"level": "None", "users": ["system:kube-proxy"], "verbs": ["watch"], "resources": core("endpoints")},
    {"level": "Metadata", "resources": core("secrets")},
    {
        "level": "RequestResponse",
        "namespaces": ["default"],
        "resources": core("configmaps"),
        "omitManagedFields": True,
    },
    {"level": "Request", "resources": core("*/scale", "deployments", group="apps", resourceNames=["web"])},
    {"level": "Request", "userGroups": ["dev"], "resources": core("pods/*"), "omitStages": ["ResponseStarted"]},
    {"level": "Metadata"},
]
POLICY: dict[str, Any] = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": RULES,
}


class AsAdmin:
    def authenticate(self, headers: Any, certificate: Any, front_proxy: Any = None) -> User | None:
        return ADMIN


class Kept:
    """A backend that keeps the Events."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def write(self, event: dict[str, Any]) -> None:
        import orjson

        self.events.append(json.loads(orjson.dumps(event)))

    async def close(self) -> None:
        return None


@pytest.mark.parametrize(
    ("at", "level"),
    [
        (Attributes(JANE, "get", "/healthz/ping"), "None"),
        (Attributes(JANE, "get", "/metrics"), "Metadata"),
        (Attributes(User("system:kube-proxy"), "watch", "", "", "v1", "endpoints"), "None"),
        (Attributes(User("system:kube-proxy"), "list", "", "", "v1", "endpoints"), "Metadata"),
        (Attributes(JANE, "get", "", "", "v1", "secrets", "", "default", "s"), "Metadata"),
        (Attributes(JANE, "get", "", "", "v1", "configmaps", "", "default", "s"), "RequestResponse"),
        (Attributes(JANE, "get", "", "", "v1", "configmaps", "", "other", "s"), "Metadata"),
        (Attributes(JANE, "update", "", "apps", "v1", "replicasets", "scale", "x", "web"), "Request"),
        (Attributes(JANE, "update", "", "apps", "v1", "deployments", "", "x", "api"), "Metadata"),
        (Attributes(JANE, "create", "", "", "v1", "pods", "exec", "x", "p"), "Request"),
        (Attributes(JANE, "create", "", "", "v1", "pods", "", "x", "p"), "Request"),
        (Attributes(ADMIN, "create", "", "", "v1", "pods", "", "x", "p"), "Metadata"),
    ],
)
def test_the_first_rule_that_matches(at: Attributes, level: str) -> None:
    assert LEVELS[Policy(POLICY).wanted(at).level] == level


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"rules": []}, "0 rules"),
        ({"rules": [{"level": "All"}]}, "rules\\[0\\].level"),
        ({"apiVersion": "audit.k8s.io/v1beta1"}, "unknown group version"),
        ({"rules": [{"level": "None", "omitStages": ["Late"]}]}, "omitStages"),
        ({"rules": [{"level": "None", "nonResourceURLs": ["/x"], "namespaces": ["a"]}]}, "cannot apply to both"),
    ],
)
def test_policies_that_are_none(tmp_path: Path, changed: dict[str, Any], why: str) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(yaml.safe_dump({**POLICY, **changed}))
    with pytest.raises(flags.FlagError, match=why):
        read_policy(file)


async def test_what_an_event_holds(local_api: Api) -> None:
    kept = Kept()
    local_api.audit = Auditor(Policy(POLICY), [kept])

    class ByHeader:
        def authenticate(self, headers: Any, certificate: Any, front_proxy: Any = None) -> User | None:
            return {"admin": ADMIN, "jane": JANE}.get(headers.get("x-user", ""))

    local_api.authenticator = ByHeader()
    http = Asgi(
        local_api, {"x-user": "admin", "user-agent": "test/1", "audit-id": "mine", "x-forwarded-for": "10.1.2.3"}
    )
    body = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"k": "v"}}
    answer = await http("POST", "/api/v1/namespaces/default/configmaps?fieldManager=me", body)
    assert answer.headers["audit-id"] == "mine"
    (event,) = kept.events
    assert event["stage"] == "ResponseComplete" and event["level"] == "RequestResponse" and event["auditID"] == "mine"
    assert event["requestURI"] == "/api/v1/namespaces/default/configmaps?fieldManager=me"
    assert event["user"] == {"username": "admin", "groups": list(ADMIN.groups)}
    assert event["objectRef"] == {"resource": "configmaps", "namespace": "default", "apiVersion": "v1"}
    assert event["sourceIPs"] == ["10.1.2.3"] and event["userAgent"] == "test/1" and event["verb"] == "create"
    assert event["requestObject"]["data"] == {"k": "v"} and event["responseObject"]["metadata"]["uid"]
    assert "managedFields" not in event["responseObject"]["metadata"]
    assert event["responseStatus"] == {"metadata": {}, "code": 201}
    assert event["annotations"] == {"authorization.k8s.io/decision": "allow", "authorization.k8s.io/reason": ""}
    assert event["requestReceivedTimestamp"] <= event["stageTimestamp"] and event["stageTimestamp"].endswith("Z")

    kept.events.clear()
    await http("GET", "/api/v1/namespaces/default/secrets", headers={"x-user": "jane"})
    event = kept.events[-1]
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"
    assert event["responseStatus"]["code"] == 403 and event["responseStatus"]["reason"] == "Forbidden"
    assert "requestObject" not in event and "responseObject" not in event

    kept.events.clear()
    await http(
        "GET", "/api/v1/namespaces/default/pods", headers={"impersonate-user": "jane", "impersonate-group": "dev"}
    )
    event = kept.events[-1]
    assert event["user"]["username"] == "admin" and event["impersonatedUser"]["username"] == "jane"
    assert event["annotations"]["authorization.k8s.io/decision"] == "forbid"

    kept.events.clear()
    await http("GET", "/version")
    assert kept.events == []
    await http("GET", "/api/v1/namespaces/default/pods?watch=true&timeoutSeconds=1&resourceVersion=0")
    assert [event["stage"] for event in kept.events] == ["ResponseStarted", "ResponseComplete"]
    await LocalClient(local_api, ADMIN).raw("GET", "/api/v1/namespaces/default/pods/none")
    assert kept.events[-1]["responseStatus"]["code"] == 404


async def test_who_could_not_say_who_he_is(local_api: Api) -> None:
    kept = Kept()
    local_api.audit = Auditor(Policy(POLICY), [kept])
    assert (await Asgi(local_api)("GET", "/api/v1/pods", headers={"authorization": "Bearer nobody"})).status == 401
    (event,) = kept.events
    assert event["responseStatus"]["code"] == 401 and event["user"] == {}
    assert event["responseStatus"]["message"] == "Authentication failed, attempted: bearer"


async def test_who_leaves_in_the_middle_of_a_body(local_api: Api) -> None:
    kept = Kept()
    local_api.audit = Auditor(Policy({**POLICY, "rules": [{"level": "Metadata"}]}), [kept])
    came = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

    async def receive() -> Any:
        return next(came)

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    local_api.authenticator = AsAdmin()
    path = "/api/v1/namespaces/default/configmaps"
    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": []}
    await local_api(scope, receive, send)
    (event,) = kept.events
    assert event["stage"] == "ResponseComplete" and event["responseStatus"]["message"] == "unexpected EOF"


async def test_a_defect_is_a_panic(local_api: Api) -> None:
    kept = Kept()
    local_api.audit = Auditor(Policy({**POLICY, "rules": [{"level": "Metadata"}]}), [kept])

    async def broken(request: Any) -> Any:
        raise ZeroDivisionError("defect")

    local_api.route("/version", broken)
    assert (await Asgi(local_api)("GET", "/version")).status == 500
    assert [event["stage"] for event in kept.events] == ["Panic"]


async def test_the_file_is_begun_anew_and_old_ones_go(tmp_path: Path) -> None:
    path = tmp_path / "audit.log"
    log = LogFile(path, max_bytes=260, backups=2)
    for number in range(12):
        log.write({"number": number, "filling": "x" * 80})
        await asyncio.sleep(0.002)  # each in a turn of its own, and names of files count milliseconds
    await log.close()
    rotated = sorted(entry for entry in os.listdir(tmp_path) if entry.startswith("audit-"))  # noqa: PTH208
    assert len(rotated) == 2
    files = [tmp_path / name for name in (*rotated, path.name)]
    numbers = [json.loads(line)["number"] for file in files for line in file.read_text().splitlines()]
    assert numbers == list(range(numbers[0], 12)) and len(numbers) >= 5


class Flaky(Remote):
    """A server that fails ``failures`` times."""

    def __init__(self, failures: int) -> None:
        self.failures, self.batches = failures, list[list[Any]]()
        self.got = asyncio.Event()

    async def post(self, body: bytes, seconds: float) -> Any:
        if self.failures:
            self.failures -= 1
            raise RemoteError("not now")
        self.batches.append(json.loads(body)["items"])
        self.got.set()

    async def close(self) -> None:
        return None


async def test_events_are_sent_in_batches() -> None:
    remote = Flaky(failures=1)
    backend = WebhookBackend(remote, Batching(buffer=8, batch=5, wait_seconds=0.01, first_backoff_seconds=0.001))
    for number in range(10):
        backend.write({"number": number})
    assert backend.dropped == 2
    task = asyncio.ensure_future(backend.run())
    async with asyncio.timeout(60):
        while sum(map(len, remote.batches)) < 8:
            await remote.got.wait()
            remote.got.clear()
    task.cancel()
    backend.write({"number": 99})
    await backend.close()
    assert [[event["number"] for event in batch] for batch in remote.batches] == [[0, 1, 2, 3, 4], [5, 6, 7], [99]]


async def test_events_that_wait_and_batches_are_bounded_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sampan.api.audit.webhook.BUFFER_BYTES", 1000)
    monkeypatch.setattr("sampan.api.audit.webhook.BATCH_BYTES", 250)
    remote = Flaky(failures=0)
    backend = WebhookBackend(remote, Batching(wait_seconds=3600))
    sizes = [100, 100, 100, 300, 10, 300, 500, 10]
    for number, size in enumerate(sizes):
        backend.write({"number": number, "filling": "x" * size})
    assert backend.dropped == 2  # what comes when 1,000 bytes wait, and what would be too much
    task = asyncio.ensure_future(backend.run())  # a batch is full by its bytes: nobody waits an hour
    async with asyncio.timeout(60):
        while sum(map(len, remote.batches)) < 4:
            await remote.got.wait()
            remote.got.clear()
    task.cancel()
    await backend.close()
    found = [[event["number"] for event in batch] for batch in remote.batches]
    assert found == [[0, 1], [2, 3], [4, 7]]  # the last when it ends


def first_of(log: Path, user: str, seconds: float = 60) -> dict[str, Any]:
    """Return a user's first event; it is written after the answer that it tells of."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        lines = log.read_text().splitlines(keepends=True)
        events = [json.loads(line) for line in lines if line.endswith("\n")]
        for event in events:
            if event["user"].get("username") == user:
                return dict(event)
        time.sleep(0.02)
    raise AssertionError(f"no event of {user} within {seconds} s: {log.read_text()}")


async def test_a_server_writes_its_audit_log(start_server: Callable[..., Any], tmp_path: Path) -> None:
    policy, log = tmp_path / "policy.yaml", tmp_path / "logs" / "audit.log"
    policy.write_text(yaml.safe_dump(POLICY))
    given = {"audit-policy-file": str(policy), "audit-log-path": str(log)}
    server = await asyncio.to_thread(start_server, tmp_path, store=False, flags=given)
    import ssl
    import urllib.request

    context = ssl.create_default_context(cafile=server.pki_dir / "ca.crt")
    context.load_cert_chain(server.pki_dir / "admin.crt", server.pki_dir / "admin.key")
    url = f"{server.url}/api/v1/namespaces/default/secrets"
    await asyncio.to_thread(lambda: urllib.request.urlopen(url, context=context, timeout=60).read())
    event = await asyncio.to_thread(first_of, log, "admin")
    assert event["verb"] == "list" and event["sourceIPs"] == ["127.0.0.1"] and event["level"] == "Metadata"


def test_a_log_without_a_policy_is_refused() -> None:
    from sampan.api.audit.making import auditor_of

    with pytest.raises(flags.FlagError, match="audit-policy-file"):
        auditor_of(None, flags.parse({"audit-log-path": "-"}))  # type: ignore[arg-type]
