"""Middlewares in a real Envoy: what backend and client see, before a server that tells what it was asked."""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import http.client
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus

import pytest

from .eventually import eventually
from .gateway_world import (
    HOST,
    address_of,
    any_certificate,
    apply,
    ask,
    certificate,
    on_host,
    own_address,
    serve,
)
from .up_down_cluster import Cluster

NAMESPACE = "gateway-middlewares"
TRAEFIK = "traefik.io"
SHA = base64.b64encode(hashlib.sha1(b"secret").digest()).decode()
OWN = "gateway.sampan.dev"
ANNOTATION = "gateway.sampan.dev/middlewares"
LISTENERS: list[dict[str, Any]] = [
    {"name": "http", "port": 80, "protocol": "HTTP"},
    {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "certificate"}]}},
    {"name": "closed", "port": 9001, "protocol": "TCP"},
    {"name": "open", "port": 9002, "protocol": "TCP"},
]
CLIENTS = {
    "caCertificateRefs": [{"group": "", "kind": "ConfigMap", "name": "clients"}],
    "mode": "AllowInsecureFallback",
}
BY_TENANT = {"requestHeaderName": "X-Tenant"}
JSON = "application/json"
MIDDLEWARES: dict[str, tuple[str, dict[str, Any]]] = {
    "add": (OWN, {"addPrefix": {"prefix": "/api"}}),
    "strip": (TRAEFIK, {"stripPrefix": {"prefixes": ["/strip"]}}),
    "strip-add": (TRAEFIK, {"chain": {"middlewares": [{"name": "strip-chained"}, {"name": "add-chained"}]}}),
    "strip-chained": (TRAEFIK, {"stripPrefix": {"prefixes": ["/strip-add"]}}),
    "add-chained": (TRAEFIK, {"addPrefix": {"prefix": "/api"}}),
    "replace": (OWN, {"replacePath": {"path": "/new"}}),
    "regex": (OWN, {"replacePathRegex": {"regex": "^/regex/(.*)/(.*)$", "replacement": "/$2/$1"}}),
    "headers": (TRAEFIK, {"headers": {"customRequestHeaders": {"X-In": "a%b"}, "frameDeny": True}}),
    "nobody": (TRAEFIK, {"ipAllowList": {"sourceRange": ["192.0.2.0/24"]}}),
    "everybody": (OWN, {"ipAllowList": {"sourceRange": ["0.0.0.0/0", "::/0"]}}),
    "forwarded": (OWN, {"ipAllowList": {"sourceRange": ["192.0.2.0/24"], "ipStrategy": {"depth": 1}}}),
    "hosts": (OWN, {"headers": {"allowedHosts": ["good.example"]}}),
    "limit": (TRAEFIK, {"rateLimit": {"average": 1, "period": "1h", "burst": 3}}),
    "tenants": (
        OWN,
        {"rateLimit": {"average": 1, "period": "1h", "burst": 1, "sourceCriterion": BY_TENANT}},
    ),
    "small": (TRAEFIK, {"buffering": {"maxRequestBodyBytes": 10}}),
    "compress": (
        TRAEFIK,
        {"compress": {"encodings": ["gzip"], "minResponseBodyBytes": 10, "includedContentTypes": [JSON]}},
    ),
    "https": (TRAEFIK, {"redirectScheme": {"scheme": "https", "permanent": True}}),
    "moved": (
        OWN,
        {"redirectRegex": {"regex": "^http://old\\.example/(.*)", "replacement": "https://new.example/v2/$1"}},
    ),
    "again": (TRAEFIK, {"retry": {"attempts": 3, "status": ["503"]}}),
    "web": (OWN, {"grpcWeb": {}}),
    "basic": (TRAEFIK, {"basicAuth": {"secret": "users", "removeHeader": True, "headerField": "X-User"}}),
    "forward": (OWN, {"forwardAuth": {"address": "", "authResponseHeaders": ["X-User"]}}),
    "service": (OWN, {"forwardAuth": {"address": f"http://mirror.{NAMESPACE}.svc.cluster.local/who"}}),
    "errors": (
        TRAEFIK,
        {
            "errors": {
                "status": ["500-599", "404"],
                "statusRewrites": {"404": 410},
                "service": {"name": "mirror", "port": "http"},
                "query": "/page/{status}/{originalStatus}?url={url}",
                "errorRequestHeaders": ["X-Kept"],
            }
        },
    ),
    "typed": (TRAEFIK, {"contentType": {}}),
    "circuit": (
        TRAEFIK,
        {
            "circuitBreaker": {
                "expression": "ResponseCodeRatio(500, 600, 0, 600) > 0.5 && !(LatencyAtQuantileMS(50.0) > 100000)",
                "checkPeriod": "1ms",
                "fallbackDuration": "6s",
                "recoveryDuration": "1ms",
                "responseCode": 529,
            }
        },
    ),
    "flights": (TRAEFIK, {"inFlightReq": {"amount": 2}}),
    "anywhere": (OWN, {"redirectRegex": {"regex": "/anywhere/(\\w+)/(.*)", "replacement": "/$2?kind=$1"}}),
    "encoded": (TRAEFIK, {"encodedCharacters": {"allowEncodedSlash": True}}),
    "keys": (OWN, {"apiKeyAuth": {"secret": "keys", "clientHeader": "X-Client", "hideKey": True}}),
    "token": (
        OWN,
        {"jwt": {"issuer": "us", "jwksSecret": "jwks", "claimToHeaders": [{"claim": "sub", "header": "X-Subject"}]}},
    ),
    "remote": (OWN, {"jwt": {"jwksService": {"name": "mirror", "port": 80, "path": "/jwks"}, "optional": True}}),
    "fault": (OWN, {"fault": {"abort": {"status": 418}, "delay": {"duration": "10ms"}}}),
    "csrf": (OWN, {"csrf": {"additionalOrigins": ["*.good.example"]}}),
    "slow": (OWN, {"bandwidthLimit": {"kibPerSecond": 1024, "direction": "Response"}}),
    "everywhere": (OWN, {"headers": {"customResponseHeaders": {"X-Gateway": "front"}}}),
    "client": (
        TRAEFIK,
        {"passTLSClientCert": {"pem": True, "info": {"serialNumber": True, "subject": {"commonName": True}}}},
    ),
    "unknown": (TRAEFIK, {"rateLimit": {"average": 1, "redis": {"endpoints": ["x:1"]}}}),
}


def unpadded(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


SIGNING_KEY = b"a key of thirty-two bytes, or so"
JWKS = json.dumps({"keys": [{"kty": "oct", "alg": "HS256", "kid": "1", "k": unpadded(SIGNING_KEY)}]})


def token(key: bytes = SIGNING_KEY, **claims: Any) -> str:
    head = {"alg": "HS256", "kid": "1", "typ": "JWT"}
    text = ".".join(unpadded(json.dumps(part).encode()) for part in (head, claims))
    return f"Bearer {text}.{unpadded(hmac.new(key, text.encode(), hashlib.sha256).digest())}"


class Mirror(http.server.BaseHTTPRequestHandler):
    """Answers with what it was asked; ``/again`` fails two times of three."""

    protocol_version = "HTTP/1.1"
    tries = 0
    arrived = threading.Semaphore(0)
    leave = threading.Event()

    def answer(self) -> None:
        if self.path == "/who":
            self.who()
            return
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        told = {"path": self.path, "headers": {k.lower(): v for k, v in self.headers.items()}, "body": len(body)}
        text = json.dumps(told).encode()
        if self.path == "/jwks":
            text = JWKS.encode()
        status = int(self.headers.get("x-answer") or 200)
        if self.path.startswith("/flights"):
            Mirror.arrived.release()
            Mirror.leave.wait(60)
        if self.path.startswith("/again"):
            Mirror.tries += 1
            status = 200 if Mirror.tries % 3 == 0 else 503
        self.send_response(status)
        if self.path.startswith("/typed"):
            text = self.path.partition("?")[2].encode()
        else:
            self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text if self.command != "HEAD" else b"")

    def who(self) -> None:
        """Decide as an authentication server does: by the original path and a header."""
        good = self.headers.get("x-token") == "good" and self.headers["x-forwarded-uri"].startswith("/forward")
        self.send_response(204 if good else 418)
        self.send_header("x-user" if good else "x-why", "me" if good else "no token")
        self.send_header("x-host", self.headers["host"])
        self.send_header("content-length", "0")
        self.end_headers()

    do_GET = do_POST = do_HEAD = answer

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture(scope="module")
def front(real_cluster: Cluster) -> Iterator[str]:
    """Return the address of a Gateway with a route for each middleware, at the path of its name."""
    server = serve(Mirror)
    gateway = {
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "Gateway",
        "metadata": {"name": "front", "namespace": NAMESPACE, "annotations": {ANNOTATION: "everywhere"}},
        "spec": {
            "gatewayClassName": "sampan",
            "listeners": LISTENERS,
            "tls": {"frontend": {"default": {"validation": CLIENTS}}},
        },
    }
    apply(real_cluster, {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}}, gateway)

    found = address_of(real_cluster, NAMESPACE)
    ours = own_address(found)
    MIDDLEWARES["forward"][1]["forwardAuth"]["address"] = f"http://{ours}:{server.server_address[1]}/who"
    users = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "users", "namespace": NAMESPACE}}
    objects: list[dict[str, Any]] = [
        *on_host(NAMESPACE, "mirror", ours, server.server_address[1]),
        {**users, "stringData": {"users": f"me:{{SHA}}{SHA}"}},
    ]
    for name, (group, spec) in MIDDLEWARES.items():
        metadata = {"name": name, "namespace": NAMESPACE}
        objects.append({"apiVersion": f"{group}/v1alpha1", "kind": "Middleware", "metadata": metadata, "spec": spec})
        reference = {"group": group, "kind": "Middleware", "name": name}
        rule = {
            "matches": [{"path": {"type": "PathPrefix", "value": f"/{name}"}}],
            "filters": [{"type": "ExtensionRef", "extensionRef": reference}],
            "backendRefs": [{"name": "mirror", "port": 80}],
        }
        route = {"parentRefs": [{"name": "front"}], "rules": [rule]}
        objects.append(
            {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": metadata, "spec": route}
        )
    for name, values in (("keys", {"me": "k1", "you": "k2"}), ("jwks", {"jwks.json": JWKS})):
        metadata = {"name": name, "namespace": NAMESPACE}
        objects.append({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": values})
    pem, key = certificate(7)
    pair = {"tls.crt": pem.decode(), "tls.key": key.decode()}
    metadata = {"name": "certificate", "namespace": NAMESPACE}
    objects.append(
        {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "kubernetes.io/tls", "stringData": pair}
    )
    metadata = {"name": "clients", "namespace": NAMESPACE}
    objects.append({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {"ca.crt": pem.decode()}})
    for name, ranges in (("closed", ["192.0.2.0/24"]), ("open", ["0.0.0.0/0", "::/0"])):
        metadata = {"name": name, "namespace": NAMESPACE}
        spec = {"ipAllowList": {"sourceRange": ranges}}
        objects.append(
            {"apiVersion": f"{TRAEFIK}/v1alpha1", "kind": "MiddlewareTCP", "metadata": metadata, "spec": spec}
        )
        tcp = {"parentRefs": [{"name": "front", "sectionName": name}]}
        tcp["rules"] = [{"backendRefs": [{"name": "mirror", "port": 80}]}]
        metadata = {**metadata, "annotations": {ANNOTATION: f"{TRAEFIK}/{name}"}}
        objects.append(
            {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "TCPRoute", "metadata": metadata, "spec": tcp}
        )
    apply(real_cluster, *objects)
    good = {"Authorization": token(iss="us", sub="me")}
    for path, headers in (("/headers", {}), ("/everywhere", {}), ("/keys", {"X-API-Key": "k1"}), ("/token", good)):
        eventually(f"{path} is served", lambda path=path, headers=headers: ask(found, path, **headers).status == 200)  # type: ignore[misc]
    yield found
    server.shutdown()
    real_cluster.kubectl("delete", "namespace", NAMESPACE, "--wait=false")


@pytest.mark.parametrize(
    ("path", "asked", "header"),
    [
        ("/add/x?q=1", "/api/add/x?q=1", {}),
        ("/strip/x?q=1", "/x?q=1", {"x-forwarded-prefix": "/strip"}),
        ("/strip", "/", {"x-forwarded-prefix": "/strip"}),
        ("/strip-add/x", "/api/x", {}),
        ("/replace/x?q=1", "/new?q=1", {"x-replaced-path": "/replace/x"}),
        ("/regex/a/b", "/b/a", {"x-replaced-path": "/regex/a/b"}),
        ("/headers", "/headers", {"x-in": "a%b"}),
    ],
)
def test_what_the_backend_is_asked(front: str, path: str, asked: str, header: dict[str, str]) -> None:
    told = ask(front, path).told
    assert told["path"] == asked
    assert {name: told["headers"].get(name) for name in header} == header


def test_security_headers(front: str) -> None:
    assert ask(front, "/headers").headers["x-frame-options"] == "DENY"


def test_who_may_pass(front: str) -> None:
    assert ask(front, "/nobody").status == 403
    assert ask(front, "/everybody").status == 200
    assert ask(front, "/hosts").status == 403
    assert ask(front, "/hosts", Host="good.example").status == 200
    # the address of who connected, which Envoy adds, is not counted
    assert ask(front, "/forwarded", X_Forwarded_For="192.0.2.7").status == 200
    assert ask(front, "/forwarded", X_Forwarded_For="192.0.2.7, 10.0.0.1").status == 403


def test_limits(front: str) -> None:
    statuses = [ask(front, "/limit").status for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]
    tenants = [ask(front, "/tenants", X_Tenant=name).status for name in ("a", "a", "b", "b")]
    assert tenants == [200, 429, 200, 429]
    assert ask(front, "/small", "POST", b"x" * 10).status == 200
    assert ask(front, "/small", "POST", b"x" * 11).status == 413


def test_compression(front: str) -> None:
    packed = ask(front, "/compress", Accept_Encoding="gzip")
    assert packed.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(packed.raw))["path"] == "/compress"
    assert "content-encoding" not in ask(front, "/compress").headers


def test_redirects(front: str) -> None:
    away = ask(front, "/https/x?q=1", Host="shop.example")
    assert (away.status, away.headers["location"]) == (308, "https://shop.example/https/x?q=1")
    moved = ask(front, "/moved/x", Host="old.example")
    assert (moved.status, moved.headers["location"]) == (302, "https://new.example/v2/moved/x")
    assert ask(front, "/moved/x", Host="other.example").status == 200


def test_retries(front: str) -> None:
    Mirror.tries = 0
    assert ask(front, "/again").status == 200 and Mirror.tries == 3


def test_grpc_web_passes_what_is_not_its(front: str) -> None:
    assert ask(front, "/web").told["path"] == "/web"


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_passwords_and_a_change_of_them(front: str, real_cluster: Cluster) -> None:
    eventually("the hook is asked", lambda: ask(front, "/basic").status == 401)
    assert ask(front, "/basic").headers["www-authenticate"] == 'Basic realm="traefik"'
    assert ask(front, "/basic", Authorization=basic("me", "wrong")).status == 401
    told = ask(front, "/basic", Authorization=basic("me", "secret")).told["headers"]
    assert told["x-user"] == "me" and "authorization" not in told
    change = json.dumps({"stringData": {"users": f"you:{{SHA}}{SHA}"}})
    real_cluster.kubectl("-n", NAMESPACE, "patch", "secret", "users", "--type=merge", "-p", change)
    eventually("the new user passes", lambda: ask(front, "/basic", Authorization=basic("you", "secret")).status == 200)
    assert ask(front, "/basic", Authorization=basic("me", "secret")).status == 401


def test_another_server_decides(front: str) -> None:
    eventually("the hook is asked", lambda: ask(front, "/forward").status == 418)
    assert ask(front, "/forward").headers["x-why"] == "no token"
    assert ask(front, "/forward", X_Token="good", X_User="forged").told["headers"]["x-user"] == "me"


def test_another_server_is_named_as_a_service(front: str) -> None:
    eventually("the hook is asked", lambda: ask(front, "/service").status == 418)
    assert ask(front, "/service").headers["x-host"] == f"mirror.{NAMESPACE}.svc.cluster.local"


def test_pages_of_errors(front: str) -> None:
    assert ask(front, "/errors").status == 200
    page = ask(front, "/errors/x?a=b", X_Answer="503", X_Kept="1", Host="shop.example")
    whole = "http%3A%2F%2Fshop.example%2Ferrors"
    assert (page.status, page.told["path"]) == (503, f"/page/503/503?url={whole}%2Fx%3Fa%3Db")
    assert page.told["headers"].get("x-kept") == "1" and "x-answer" not in page.told["headers"]
    rewritten = ask(front, "/errors", X_Answer="404", Host="shop.example")
    assert (rewritten.status, rewritten.told["path"]) == (410, f"/page/410/404?url={whole}")
    assert ask(front, "/errors", X_Answer="403").told["path"] == "/errors"
    assert ask(front, "/errors", "HEAD", X_Answer="404").status == 410


def test_content_types_by_their_bytes(front: str) -> None:
    for body, told in (
        ("<html>", "text/html; charset=utf-8"),
        ("a", "text/plain; charset=utf-8"),
        ("%PDF-1", "application/pdf"),
    ):
        assert ask(front, f"/typed?{body}").headers["content-type"] == told
    assert ask(front, "/headers").headers["content-type"] == "application/json"


def test_a_circuit_is_broken_and_closed_again(front: str) -> None:
    assert [ask(front, "/circuit", X_Answer=code).status for code in ("200", "500", "500", "500")] == [
        200,
        500,
        500,
        529,
    ]
    assert ask(front, "/circuit").status == 529
    eventually("the backend is asked again", lambda: ask(front, "/circuit").status == 200)


def test_requests_in_flight(front: str) -> None:
    Mirror.leave.clear()
    with ThreadPoolExecutor(2) as pool:
        flying = [pool.submit(ask, front, "/flights") for _ in range(2)]
        try:
            assert all(Mirror.arrived.acquire(timeout=60) for _ in flying)
            assert ask(front, "/flights").status == 429
        finally:
            Mirror.leave.set()
        assert [one.result().status for one in flying] == [200, 200]
    assert ask(front, "/flights").status == 200


def test_middlewares_of_the_whole_gateway(front: str) -> None:
    assert {ask(front, path).headers["x-gateway"] for path in ("/headers", "/add", "/nobody")} == {"front"}


def test_certificates_of_clients(front: str, tmp_path: Path) -> None:
    pem, key = certificate(8)
    file = tmp_path / "client.pem"
    file.write_bytes(pem + key)
    context = any_certificate()

    def told(path: str = "/client") -> dict[str, str]:
        connection = http.client.HTTPSConnection(front, timeout=60, context=context)
        try:
            connection.request("GET", path, headers={"X-Forwarded-Tls-Client-Cert": "forged"})
            return dict(json.loads(connection.getresponse().read())["headers"])
        finally:
            connection.close()

    eventually("the hook is asked", lambda: "x-forwarded-tls-client-cert" not in told())
    context.load_cert_chain(file)
    headers = told()
    assert base64.b64decode(headers["x-forwarded-tls-client-cert"]) == ssl.PEM_cert_to_DER_cert(pem.decode())
    assert unquote_plus(headers["x-forwarded-tls-client-cert-info"]) == f'Subject="CN={HOST}";SerialNumber="8"'


def test_who_may_connect(front: str) -> None:
    def status(port: int) -> int:
        connection = http.client.HTTPConnection(front, port, timeout=10)
        try:
            connection.request("GET", "/x")
            return connection.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            connection.close()

    eventually("who is listed is served", lambda: status(9002) == 200)
    assert status(9001) == 0


def test_keys(front: str) -> None:
    assert [ask(front, "/keys", X_API_Key=key).status for key in ("k1", "k3")] == [200, 401]
    told = ask(front, "/keys", X_API_Key="k2").told["headers"]
    assert told["x-client"] == "you" and "x-api-key" not in told


def test_tokens(front: str) -> None:
    assert ask(front, "/token").status == 401
    good = ask(front, "/token", Authorization=token(iss="us", sub="me"), X_Subject="forged")
    assert good.told["headers"]["x-subject"] == "me"
    for bad in (token(iss="them"), token(b"x" * 32, iss="us"), token(iss="us", exp=1)):
        assert ask(front, "/token", Authorization=bad).status in (401, 403)
    assert ask(front, "/remote").status == 200
    eventually("the keys are fetched", lambda: ask(front, "/remote", Authorization=token()).status == 200)
    assert ask(front, "/remote", Authorization=token(b"x" * 32)).status == 401


def test_faults_and_bandwidth(front: str) -> None:
    assert ask(front, "/fault").status == 418
    assert ask(front, "/slow").status == 200


def test_forged_requests(front: str) -> None:
    def posted(origin: str) -> int:
        return ask(front, "/csrf", "POST", b"x", Host="shop.example", Origin=origin).status

    origins = ("http://shop.example", "https://a.good.example", "http://evil.example")
    assert [posted(origin) for origin in origins] == [200, 200, 403]
    assert ask(front, "/csrf", Origin="http://evil.example").status == 200


def test_redirects_by_any_expression(front: str) -> None:
    eventually("the hook is asked", lambda: ask(front, "/anywhere/book/17").status == 302)
    away = ask(front, "/anywhere/book/17", Host="shop.example")
    assert (away.status, away.headers["location"]) == (302, "http://shop.example/17?kind=book")


def test_encoded_characters(front: str) -> None:
    assert [ask(front, f"/encoded/a{code}b").status for code in ("%2F", "%5c", "%3B", "%20")] == [200, 403, 403, 200]
    assert ask(front, "/encoded?q=%5c").status == 200


def test_an_option_that_cannot_be_honoured_is_told_by_the_route(front: str, real_cluster: Cluster) -> None:
    def told() -> str:
        path = 'jsonpath={.status.parents[0].conditions[?(@.type=="Accepted")].message}'
        return real_cluster.kubectl("-n", NAMESPACE, "get", "httproute", "unknown", "-o", path)

    eventually("the route's status says it", lambda: "spec.rateLimit.redis: this option is not served" in told())
    assert ask(front, "/unknown").status == 404
