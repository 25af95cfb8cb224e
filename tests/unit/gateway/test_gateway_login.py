"""``oidc`` and ``oauth2``: what Envoy is told, what is refused, and whom discovery believes."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.gateway.issuers import Issuer, NoIssuer, checked
from sampan.gateway.model.urls import Trust, cluster_server, server_of, url_cluster
from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.xds.types import CLUSTER, LISTENER, SECRET

from .situation import Object, Situation, obj, route, service
from .test_gateway_middlewares import opened, rule

ISSUER = "https://login.example"
SAYS = {
    "issuer": ISSUER,
    "authorization_endpoint": f"{ISSUER}/authorize?tenant=a",
    "token_endpoint": f"{ISSUER}/token",
    "jwks_uri": "https://keys.example:8443/keys",
    "end_session_endpoint": f"{ISSUER}/end",
}
CLIENT = {"clientID": "shop", "secret": "client"}
OIDC = {"issuer": ISSUER, **CLIENT}
OAUTH2 = {"authorizationEndpoint": f"{ISSUER}/a", "tokenEndpoint": f"{ISSUER}/t", "scopes": ["read"], **CLIENT}


def secret(**entries: str) -> Object:
    data = {name.replace("_", "-"): base64.b64encode(value.encode()).decode() for name, value in entries.items()}
    return {"kind": "Secret", "metadata": {"name": "client", "namespace": "shop"}, "data": data}


def situation(spec: Object, says: Object | None = None, **entries: str) -> Situation:
    there = Situation(
        secret(**(entries or {"client_secret": "s"})), obj("Middleware", "m", spec), route("r", rule("m"))
    )
    for issuer in [one for one in there.pipeline.issuers.values() if one is not None]:
        there.pipeline.put_issuer(issuer, SAYS if says is None else says, "")
        there.pipeline.update()
    return there


def filters(there: Situation) -> dict[str, Object]:
    """Return the filters of the listener that are of a login, by the first part of their name."""
    chain = there.get(LISTENER, "shop/gw/80")["filter_chains"][0]["filters"][0]["typed_config"]
    found = {}
    for one in opened(chain)["http_filters"]:
        if one["name"].startswith("login/"):
            assert one["disabled"] is True
            found["token" if one["name"].startswith("login/token") else "login"] = opened(one["typed_config"])
    return found


def refusal(spec: Object, **entries: str) -> str:
    there = situation(spec, **entries)
    conditions = there.conditions("HTTPRoute", "r")
    return " ".join(str(one["message"]) for one in conditions.values() if one["status"] == "False")


def test_an_issuer_is_asked_and_its_endpoints_are_envoys() -> None:
    there = situation({"oidc": {**OIDC, "scopes": ["email", "openid"], "authParams": {"prompt": "login"}}})
    assert list(there.pipeline.issuers.values()) == [Issuer(ISSUER)]
    made = filters(there)
    config = made["login"]["config"]
    assert config["authorization_endpoint"] == f"{ISSUER}/authorize?tenant=a&prompt=login"
    assert config["token_endpoint"]["uri"] == f"{ISSUER}/token"
    assert config["end_session_endpoint"] == f"{ISSUER}/end"
    assert config["auth_scopes"] == ["openid", "email"]
    assert config["redirect_uri"] == "%REQ(x-forwarded-proto)%://%REQ(:authority)%/shop/oauth2/callback"
    assert config["redirect_path_matcher"]["path"]["exact"] == "/shop/oauth2/callback"
    assert config["signout_path"]["path"]["exact"] == "/shop/oauth2/logout"
    assert config["use_refresh_token"] == {"value": True}
    provider = made["token"]["providers"]["login"]
    assert (provider["issuer"], provider["audiences"]) == (ISSUER, ["shop"])
    assert provider["from_cookies"] == [config["credentials"]["cookie_names"]["id_token"]]
    assert provider["remote_jwks"]["http_uri"]["uri"] == SAYS["jwks_uri"]
    clusters = {name for name in there.names(CLUSTER) if name.startswith("Url/")}
    assert clusters == {"Url/shop https://login.example system/443", "Url/shop https://keys.example system/8443"}
    cluster = there.get(CLUSTER, "Url/shop https://login.example system/443")
    context = opened(cluster["transport_socket"]["typed_config"])
    assert context["sni"] == "login.example"
    validation = context["common_tls_context"]["validation_context"]
    assert validation["match_typed_subject_alt_names"][0]["matcher"] == {"exact": "login.example"}


def test_what_the_client_is_known_by_comes_by_sds() -> None:
    there = situation({"oidc": OIDC})

    def said(entry: str) -> bytes:
        names = [name for name in there.names(SECRET) if f"client {entry}" in name]
        assert len(names) == 1
        content: bytes = there.get(SECRET, names[0])["generic_secret"]["secret"]["inline_bytes"]
        return content

    credentials = filters(there)["login"]["config"]["credentials"]
    assert credentials["token_secret"]["name"] == "generic shop/client client-secret"
    assert said("client-secret") == b"s"
    made = said("hmac-secret")
    assert len(made) == 64, "made of the client's secret, so that all replicas have the same"
    before = there.pipeline.ads.versions[LISTENER]["shop/gw/80"]
    there.put(secret(client_secret="t"))
    assert said("client-secret") == b"t" and said("hmac-secret") != made
    there.put(secret(client_secret="t", hmac_secret="mine"))
    assert said("hmac-secret") == b"mine"
    assert there.pipeline.ads.versions[LISTENER]["shop/gw/80"] == before, "no listener is drained"
    there.delete(obj("Middleware", "m", {}))
    assert not [name for name in there.names(SECRET) if name.startswith("generic")]
    assert not [name for name in there.names(CLUSTER) if name.startswith("Url/")]
    assert list(filter(None, there.pipeline.issuers.values())) == []


def test_options_of_a_session() -> None:
    more = {
        "session": {
            "name": "mine",
            "domain": "shop.example",
            "path": "/shop",
            "sameSite": "Strict",
            "refresh": False,
            "expiry": 60,
        },
        "redirectUrl": "https://shop.example/back",
        "logoutUrl": "/leave",
        "clientAuthentication": "Basic",
        "resources": ["urn:shop"],
        "forwardAccessToken": True,
        "denyRedirect": [{"header": "X-Ajax"}, {"header": "Accept", "value": "application/json"}],
        "tls": {"insecureSkipVerify": True},
    }
    there = situation({"oauth2": {**OAUTH2, **more}})
    config = filters(there)["login"]["config"]
    assert config["redirect_uri"] == "https://shop.example/back" and config["auth_type"] == 1
    assert config["redirect_path_matcher"]["path"]["exact"] == "/back"
    assert config["credentials"]["cookie_domain"] == "shop.example"
    assert config["credentials"]["cookie_names"]["bearer_token"] == "mine-access"
    assert config["cookie_configs"]["oauth_hmac_cookie_config"] == {"same_site": 1, "path": "/shop"}
    assert config["use_refresh_token"] == {"value": False} and config["default_expires_in"] == {"seconds": 60}
    assert config["forward_bearer_token"] is True and "preserve_authorization_header" not in config
    assert [one["name"] for one in config["deny_redirect_matcher"]] == ["x-ajax", "accept"]
    assert config["resources"] == ["urn:shop"]
    cluster = there.get(CLUSTER, "Url/shop https://login.example insecure/443")
    assert "validation_context" not in opened(cluster["transport_socket"]["typed_config"])["common_tls_context"]


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"oidc": {}}, "spec.oidc.issuer: '' is no URL"),
        ({"oidc": {**OIDC, "issuer": "ftp://x"}}, "spec.oidc.issuer: 'ftp://x' is no URL"),
        ({"oidc": {**OIDC, "issuer": "https://x:99999"}}, "spec.oidc.issuer"),
        ({"oidc": {**OIDC, "clientID": ""}}, "spec.oidc.clientID: Required value"),
        ({"oidc": {**OIDC, "secret": ""}}, "spec.oidc.secret: Required value"),
        ({"oidc": {**OIDC, "secret": "other"}}, "Secret shop/other does not exist"),
        ({"oidc": {**OIDC, "redirectUrl": "back"}}, "spec.oidc.redirectUrl: a path is expected"),
        ({"oidc": {**OIDC, "redirectUrl": "ftp://x/back"}}, "spec.oidc.redirectUrl"),
        ({"oidc": {**OIDC, "logoutUrl": "https://x/"}}, "spec.oidc.logoutUrl: must be a path"),
        ({"oidc": {**OIDC, "session": {"sameSite": "Never"}}}, "spec.oidc.session.sameSite"),
        ({"oidc": {**OIDC, "session": {"name": "a b"}}}, "spec.oidc.session.name"),
        ({"oidc": {**OIDC, "session": {"store": "x"}}}, "spec.oidc.session.store: this option is not served"),
        ({"oidc": {**OIDC, "session": {"expiry": -1}}}, "spec.oidc.session.expiry"),
        ({"oidc": {**OIDC, "session": {"path": "x"}}}, "spec.oidc.session.path"),
        ({"oidc": {**OIDC, "tls": {"certSecret": "x"}}}, "spec.oidc.tls.certSecret: this option is not served"),
        ({"oidc": {**OIDC, "tls": {"caSecret": "x"}}}, "Secret shop/x does not exist"),
        ({"oidc": {**OIDC, "denyRedirect": [{"value": "x"}]}}, "spec.oidc.denyRedirect[0]"),
        ({"oidc": {**OIDC, "clientAuthentication": "Jwt"}}, "spec.oidc.clientAuthentication"),
        ({"oidc": {**OIDC, "forwardHeaders": {"X-A": 1}}}, "spec.oidc.forwardHeaders.X-A"),
        ({"oidc": {**OIDC, "teleport": 1}}, "spec.oidc.teleport: this option is not served"),
        ({"oidc": {**OIDC, "issuer": "https://login.shop.svc"}}, "Service shop/login does not exist"),
        ({"oauth2": {**OAUTH2, "scopes": []}}, "spec.oauth2.scopes: Required value"),
        ({"oauth2": {**OAUTH2, "tokenEndpoint": ""}}, "spec.oauth2.tokenEndpoint: Required value"),
        ({"oauth2": {**OAUTH2, "tokenEndpoint": "x"}}, "spec.oauth2.tokenEndpoint: 'x' is no URL"),
    ],
)
def test_what_cannot_be_honoured_is_told(spec: Object, told: str) -> None:
    assert told in refusal(spec)


def test_a_secret_without_the_clients_is_told() -> None:
    assert "Secret shop/client has nothing under client-secret" in refusal({"oauth2": OAUTH2}, other="x")


def test_an_issuer_that_has_not_answered_is_told_and_nobody_passes() -> None:
    there = Situation(secret(client_secret="s"), obj("Middleware", "m", {"oidc": OIDC}), route("r", rule("m")))
    told = there.conditions("HTTPRoute", "r")["ResolvedRefs"]
    assert told["status"] == "False" and f"issuer {ISSUER}: it has not answered yet" in told["message"]
    assert there.hosts()["*"][0]["direct_response"] == {"status": 500}
    there.pipeline.put_issuer(Issuer(ISSUER), None, "it is asleep")
    there.pipeline.update()
    assert "it is asleep" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]


def test_an_issuer_that_is_a_service_is_asked_there() -> None:
    spec = {"oidc": {**OIDC, "issuer": "http://login/realm"}}
    there = Situation(secret(client_secret="s"), service("login"), obj("Middleware", "m", spec), route("r", rule("m")))
    assert [one for one in there.pipeline.issuers.values() if one] == []
    login = service("login")
    login["spec"]["clusterIP"] = "10.96.0.9"
    there.put(login)
    (issuer,) = [one for one in there.pipeline.issuers.values() if one]
    assert issuer == Issuer("http://login/realm", "10.96.0.9")
    says = {name: url.replace(ISSUER, "http://login/realm") for name, url in SAYS.items()}
    there.pipeline.put_issuer(issuer, says, "")
    there.pipeline.update()
    cluster = there.get(CLUSTER, "Url/shop http://login system/80")
    (endpoint,) = cluster["load_assignment"]["endpoints"][0]["lb_endpoints"]
    assert endpoint["endpoint"]["address"]["socket_address"]["address"] == "10.96.0.9"


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"issuer": "https://evil.example"}, "it says that it is 'https://evil.example'"),
        ({"token_endpoint": None}, "its token_endpoint is no URL"),
        ({"jwks_uri": "file:///etc/passwd"}, "its jwks_uri is no URL"),
        ({"end_session_endpoint": 7}, "its end_session_endpoint is no URL"),
        ({"jwks_uri": "https://[keys.example/keys"}, "its jwks_uri is no URL"),
        ({"token_endpoint": "https://login.example:99999/token"}, "its token_endpoint is no URL"),
        ({"authorization_endpoint": "https://login example/a"}, "its authorization_endpoint is no URL"),
        ({"code_challenge_methods_supported": 256}, "S256"),
        ({"code_challenge_methods_supported": ["plain"]}, "S256"),
    ],
)
def test_whom_discovery_does_not_believe(change: dict[str, Any], told: str) -> None:
    with pytest.raises(NoIssuer, match=told):
        checked(Issuer(ISSUER), json.dumps({**SAYS, **change}).encode())
    assert checked(Issuer(ISSUER), json.dumps(SAYS).encode()) == SAYS


@given(st.binary(max_size=60) | st.sampled_from([b"[]", b"7", b"null", b"{}", b"[" * 500_000]))
def test_any_configuration_is_refused(body: bytes) -> None:
    with pytest.raises(NoIssuer):
        checked(Issuer(ISSUER), body)


def test_keys_that_are_nested_without_end_are_refused() -> None:
    there = Situation(obj("Middleware", "m", {"jwt": {"jwks": "[" * 500_000}}), route("r", rule("m")))
    assert "spec.jwt: a value is not of the form" in there.conditions("HTTPRoute", "r")["Accepted"]["message"]


@given(st.text(max_size=40) | st.text(alphabet="htps:/[]@.:0123456789abcxyz%", max_size=40))
def test_any_url_is_a_server_or_refused(url: str) -> None:
    try:
        server = server_of(url, Trust("shop", "ca"), "issuer")
    except Unsupported:
        return
    assert cluster_server(url_cluster(server)) == server
