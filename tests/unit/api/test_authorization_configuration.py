"""``--authorization-config``: webhooks with conditions among the authorizers, read again when replaced, refused when bad."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml

from sampan.api import flags
from sampan.api.app import Api
from sampan.api.authz.configuration import read
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api

from .test_tokens_of_others import kubeconfig
from .webhook_server import WebhookServer, webhook_server

KIND = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthorizationConfiguration"}
NODE, RBAC = {"type": "Node", "name": "node"}, {"type": "RBAC", "name": "rbac"}
REVIEWS = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@pytest.fixture
async def server(make_authority: Callable[..., Any], tmp_path: Path) -> AsyncIterator[WebhookServer]:
    async with webhook_server(make_authority(tmp_path / "other")) as made:
        yield made


def webhook(file: str, name: str = "first", **more: Any) -> dict[str, Any]:
    settings = {
        "timeout": "3s",
        "subjectAccessReviewVersion": "v1",
        "failurePolicy": "Deny",
        "connectionInfo": {"type": "KubeConfigFile", "kubeConfigFile": file},
        **more,
    }
    return {"type": "Webhook", "name": name, "webhook": settings}


def write(file: Path, *authorizers: Any, **more: Any) -> None:
    new = file.with_suffix(".new")
    new.write_text(yaml.safe_dump({**KIND, "authorizers": list(authorizers), **more}))
    new.replace(file)


async def opened(pki: Path, file: Path) -> Api:
    return await open_api(ApiConfig(pki_dir=pki, flags=flags.parse({"authorization-config": str(file)})))


async def may(user: LocalClient, **asked: Any) -> dict[str, Any]:
    _, told = await user.raw("POST", REVIEWS, body={"spec": {"resourceAttributes": asked}})
    status: dict[str, Any] = orjson.loads(told)["status"]
    return status


def asked_of(server: WebhookServer) -> list[Any]:
    return [body["spec"] for _, body in server.asked]


async def test_a_webhook_is_asked_about_what_its_conditions_match(
    throwaway_pki: Path, server: WebhookServer, tmp_path: Path
) -> None:
    server.answers["/guard"] = lambda review: {"status": {"allowed": False, "denied": True, "reason": "guarded"}}
    file, guard = tmp_path / "authz.yaml", kubeconfig(server, "/guard", tmp_path / "guard.kubeconfig")
    conditions = [
        {"expression": "has(request.resourceAttributes)"},
        {"expression": "request.resourceAttributes.namespace == 'vault'"},
        {"expression": "!('system:serviceaccounts' in request.groups) && request.resourceAttributes.subresource == ''"},
    ]
    versions = {"matchConditionSubjectAccessReviewVersion": "v1", "matchConditions": conditions}
    write(file, webhook(guard, **versions), NODE, RBAC)
    api = await opened(throwaway_pki, file)
    viewer = LocalClient(api, User("jane", ("system:authenticated",)))
    assert (await viewer.raw("GET", "/version"))[0] == 200  # no resource: the first condition is false
    assert (await viewer.raw("GET", "/api/v1/namespaces/default/pods"))[0] == 403
    assert not server.asked
    code, body = await viewer.raw(
        "GET", "/api/v1/namespaces/vault/pods?labelSelector=a+in+(b,c),!d&fieldSelector=spec.nodeName!%3Dx"
    )
    assert code == 403 and orjson.loads(body)["message"].endswith(": guarded")
    assert asked_of(server)[0]["resourceAttributes"] == {
        "namespace": "vault",
        "verb": "list",
        "version": "v1",
        "resource": "pods",
        "fieldSelector": {"requirements": [{"key": "spec.nodeName", "operator": "NotIn", "values": ["x"]}]},
        "labelSelector": {
            "requirements": [
                {"key": "a", "operator": "In", "values": ["b", "c"]},
                {"key": "d", "operator": "DoesNotExist"},
            ]
        },
    }
    # what is denied is told apart from what nobody allows
    assert await may(viewer, verb="get", resource="pods", namespace="vault") == {
        "allowed": False,
        "denied": True,
        "reason": "guarded",
    }
    assert await may(viewer, verb="get", resource="pods", namespace="default") == {"allowed": False}
    await api.close()


def moved_to(file: Path, old: int, new: int) -> None:
    file.write_text(file.read_text().replace(str(old), str(new)))


async def test_what_a_silent_webhook_means(throwaway_pki: Path, server: WebhookServer, tmp_path: Path) -> None:
    file, silent = tmp_path / "authz.yaml", kubeconfig(server, "/", tmp_path / "silent.kubeconfig")
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        moved_to(Path(silent), server.port, closed.getsockname()[1])
        write(file, webhook(silent, failurePolicy="NoOpinion"), RBAC)
        api = await opened(throwaway_pki, file)
        jane = LocalClient(api, User("jane", ("system:authenticated",)))
        assert (await jane.raw("GET", "/version"))[0] == 200
        # nobody allows it, and one could not be asked: an error, and no refusal
        assert (await jane.raw("GET", "/api/v1/namespaces/default/pods"))[0] == 500
        write(file, webhook(silent), RBAC)
        code, body = await jane.raw("GET", "/version")
        assert code == 500 and 'Internal Server Error: "/version": ' in orjson.loads(body)["message"]
        await api.close()


async def test_answers_are_kept_as_long_as_the_file_says(
    throwaway_pki: Path, server: WebhookServer, tmp_path: Path
) -> None:
    server.answers["/yes"] = lambda review: {"status": {"allowed": True}}
    file, yes = tmp_path / "authz.yaml", kubeconfig(server, "/yes", tmp_path / "yes.kubeconfig")
    write(file, RBAC, webhook(yes, cacheAuthorizedRequests=False))
    api = await opened(throwaway_pki, file)
    jane = LocalClient(api, User("jane", ("system:authenticated",)))
    for _ in range(2):
        assert (await jane.raw("GET", "/api/v1/namespaces/default/pods"))[0] == 200
    assert len(server.asked) == 2
    # replaced: in force with the next request; the new webhook keeps what it is told
    write(file, RBAC, webhook(yes, authorizedTTL="1h"))
    for _ in range(3):
        assert (await jane.raw("GET", "/api/v1/namespaces/default/pods"))[0] == 200
    assert len(server.asked) == 3
    # one that is wrong, or that drops what the server began with, leaves the old in force
    for wrong in ((RBAC, webhook("relative")), (webhook(yes),), (RBAC, NODE)):
        write(file, *wrong)
        assert (await jane.raw("GET", "/api/v1/namespaces/default/pods"))[0] == 200
    assert len(server.asked) == 3
    await api.close()


@pytest.mark.parametrize(
    ("authorizers", "why"),
    [
        ([], "authorizers: Required value: at least one authorization mode must be defined"),
        ([{"type": "Magic", "name": "m"}], 'authorizers[0].type: Unsupported value: "Magic": supported values: '),
        ([RBAC, {"type": "RBAC", "name": "again"}], 'authorizers[1].type: Duplicate value: "RBAC"'),
        ([{"type": "RBAC", "name": "mine"}], "expected name rbac for authorizer RBAC instead of mine"),
        ([{**RBAC, "webhook": {}}], 'authorizers[0].webhook: Invalid value: "non-null": may only be specified when'),
        ([{"type": "Webhook", "name": "w"}], "authorizers[0].webhook: Required value: required when type=Webhook"),
        ([webhook("/x", timeout="31s")], 'authorizers[0].timeout: Invalid value: "31s": must be > 0s and <= 30s'),
        ([webhook("/x", authorizedTTL="-1s")], 'authorizers[0].authorizedTTL: Invalid value: "-1s": must be > 0s'),
        ([webhook("/x", failurePolicy="Ignore")], 'authorizers[0].failurePolicy: Unsupported value: "Ignore"'),
        ([webhook("x")], 'authorizers[0].connectionInfo.kubeConfigFile: Invalid value: "x": must be an absolute path'),
        ([webhook("/not/there")], "error loading file: stat /not/there: no such file or directory"),
        ([webhook("/x", surprise=1)], "authorizers[0].webhook.surprise: Invalid value"),
        ([webhook("/x", matchConditions=[{"expression": "true"}])], "required if match conditions are specified"),
        (
            [
                webhook(
                    "/x", matchConditionSubjectAccessReviewVersion="v1", matchConditions=[{"expression": "request.who"}]
                )
            ],
            'authorizers[0].matchConditions[0].expression: Invalid value: "request.who": compilation failed',
        ),
        (
            [webhook("/x", matchConditionSubjectAccessReviewVersion="v1", matchConditions=[{"expression": "1 + 1"}])],
            "must evaluate to bool but got int",
        ),
        (
            [
                webhook(
                    "/x", matchConditionSubjectAccessReviewVersion="v1", matchConditions=[{"expression": "true"}] * 2
                )
            ],
            'authorizers[0].matchConditions[1].expression: Duplicate value: "true"',
        ),
        ([webhook("/x", "a"), webhook("/x", "a")], 'authorizers[1].name: Duplicate value: "a"'),
    ],
)
def test_configurations_that_are_refused(tmp_path: Path, authorizers: list[Any], why: str) -> None:
    file = tmp_path / "authz.yaml"
    write(file, *authorizers)
    with pytest.raises(flags.FlagError) as refused:
        read(file, "1.37")
    assert why in str(refused.value)


@pytest.mark.parametrize(
    ("api_version", "version", "good"),
    [
        ("v1", "1.37", True),
        ("v1", "1.31", False),
        ("v1beta1", "1.31", True),
        ("v1beta1", "1.29", False),
        ("v2", "1.37", False),
    ],
)
def test_versions_of_the_file(tmp_path: Path, api_version: str, version: str, good: bool) -> None:
    file = tmp_path / "authz.yaml"
    write(file, RBAC, apiVersion=f"apiserver.config.k8s.io/{api_version}")
    if good:
        assert read(file, version) == [RBAC]
        return
    with pytest.raises(flags.FlagError, match="no kind"):
        read(file, version)


async def test_a_file_and_flags_exclude_each_other(throwaway_pki: Path, tmp_path: Path) -> None:
    file = tmp_path / "authz.yaml"
    write(file, RBAC)
    given = flags.parse({"authorization-config": str(file), "authorization-mode": "RBAC"})
    with pytest.raises(flags.FlagError, match="can not be specified when"):
        await open_api(ApiConfig(pki_dir=throwaway_pki, flags=given))
