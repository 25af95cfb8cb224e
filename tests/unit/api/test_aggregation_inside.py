"""Clients inside the API's own process (the garbage collector is one) read what extension servers serve, too."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import urllib.request
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from sampan.api.errors import StatusError
from sampan.api.local import LocalClient
from sampan.api.server import ApiConfig, open_api
from sampan.client.errors import ApiError
from sampan.client.protocol import ResourceType
from sampan.store import Put, Record

from .conftest import ADMIN

SERVICES = ResourceType("apiregistration.k8s.io", "v1", "apiservices", "APIService", namespaced=False)
WIDGETS = ResourceType("ext.example.com", "v1", "widgets", "Widget")
DEFINITION = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.ext.example.com"},
    "spec": {
        "group": "ext.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [
            {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}
        ],
    },
}


def widget(name: str) -> dict[str, Any]:
    return {"apiVersion": "ext.example.com/v1", "kind": "Widget", "metadata": {"name": name, "namespace": "default"}}


@pytest.fixture
async def client(
    start_server: Callable[..., Any], make_authority: Callable[..., Any], tmp_path: Path
) -> AsyncIterator[LocalClient]:
    """A client inside an API that has one extension server."""
    make_authority(tmp_path / "main" / "pki")
    front = make_authority(tmp_path / "main" / "pki", "front-proxy-ca")
    front.write("front-proxy-client", "front-proxy-client")
    flags = {"requestheader-client-ca-file": str(tmp_path / "main" / "pki" / "front-proxy-ca.crt")}
    behind = await asyncio.to_thread(start_server, tmp_path / "extension", store=False, flags=flags)
    names = x509.SubjectAlternativeName([x509.DNSName("ext.default.svc"), x509.DNSName("localhost")])
    behind.authority.write("apiserver", "ext", extension=names)
    await asyncio.to_thread(define, behind)
    api = await open_api(ApiConfig(pki_dir=tmp_path / "main" / "pki"))
    inside = LocalClient(api, ADMIN)
    await register(inside, behind)
    yield inside
    await api.close()


def define(behind: Any) -> None:
    context = ssl.create_default_context(cafile=behind.pki_dir / "ca.crt")
    context.load_cert_chain(behind.pki_dir / "admin.crt", behind.pki_dir / "admin.key")
    url = behind.url.replace("127.0.0.1", "localhost") + "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    headers = {"content-type": "application/json"}
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(DEFINITION).encode(), headers), context=context):
        pass


async def register(client: LocalClient, behind: Any) -> None:
    service = {"spec": {"type": "ExternalName", "externalName": "localhost"}}
    code, body = await client.raw(
        "POST",
        "/api/v1/namespaces/default/services",
        body={"apiVersion": "v1", "kind": "Service", "metadata": {"name": "ext"}, **service},
    )
    assert code == 201, body
    port = int(behind.url.rpartition(":")[2])
    spec = {"group": "ext.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 20}
    spec |= {"service": {"namespace": "default", "name": "ext", "port": port}}
    spec["caBundle"] = base64.b64encode(behind.authority.ca).decode()
    kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    body = {**kind, "metadata": {"name": "v1.ext.example.com"}, "spec": spec}
    code, answer = await client.raw("POST", SERVICES.path(), body=body)
    assert code == 201, answer
    async with asyncio.timeout(60):
        async for event in client.watch(SERVICES, field_selector="metadata.name=v1.ext.example.com"):
            conditions = event.object.get("status", {}).get("conditions", [])
            if any(one["status"] == "True" for one in conditions):
                return


async def test_lists_and_watches_go_through(client: LocalClient) -> None:
    listed = await client.list(WIDGETS, "default")
    assert listed.items == []
    seen = []

    async def follow() -> None:
        async for event in client.watch(WIDGETS, "default", resource_version=listed.resource_version):
            seen.append((event.type, event.object["metadata"]["name"]))
            if event.type == "DELETED":
                return

    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(follow())
        code, answer = await client.raw("POST", WIDGETS.path("default"), body=widget("w"))
        assert code == 201, answer
        (item,) = (await client.list(WIDGETS, "default")).items
        assert (item["apiVersion"], item["kind"]) == ("ext.example.com/v1", "Widget")
        code, answer = await client.raw("DELETE", WIDGETS.path("default", "w"))
        assert code == 200, answer
    assert seen == [("ADDED", "w"), ("DELETED", "w")]


async def test_a_changed_api_service_stays_in_discovery(client: LocalClient) -> None:
    await client.patch(SERVICES, "v1.ext.example.com", {"spec": {"versionPriority": 30}})
    (remote,) = client.api.remotes.values()
    assert remote.spec["versionPriority"] == 30
    assert [resource["name"] for resource in remote.resources if "/" not in resource["name"]] == ["widgets"]


async def test_a_server_that_is_gone_is_an_error_of_its_own(client: LocalClient) -> None:
    code, _ = await client.raw("DELETE", "/api/v1/namespaces/default/services/ext")
    assert code == 200
    for attempt in (client.list(WIDGETS, "default"), anext(aiter(client.watch(WIDGETS, "default")))):
        with pytest.raises(ApiError) as caught:
            await attempt
        assert caught.value.code == 503


async def test_a_check_goes_on_when_the_store_was_away(throwaway_pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    api = await open_api(ApiConfig(pki_dir=throwaway_pki))
    client, commit, failed = LocalClient(api, ADMIN), api.registry.commit, asyncio.Event()

    async def away_once(*puts: Put) -> list[Record]:
        if puts[0].key.endswith("v1.ext.example.com") and puts[0].expected and not failed.is_set():
            failed.set()
            raise StatusError(503, "ServiceUnavailable", "the store does not answer")
        return await commit(*puts)

    monkeypatch.setattr(api.registry, "commit", away_once)
    spec = {"group": "ext.example.com", "version": "v1", "groupPriorityMinimum": 2000, "versionPriority": 20}
    spec |= {"service": {"namespace": "default", "name": "absent"}, "insecureSkipTLSVerify": True}
    kind = {"apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService"}
    body = {**kind, "metadata": {"name": "v1.ext.example.com"}, "spec": spec}
    code, answer = await client.raw("POST", SERVICES.path(), body=body)
    assert code == 201, answer
    async with asyncio.timeout(60):
        async for event in client.watch(SERVICES, field_selector="metadata.name=v1.ext.example.com"):
            conditions = event.object.get("status", {}).get("conditions", [])
            if any(one["reason"] == "ServiceNotFound" for one in conditions):
                break
    assert failed.is_set()
    await api.close()
