"""No option is passed over: each changes what Envoy is told, or is refused by its path."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.gateway.middlewares import MIDDLEWARES, OWN, tcp
from sampan.gateway.plugins.loader import Loaded

from .certificates import pair
from .middleware_options import BASES, options, spec_of
from .situation import HTTP, Object, Situation, gateway, obj, route, service
from .test_gateway_login import SAYS
from .test_gateway_middlewares import rule, tcp_situation

CERTIFICATE, KEY = pair("a.example")
EVERYTHING = options()
REFERENCE = re.compile("does not exist|no ReferenceGrant of elsewhere")
"""What names an object is refused by the object's name."""


def secret(name: str, **entries: bytes) -> Object:
    data = {key.replace("_", "-"): base64.b64encode(value).decode() for key, value in entries.items()}
    return {"kind": "Secret", "metadata": {"name": name, "namespace": "shop"}, "data": data}


FOLLOWED = {"stripPrefix.forceSlash"}
"""What these change, a Middleware sees that comes after."""


def there(spec: Object, *after: str) -> Situation:
    """Return a shop with a Gateway of HTTP and HTTPS, whose only route has a Middleware, and others ``after`` it."""
    https = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "pair"}]}}
    certificate = secret("pair")
    certificate["data"] = {
        "tls.crt": base64.b64encode(CERTIFICATE).decode(),
        "tls.key": base64.b64encode(KEY).decode(),
    }
    authorities = secret("authorities")
    authorities["data"] = {"ca.crt": base64.b64encode(CERTIFICATE).decode()}
    jwks = secret("keys")
    jwks["data"] = {"jwks.json": base64.b64encode(b'{"keys": [{"a": 2}]}').decode()}
    found = Situation(
        certificate,
        authorities,
        jwks,
        secret("users", users=b"me:{SHA}AAAA", client_secret=b"a"),
        secret("others", users=b"you:{SHA}AAAA", client_secret=b"b"),
        secret("digests", users=b"me:traefik:" + b"1" * 32),
        service("other"),
        service("web", {"port": 80, "name": "http"}, {"port": 81, "name": "more"}),
        obj("Plugin", "other", {"source": "x"}),
        obj("Middleware", "other", {"addPrefix": {"prefix": "/other"}}),
        gateway(HTTP, https),
        obj("Middleware", "m", spec),
        route("r", rule("m", *after)),
    )
    found.pipeline.put_plugin("shop/other", Loaded("abc", "sampan_plugin_abc_app"), "")
    for issuer in [one for one in found.pipeline.issuers.values() if one is not None]:
        found.pipeline.put_issuer(issuer, {**SAYS, "issuer": issuer.url}, "")
    for path in [path for paths in found.pipeline.databases.values() for path in paths]:
        found.pipeline.put_database(path, f"/run{path}", "")
    found.pipeline.update()
    return found


def told(found: Situation) -> tuple[dict[str, Any], str]:
    """Return all that Envoy is told, and what the route's status says against the Middleware."""
    conditions = found.conditions("HTTPRoute", "r")
    problems = [str(conditions[name]["message"]) for name in ("Accepted", "ResolvedRefs")
                if conditions[name]["status"] == "False"]  # fmt: skip
    return {kind: dict(resources) for kind, resources in found.pipeline.ads.resources.items()}, " ".join(problems)


@pytest.mark.parametrize(("path", "value", "needs"), EVERYTHING, ids=[entry[0] for entry in EVERYTHING])
def test_an_option_changes_what_envoy_is_told_or_is_refused(path: str, value: Any, needs: Any) -> None:
    others = ["other"] if path in FOLLOWED else []
    before, wrong = told(there(spec_of(path, value, needs, with_it=False), *others))
    incomplete = path.startswith("plugin.") or "[]" in path or None in needs.values()
    assert not wrong or incomplete, f"the base is not well: {wrong}"
    after, problem = told(there(spec_of(path, value, needs), *others))
    if problem:
        plain = path.replace("[]", "")
        names = {f"{'.'.join(plain.split('.')[:end])}" for end in range(2, len(plain.split(".")) + 1)}
        numbered = problem.replace("[0]", "")
        assert any(f"spec.{name}" in numbered for name in names) or REFERENCE.search(problem), problem
    else:
        assert before != after, "it makes no difference"


def test_all_options_are_walked() -> None:
    walked: dict[str, set[str]] = {}
    for path, _, _ in EVERYTHING:
        kind, name, *_ = path.split(".")
        walked.setdefault(kind, set()).add(name.removesuffix("[]"))
    assert set(walked) == {*MIDDLEWARES, *OWN} and set(BASES) == set(walked)
    for kind, module in {**MIDDLEWARES, **OWN}.items():
        assert set(module.OPTIONS or ()) <= walked[kind], kind


@pytest.mark.parametrize(
    ("option", "base", "value"),
    [
        ("inFlightConn.amount", 2, 3),
        ("ipAllowList.sourceRange", ["10.0.0.0/8"], ["11.0.0.0/8"]),
        ("ipWhiteList.sourceRange", ["10.0.0.0/8"], ["11.0.0.0/8"]),
    ],
)
def test_an_option_of_connections_changes_what_envoy_is_told(option: str, base: Any, value: Any) -> None:
    kind, _, name = option.partition(".")
    assert name in tcp.MIDDLEWARES[kind]
    before, after = (tcp_situation({kind: {name: one}}).pipeline.ads.resources for one in (base, value))
    assert before != after


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 1 << 70) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=3,
)
SHARED = Situation(service("other"), secret("users", users=b"me:{SHA}AAAA", client_secret=b"a"), route("r", rule("m")))


@settings(deadline=None, max_examples=300)
@given(st.sampled_from(EVERYTHING), JUNK)
def test_any_value_of_an_option_is_served_or_refused(entry: tuple[str, Any, Any], junk: Any) -> None:
    path, _, needs = entry
    SHARED.put(obj("Middleware", "m", spec_of(path, junk, needs)))
    for issuer in [one for one in SHARED.pipeline.issuers.values() if one is not None]:
        SHARED.pipeline.put_issuer(issuer, {**SAYS, "issuer": issuer.url}, "")
    SHARED.pipeline.update()
    assert SHARED.conditions("HTTPRoute", "r")["Accepted"]["message"]


@settings(deadline=None)
@given(st.sampled_from([*BASES]), JUNK)
def test_any_middleware_is_served_or_refused(kind: str, junk: Any) -> None:
    SHARED.put(obj("Middleware", "m", {kind: junk}))
    assert SHARED.conditions("HTTPRoute", "r")["Accepted"]["message"]


@given(st.sampled_from([*tcp.MIDDLEWARES]), JUNK, JUNK)
def test_any_middleware_of_connections_is_served_or_refused(kind: str, junk: Any, option: Any) -> None:
    for spec in ({kind: junk}, {kind: {tcp.MIDDLEWARES[kind][0]: option}}):
        assert tcp_situation(spec).conditions("TCPRoute", "r")["Accepted"]["message"]
