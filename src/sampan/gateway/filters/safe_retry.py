"""A request that changes nothing, and that nobody has answered, goes to another server: the connection it was sent on had
been closed meanwhile, as servers do with those they keep when they end.

Envoy's policy of a route knows no methods. So this filter asks for the retry by ``x-envoy-retry-on``, which the router adds
to the route's policy, and a matcher lets it sleep for other methods. Source: RFC 9110 section 9.2.1, RFC 9112 section 9.3.1.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import HttpFilter

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
MATCHING = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
METHOD = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
SKIP = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
ASLEEP: dict[str, Any] = {"@type": "envoy.config.route.v3.FilterConfig", "disabled": True}
"""Of a route that says itself when it tries again, or how long one try may take."""


def config() -> dict[str, Any]:
    method = {"name": "method", "typed_config": {"@type": METHOD, "header_name": ":method"}}
    safe = [{"single_predicate": {"input": method, "value_match": {"exact": name}}} for name in SAFE]
    skip = {"action": {"name": "skip", "typed_config": {"@type": SKIP}}}
    append = {"header": {"key": "x-envoy-retry-on", "value": "reset"}}
    mutation = {"@type": MUTATION, "mutations": {"request_mutations": [{"append": append}]}}
    unsafe = {"predicate": {"not_matcher": {"or_matcher": {"predicate": safe}}}, "on_match": skip}
    return {
        "@type": MATCHING,
        "extension_config": {"name": "retry", "typed_config": mutation},
        "xds_matcher": {"matcher_list": {"matchers": [unsafe]}},
    }


FILTER = HttpFilter.of(90, "safe-retry", config(), awake=True)
