"""Who may ask the kubelet's server: certificates, tokens, rights, and how long answers are kept."""

from __future__ import annotations

from typing import Any, cast

import pytest

from sampan.client.protocol import Client, ResourceType
from sampan.node.access import Access, Person, by_certificate, rights_for


def certificate(name: str, *organizations: str) -> dict[str, Any]:
    return {"subject": (*((("organizationName", o),) for o in organizations), (("commonName", name),))}


class Api:
    """Knows one token and one right."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    async def create(self, resource: ResourceType, body: dict[str, Any]) -> dict[str, Any]:
        spec = body["spec"]
        if resource.plural == "tokenreviews":
            self.asked.append(spec["token"])
            user = {"username": "bob", "groups": ["dev"]}
            return {"status": {"authenticated": True, "user": user} if spec["token"] == "good" else {}}
        attributes = spec["resourceAttributes"]
        self.asked.append((spec["user"], attributes["verb"], attributes["subresource"], attributes["name"]))
        return {"status": {"allowed": (attributes["verb"], attributes["subresource"]) == ("get", "metrics")}}


def judge() -> tuple[Access, Api, list[float]]:
    api, now = Api(), [0.0]
    return Access(cast("Client", api), "node", lambda: now[0]), api, now


async def test_who_asks() -> None:
    access, api, now = judge()
    assert by_certificate(certificate("alice", "a", "b")) == Person("alice", ("a", "b", "system:authenticated"))
    assert await access.person(None, "") is None is await access.person(None, "Basic x")
    for _ in range(3):
        assert await access.person(None, "Bearer good") == Person("bob", ("dev",))
        assert await access.person(None, "bearer bad") is None
    assert api.asked == ["good", "bad"]
    now[0] = 121
    await access.person(None, "Bearer good")
    assert api.asked == ["good", "bad", "good"]


async def test_what_they_may() -> None:
    access, api, now = judge()
    bob = Person("bob", ("dev",))
    assert await access.may(Person("apiserver", ("system:masters",)), "GET", "/exec/a/b/c") and not api.asked
    assert await access.may(bob, "GET", "/metrics/resource") and await access.may(bob, "GET", "/metrics")
    assert api.asked == [("bob", "get", "metrics", "node")]
    assert not await access.may(bob, "GET", "/exec/a/b/c") and not await access.may(bob, "GET", "/pods")
    assert api.asked[1:] == [
        ("bob", "create", "proxy", "node"),
        ("bob", "get", "pods", "node"),
        ("bob", "get", "proxy", "node"),
    ]
    now[0] = 31
    await access.may(bob, "GET", "/exec/a/b/c")
    await access.may(bob, "GET", "/metrics")
    assert len(api.asked) == 5, "a refusal is asked about again sooner than a permission"


@pytest.mark.parametrize(
    ("method", "path", "rights"),
    [
        ("GET", "/stats/summary", [("get", "stats")]),
        ("GET", "/containerLogs/a/b/c", [("get", "proxy")]),
        ("GET", "/portForward/a/b", [("create", "proxy")]),
        ("POST", "/run/a/b/c", [("create", "proxy")]),
        ("GET", "/configz", [("get", "configz"), ("get", "proxy")]),
        ("GET", "/healthz", [("get", "healthz"), ("get", "proxy")]),
    ],
)
def test_which_rights_open_a_path(method: str, path: str, rights: list[tuple[str, str]]) -> None:
    assert rights_for(method, path) == rights
