"""Every middleware comes to what Envoy does for it, and every option of Traefik's is honoured or refused by its name."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2

from sampan.gateway.middlewares import MIDDLEWARES, NOT_SERVED
from sampan.gateway.middlewares.expressions import substitution
from sampan.gateway.middlewares.rate_limit import bucket_of
from sampan.gateway.middlewares.statuses import statuses_of
from sampan.gateway.model.verdicts import Unsupported
from sampan.gateway.xds.encode import decode

from .situation import BACKEND, Object, Situation, gateway, obj, route

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
    assert chained == ("^(?:/shop)/?(.*)$", "/api/\\1")
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
    assert there.hosts()["*"][0]["route"]["regex_rewrite"]["substitution"] == "/api/\\1"
    there.put(obj("Middleware", "add", {"addPrefix": {"prefix": "/other"}}))
    assert there.hosts()["*"][0]["route"]["regex_rewrite"]["substitution"] == "/other/\\1"
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
    deep = per_route({"ipAllowList": {"sourceRange": ["10.1.0.0/16"], "ipStrategy": {"depth": 2}}}, "rbac/addresses")
    matcher = deep["rbac"]["rules"]["policies"]["listed"]["principals"][0]["header"]
    assert matcher["string_match"]["safe_regex"]["regex"] == r"(?:.*,\s*)?10\.1\.\d+\.\d+(?:\s*,[^,]*){1}"
    hosts = per_route({"headers": {"allowedHosts": ["a.example"]}}, "rbac/hosts")
    assert hosts["rbac"]["rules"]["policies"]["listed"]["principals"][0]["header"]["name"] == ":authority"


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
    found = bucket_of(average, burst, period)
    fill = found["fill_interval"]["seconds"] * 1_000_000_000 + found["fill_interval"]["nanos"]
    assert (found["tokens_per_fill"]["value"], fill, found["max_tokens"]) == (tokens, nanoseconds, most)


def test_retries() -> None:
    found = served({"retry": {"attempts": 4, "initialInterval": "100ms", "status": ["500-501", "429"]}})
    policy = found["route"]["retry_policy"]
    assert policy["num_retries"] == {"value": 3} and policy["retriable_status_codes"] == [429, 500, 501]
    assert policy["retry_back_off"]["base_interval"]["nanos"] == 100_000_000


def test_redirects() -> None:
    found = served({"redirectScheme": {"scheme": "https", "port": "8443", "permanent": True}})["redirect"]
    assert (found["scheme_redirect"], found["port_redirect"], found["response_code"]) == ("https", 8443, 4)
    assert "redirect" not in served({"redirectScheme": {"scheme": "http"}})
    settings = {"regex": r"^http://old\.example/(.*)", "replacement": "https://new.example/v2/${1}"}
    found = served({"redirectRegex": settings})["redirect"]
    assert found["host_redirect"] == "new.example" and found["regex_rewrite"]["substitution"] == "/v2/\\1"
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


# what is refused

TRAEFIK: dict[str, tuple[str, ...]] = {
    "addPrefix": ("prefix",),
    "buffering": ("maxRequestBodyBytes", "memRequestBodyBytes", "maxResponseBodyBytes", "memResponseBodyBytes",
                  "retryExpression"),
    "chain": ("middlewares",),
    "compress": ("excludedContentTypes", "includedContentTypes", "minResponseBodyBytes", "encodings", "defaultEncoding"),
    "grpcWeb": ("allowOrigins",),
    "headers": ("customRequestHeaders", "customResponseHeaders", "accessControlAllowCredentials", "accessControlAllowHeaders",
                "accessControlAllowMethods", "accessControlAllowOriginList", "accessControlAllowOriginListRegex",
                "accessControlExposeHeaders", "accessControlMaxAge", "addVaryHeader", "allowedHosts", "hostsProxyHeaders",
                "sslProxyHeaders", "stsSeconds", "stsIncludeSubdomains", "stsPreload", "forceSTSHeader", "frameDeny",
                "customFrameOptionsValue", "contentTypeNosniff", "browserXssFilter", "customBrowserXSSValue",
                "contentSecurityPolicy", "contentSecurityPolicyReportOnly", "publicKey", "referrerPolicy",
                "permissionsPolicy",
                "isDevelopment", "featurePolicy"),
    "ipAllowList": ("sourceRange", "ipStrategy", "rejectStatusCode"),
    "rateLimit": ("average", "period", "burst", "sourceCriterion", "redis"),
    "redirectRegex": ("regex", "replacement", "permanent"),
    "redirectScheme": ("scheme", "port", "permanent"),
    "replacePath": ("path",),
    "replacePathRegex": ("regex", "replacement"),
    "retry": ("attempts", "initialInterval", "timeout", "status", "maxRequestBodyBytes", "disableRetryOnNetworkError",
              "retryNonIdempotentMethod"),
    "stripPrefix": ("prefixes", "forceSlash"),
    "stripPrefixRegex": ("regex",),
}  # fmt: skip
"""The options of Traefik 3."""


def test_every_option_of_traefik_is_honoured_or_refused_by_its_name() -> None:
    for name, options in TRAEFIK.items():
        for option in options:
            if option not in MIDDLEWARES[name].OPTIONS:
                assert f"spec.{name}.{option}: this option is not served" in refused({name: {option: "x"}})
    assert set(TRAEFIK) == set(MIDDLEWARES)
    for name in NOT_SERVED:
        assert f"spec.{name}: this middleware is not served" in refused({name: {}})


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
        ({"ipAllowList": {"sourceRange": ["10.0.0.0/9"], "ipStrategy": {"depth": 1}}}, "/8, /16, /24"),
        ({"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "ipStrategy": {"excludedIPs": ["1.1.1.1"]}}}, "excludedIPs"),
        ({"ipAllowList": {"sourceRange": ["10.0.0.0/8"], "rejectStatusCode": 404}}, "rejectStatusCode"),
        ({"rateLimit": {"average": 1, "period": "soon"}}, "no duration"),
        ({"rateLimit": {"average": 1, "sourceCriterion": {"ipStrategy": {"depth": 1}}}}, "ipStrategy.depth"),
        ({"rateLimit": {"average": 1, "sourceCriterion": {"requestHost": True, "requestHeaderName": "a"}}}, "one of"),
        ({"retry": {"attempts": 0}}, "spec.retry.attempts"),
        ({"retry": {"attempts": 2, "status": ["700"]}}, "700"),
        ({"buffering": {"maxRequestBodyBytes": -1}}, "maxRequestBodyBytes"),
        ({"compress": {"encodings": ["lz4"]}}, "lz4"),
        ({"compress": {"defaultEncoding": "gzip"}}, "defaultEncoding"),
        ({"redirectScheme": {"scheme": "ftp"}}, "neither http nor https"),
        ({"redirectScheme": {"scheme": "https", "port": "x"}}, "no port"),
        ({"redirectRegex": {"regex": "foo", "replacement": "bar"}}, "spec.redirectRegex.regex"),
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
