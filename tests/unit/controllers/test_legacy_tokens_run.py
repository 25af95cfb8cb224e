"""Tokens in Secrets: their use is noted, idle ones that were made by themselves are marked invalid, refused, and deleted."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sampan.api.authn.legacy_tokens import today
from sampan.client.resources import CONFIG_MAPS, SECRETS, SERVICE_ACCOUNTS
from sampan.controllers.legacy_tokens import INVALID_SINCE, LAST_USED, TRACKING, idle_since
from sampan.schema.objects import Object

LONG_AGO = "2020-01-01"


async def a_token(cluster: Any, *, named_by_account: bool) -> Object:
    metadata = {"name": "old", "namespace": "default"}
    secrets = [{"name": "old-token"}] if named_by_account else []
    await cluster.client.create(
        SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, "secrets": secrets}
    )
    about = {"name": "old-token", "namespace": "default", "annotations": {"kubernetes.io/service-account.name": "old"}}
    made = {"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token", "metadata": about}
    await cluster.client.create(SECRETS, made)
    found: Object = await cluster.until(SECRETS, "old-token", lambda s: (s.get("data") or {}).get("token"))
    return found


async def ask(api: Any, token: str) -> int:
    """Return the status of a request with a token."""
    sent: list[Object] = []

    async def receive() -> Object:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Object) -> None:
        sent.append(message)

    path = "/apis/authentication.k8s.io/v1"
    headers = [(b"authorization", f"Bearer {token}".encode()), (b"accept", b"application/json")]
    where = {"path": path, "raw_path": path.encode(), "query_string": b"", "scheme": "https"}
    who = {"client": ("127.0.0.1", 1), "server": ("127.0.0.1", 2), "extensions": {}}
    scope = {"type": "http", "http_version": "1.1", "method": "GET", "headers": headers, **where, **who}
    await api(scope, receive, send)
    return int(sent[0]["status"])


async def test_a_use_is_noted_and_a_marked_token_is_refused(cluster: Any, local_api: Any) -> None:
    secret = await a_token(cluster, named_by_account=False)
    token = base64.b64decode(secret["data"]["token"]).decode()
    assert await ask(local_api, token) == 200
    await cluster.until(SECRETS, "old-token", lambda s: (s["metadata"].get("labels") or {}).get(LAST_USED) == today())
    await cluster.client.patch(SECRETS, "old-token", {"metadata": {"labels": {INVALID_SINCE: LONG_AGO}}}, "default")
    assert await ask(local_api, token) == 401
    await cluster.client.patch(SECRETS, "old-token", {"metadata": {"labels": {INVALID_SINCE: None}}}, "default")
    assert await ask(local_api, token) == 200


async def test_uses_are_tracked_since_the_first_day(cluster: Any) -> None:
    await cluster.until(CONFIG_MAPS, TRACKING, lambda c: c["data"]["since"] == today(), "kube-system")


@pytest.mark.parametrize(
    ("created", "used", "since", "idle"),
    [
        ("2020-01-01T00:00:00Z", None, "2021-01-01", "2021-01-01"),
        ("2022-01-01T00:00:00Z", None, "2021-01-01", "2022-01-01"),
        ("2020-01-01T00:00:00Z", "2023-05-05", "2021-01-01", "2023-05-05"),
        ("2020-01-01T00:00:00Z", "no day", "2021-01-01", "2021-01-01"),
    ],
)
def test_since_when_a_token_is_idle(created: str, used: str | None, since: str, idle: str) -> None:
    secret = {"metadata": {"creationTimestamp": created, "labels": {LAST_USED: used} if used else {}}}
    tracked = datetime.strptime(since, "%Y-%m-%d").replace(tzinfo=UTC)
    assert idle_since(secret, tracked).strftime("%Y-%m-%d") == idle


async def test_an_idle_token_is_marked_and_then_deleted(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sampan.controllers import legacy_tokens

    monkeypatch.setattr(legacy_tokens, "PERIOD", timedelta(seconds=-10))
    await a_token(cluster, named_by_account=True)
    await cluster.gone(SECRETS, "old-token")


async def test_what_people_made_by_hand_stays(cluster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from sampan.controllers import legacy_tokens

    monkeypatch.setattr(legacy_tokens, "PERIOD", timedelta(seconds=-10))
    await a_token(cluster, named_by_account=False)
    await cluster.client.patch(SECRETS, "old-token", {"metadata": {"labels": {"touched": "yes"}}}, "default")
    found = await cluster.until(SECRETS, "old-token", lambda s: (s["metadata"].get("labels") or {}).get("touched"))
    assert INVALID_SINCE not in found["metadata"]["labels"]
