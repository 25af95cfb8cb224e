"""OIDC with a real issuer, webhook token authentication and the Webhook authorizer with real servers."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import jwt
import orjson
import pytest
import yaml
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from sampan.api import flags
from sampan.api.app import Api
from sampan.api.local import LocalClient
from sampan.api.request import User
from sampan.api.server import ApiConfig, open_api

from .conftest import Asgi
from .webhook_server import WebhookServer, webhook_server

ADMIN = User("admin", ("system:masters", "system:authenticated"))
UNVERIFIED: Any = {"verify_signature": False}
SELF = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
REVIEW = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}


class Issuer:
    """An issuer with its keys, served by a real HTTPS server."""

    def __init__(self, server: WebhookServer) -> None:
        self.url = f"https://127.0.0.1:{server.port}"
        self.keys: dict[str, Any] = {"first": rsa.generate_private_key(65537, 2048)}
        discovery = {"issuer": self.url, "jwks_uri": f"{self.url}/keys"}
        server.answers["/.well-known/openid-configuration"] = lambda body: discovery
        server.answers["/keys"] = lambda body: {"keys": [self.public(name) for name in self.keys]}

    def public(self, name: str) -> dict[str, Any]:
        key = self.keys[name].public_key()
        algorithm: Any = RSAAlgorithm if isinstance(key, rsa.RSAPublicKey) else ECAlgorithm
        return {**orjson.loads(algorithm.to_jwk(key)), "kid": name, "use": "sig"}

    def token(self, key: str = "first", **claims: Any) -> str:
        algorithm = "RS256" if isinstance(self.keys[key], rsa.RSAPrivateKey) else "ES256"
        now = int(time.time())
        body = {"iss": self.url, "aud": "sampan", "sub": "jane", "exp": now + 60, "iat": now, **claims}
        kept = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(kept, self.keys[key], algorithm=algorithm, headers={"kid": key})


@pytest.fixture
async def server(make_authority: Callable[..., Any], tmp_path: Path) -> AsyncIterator[WebhookServer]:
    authority = make_authority(tmp_path / "other")
    async with webhook_server(authority) as made:
        (tmp_path / "ca.pem").write_bytes(authority.ca)
        yield made


async def whoami(api: Api, token: str) -> tuple[int, Any]:
    answer = await Asgi(api)("POST", SELF, REVIEW, headers={"authorization": f"Bearer {token}"})
    return answer.status, answer.json["status"]["userInfo"] if answer.status == 201 else answer.json


def config(pki: Path, **given: Any) -> ApiConfig:
    return ApiConfig(pki_dir=pki, flags=flags.parse({name.replace("_", "-"): value for name, value in given.items()}))


async def test_oidc_by_flags(throwaway_pki: Path, server: WebhookServer, tmp_path: Path) -> None:
    issuer = Issuer(server)
    given = {
        "oidc_issuer_url": issuer.url,
        "oidc_client_id": "sampan",
        "oidc_ca_file": str(tmp_path / "ca.pem"),
        "oidc_groups_claim": "groups",
        "oidc_groups_prefix": "oidc:",
        "oidc_required_claim": "hd=acme.com",
        "oidc_signing_algs": "RS256,ES256",
    }
    api = await open_api(config(throwaway_pki, **given))
    token = issuer.token(groups=["dev", "ops"], hd="acme.com")
    code, user = await whoami(api, token)
    assert code == 201
    assert user == {"username": f"{issuer.url}#jane", "groups": ["oidc:dev", "oidc:ops", "system:authenticated"]}
    fetched = len(server.asked)
    assert (await whoami(api, token))[0] == 201 and len(server.asked) == fetched
    for wrong in (
        issuer.token(hd="evil.com"),
        issuer.token(hd="acme.com", aud="other"),
        issuer.token(hd="acme.com", exp=int(time.time()) - 1),
        issuer.token(hd="acme.com", exp=None),
        issuer.token(hd="acme.com", sub=None),
        issuer.token(hd="acme.com", groups=[1]),
        jwt.encode(
            {"iss": issuer.url, "aud": "sampan", "sub": "x", "hd": "acme.com"}, "secret" * 8, headers={"kid": "first"}
        ),
    ):
        assert (await whoami(api, wrong))[0] == 401
    # the issuer signs with another key now; what the old one has signed stays known until it expires
    issuer.keys["second"] = ec.generate_private_key(ec.SECP256R1())
    del_first = issuer.token(hd="acme.com", sub="old")
    rotated = issuer.token("second", hd="acme.com", sub="new")
    del issuer.keys["first"]
    assert (await whoami(api, rotated))[1]["username"].endswith("#new")
    assert (await whoami(api, token))[0] == 201
    assert (await whoami(api, del_first))[0] == 401
    # one that was known ends with its time
    brief = issuer.token("second", hd="acme.com", exp=int(time.time()) + 4)
    assert (await whoami(api, brief))[0] == 201
    async with asyncio.timeout(60):
        while (await whoami(api, brief))[0] == 201:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
    # ours go on, and a TokenReview knows both
    review = {"spec": {"token": rotated}}
    _, answer = await LocalClient(api, ADMIN).raw("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=review)
    assert orjson.loads(answer)["status"]["authenticated"] is True
    review = {"spec": {"token": rotated, "audiences": ["elsewhere"]}}
    _, answer = await LocalClient(api, ADMIN).raw("POST", "/apis/authentication.k8s.io/v1/tokenreviews", body=review)
    assert not orjson.loads(answer)["status"].get("authenticated")
    await api.close()


async def test_groups_that_are_told_elsewhere(throwaway_pki: Path, server: WebhookServer, tmp_path: Path) -> None:
    """Distributed claims: the token names an endpoint, which answers with a token of its own."""
    issuer = Issuer(server)
    given = {
        "oidc_issuer_url": issuer.url,
        "oidc_client_id": "sampan",
        "oidc_ca_file": str(tmp_path / "ca.pem"),
        "oidc_username_prefix": "-",
        "oidc_groups_claim": "groups",
    }
    api = await open_api(config(throwaway_pki, **given))
    told: dict[str, Any] = {"groups": ["dev", "ops"]}
    server.answers["/groups"] = lambda body: web.Response(text=issuer.token(sub="jane", **told))
    elsewhere = {
        "_claim_names": {"groups": "here"},
        "_claim_sources": {"here": {"endpoint": f"{issuer.url}/groups", "access_token": "let me see"}},
    }
    code, user = await whoami(api, issuer.token(**elsewhere))
    assert code == 201 and user["groups"] == ["dev", "ops", "system:authenticated"]
    assert [headers.get("Authorization") for headers in server.headers][-1] == "Bearer let me see"
    # what is in the token itself counts; what the endpoint does not tell, or tells wrongly, does not
    code, user = await whoami(api, issuer.token(groups=["own"], **elsewhere))
    assert code == 201 and user["groups"] == ["own", "system:authenticated"]
    told.clear()
    assert (await whoami(api, issuer.token(jti="1", **elsewhere)))[0] == 401
    server.answers["/groups"] = lambda body: "no token"
    assert (await whoami(api, issuer.token(jti="2", **elsewhere)))[0] == 401
    nowhere = {**elsewhere, "_claim_sources": {}}
    assert (await whoami(api, issuer.token(jti="3", **nowhere)))[0] == 401
    await api.close()


def authentication(issuer: Issuer, authority: str, **more: Any) -> dict[str, Any]:
    jwt_entry = {
        "issuer": {
            "url": issuer.url,
            "audiences": ["sampan", "other"],
            "audienceMatchPolicy": "MatchAny",
            "certificateAuthority": authority,
        },
        "claimValidationRules": [{"expression": "claims.level > 2", "message": "level is too low"}],
        "claimMappings": {
            "username": {"expression": "claims.sub + '@' + claims.org"},
            "groups": {"expression": "claims.roles.map(r, 'role:' + r)"},
            "uid": {"claim": "uid"},
            "extra": [{"key": "acme.com/org", "valueExpression": "claims.org"}],
        },
        "userValidationRules": [{"expression": "!user.username.startsWith('system:')", "message": "reserved"}],
    }
    kind = {"apiVersion": "apiserver.config.k8s.io/v1beta1", "kind": "AuthenticationConfiguration"}
    return {**kind, "jwt": [jwt_entry], **more}


async def test_an_authentication_configuration(throwaway_pki: Path, server: WebhookServer, tmp_path: Path) -> None:
    issuer, file = Issuer(server), tmp_path / "authn.yaml"
    authority = (tmp_path / "ca.pem").read_text()
    anonymous = {"enabled": True, "conditions": [{"path": "/livez"}]}
    file.write_text(yaml.safe_dump(authentication(issuer, authority, anonymous=anonymous)))
    api = await open_api(config(throwaway_pki, authentication_config=str(file)))
    claims = {"org": "acme", "roles": ["dev"], "level": 3, "uid": "42", "aud": ["x", "other"]}
    code, user = await whoami(api, issuer.token(**claims))
    assert code == 201 and user == {
        "username": "jane@acme",
        "uid": "42",
        "groups": ["role:dev", "system:authenticated"],
        "extra": {"acme.com/org": ["acme"]},
    }
    assert (await whoami(api, issuer.token(**{**claims, "level": 1})))[0] == 401
    assert (await whoami(api, issuer.token(**{**claims, "sub": "system:x"})))[0] == 401
    assert (await whoami(api, issuer.token(**{**claims, "org": None})))[0] == 401
    http = Asgi(api)
    assert (await http("GET", "/livez")).status == 200 and (await http("GET", "/readyz")).status == 401
    # a configuration that was replaced is in force with the next token; one that is wrong is not
    token = issuer.token(**{**claims, "level": 1})
    changed = authentication(issuer, authority, anonymous=anonymous)
    changed["jwt"][0]["claimValidationRules"] = []
    (tmp_path / "new.yaml").write_text(yaml.safe_dump(changed))
    (tmp_path / "new.yaml").replace(file)
    assert (await whoami(api, token))[0] == 201
    # nor is one that says otherwise who may come without a name: that is for the next start
    told = yaml.safe_dump(authentication(issuer, authority, anonymous={"enabled": False}))
    for wrong in ("kind: Nothing", told):
        (tmp_path / "new.yaml").write_text(wrong)
        (tmp_path / "new.yaml").replace(file)
        assert (await whoami(api, token))[0] == 201
        assert (await http("GET", "/livez")).status == 200
    # an issuer that is gone: nobody it vouched for is known any more, whatever was remembered of him
    file.write_text(yaml.safe_dump({**authentication(issuer, authority, anonymous=anonymous), "jwt": []}))
    assert (await whoami(api, token))[0] == 401
    await api.close()


USERNAME: dict[str, Any] = {"username": {"claim": "sub", "prefix": ""}}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"issuer": {"url": "http://x", "audiences": ["a"]}}, "scheme must be https"),
        ({"issuer": {"url": "https://x", "audiences": []}}, "at least one jwt.0..issuer.audiences is required"),
        ({"issuer": {"url": "https://x?y", "audiences": ["a"]}}, "URL must not contain a query"),
        (
            {"issuer": {"url": "https://own", "audiences": ["a"]}},
            "must not overlap with disallowed issuers: .https://own.",
        ),
        ({"issuer": {"url": "https://x", "audiences": ["a", "b"]}}, "must be MatchAny for multiple audiences"),
        (
            {"issuer": {"url": "https://x", "audiences": ["a"], "certificateAuthority": "x"}},
            "does not contain any valid",
        ),
        ({"claimMappings": {"username": {"claim": "a", "expression": "b"}}}, "claim and expression can't both be set"),
        ({"claimMappings": {"username": {"claim": "a"}}}, "prefix is required when claim is set"),
        ({"claimMappings": {"username": {"expression": "claims."}}}, "claimMappings.username.expression"),
        ({"claimMappings": {"username": {"expression": "claims.email"}}}, "claims.email_verified must be used in"),
        ({"claimMappings": {}}, "claimMappings.username: Required value: claim or expression is required"),
        ({"claimValidationRules": [{"expression": "claims.a"}]}, "must evaluate to bool but got dyn"),
        ({"userValidationRules": [{"expression": "user.nothing"}]}, "userValidationRules.0..expression"),
        (
            {"claimMappings": {**USERNAME, "extra": [{"key": "k8s.io/a", "valueExpression": "'a'"}]}},
            "reserved for Kubernetes use",
        ),
        ({"claimMappings": {**USERNAME, "extra": [{"key": "a", "valueExpression": "'a'"}]}}, "domain-prefixed path"),
    ],
)
def test_configurations_that_are_none(tmp_path: Path, change: dict[str, Any], why: str) -> None:
    from sampan.api.authn.oidc import OpenIdConnect

    entry = {
        "issuer": {"url": "https://x", "audiences": ["a"]},
        "claimMappings": USERNAME,
    }
    kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}
    file = tmp_path / "authn.yaml"
    file.write_text(yaml.safe_dump({**kind, "jwt": [{**entry, **change}]}))
    with pytest.raises(flags.FlagError, match=why):
        OpenIdConnect(flags.parse({"authentication-config": str(file)}), ("a",), "1.37", "https://own")


def kubeconfig(server: WebhookServer, path: str, file: Path) -> str:
    cluster = {
        "server": f"https://127.0.0.1:{server.port}{path}",
        "certificate-authority-data": base64.b64encode(server.ca).decode(),
    }
    context = {"cluster": "remote", "user": "api"}
    file.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "remote", "cluster": cluster}],
                "users": [{"name": "api", "user": {"token": "knock"}}],
                "contexts": [{"name": "c", "context": context}],
                "current-context": "c",
            }
        )
    )
    return str(file)


async def test_tokens_that_a_webhook_knows(throwaway_pki: Path, server: WebhookServer, tmp_path: Path) -> None:
    def answer(review: dict[str, Any]) -> dict[str, Any]:
        assert review["kind"] == "TokenReview" and review["apiVersion"] == "authentication.k8s.io/v1"
        if review["spec"]["token"] != "good":
            return {**review, "status": {"authenticated": False, "error": "no such token"}}
        user = {"username": "jane", "uid": "1", "groups": ["dev"], "extra": {"k": ["v"]}}
        return {**review, "status": {"authenticated": True, "user": user}}

    server.answers["/authenticate"] = answer
    file = kubeconfig(server, "/authenticate", tmp_path / "webhook.kubeconfig")
    api = await open_api(config(throwaway_pki, authentication_token_webhook_config_file=file))
    found = await asyncio.gather(*(whoami(api, "good") for _ in range(5)))
    assert all(code == 201 for code, _ in found) and len(server.asked) == 1
    assert found[0][1] == {
        "username": "jane",
        "uid": "1",
        "groups": ["dev", "system:authenticated"],
        "extra": {"k": ["v"]},
    }
    assert server.headers[0]["Authorization"] == "Bearer knock"
    for _ in range(2):
        assert (await whoami(api, "bad"))[0] == 401
    assert len(server.asked) == 2
    await api.close()


async def test_a_webhook_authorizes_what_rbac_does_not(
    throwaway_pki: Path, server: WebhookServer, tmp_path: Path
) -> None:
    def answer(review: dict[str, Any]) -> dict[str, Any]:
        asked = review["spec"]["resourceAttributes"]
        if asked["resource"] == "secrets":
            return {**review, "status": {"allowed": False, "denied": True, "reason": "never secrets"}}
        return {**review, "status": {"allowed": asked["verb"] == "list", "reason": "as the webhook likes"}}

    server.answers["/authorize"] = answer
    file = kubeconfig(server, "/authorize", tmp_path / "webhook.kubeconfig")
    given = {"authorization_mode": ["Node", "RBAC", "Webhook"], "authorization_webhook_config_file": file}
    api = await open_api(config(throwaway_pki, **given))
    jane = LocalClient(api, User("jane", ("system:authenticated",)))
    for _ in range(2):
        assert (await jane.raw("GET", "/api/v1/namespaces/default/pods"))[0] == 200
    assert len(server.asked) == 1
    sent = server.asked[0][1]["spec"]
    assert sent["user"] == "jane" and sent["resourceAttributes"] == {
        "namespace": "default",
        "verb": "list",
        "version": "v1",
        "resource": "pods",
    }
    code, body = await jane.raw("GET", "/api/v1/namespaces/default/secrets")
    assert code == 403 and orjson.loads(body)["message"].endswith(": never secrets")
    assert (await jane.raw("DELETE", "/api/v1/namespaces/default/pods/x"))[0] == 403
    asked = len(server.asked)
    assert (await jane.raw("GET", "/version"))[0] == 200 and len(server.asked) == asked  # RBAC decides first
    review = {"spec": {"resourceAttributes": {"verb": "list", "resource": "pods", "namespace": "other"}}}
    _, told = await jane.raw("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body=review)
    assert orjson.loads(told)["status"] == {"allowed": True, "reason": "as the webhook likes"}
    await api.close()
