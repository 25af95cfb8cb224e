"""A request that changes nothing, and that nobody has answered, goes to another server: the connection it was sent on had
been closed meanwhile, as servers do with those they keep when they end.

Envoy's policy knows no methods. So a filter asks for the retry by ``x-envoy-retry-on``, which the router adds
to the policy, and a matcher lets it sleep for other methods. Source: RFC 9110 section 9.2.1, RFC 9112 section 9.3.1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

from sampan.gateway.filters.seam import AWAKE, Draft, HttpFilter

SAFE = ("GET", "HEAD", "OPTIONS", "TRACE")
MATCHING = "envoy.extensions.common.matching.v3.ExtensionWithMatcher"
MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
METHOD = "envoy.type.matcher.v3.HttpRequestHeaderMatchInput"
SKIP = "envoy.extensions.filters.common.matcher.action.v3.SkipFilter"
ASLEEP: dict[str, Any] = {"@type": "envoy.config.route.v3.FilterConfig", "disabled": True}
"""Of a route that says itself when it tries again, or how long one try may take."""
ORDER = 90
PREVIOUS_HOSTS = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
UNSEEN = "connect-failure,refused-stream,reset-before-request"
"""What ends a try before a backend has seen the request."""
POLICY: dict[str, Any] = {
    "retry_on": UNSEEN,
    "num_retries": {"value": 2},
    "retry_host_predicate": [{"name": "others", "typed_config": {"@type": PREVIOUS_HOSTS}}],
    "host_selection_retry_max_attempts": 5,
}
"""A request that no backend has seen may be sent again, whatever its method, to another: pods come and go. Clusters say it,
for the routes that say nothing else: a policy takes Envoy a kilobyte, and there are more routes than Services."""


def config(retry_on: str, methods: Collection[str], *, others: bool = False) -> dict[str, Any]:
    """Return the filter that asks for a retry of requests of some methods; ``others``: of all but those."""
    method = {"name": "method", "typed_config": {"@type": METHOD, "header_name": ":method"}}
    named = [{"single_predicate": {"input": method, "value_match": {"exact": name}}} for name in methods]
    is_one = {"or_matcher": {"predicate": named}} if len(named) > 1 else named[0]
    skip = {"action": {"name": "skip", "typed_config": {"@type": SKIP}}}
    append = {"header": {"key": "x-envoy-retry-on", "value": retry_on}}
    mutation = {"@type": MUTATION, "mutations": {"request_mutations": [{"append": append}]}}
    sleeps = {"predicate": is_one if others else {"not_matcher": is_one}, "on_match": skip}
    return {
        "@type": MATCHING,
        "extension_config": {"name": "retry", "typed_config": mutation},
        "xds_matcher": {"matcher_list": {"matchers": [sleeps]}},
    }


FILTER = HttpFilter.of(ORDER, "safe-retry", config("reset", SAFE), awake=True)


def ask(draft: Draft, retry_on: str, methods: Collection[str], *, others: bool = False) -> None:
    """Let a route's policy hold, for requests of some methods (``others``: of all but those), on ``retry_on`` too."""
    listed = sorted(methods)
    name = hashlib.sha256(" ".join((retry_on, str(others), *listed)).encode()).hexdigest()[:8]
    draft.need(HttpFilter.of(ORDER, f"retry/{name}", config(retry_on, listed, others=others)), AWAKE)
