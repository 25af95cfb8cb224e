"""``oidc`` and ``oauth2`` in a real Envoy, against a provider that speaks the published protocol."""

from __future__ import annotations

import http.client
import http.server
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from .eventually import eventually
from .gateway_alone import Alone, Answer, middleware, route
from .openid_provider import CLIENT, SECRET, Provider
from .test_gateway_changes import any_certificate


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked."""

    def do_GET(self) -> None:
        told = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}}
        raw = json.dumps(told).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    def log_message(self, *arguments: object) -> None:
        pass


class Browser:
    """Keeps cookies, and follows where it is sent."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {"theme": "dark"}
        self.visited: list[str] = []

    def get(self, url: str, **headers: str) -> Answer:
        parts = urlsplit(url)
        self.visited.append(url)
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.hostname or "", parts.port, timeout=60, context=any_certificate()
            )
        else:
            connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        try:
            text = "; ".join(f"{name}={value}" for name, value in self.cookies.items())
            path = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"cookie": text, **headers})
            answer = Answer(connection.getresponse())
        finally:
            connection.close()
        for cookie in answer.cookies:
            name, _, value = cookie.partition(";")[0].partition("=")
            if "1970" in cookie or "Max-Age=0" in cookie:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value
        return answer

    def visit(self, url: str) -> Answer:
        """Return the page at which it ends up."""
        for _ in range(8):
            answer = self.get(url)
            if answer.status not in (302, 303):
                return answer
            url = answer.headers["location"]
        raise AssertionError(f"sent around: {self.visited}")


def told(answer: Answer) -> dict[str, Any]:
    assert answer.status == 200, (answer.status, answer.body)
    found: dict[str, Any] = json.loads(answer.body)
    return found


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    provider = Provider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.close()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, provider: Provider) -> Iterator[Alone]:
    alone = Alone(tmp_path_factory.mktemp("login"), Mirror)
    client = {"clientID": CLIENT, "secret": "client", "tls": {"caSecret": "client"}}
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "client", "namespace": "default"},
        "stringData": {"client-secret": SECRET, "ca.crt": provider.certificate},
    }
    kinds = {
        "oidc": {
            "issuer": provider.url,
            **client,
            "scopes": ["email"],
            "authParams": {"prompt": "select_account"},
            "forwardHeaders": {"X-User": "sub", "X-Mail": "email"},
            "forwardIDToken": "X-Token",
            "denyRedirect": [{"header": "X-Requested-With", "value": "XMLHttpRequest"}],
        },
        "oauth2": {
            "authorizationEndpoint": f"{provider.url}/authorize",
            "tokenEndpoint": f"{provider.url.replace('localhost', '127.0.0.1')}/token",
            **client,
            "clientAuthentication": "Basic",
            "scopes": ["read", "write"],
            "redirectUrl": "/oauth2/back",
            "logoutUrl": "/oauth2/leave",
            "session": {"name": "mine", "sameSite": "Lax"},
            "forwardAccessToken": True,
        },
    }
    staff = {**kinds["oidc"], "claims": {"groups": ["admin", "staff"], "email_verified": True, "shop.floor": 2}}
    others = {**kinds["oidc"], "claims": {"groups": "visitors"}}
    keys = {"jwksUri": f"{provider.url}/keys", "tls": {"caSecret": "client"}, "claims": {"sub": ["ada"]}}
    try:
        made = [middleware(name, {name: spec}) for name, spec in kinds.items()]
        made += [middleware("staff", {"oidc": staff}), middleware("others", {"oidc": others})]
        made += [middleware("bearer", {"jwt": keys})]
        alone.write(secret, *made, *(route(n, n) for n in (*kinds, "staff", "others", "bearer")), route("open"))
        alone.start()
        alone.serves("/open")
        alone.serves("/oidc", 302)
        yield alone
    finally:
        alone.close()


def at(front: Alone, path: str) -> str:
    return f"http://127.0.0.1:{front.port}{path}"


def test_who_has_no_session_logs_in_and_is_known(front: Alone, provider: Provider) -> None:
    browser = Browser()
    page = told(browser.visit(at(front, "/oidc/page?a=1")))
    assert page["path"] == "/oidc/page?a=1"
    headers = page["headers"]
    assert (headers["x-user"], headers["x-mail"]) == ("ada", "ada@example")
    assert headers["x-token"].count(".") == 2
    assert headers["cookie"] == "theme=dark", "the session is between the browser and the gateway"
    assert "authorization" not in headers
    asked = provider.asked[-1]
    assert asked["scope"].split() == ["openid", "email"] and asked["prompt"] == "select_account"
    assert asked["redirect_uri"] == at(front, "/oidc/oauth2/callback")
    visits = len(provider.asked)
    assert told(browser.get(at(front, "/oidc/other"), **{"X-User": "eve"}))["headers"]["x-user"] == "ada"
    assert len(provider.asked) == visits, "the session is known"


def test_of_two_cookies_of_a_name_the_one_that_was_checked_is_told(front: Alone, provider: Provider) -> None:
    browser = Browser()
    browser.visit(at(front, "/oidc/"))
    (name,) = [name for name in browser.cookies if name.endswith("-id")]
    kept = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    own = f"{name}=of.my.own"
    for cookies in (
        [f"{kept}; {own}"],
        [f"{name} =of.my.own; {kept}"],
        [f"\t{own}; {kept}"],
        ["a", f"{kept}; {own}"],
        [kept, own],
    ):
        connection = http.client.HTTPConnection("127.0.0.1", front.port, timeout=60)
        connection.putrequest("GET", "/oidc/")
        for cookie in cookies:
            connection.putheader("cookie", cookie)
        connection.endheaders()
        headers = told(Answer(connection.getresponse()))["headers"]
        connection.close()
        # where Envoy took the wrong one, the session did not hold, and was refreshed: then the token is a newer one
        assert headers["x-user"] == "ada" and headers["x-token"] == provider.id_tokens[-1], cookies
        assert "of.my.own" not in headers["cookie"], cookies


def test_logout(front: Alone, provider: Provider) -> None:
    browser = Browser()
    browser.visit(at(front, "/oidc"))
    answer = browser.get(at(front, "/oidc/oauth2/logout"))
    assert answer.status == 302 and answer.headers["location"].startswith(f"{provider.url}/end?")
    browser.visit(answer.headers["location"])
    assert provider.ended[-1]["client_id"] == CLIENT and provider.ended[-1]["id_token_hint"].count(".") == 2
    assert browser.cookies == {"theme": "dark"}
    assert browser.get(at(front, "/oidc")).status == 302


def test_an_access_token_that_ends_is_refreshed(front: Alone, provider: Provider) -> None:
    provider.lives_seconds = 1
    browser = Browser()
    try:
        browser.visit(at(front, "/oidc"))
        provider.granted.clear()
        visits = len(provider.asked)

        def refreshed() -> bool:
            assert told(browser.get(at(front, "/oidc")))["headers"]["x-user"] == "ada"
            return "refresh_token" in provider.granted

        eventually("the token is refreshed", refreshed)
        assert len(provider.asked) == visits
    finally:
        provider.lives_seconds = 3600


def test_nobody_passes_without_a_session_or_with_one_that_is_none(front: Alone, provider: Provider) -> None:
    assert Browser().get(at(front, "/oidc"), **{"X-Requested-With": "XMLHttpRequest"}).status == 401
    browser = Browser()
    browser.visit(at(front, "/oidc"))
    for name in [name for name in browser.cookies if name.endswith(("-id", "-refresh"))]:
        browser.cookies[name] = browser.cookies[name][:-4] + "AAAA"
    assert browser.get(at(front, "/oidc")).status == 302
    forged = Browser()
    assert forged.get(at(front, "/oidc/oauth2/callback?code=x&state=y")).status == 401
    stolen = Browser()
    answer = stolen.get(at(front, "/oidc"))
    back = Browser().get(answer.headers["location"]).headers["location"]
    assert Browser().get(back).status == 401, "who has not begun does not end a login"


def test_what_a_token_says_decides_who_may_pass(front: Alone, provider: Provider) -> None:
    assert told(Browser().visit(at(front, "/staff")))["path"] == "/staff"
    assert Browser().visit(at(front, "/others")).status == 403
    bearer = "Bearer " + provider.token_of("ada")
    assert front.ask("/bearer", Authorization=bearer).status == 200
    assert front.ask("/bearer", Authorization="Bearer " + provider.token_of("eve")).status == 403
    assert front.ask("/bearer").status == 401


@pytest.mark.parametrize("what", ["key", "audience"])
def test_an_id_token_is_checked(front: Alone, provider: Provider, what: str) -> None:
    try:
        if what == "key":
            provider.signing_key = rsa.generate_private_key(65537, 2048)
        else:
            provider.audience = "someone else"
        assert Browser().visit(at(front, "/oidc")).status in (401, 403)
    finally:
        provider.signing_key, provider.audience = provider.key, CLIENT


def test_oauth2_without_identity(front: Alone, provider: Provider) -> None:
    browser = Browser()
    refused = browser.get(at(front, "/oauth2"))
    assert refused.status == 302 and provider.url in refused.headers["location"]
    headers = told(browser.visit(at(front, "/oauth2/x")))["headers"]
    assert headers["authorization"].startswith("Bearer ") and headers["cookie"] == "theme=dark"
    assert provider.asked[-1]["scope"] == "read write" and provider.asked[-1]["redirect_uri"].endswith("/oauth2/back")
    assert {name for name in browser.cookies if name.startswith("mine-access")}
    browser.get(at(front, "/oauth2/leave"))
    assert browser.get(at(front, "/oauth2")).status == 302


def test_a_new_client_secret_is_used_without_a_restart(front: Alone, provider: Provider) -> None:
    file = front.directory / "objects.yaml"
    text = file.read_text()
    try:
        file.write_text(text.replace(SECRET, "another"))
        eventually("the code is not taken any more", lambda: Browser().visit(at(front, "/oidc")).status == 401)
    finally:
        file.write_text(text)
    eventually("it is taken again", lambda: Browser().visit(at(front, "/oidc")).status == 200)


def test_an_issuer_that_is_none_is_told(front: Alone, provider: Provider) -> None:
    file = front.directory / "objects.yaml"
    text = file.read_text()
    try:
        file.write_text(text.replace(f"issuer: {provider.url}", f"issuer: {provider.url}/nowhere"))
        eventually("the routes answer 500", lambda: Browser().get(at(front, "/oidc")).status == 500)
        eventually("the status tells why", lambda: "openid-configuration is answered with 404" in front.log.read_text())
    finally:
        file.write_text(text)
    eventually("it is asked again", lambda: Browser().visit(at(front, "/oidc")).status == 200)
