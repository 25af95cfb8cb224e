"""Every middleware comes to what Envoy does for it, and every option of Traefik's is honoured or refused by its name."""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
import ssl
import subprocess
from datetime import datetime
from typing import Any
from urllib.parse import quote, unquote_plus

import bcrypt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.protobuf import any_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.gateway.hooks import app, basic_auth, digest_auth, pass_tls_client_cert, passwords, redirect_regex
from sampan.gateway.hooks import forward_auth as hooks_forward_auth
from sampan.gateway.middlewares import OWN, circuit_breaker, forward_auth
from sampan.gateway.middlewares.expressions import substitution
from sampan.gateway.middlewares.rate_limit import bucket_of, nanoseconds_of
from sampan.gateway.middlewares.retry_expressions import Again, again_of
from sampan.gateway.middlewares.statuses import statuses_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.plugins.host import Answer
from sampan.gateway.plugins.host import Request as HookRequest
from sampan.gateway.plugins.loader import Loaded
from sampan.gateway.xds.encode import decode
from sampan.gateway.xds.types import CLUSTER, EXTENSION, LISTENER

from .situation import BACKEND, Object, Situation, gateway, obj, route, service

GROUP = "gateway.sampan.dev"


def use(name: str = "m", group: str = GROUP) -> Object:
    return {"type": "ExtensionRef", "extensionRef": {"group": group, "kind": "Middleware", "name": name}}


def rule(*names: str, path: str = "/shop", group: str = GROUP) -> Object:
    match = {"path": {"type": "PathPrefix", "value": path}}
    return {"matches": [match], "filters": [use(name, group) for name in names], "backendRefs": BACKEND}


def served(*specs: Object, path: str = "/shop", listener: Object | None = None) -> Object:
    """Return Envoy's route with the middlewares on it, one after the other."""
    made = [obj("Middleware", f"m{number}", spec) for number, spec in enumerate(specs)]
    there = Situation(*made, route("r", rule(*(one["metadata"]["name"] for one in made), path=path)))
    if listener is not None:
        there.put(gateway(listener))
    (entry,) = there.hosts()["*"]
    return entry


def refused(*specs: Object) -> str:
    """Return why the rule is not served, as the route's status says it."""
    made = [obj("Middleware", f"m{number}", spec) for number, spec in enumerate(specs)]
    there = Situation(*made, route("r", rule(*(one["metadata"]["name"] for one in made))))
    accepted = there.conditions("HTTPRoute", "r")["Accepted"]
    assert accepted["status"] == "False", accepted
    return str(accepted["message"])


def rewritten(*specs: Object, path: str = "/shop") -> tuple[str, str]:
    found = served(*specs, path=path)["route"]["regex_rewrite"]
    return found["pattern"]["regex"], found["substitution"]


def added(entry: Object, which: str = "request") -> dict[str, str]:
    return {one["header"]["key"]: one["header"]["value"] for one in entry.get(f"{which}_headers_to_add", [])}


def test_paths() -> None:
    assert rewritten({"addPrefix": {"prefix": "/api/"}}) == ("^/?(.*)$", "/api/\\1")
    assert rewritten({"stripPrefix": {"prefixes": ["/shop", "/a.b"]}}) == (r"^(?:/shop|/a\.b)/?(.*)$", "/\\1")
    assert rewritten({"stripPrefixRegex": {"regex": ["/v([0-9]+)"]}}) == (r"^(?:/v([0-9]+))/?(.*)$", "/\\2")
    assert rewritten({"replacePath": {"path": "/new"}}) == ("^.*$", "/new")
    regex = {"regex": "^/(.*)/x/(.*)$", "replacement": "/$2/${1}$$"}
    assert rewritten({"replacePathRegex": regex}) == ("^/(.*)/x/(.*)$", "/\\2/\\1$")


def test_the_backend_is_told_what_was_changed() -> None:
    assert added(served({"stripPrefix": {"prefixes": ["/shop"]}})) == {"X-Forwarded-Prefix": "/shop"}
    assert added(served({"stripPrefix": {"prefixes": ["/a", "/shop"]}})) == {"X-Forwarded-Prefix": "/shop"}
    assert added(served({"stripPrefix": {"prefixes": ["/a", "/b"]}}, path="/")) == {}
    assert added(served({"replacePath": {"path": "/new"}})) == {"X-Replaced-Path": "%PATH(NQ:PATH)%"}


def test_a_prefix_after_another_change() -> None:
    chained = rewritten({"stripPrefix": {"prefixes": ["/shop"]}}, {"addPrefix": {"prefix": "api"}})
    assert chained == ("^(?:(?:/shop)(|/.*)|(/)(?:shop)([^/].*))$", "/api\\1\\2\\3")
    forced = rewritten({"stripPrefix": {"prefixes": ["/shop"], "forceSlash": True}}, {"addPrefix": {"prefix": "api"}})
    assert forced == ("^(?:/shop)/?(.*)$", "/api/\\1")
    assert "changed once" in refused({"addPrefix": {"prefix": "/a"}}, {"replacePath": {"path": "/b"}})
    inner = {"replacePathRegex": {"regex": "a", "replacement": "b"}}
    assert "cannot be put before" in refused(inner, {"addPrefix": {"prefix": "/a"}})


def test_a_chain_is_its_members() -> None:
    members = {"middlewares": [{"name": "strip"}, {"name": "add"}]}
    there = Situation(
        obj("Middleware", "strip", {"stripPrefix": {"prefixes": ["/shop"]}}),
        obj("Middleware", "add", {"addPrefix": {"prefix": "/api"}}),
        obj("Middleware", "m", {"chain": members}),
        route("r", rule("m")),
    )
    assert there.hosts()["*"][0]["route"]["regex_rewrite"]["substitution"] == "/api\\1\\2\\3"
    there.put(obj("Middleware", "add", {"addPrefix": {"prefix": "/other"}}))
    assert there.hosts()["*"][0]["route"]["regex_rewrite"]["substitution"] == "/other\\1\\2\\3"
    there.put(obj("Middleware", "m", {"chain": {"middlewares": [{"name": "add"}]}}))
    there.put(obj("Middleware", "add", {"chain": {"middlewares": [{"name": "m"}]}}))
    assert "leads to itself" in there.conditions("HTTPRoute", "r")["Accepted"]["message"]
    there.delete(obj("Middleware", "add", {}))
    assert "shop/add does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]


def test_traefiks_own_kind() -> None:
    foreign = {**obj("Middleware", "m", {"addPrefix": {"prefix": "/api"}}), "kind": "Middleware.traefik.io"}
    there = Situation(foreign, route("r", rule("m", group="traefik.io")))
    assert there.hosts()["*"][0]["route"]["regex_rewrite"]["substitution"] == "/api/\\1"
    there = Situation(foreign, route("r", rule("m")))
    assert "does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]


def test_headers() -> None:
    settings = {
        "customRequestHeaders": {"X-In": "1", "X-Gone": ""},
        "customResponseHeaders": {"X-Out": "100%", "Server": ""},
        "frameDeny": True,
        "contentTypeNosniff": True,
        "browserXssFilter": True,
        "customBrowserXSSValue": "0",
        "referrerPolicy": "no-referrer",
        "stsSeconds": 60,
        "stsPreload": True,
    }
    found = served({"headers": settings})
    assert added(found) == {"X-In": "1"} and found["request_headers_to_remove"] == ["X-Gone"]
    assert found["response_headers_to_remove"] == ["Server"]
    assert added(found, "response") == {
        "X-Out": "100%%",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "X-XSS-Protection": "0",
        "Referrer-Policy": "no-referrer",
    }
    forced = added(served({"headers": {**settings, "forceSTSHeader": True}}), "response")
    assert forced["Strict-Transport-Security"] == "max-age=60; preload"
    behind = {"stsSeconds": 60, "publicKey": "x", "sslProxyHeaders": {"X-Proto": "it's"}}
    told = added(served({"headers": behind}), "response")
    assert told["Strict-Transport-Security"] == (
        r"%CEL((request.headers['x\u002dproto'] == 'it\u0027s') ? 'max\u002dage\u003d60' : '')%"
    )
    assert set(told) == {"Strict-Transport-Security", "Public-Key-Pins"}
    assert added(served({"headers": {**behind, "isDevelopment": True}}), "response") == {}
    developing = {**settings, "forceSTSHeader": True, "isDevelopment": True}
    assert "Strict-Transport-Security" not in added(served({"headers": developing}), "response")


def test_cross_origin_headers() -> None:
    settings = {
        "accessControlAllowOriginList": ["https://a.example"],
        "accessControlAllowOriginListRegex": [r"^https://.*\.b\.example$"],
        "accessControlAllowMethods": ["GET"],
        "accessControlMaxAge": 100,
        "addVaryHeader": True,
    }
    found = served({"headers": settings})
    policy = opened(found["typed_per_filter_config"]["cors"])
    assert [list(one) for one in policy["allow_origin_string_match"]] == [["exact"], ["safe_regex"]]
    assert policy["max_age"] == "100" and added(found, "response") == {"Vary": "Origin"}
    assert "nobody is allowed" in refused({"headers": {"accessControlAllowMethods": ["GET"]}})


def per_route(spec: Object, prefix: str) -> Object:
    configured = served(spec)["typed_per_filter_config"]
    (found,) = [value for name, value in configured.items() if name.startswith(prefix)]
    return opened(found)


def opened(packed: bytes) -> Object:
    """Return the message in an ``Any``."""
    found = any_pb2.Any.FromString(packed)
    return decode(found.type_url.rpartition("/")[2], found.value)


def test_addresses() -> None:
    plain = per_route({"ipAllowList": {"sourceRange": ["10.1.2.3/8", "fd00::/8"]}}, "rbac/addresses")
    principals = plain["rbac"]["rules"]["policies"]["listed"]["principals"]
    assert [one["direct_remote_ip"]["address_prefix"] for one in principals] == ["10.0.0.0", "fd00::"]
    strategy = {"depth": 2, "ipv6Subnet": 64}
    deep = {"sourceRange": ["10.1.0.0/17", "fd00::1"], "ipStrategy": strategy, "rejectStatusCode": 404}
    assert told_to_script({"ipAllowList": deep}, "ip_allow_list") == {
        "ranges": "10.1.0.0/17 fd00::1/128", "status": "404", "depth": "2", "subnet": "64"
    }  # fmt: skip
    hosts = per_route({"headers": {"allowedHosts": ["a.example"]}}, "rbac/hosts")
    assert hosts["rbac"]["rules"]["policies"]["listed"]["principals"][0]["header"]["name"] == ":authority"


def told_to_script(spec: Object, script: str) -> dict[str, str]:
    context = per_route(spec, f"lua/{script}")["filter_context"]["fields"]
    return {name: value["string_value"] for name, value in context.items()}


def asked_of_service(spec: Object, entry: str = "limits") -> list[Object]:
    """Return the actions of each descriptor that our Rate Limit Service gets, with what they write."""
    limits = opened(served(spec)["typed_per_filter_config"][entry])["rate_limits"]
    return [[next(iter(action.values())) for action in limit["actions"]] for limit in limits]


def test_limits_that_our_service_counts() -> None:
    shared = {"average": 2, "period": "1m", "burst": 5, "shared": True, "sourceCriterion": {"requestHost": True}}
    ((limit, source),) = asked_of_service({"rateLimit": shared})
    assert limit == {"descriptor_value": "Middleware shop/m0|30000000000|5", "descriptor_key": "shared"}
    told = told_to_script({"rateLimit": shared}, "source")
    assert told == {"slot": source["metadata_key"]["path"][0]["key"], "by": "host"}
    assert asked_of_service({"rateLimit": {**shared, "failure": "Closed"}}, "limits/closed")[0][0] == limit
    flights: Object = {"inFlightReq": {"amount": 3, "sourceCriterion": {"ipStrategy": {"excludedIPs": ["10.0.0.1"]}}}}
    ((limit, source, identity),) = asked_of_service(flights)
    assert limit == {"descriptor_value": "Middleware shop/m0 HTTPRoute shop/r|3", "descriptor_key": "flight"}
    assert told_to_script(flights, "source")["excluded"] == "10.0.0.1/32"
    ((ended, ended_identity),) = asked_of_service(flights, "limits/ended")
    assert ended["descriptor_key"] == "ended" and ended_identity == identity
    both = served(flights, {"rateLimit": shared})["typed_per_filter_config"]
    assert len(opened(both["limits"])["rate_limits"]) == 2 and {"lua/source", "lua/source#1"} < set(both)
    again = served(flights, {"rateLimit": {**shared, "sourceCriterion": flights["inFlightReq"]["sourceCriterion"]}})
    assert "lua/source#1" not in again["typed_per_filter_config"], "the same client is looked for once"
    there = Situation(obj("Middleware", "m", flights), route("r", rule("m")))
    assert "sampan/limits" in there.names(CLUSTER)
    there.put(obj("Middleware", "m", {"addPrefix": {"prefix": "/x"}}))
    assert "sampan/limits" not in there.names(CLUSTER)


@pytest.mark.parametrize("option", ["shared", "failure"])
def test_options_of_ours_are_not_traefiks(option: str) -> None:
    middleware = {**obj("Middleware", "m", {"rateLimit": {"average": 1, option: "x"}}), "kind": "Middleware.traefik.io"}
    there = Situation(middleware, route("r", rule("m", group="traefik.io")))
    told = there.conditions("HTTPRoute", "r")["Accepted"]["message"]
    assert f"spec.rateLimit.{option}: only a Middleware of {GROUP} has this" in told


def test_limits() -> None:
    found = per_route({"rateLimit": {"average": 100, "burst": 50}}, "rate-limit")
    assert found["token_bucket"]["max_tokens"] == 50 and found["descriptors"][0]["entries"] == [
        {"key": "remote_address"}
    ]
    by_header = {"average": 1, "sourceCriterion": {"requestHeaderName": "X-Tenant"}}
    found = per_route({"rateLimit": by_header}, "rate-limit")
    assert found["rate_limits"][0]["actions"][0]["request_headers"]["header_name"] == "x-tenant"
    assert "typed_per_filter_config" not in served({"rateLimit": {"average": 0}})
    assert per_route({"buffering": {"maxRequestBodyBytes": 10}}, "buffer")["buffer"]["max_request_bytes"] == {
        "value": 10
    }


@pytest.mark.parametrize(
    ("average", "burst", "period", "tokens", "nanoseconds", "most"),
    [
        (10, 1, "1s", 1, 100_000_000, 1),
        (100, 50, "1s", 5, 50_000_000, 50),
        (1, 1, "1m", 1, 60_000_000_000, 1),
        (6, 3, "1m30s", 1, 15_000_000_000, 3),
        (10_000, 1, 1, 500, 50_000_000, 500),
    ],
)
def test_buckets_fill_evenly(average: int, burst: int, period: str, tokens: int, nanoseconds: int, most: int) -> None:
    found = bucket_of(average, burst, nanoseconds_of(period))
    fill = found["fill_interval"]["seconds"] * 1_000_000_000 + found["fill_interval"]["nanos"]
    assert (found["tokens_per_fill"]["value"], fill, found["max_tokens"]) == (tokens, nanoseconds, most)


def test_retries() -> None:
    found = served({"retry": {"attempts": 4, "initialInterval": "100ms", "status": ["500-501", "429"]}})
    policy = found["route"]["retry_policy"]
    assert policy["num_retries"] == {"value": 3} and policy["retriable_status_codes"] == [429, 500, 501]
    assert policy["retry_back_off"]["base_interval"]["nanos"] == 100_000_000


def test_two_of_a_kind_are_both_honoured_or_refused() -> None:
    twice = served({"rateLimit": {"average": 1}}, {"rateLimit": {"average": 2}})["typed_per_filter_config"]
    assert sorted(twice) == ["rate-limit", "rate-limit/1"]
    for one, other in (
        ({"buffering": {"maxRequestBodyBytes": 1}}, {"buffering": {"maxRequestBodyBytes": 2}}),
        ({"retry": {"attempts": 1}}, {"retry": {"attempts": 2}}),
        ({"csrf": {}}, {"csrf": {"additionalOrigins": ["a"]}}),
    ):
        assert "says otherwise" in refused(one, other)
        served(one, one)


def test_retries_of_statuses_alone() -> None:
    settings = {"attempts": 2, "status": ["503"], "disableRetryOnNetworkError": True}
    found = served({"retry": settings})
    assert found["route"]["retry_policy"].get("retry_on", "") == ""
    (asks,) = [name for name in found["typed_per_filter_config"] if name.startswith("retry/")]
    there = Situation(obj("Middleware", "m", {"retry": settings}), route("r", rule("m")))
    (entry,) = [one for one in there.pipeline.world.get("HttpFilters", "shop/gw/80") if one.name == asks]
    (matcher,) = opened(entry.config)["xds_matcher"]["matcher_list"]["matchers"]
    listed = [
        one["single_predicate"]["value_match"]["exact"] for one in matcher["predicate"]["or_matcher"]["predicate"]
    ]
    assert listed == ["LOCK", "PATCH", "POST"], "these do not wake it"
    found = served({"retry": {**settings, "retryNonIdempotentMethod": True, "maxRequestBodyBytes": 9}})
    assert found["route"]["retry_policy"]["retry_on"] == "retriable-status-codes"
    assert found["request_body_buffer_limit"] == {"value": 9}


ALL_ERRORS = tuple(range(500, 600))


@pytest.mark.parametrize(
    ("expression", "again"),
    [
        ("IsNetworkError() && Attempts() <= 2", Again((502, 504), 2)),
        ("ResponseCode() == 503 || (ResponseCode()>=502&&ResponseCode() < 503)", Again((502, 503), 10)),
        ('ResponseCode() > 499 && Attempts() != 3 && Attempts() < 3 && RequestMethod() == "GET"',
         Again(ALL_ERRORS, 2, ("GET",))),
        ('RequestMethod() != "POST" && IsNetworkError()', Again((502, 504), 10, (), ("POST",))),
        ('IsNetworkError() && (RequestMethod() == "GET" || RequestMethod() != "PUT")', Again((502, 504), 10, (), ("PUT",))),
    ],
)  # fmt: skip
def test_expressions_of_retries(expression: str, again: Again) -> None:
    assert again_of(expression) == again


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "Required value"),
        ("x" * 1001, "longer than 1000"),
        ("Attempts() > 2", "the same for all tries"),
        ("ResponseCode() == 503 && Attempts() < 2 || IsNetworkError()", "the same for all tries"),
        ('IsNetworkError() && (RequestMethod() == "GET" || Attempts() < 2)', "the same for all methods"),
        ("ResponseCode() == 7", "never true"),
        ("!IsNetworkError()", "is not understood"),
        ("ResponseCode() == x", "a number, not x"),
        ('RequestMethod() > "GET"', "a text in double quotes"),
        ("(" * 100, "too deep"),
        ("IsNetworkError() IsNetworkError()", "'IsNetworkError' is not expected"),
    ],
)
def test_expressions_of_retries_that_are_refused(expression: str, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        again_of(expression)


@given(st.text(st.sampled_from('IsNetworkError()ResponseCodeAttempts<>=!&|0123. ,"GET'), max_size=40))
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_expression_of_retries_or_refused(text: str) -> None:
    try:
        again_of(text)
    except Unsupported as error:
        assert str(error).startswith("retryExpression: ")


def test_content_types_that_are_not_compressed() -> None:
    spec = {"compress": {"encodings": ["gzip"], "excludedContentTypes": ["text/html"]}}
    there = Situation(obj("Middleware", "m", spec), route("r", rule("m")))
    (entry,) = there.pipeline.world.get("HttpFilters", "shop/gw/80")
    types = opened(entry.config)["response_direction_config"]["common_config"]["content_type"]
    assert "text/html" not in types and "text/css" in types


@pytest.mark.parametrize(("kept", "location"), [(False, "http://auth:8080/login"), (True, "/login")])
def test_where_an_authentication_server_sends_to(kept: bool, location: str) -> None:
    told = {"authSigninURL": "", "address": "http://auth:8080/x", "preserveLocationHeader": kept}
    answer = hooks_forward_auth.refused(HookRequest({}, ""), told, 302, {"location": "/login"}, "")
    assert answer.headers["location"] == location


def test_redirects() -> None:
    found = served({"redirectScheme": {"scheme": "https", "port": "8443", "permanent": True}})["redirect"]
    assert (found["scheme_redirect"], found["port_redirect"], found["response_code"]) == ("https", 8443, 4)
    assert "redirect" not in served({"redirectScheme": {"scheme": "http"}})
    settings = {"regex": r"^http://old\.example/(.*)", "replacement": "https://new.example/v2/${1}"}
    found = served({"redirectRegex": settings})
    assert "redirect" not in found, "Envoy would not look at the host"
    assert "plugin/Middleware shop/m0" in found["typed_per_filter_config"]
    whole = {"regex": "^http://(.*)", "replacement": "https://${1}"}
    assert served({"redirectRegex": whole})["redirect"]["scheme_redirect"] == "https"


def test_compression_and_grpc_web() -> None:
    there = Situation(
        obj("Middleware", "m", {"compress": {"encodings": ["br", "gzip"], "minResponseBodyBytes": 10}}),
        obj("Middleware", "w", {"grpcWeb": {"allowOrigins": ["*"]}}),
        route("r", rule("m", "w")),
    )
    awake = there.hosts()["*"][0]["typed_per_filter_config"]
    assert sorted(name.rpartition("/")[0] or name for name in awake) == [
        "compress/br",
        "compress/gzip",
        "cors",
        "grpc-web",
    ]


def secret(text: str, name: str = "users", **more: Any) -> Object:
    data = {"users": base64.b64encode(text.encode()).decode()}
    return {**obj("Secret", name, {}), "data": data, **more}


def test_a_hook_is_swapped_when_its_secret_changes_and_goes_with_its_middleware() -> None:
    middleware = obj("Middleware", "m", {"basicAuth": {"secret": "users"}})
    there = Situation(middleware, route("r", rule("m")))
    assert "Secret shop/users does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    there.put(secret("me:{SHA}x"))
    name = "plugin/Middleware shop/m"
    assert name in there.hosts()["*"][0]["typed_per_filter_config"]
    before = there.get(EXTENSION, name)
    there.put(secret("you:{SHA}x"))
    assert there.get(EXTENSION, name) != before
    there.delete(middleware)
    assert name not in there.names(EXTENSION)


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("auth", "10.96.0.7"),
        ("auth.shop", "10.96.0.7"),
        ("auth.shop.svc", "10.96.0.7"),
        ("auth.shop.svc.cluster.local", "10.96.0.7"),
        ("other.else.svc", "auth.example"),
        ("auth.example.com", ""),
        ("somewhere", ""),
        ("10.0.0.1", ""),
    ],
)
def test_names_of_services_for_forwarded_authentication(host: str, address: str) -> None:
    world = Situation(
        obj("Service", "auth", {"clusterIP": "10.96.0.7"}),
        obj("Service", "other", {"type": "ExternalName", "externalName": "auth.example"}, "else"),
    ).pipeline.world
    assert forward_auth.settings_of({"address": f"http://{host}:8080/x"}, "shop", world)["connectTo"] == address


def test_a_service_that_is_asked_is_followed() -> None:
    middleware = obj("Middleware", "m", {"forwardAuth": {"address": "http://auth.shop.svc/x"}})
    there = Situation(middleware, route("r", rule("m")))
    assert "Service shop/auth does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    there.put(obj("Service", "auth", {"clusterIP": "None"}))
    assert "has no address of its own" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    name, seen = "plugin/Middleware shop/m", []
    for address in ("10.96.0.7", "10.96.0.8"):
        there.put(obj("Service", "auth", {"clusterIP": address}))
        seen.append(there.get(EXTENSION, name))
    assert seen[0] != seen[1]
    assert there.conditions("HTTPRoute", "r")["ResolvedRefs"]["status"] == "True"


def asked(module: Any, settings: Object, **http: Any) -> Answer | HookRequest:
    """Return what a hook answers a request, or the request that it lets pass."""
    request = HookRequest({"path": "/x", "host": "a.example", **http}, "10.0.0.9")
    answer = module.make(settings)(request)
    return answer if isinstance(answer, Answer) else request


BASIC = {"realm": "here", "headerField": "X-User", "removeHeader": True}


def test_basic_authentication() -> None:
    kept = {
        "sha": "{SHA}" + base64.b64encode(hashlib.sha1(b"p:w").digest()).decode(),
        "bc": bcrypt.hashpw(b"p:w", bcrypt.gensalt(4)).decode(),
    }
    kept["bc2y"] = kept["bc"].replace("$2b$", "$2y$")
    for user in kept:
        header = "Basic " + base64.b64encode(f"{user}:p:w".encode()).decode()
        passed = asked(basic_auth, {"users": kept, **BASIC}, headers={"Authorization": header})
        assert isinstance(passed, HookRequest), user
        assert passed.headers.changed == {"x-user": user} and passed.headers.removed == {"authorization"}
    for header in ("", "Basic", "Basic !", "Bearer x", "Basic " + base64.b64encode(b"sha:no").decode()):
        refused_one = asked(basic_auth, {"users": kept, **BASIC}, headers={"authorization": header} if header else {})
        assert isinstance(refused_one, Answer) and refused_one.status == 401
        assert refused_one.headers == {"www-authenticate": 'Basic realm="here"'}


@pytest.mark.parametrize("scheme", ["-apr1", "-1"])
@given(password=st.text(st.characters(codec="ascii", categories=("L", "N", "P")), min_size=1, max_size=40))
@settings(max_examples=5, deadline=None)
def test_md5_passwords_are_those_of_openssl(scheme: str, password: str) -> None:
    command = ["openssl", "passwd", scheme, "-salt", "abcdefgh", "-stdin"]
    kept = subprocess.run(command, input=password, capture_output=True, text=True, check=True).stdout.strip()
    assert passwords.fits(password, kept) and not passwords.fits(password + "x", kept)


def digest(challenge: str, user: str, password: str, count: int = 1, uri: str = "/x") -> str:
    nonce = re.search(r'nonce="(\w+)"', challenge)
    assert nonce is not None

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    response = md5(f"{md5(f'{user}:here:{password}')}:{nonce[1]}:{count:08x}:c:auth:{md5(f'GET:{uri}')}")
    return (
        f'Digest username="{user}", realm="here", nonce="{nonce[1]}", uri="{uri}", qop=auth, nc={count:08x}, cnonce="c", '
        f'response="{response}"'
    )


def test_digest_authentication() -> None:
    kept = {"me:here": hashlib.md5(b"me:here:secret").hexdigest()}
    hook = digest_auth.make({"users": kept, **BASIC})

    def ask(header: str) -> Answer | HookRequest:
        request = HookRequest({"path": "/x", "headers": {"authorization": header} if header else {}}, "")
        answer = hook(request)
        return answer if isinstance(answer, Answer) else request

    first = ask("")
    assert isinstance(first, Answer) and first.status == 401
    challenge = first.headers["www-authenticate"]
    passed = ask(digest(challenge, "me", "secret"))
    assert isinstance(passed, HookRequest) and passed.headers.changed == {"x-user": "me"}
    replayed = ask(digest(challenge, "me", "secret"))
    assert isinstance(replayed, Answer) and replayed.status == 401
    assert isinstance(ask(digest(challenge, "me", "secret", 2)), HookRequest)
    for header in (digest(challenge, "me", "wrong", 3), digest(challenge, "you", "secret", 3), "Digest x", "Basic x"):
        assert isinstance(ask(header), Answer)
    assert isinstance(ask(digest(challenge, "me", "secret", 4, "/other")), Answer)
    forged = digest('nonce="' + "0" * 40 + '"', "me", "secret", 5)
    assert isinstance(ask(forged), Answer)


@pytest.mark.parametrize(
    ("regex", "replacement", "path", "location"),
    [
        ("^http://a.example/(\\d+)/(.*)", "http://b.example/$2?id=${1}", "/17/x", "http://b.example/x?id=17"),
        ("/old", "/new", "/old/old", "http://a.example/new/old"),
        ("^https", "http", "/x", ""),
    ],
)
def test_redirects_by_any_expression(regex: str, replacement: str, path: str, location: str) -> None:
    answer = asked(redirect_regex, {"regex": regex, "replacement": replacement, "permanent": False}, path=path)
    assert (answer.headers["location"] if isinstance(answer, Answer) else "") == location


def test_certificates_of_clients_are_told() -> None:
    pem = client_certificate()
    names = dict.fromkeys(("country", "organization", "organizationalUnit", "commonName", "domainComponent"), True)
    info = {"notAfter": True, "notBefore": True, "sans": True, "serialNumber": True, "subject": names, "issuer": names}
    hook = pass_tls_client_cert.make({"pem": True, "info": info})
    forged = {"X-Forwarded-Tls-Client-Cert": "x", "X-Forwarded-Tls-Client-Cert-Info": "y"}
    request = HookRequest({"headers": forged}, "", certificate=quote(pem))
    assert hook(request) is None
    raw = base64.b64decode(request.headers["x-forwarded-tls-client-cert"])
    assert raw == ssl.PEM_cert_to_DER_cert(pem)
    assert unquote_plus(request.headers["x-forwarded-tls-client-cert-info"]) == (
        'Subject="C=FR,O=Cheese,CN=me";Issuer="C=FR,O=Cheese,CN=me";SerialNumber="77";NB="1767225600";NA="1798761600";'
        'SAN="a.example,10.0.0.1"'
    )
    without = HookRequest({"headers": forged}, "")
    hook(without)
    assert not without.headers


def client_certificate() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    attributes = ((NameOID.COMMON_NAME, "me"), (NameOID.ORGANIZATION_NAME, "Cheese"), (NameOID.COUNTRY_NAME, "FR"))
    name = x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])
    alternatives = [x509.IPAddress(ipaddress.ip_address("10.0.0.1")), x509.DNSName("a.example")]
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(77).not_valid_before(datetime(2026, 1, 1)).not_valid_after(datetime(2027, 1, 1))
    builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def test_names_of_applications() -> None:
    told = {"users": {"me": "{SHA}ü"}, **BASIC}
    module, _, name = app.app_name("basic_auth", told).partition(":")
    assert module == "sampan.gateway.hooks.app" and name.isidentifier() and callable(getattr(app, name))
    with pytest.raises(AttributeError):
        app.nothing__there  # noqa: B018


def test_a_certificate_for_an_authentication_server_that_is_none() -> None:
    tls = {"certSecret": "own"}
    there = Situation(
        obj("Middleware", "m", {"forwardAuth": {"address": "https://who.example", "tls": tls}}), route("r", rule("m"))
    )
    assert "Secret shop/own does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    data = {name: base64.b64encode(b"x").decode() for name in ("tls.crt", "tls.key")}
    there.put({"kind": "Secret", "metadata": {"name": "own", "namespace": "shop"}, "data": data})
    told = there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    assert "Secret shop/own: tls.crt and tls.key are not a PEM certificate and key" in told


def test_pages_of_errors() -> None:
    settings = {"status": ["502-503"], "statusRewrites": {"503": 500}, "service": {"name": "web", "port": "http"}}
    context = per_route({"errors": settings}, "lua/errors")["filter_context"]["fields"]
    assert sorted(context["statuses"]["struct_value"]["fields"]) == ["502", "503"]
    assert context["rewrites"]["struct_value"]["fields"] == {"503": {"string_value": "500"}}
    assert context["cluster"]["string_value"] == "shop/web/80" and not {"headers", "host"} & set(context)
    own = {
        **settings,
        "query": "page",
        "service": {"name": "web", "port": 80, "passHostHeader": False, "scheme": "h2c"},
    }
    context = per_route({"errors": own}, "lua/errors")["filter_context"]["fields"]
    assert {name: context[name]["string_value"] for name in ("host", "query", "cluster")} == {
        "host": "web", "query": "/page", "cluster": "shop/web/80/h2"
    }  # fmt: skip
    there = Situation(
        obj("Middleware", "m", {"errors": {**settings, "service": {"name": "pages", "port": 80}}}),
        route("r", rule("m")),
    )
    assert "pages does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    there.put(service("pages"))
    assert "shop/pages/80" in there.names(CLUSTER)


@pytest.mark.parametrize(
    ("text", "lua"),
    [
        ("NetworkErrorRatio() > 0.30", "(((m.network_error_ratio() > 0.30)))"),
        (
            "!(1 == 2) && LatencyAtQuantileMS(50.0) >= 100",
            "(((not (((1 == 2)))) and (m.latency_at_quantile_ms(50.0) >= 100)))",
        ),
        (
            "1 != 2 || ResponseCodeRatio(500, 600, 0, 600) < 1",
            "(((1 ~= 2)) or ((m.response_code_ratio(500, 600, 0, 600) < 1)))",
        ),
    ],
)
def test_expressions_of_circuit_breakers(text: str, lua: str) -> None:
    assert circuit_breaker.Expression(text).lua() == lua


@given(st.text(st.sampled_from("NetworkErrorRatio()<>=!&|0123. ,()"), max_size=30))
@settings(max_examples=200, deadline=None)
def test_any_text_is_an_expression_or_refused(text: str) -> None:
    try:
        circuit_breaker.Expression(text).lua()
    except Unsupported as error:
        assert str(error).startswith("expression: ")


def test_plugins_by_name() -> None:
    there = Situation(obj("Middleware", "m", {"plugin": {"geo": {}}}), route("r", rule("m")))
    assert "Plugin shop/geo does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    there.put(obj("Plugin", "geo", {"source": "x"}))
    there.pipeline.put_plugin("shop/geo", Loaded("abc", "sampan_plugin_abc_app"), "")
    there.pipeline.update()
    assert "plugin/shop/geo/question" in there.hosts()["*"][0]["typed_per_filter_config"]
    there.put(obj("Middleware", "m", {"plugin": {"geo": {"country": "FR"}}}))
    assert "spec.plugin.geo.country" in there.conditions("HTTPRoute", "r")["Accepted"]["message"]


@pytest.mark.parametrize("name", OWN)
def test_what_traefik_does_not_have_is_of_our_own_kind(name: str) -> None:
    foreign = {**obj("Middleware", "m", {name: {}}), "kind": "Middleware.traefik.io"}
    there = Situation(foreign, route("r", rule("m", group="traefik.io")))
    told = there.conditions("HTTPRoute", "r")["Accepted"]["message"]
    assert f"spec.{name}: only a Middleware of gateway.sampan.dev has this" in told


def test_faults_and_bandwidth() -> None:
    fault = per_route({"fault": {"delay": {"duration": "1s", "percent": 0.5}, "abort": {"status": 503}}}, "fault")
    assert fault["delay"]["percentage"] == {"numerator": 5000, "denominator": 2}
    assert fault["abort"]["http_status"] == 503
    limit = per_route({"bandwidthLimit": {"kibPerSecond": 64, "direction": "Request"}}, "bandwidth")
    assert (limit["enable_mode"], limit["limit_kbps"]) == (1, {"value": 64})


def test_keys_and_tokens() -> None:
    there = Situation(
        obj("Middleware", "m", {"apiKeyAuth": {"secret": "users", "hideKey": True}}), route("r", rule("m"))
    )
    assert "Secret shop/users does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    there.put(secret("abc"))
    config = opened(there.hosts()["*"][0]["typed_per_filter_config"]["api-key"])
    assert config["credentials"] == [{"key": "abc", "client": "users"}] and config["forwarding"]["hide_credentials"]
    keys = {"name": "web", "port": "http", "path": "/keys"}
    there.put(obj("Middleware", "m", {"jwt": {"jwksService": keys, "optional": True, "issuer": "me"}}))
    (name,) = [one for one in there.hosts()["*"][0]["typed_per_filter_config"] if one.startswith("jwt/")]
    (found,) = [one for one in there.pipeline.world.get("HttpFilters", "shop/gw/80") if one.name == name]
    config = opened(found.config)
    assert config["providers"]["token"]["remote_jwks"]["http_uri"]["uri"] == "http://web/keys"
    assert len(config["requirement_map"]["token"]["requires_any"]["requirements"]) == 2


# what is refused


def test_a_middleware_that_there_is_not() -> None:
    assert "spec.teleport: this middleware is not served" in refused({"teleport": {}})


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({}, "one middleware is expected"),
        ({"addPrefix": {"prefix": "/a"}, "replacePath": {"path": "/b"}}, "one middleware is expected"),
        ({"addPrefix": {}}, "spec.addPrefix.prefix: Required value"),
        ({"stripPrefix": {"prefixes": []}}, "spec.stripPrefix.prefixes: Required"),
        ({"stripPrefixRegex": {"regex": ["("]}}, "no regular expression"),
        ({"replacePath": {"path": "x"}}, "must begin with a slash"),
        ({"replacePathRegex": {"regex": "(?P<a>x)", "replacement": "${a}"}}, "by number"),
        ({"ipAllowList": {"sourceRange": ["x"]}}, "spec.ipAllowList.sourceRange"),
        ({"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "ipStrategy": {"depth": -1}}}, "ipStrategy.depth: must be"),
        (
            {"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "ipStrategy": {"excludedIPs": ["x"]}}},
            "ipStrategy.excludedIPs",
        ),
        ({"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "ipStrategy": {"ipv6Subnet": 129}}}, "ipStrategy.ipv6Subnet"),
        (
            {"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "ipStrategy": {"ring": 1}}},
            "ipAllowList.ipStrategy.ring: this",
        ),
        ({"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "rejectStatusCode": 4040}}, "rejectStatusCode"),
        ({"rateLimit": {"average": 1, "period": "soon"}}, "no duration"),
        (
            {"rateLimit": {"average": 1, "sourceCriterion": {"ipStrategy": {"depth": 101}}}},
            "Criterion.ipStrategy.depth",
        ),
        ({"rateLimit": {"average": 1, "shared": True, "failure": "Ajar"}}, "spec.rateLimit.failure: 'Ajar' is none of"),
        ({"rateLimit": {"average": 1, "failure": "Open"}}, "spec.rateLimit.failure: without shared"),
        ({"rateLimit": {"average": 1, "sourceCriterion": {"requestHost": True, "requestHeaderName": "a"}}}, "one of"),
        ({"retry": {"attempts": 0}}, "spec.retry.attempts"),
        ({"retry": {"attempts": 2, "timeout": "1us"}}, "spec.retry.timeout: must be a millisecond"),
        ({"rateLimit": {"average": 1, "redis": {}}}, "spec.rateLimit.redis: this option is not served: shared,"),
        ({"retry": {"attempts": 2, "status": ["700"]}}, "700"),
        ({"buffering": {"maxRequestBodyBytes": -1}}, "maxRequestBodyBytes"),
        ({"compress": {"encodings": ["lz4"]}}, "lz4"),
        ({"compress": {"includedContentTypes": ["a/b"], "excludedContentTypes": ["a/c"]}}, "not together"),
        ({"retry": {"attempts": 2, "disableRetryOnNetworkError": True}}, "disableRetryOnNetworkError"),
        ({"compress": {"defaultEncoding": "gzip", "encodings": ["br"]}}, "compress.defaultEncoding: 'gzip' is none of"),
        ({"forwardAuth": {"address": "http://a", "maxBodySize": 1}}, "forwardAuth.maxBodySize: it is for forwardBody"),
        ({"forwardAuth": {"address": "http://a", "forwardBody": True, "maxBodySize": -1}}, "forwardAuth.maxBodySize"),
        ({"forwardAuth": {"address": "http://a", "maxResponseBodySize": 0}}, "forwardAuth.maxResponseBodySize"),
        ({"jwt": {"jwks": '{"keys": [{}]}', "claims": {"a": [{}]}}}, "spec.jwt.claims.a: texts, numbers and truths"),
        ({"jwt": {"jwks": '{"keys": [{}]}', "claims": {"a": []}}}, "spec.jwt.claims.a: one value or more"),
        ({"jwt": {"jwksUri": "x"}}, "spec.jwt.jwksUri: 'x' is no URL"),
        ({"jwt": {"jwks": '{"keys": [{}]}', "tls": {"caSecret": "x"}}}, "spec.jwt.tls: it is for jwksUri"),
        ({"redirectScheme": {"scheme": "ftp"}}, "neither http nor https"),
        ({"redirectScheme": {"scheme": "https", "port": "x"}}, "no port"),
        ({"redirectRegex": {"regex": "(", "replacement": "bar"}}, "spec.redirectRegex.regex"),
        ({"redirectRegex": {"regex": "foo"}}, "spec.redirectRegex.replacement"),
        ({"basicAuth": {}}, "spec.basicAuth.secret: Required value"),
        ({"basicAuth": {"users": ["me:plain"]}}, "line 1 is no user"),
        ({"digestAuth": {"users": ["me:here:x"]}}, "line 1 is no user:realm:hash"),
        ({"digestAuth": {"users": [f"me:here:{'0' * 32}"]}}, "nobody is of the realm"),
        ({"forwardAuth": {"address": "who"}}, "must be a URL"),
        (
            {"forwardAuth": {"address": "http://who", "tls": {"caOptional": True}}},
            "forwardAuth.tls.caOptional: it does",
        ),
        ({"headers": {"sslRedirect": True}}, "spec.headers.sslRedirect: Traefik 3 does nothing with it"),
        ({"headers": {"hostsProxyHeaders": ["X-Host"]}}, "spec.headers.hostsProxyHeaders: without allowedHosts"),
        ({"headers": {"sslProxyHeaders": {"X-Proto": "https"}}}, "spec.headers.sslProxyHeaders: nothing is told"),
        ({"retry": {"attempts": 2, "maxRequestBodyBytes": 7}}, "spec.retry.maxRequestBodyBytes: without status"),
        ({"retry": {"attempts": 2, "status": ["503"], "maxRequestBodyBytes": -2}}, "maxRequestBodyBytes: must be"),
        ({"buffering": {"retryExpression": "IsNetworkError("}}, "spec.buffering.retryExpression: 'IsNetworkError('"),
        ({"buffering": {"memResponseBodyBytes": -1}}, "spec.buffering.memResponseBodyBytes"),
        ({"errors": {}}, "spec.errors.status: Required"),
        ({"errors": {"status": ["500"], "service": {"name": "web", "nativeLB": True}}}, "service.nativeLB"),
        (
            {"errors": {"status": ["500"], "service": {"name": "web", "port": 80, "scheme": "ftp"}}},
            "service.scheme: 'ftp'",
        ),
        (
            {"errors": {"status": ["500"], "service": {"name": "web", "port": 80, "scheme": "https"}}},
            "no BackendTLSPolicy",
        ),
        (
            {"errors": {"status": ["500"], "service": {"name": "web", "port": 80}, "statusRewrites": {"4": 500}}},
            "statusRewrites",
        ),
        ({"circuitBreaker": {}}, "spec.circuitBreaker.expression: Required"),
        ({"circuitBreaker": {"expression": "NetworkErrorRatio() >"}}, "more is expected, not the end"),
        ({"circuitBreaker": {"expression": "NetworkErrorRatio() > 0.1 x"}}, "'x' is not expected"),
        ({"circuitBreaker": {"expression": "os.exit()"}}, "is not understood"),
        ({"circuitBreaker": {"expression": "Exit() > 1"}}, "'Exit' is none of"),
        ({"circuitBreaker": {"expression": "ResponseCodeRatio(1) > 1"}}, "takes 4 numbers"),
        ({"circuitBreaker": {"expression": "(" * 100}}, "too deep"),
        ({"circuitBreaker": {"expression": "1 < 2", "checkPeriod": "0s"}}, "spec.circuitBreaker.checkPeriod"),
        ({"circuitBreaker": {"expression": "1 < 2", "responseCode": 7}}, "spec.circuitBreaker.responseCode"),
        ({"inFlightReq": {}}, "spec.inFlightReq.amount"),
        ({"inFlightReq": {"amount": 1, "sourceCriterion": {"colour": "red"}}}, "inFlightReq.sourceCriterion.colour"),
        ({"passTLSClientCert": {}}, "neither pem nor info"),
        ({"passTLSClientCert": {"info": {"sans": True, "shoes": True}}}, "spec.passTLSClientCert.info.shoes"),
        ({"passTLSClientCert": {"info": {"issuer": {"organizationalUnit": True}}}}, "info.issuer.organizationalUnit"),
        ({"apiKeyAuth": {}}, "spec.apiKeyAuth.secret: Required value"),
        ({"apiKeyAuth": {"keySources": [{"body": "x"}]}}, "spec.apiKeyAuth.keySources[0]"),
        ({"jwt": {}}, "spec.jwt.jwks: one of"),
        ({"jwt": {"jwks": "{"}}, "spec.jwt.jwks: no JSON"),
        ({"jwt": {"jwks": "[]"}}, "spec.jwt.jwks: it has no keys"),
        ({"jwt": {"jwksService": {"name": "web", "scheme": "x"}}}, "spec.jwt.service.scheme"),
        ({"cache": {"maxSizeMiB": 0}}, "spec.cache.maxSizeMiB: must be 1 to"),
        ({"cache": {"maxSizeMiB": 1, "maxBodyKiB": 1025}}, "spec.cache.maxBodyKiB: more than the cache may hold"),
        ({"cache": {"defaultTTL": -1}}, "spec.cache.defaultTTL"),
        ({"cache": {"statusHeader": "a b"}}, "spec.cache.statusHeader: 'a b' is no name"),
        ({"cors": {}}, "spec.cors.allowOrigins: Required value"),
        ({"cors": {"allowOrigins": ["a.example"]}}, "spec.cors.allowOrigins: 'a.example' cannot stand there"),
        ({"cors": {"allowOrigins": ["*"], "maxAge": 0}}, "spec.cors.maxAge"),
        ({"fault": {}}, "spec.fault.delay: neither"),
        ({"fault": {"abort": {"status": 700}}}, "spec.fault.abort.status"),
        ({"fault": {"abort": {"status": 503, "percent": 101}}}, "spec.fault.abort.percent"),
        ({"fault": {"delay": {"duration": "soon"}}}, "spec.fault.delay.duration"),
        ({"fault": {"delay": {"duration": "1s", "jitter": "1s"}}}, "spec.fault.delay.jitter"),
        ({"bandwidthLimit": {}}, "spec.bandwidthLimit.kibPerSecond"),
        ({"bandwidthLimit": {"kibPerSecond": 1, "direction": "Up"}}, "spec.bandwidthLimit.direction"),
        ({"csrf": {"origins": []}}, "spec.csrf.origins: this option is not served"),
        ({"plugin": {}}, "one Plugin is expected"),
        ({"headers": {"customRequestHeaders": {"a b": "x"}}}, "customRequestHeaders"),
    ],
)
def test_what_cannot_be_honoured_is_told(spec: Object, told: str) -> None:
    assert told in refused(spec)


@pytest.mark.parametrize("ranges", [["x"], ["1-"], ["599-500"], ["99"], ["500-600"]])
def test_ranges_that_are_none(ranges: list[str]) -> None:
    with pytest.raises(Unsupported):
        statuses_of(ranges, "status")


def test_templates_of_go() -> None:
    assert substitution("a\\b$1${2}$3$$", 2, "x") == "a\\\\b\\1\\2$"


# of a whole Gateway, of all rules of a route, of connections


def annotated(one: Object, text: str) -> Object:
    return {**one, "metadata": {**one["metadata"], "annotations": {"gateway.sampan.dev/middlewares": text}}}


def test_middlewares_of_a_gateway_come_before_those_of_its_routes() -> None:
    there = Situation(
        annotated(gateway(), "all"),
        obj("Middleware", "all", {"chain": {"middlewares": [{"name": "strip"}]}}),
        obj("Middleware", "strip", {"stripPrefix": {"prefixes": ["/shop"]}}),
        obj("Middleware", "add", {"addPrefix": {"prefix": "/api"}}),
        annotated(route("r", rule()), "add"),
    )
    assert there.hosts()["*"][0]["route"]["regex_rewrite"]["substitution"] == "/api\\1\\2\\3"
    there.put(obj("Middleware", "strip", {"rateLimit": {"redis": {}}}))
    told = there.conditions("HTTPRoute", "r")["Accepted"]["message"]
    assert "Gateway shop/gw: Middleware shop/all: spec.chain.spec.rateLimit.redis: this option is not served" in told
    there.put(gateway())
    assert there.hosts()["*"][0]["route"]["regex_rewrite"]["substitution"] == "/api/\\1"
    there.put(annotated(gateway(), "traefik.io/all"))
    assert "does not exist" in there.conditions("HTTPRoute", "r")["ResolvedRefs"]["message"]
    assert there.hosts()["*"][0]["direct_response"] == {"status": 500}
    there.put(annotated(gateway(), "a/b/c"))
    assert "is neither NAME nor GROUP/NAME" in there.conditions("HTTPRoute", "r")["Accepted"]["message"]


def tcp_situation(spec: Object, text: str = "traefik.io/m") -> Situation:
    middleware = {**obj("MiddlewareTCP", "m", spec), "kind": "MiddlewareTCP.traefik.io"}
    listener = {"name": "tcp", "port": 9000, "protocol": "TCP"}
    rules = {"backendRefs": BACKEND}
    return Situation(middleware, gateway(listener), annotated(route("r", rules, kind="TCPRoute"), text))


def test_middlewares_of_connections() -> None:
    there = tcp_situation({"ipAllowList": {"sourceRange": ["10.0.0.0/8"]}})
    filters = there.get(LISTENER, "shop/gw/9000")["filter_chains"][0]["filters"]
    assert [one["name"] for one in filters] == ["middleware/0", "tcp"]
    found = opened(filters[0]["typed_config"])["rules"]["policies"]["listed"]["principals"]
    assert found == [{"direct_remote_ip": {"address_prefix": "10.0.0.0", "prefix_len": {"value": 8}}}]


def test_connections_of_a_client_that_are_counted() -> None:
    there = tcp_situation({"inFlightConn": {"amount": 3}})
    listener = there.get(LISTENER, "shop/gw/9000")
    entries = opened(listener["filter_chains"][0]["filters"][0]["typed_config"])["descriptors"][0]["entries"]
    told = {entry["key"]: entry["value"] for entry in entries}
    assert told["flight"] == "MiddlewareTCP shop/m TCPRoute shop/r|3" and told["identity"].startswith(
        "%DOWNSTREAM_REMOTE_ADDRESS%>"
    )
    log = opened(listener["access_log"][0]["typed_config"])["common_config"]
    assert log["grpc_service"]["envoy_grpc"]["cluster_name"] == "sampan/limits"
    assert "sampan/limits" in there.names(CLUSTER)
    there.put(
        {**obj("MiddlewareTCP", "m", {"ipAllowList": {"sourceRange": ["::/0"]}}), "kind": "MiddlewareTCP.traefik.io"}
    )
    assert "access_log" not in there.get(LISTENER, "shop/gw/9000") and "sampan/limits" not in there.names(CLUSTER)


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"inFlightConn": {}}, "MiddlewareTCP shop/m: spec.inFlightConn.amount: must be 1 to"),
        ({"inFlightConn": {"amount": 1, "sourceCriterion": {}}}, "spec.inFlightConn.sourceCriterion: this option"),
        ({"ipAllowList": {}}, "spec.ipAllowList.sourceRange: Required value"),
        ({"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "ipStrategy": {}}}, "spec.ipAllowList.ipStrategy"),
        ({"other": {}}, "spec.other: this middleware is not served"),
        ({}, "one middleware is expected"),
    ],
)
def test_what_connections_cannot_be_held_to_is_told(spec: Object, told: str) -> None:
    there = tcp_situation(spec)
    assert told in there.conditions("TCPRoute", "r")["Accepted"]["message"]
    assert "shop/gw/9000" not in there.names(LISTENER)


def test_a_middleware_of_connections_that_is_not_there_lets_nobody_in() -> None:
    there = tcp_situation({}, "m")
    assert "MiddlewareTCP.gateway.sampan.dev shop/m" in there.conditions("TCPRoute", "r")["ResolvedRefs"]["message"]
    (chain,) = there.get(LISTENER, "shop/gw/9000")["filter_chains"]
    assert opened(chain["filters"][0]["typed_config"])["cluster"] == "sampan/nowhere"
