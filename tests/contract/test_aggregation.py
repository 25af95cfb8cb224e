"""Aggregation with a real extension server: a second API server behind a Service, seen through the first with kubectl."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from .conftest import BIN, Kubectl

WIDGETS = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "widgets.ext.example.com"},
    "spec": {
        "group": "ext.example.com",
        "scope": "Namespaced",
        "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]},
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {
                                "type": "object",
                                "description": "what is wanted",
                                "properties": {"size": {"type": "integer"}},
                            }
                        },
                    }
                },
            }
        ],
    },
}
WIDGET = {"apiVersion": "ext.example.com/v1", "kind": "Widget", "metadata": {"name": "w"}, "spec": {"size": 3}}
# endpoints may not be on the loopback, names may
SERVICE = {
    "apiVersion": "v1",
    "kind": "Service",
    "metadata": {"name": "ext", "namespace": "default"},
    "spec": {"type": "ExternalName", "externalName": "localhost"},
}


def cluster_service(port: int) -> dict[str, Any]:
    return {**SERVICE, "spec": {"ports": [{"port": port}]}}


def api_service(ca: bytes, port: int, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": "v1.ext.example.com"},
        "spec": {
            "group": "ext.example.com",
            "version": "v1",
            "groupPriorityMinimum": 2000,
            "versionPriority": 20,
            "service": {"namespace": "default", "name": "ext", "port": port},
            "caBundle": base64.b64encode(ca).decode(),
            **spec,
        },
    }


def port_of(server: Any) -> int:
    return int(server.url.rpartition(":")[2])


@pytest.fixture(scope="module")
def servers(
    tmp_path_factory: pytest.TempPathFactory, start_server: Callable[..., Any], make_authority: Callable[..., Any]
) -> tuple[Any, Any]:
    """The main server and the extension server, which knows the main one as its front proxy."""
    main, extension = tmp_path_factory.mktemp("main"), tmp_path_factory.mktemp("extension")
    front = make_authority(main / "pki", "front-proxy-ca")
    front.write("front-proxy-client", "front-proxy-client")
    flags = {
        "requestheader-client-ca-file": str(main / "pki" / "front-proxy-ca.crt"),
        "requestheader-allowed-names": ["front-proxy-client"],
    }
    behind = start_server(extension, store=False, flags=flags)
    names = [
        x509.DNSName("ext.default.svc"),
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    ]
    behind.authority.write("apiserver", "ext", extension=x509.SubjectAlternativeName(names))
    return start_server(main, store=False), behind


@pytest.fixture(scope="module")
def through(servers: tuple[Any, Any]) -> Kubectl:
    """kubectl of the main server, with the extension server registered and available."""
    main, behind = servers
    Kubectl(behind.kubeconfig)("create", "-f", "-", stdin=WIDGETS)
    kubectl = Kubectl(main.kubeconfig)
    kubectl("create", "-f", "-", stdin=SERVICE)
    kubectl("create", "-f", "-", stdin=api_service(behind.authority.ca, port_of(behind)))
    kubectl("wait", "--for=condition=Available", "apiservice/v1.ext.example.com", "--timeout=60s")
    return kubectl


def test_what_we_serve_ourselves_is_local_and_the_other_is_not(through: Kubectl) -> None:
    lines = {line.split()[0]: line.split()[1:3] for line in through("get", "apiservices", "--no-headers").splitlines()}
    assert lines["v1."] == lines["v1.apps"] == lines["v2.autoscaling"] == ["Local", "True"]
    assert lines["v1.ext.example.com"] == ["default/ext", "True"]
    assert "v1.apiregistration.k8s.io" not in lines
    found = through.json("get", "apiservice", "v1.ext.example.com")
    (condition,) = found["status"]["conditions"]
    assert (condition["reason"], condition["message"]) == ("Passed", "all checks passed")


def test_its_resources_are_in_discovery_and_explained(through: Kubectl) -> None:
    row = through("api-resources", "--api-group=ext.example.com", "--no-headers").split()
    assert row == ["widgets", "wd", "ext.example.com/v1", "true", "Widget"]
    groups = json.loads(through("get", "--raw", "/apis"))["groups"]
    assert [group["name"] for group in groups].count("ext.example.com") == 1
    assert "what is wanted" in through("explain", "widgets.spec")
    v2 = json.loads(through("get", "--raw", "/openapi/v2"))
    assert "com.example.ext.v1.Widget" in v2["definitions"]
    assert "/apis/ext.example.com/v1/namespaces/{namespace}/widgets" in v2["paths"]


def test_objects_live_in_the_extension_server(through: Kubectl, servers: tuple[Any, Any]) -> None:
    through("create", "-f", "-", stdin=WIDGET)
    through("patch", "widget", "w", "--type=merge", "-p", '{"spec":{"size":4}}')
    assert Kubectl(servers[1].kubeconfig).json("get", "wd", "w")["spec"] == {"size": 4}
    refused = through.run("create", "-f", "-", stdin={**WIDGET, "metadata": {"name": "x"}, "spec": {"size": "big"}})
    assert refused.code == 1 and "must be of type integer" in refused.err
    through("delete", "widget", "w")
    assert "NotFound" in through.run("get", "widget", "w").err


def test_the_users_name_and_groups_go_with_the_request(through: Kubectl, servers: tuple[Any, Any]) -> None:
    main, behind = servers
    jane = Kubectl(main.user_kubeconfig("jane", ("shop",)))
    may = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": "widgets"},
        "rules": [{"apiGroups": ["ext.example.com"], "resources": ["widgets"], "verbs": ["list"]}],
    }
    binding = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "widgets"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "widgets"},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "shop"}],
    }
    through("create", "-f", "-", stdin=may)
    through("create", "-f", "-", stdin=binding)
    told = jane.run("get", "widgets", "-A").err
    assert 'User "jane" cannot list resource "widgets" in API group "ext.example.com" at the cluster scope' in told
    there = Kubectl(behind.kubeconfig)
    there("create", "-f", "-", stdin=may)
    there("create", "-f", "-", stdin=binding)
    assert jane.run("get", "widgets", "-A").code == 0


async def test_a_watch_comes_through_as_it_happens(through: Kubectl) -> None:
    command = [str(BIN / "kubectl"), "--kubeconfig", str(through.kubeconfig), "get", "widgets", "-w", "-o", "name"]
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        for name in ("first", "second"):
            await asyncio.to_thread(through, "create", "-f", "-", stdin={**WIDGET, "metadata": {"name": name}})
            async with asyncio.timeout(60):
                assert (await process.stdout.readline()).decode().strip() == f"widget.ext.example.com/{name}"
    finally:
        process.kill()
        await process.wait()
        await asyncio.to_thread(through, "delete", "widgets", "--all")


def condition_of(kubectl: Kubectl) -> tuple[str, str]:
    (condition,) = kubectl.json("get", "apiservice", "v1.ext.example.com")["status"]["conditions"]
    return condition["reason"], condition["message"]


def test_a_server_that_is_not_there_is_said_to_be_unavailable(through: Kubectl, servers: tuple[Any, Any]) -> None:
    wait = ("wait", "apiservice/v1.ext.example.com", "--timeout=60s")
    through("delete", "service", "ext")
    through(*wait, "--for=condition=Available=false")
    assert condition_of(through) == ("ServiceNotFound", 'service/ext in "default" is not present')
    done = through.run("get", "--raw", "/apis/ext.example.com/v1/namespaces/default/widgets")
    assert done.code == 1 and "the server is currently unable to handle the request" in done.err
    assert through.run("get", "configmaps").code == 0, "nobody else is held up"
    port = port_of(servers[1])
    for service, reason in ((cluster_service(1), "ServicePortError"), (cluster_service(port), "EndpointsNotFound")):
        through("create", "-f", "-", stdin=service)
        through(*wait, f"--for=jsonpath={{.status.conditions[0].reason}}={reason}")
        through("delete", "service", "ext")
    through("create", "-f", "-", stdin=SERVICE)
    through(*wait, "--for=condition=Available")
    assert through.run("get", "widgets").code == 0


def test_a_certificate_of_somebody_else_is_not_believed(through: Kubectl, servers: tuple[Any, Any]) -> None:
    def bundle(spec: dict[str, Any]) -> None:
        through("patch", "apiservice", "v1.ext.example.com", "--type=merge", "-p", json.dumps({"spec": spec}))

    bundle({"caBundle": base64.b64encode(servers[0].authority.ca).decode()})
    through("wait", "--for=condition=Available=false", "apiservice/v1.ext.example.com", "--timeout=60s")
    reason, message = condition_of(through)
    assert reason == "FailedDiscoveryCheck" and "certificate" in message
    bundle({"caBundle": None, "insecureSkipTLSVerify": True})
    through("wait", "--for=condition=Available", "apiservice/v1.ext.example.com", "--timeout=60s")
    assert through.run("get", "widgets").code == 0
    bundle({"caBundle": base64.b64encode(servers[1].authority.ca).decode(), "insecureSkipTLSVerify": None})
    through("wait", "--for=condition=Available", "apiservice/v1.ext.example.com", "--timeout=60s")


def test_bad_api_services_are_refused(through: Kubectl) -> None:
    body = api_service(b"", 1, groupPriorityMinimum=0, versionPriority=1001, service=None, insecureSkipTLSVerify=True)
    body["metadata"]["name"] = "other"
    told = through.run("create", "-f", "-", stdin=body).err
    for text in (
        'metadata.name: Invalid value: "other": must be `spec.version+"."+spec.group`: "v1.ext.example.com"',
        "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
        "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
        "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
    ):
        assert text in told


def test_custom_resources_of_our_own_are_local_and_go_with_their_definition(through: Kubectl, tmp_path: Path) -> None:
    own = json.loads(json.dumps(WIDGETS).replace("ext.example.com", "own.example.com"))
    through("create", "-f", "-", stdin=own)
    found = through.json("get", "apiservice", "v1.own.example.com")
    assert found["spec"] == {
        "group": "own.example.com",
        "groupPriorityMinimum": 1000,
        "version": "v1",
        "versionPriority": 100,
    }
    assert found["status"]["conditions"][0]["reason"] == "Local"
    through("delete", "crd", "widgets.own.example.com")
    assert "NotFound" in through.run("get", "apiservice", "v1.own.example.com").err
