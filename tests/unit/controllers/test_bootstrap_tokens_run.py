"""``cluster-info`` is signed with each bootstrap token; tokens that expired go."""

from __future__ import annotations

import base64
from typing import Any

from sampan.client.resources import CONFIG_MAPS, SECRETS
from sampan.controllers.bootstrap_tokens import signature, signed_data, signing_tokens
from sampan.schema.objects import Object

PUBLIC = "kube-public"


def token(token_id: str, expiration: str = "", **changes: str) -> Object:
    data = {"token-id": token_id, "token-secret": "0123456789abcdef", "usage-bootstrap-signing": "true", **changes}
    if expiration:
        data["expiration"] = expiration
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": f"bootstrap-token-{token_id}", "namespace": "kube-system"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }


def test_the_signature_is_a_detached_jws() -> None:
    header = base64.urlsafe_b64encode(b'{"alg":"HS256","kid":"joshua"}').rstrip(b"=").decode()
    found = signature(
        "Hello from the other side. I must have called a thousand times.", "joshua", "my voice is my passcode"
    )
    assert found == f"{header}..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8"  # as cluster-bootstrap's own test has it


def test_which_tokens_sign() -> None:
    secrets = [
        token("aaaaaa"),
        token("bbbbbb", "2020-01-01T00:00:00Z"),
        token("cccccc", "3020-01-01T00:00:00Z"),
        token("dddddd", **{"usage-bootstrap-signing": "false"}),
        token("eeeeee", **{"token-secret": "short"}),
        {**token("ffffff"), "type": "Opaque"},
        token("gggggg", "no time"),
    ]
    assert set(signing_tokens(secrets)) == {"aaaaaa", "cccccc"}


def test_signatures_of_tokens_that_are_gone_go() -> None:
    data = {"kubeconfig": "x", "jws-kubeconfig-old000": "y", "other": "z"}
    assert set(signed_data(data, {"aaaaaa": "s"})) == {"kubeconfig", "other", "jws-kubeconfig-aaaaaa"}
    assert signed_data({"other": "z"}, {"aaaaaa": "s"}) == {"other": "z"}


async def test_cluster_info_is_made_and_signed_and_expired_tokens_go(cluster: Any) -> None:
    info = await cluster.until(CONFIG_MAPS, "cluster-info", lambda c: c["data"].get("kubeconfig"), PUBLIC)
    assert "https://127.0.0.1:6443" in info["data"]["kubeconfig"]
    await cluster.client.create(SECRETS, token("abcdef"))
    signed = await cluster.until(CONFIG_MAPS, "cluster-info", lambda c: "jws-kubeconfig-abcdef" in c["data"], PUBLIC)
    assert signed["data"]["jws-kubeconfig-abcdef"] == signature(
        signed["data"]["kubeconfig"], "abcdef", "0123456789abcdef"
    )
    await cluster.client.create(SECRETS, token("fedcba", "2020-01-01T00:00:00Z"))
    await cluster.gone(SECRETS, "bootstrap-token-fedcba", "kube-system")
    await cluster.client.delete(SECRETS, "bootstrap-token-abcdef", "kube-system")
    await cluster.until(CONFIG_MAPS, "cluster-info", lambda c: "jws-kubeconfig-abcdef" not in c["data"], PUBLIC)
