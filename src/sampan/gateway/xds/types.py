"""The types of resources that Envoy is told, in the order in which it is told additions (removals go the other way)."""

from __future__ import annotations

PREFIX = "type.googleapis.com/"
CLUSTER = PREFIX + "envoy.config.cluster.v3.Cluster"
SECRET = PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret"
ENDPOINTS = PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment"
LISTENER = PREFIX + "envoy.config.listener.v3.Listener"
ROUTES = PREFIX + "envoy.config.route.v3.RouteConfiguration"
SCOPES = PREFIX + "envoy.config.route.v3.ScopedRouteConfiguration"
EXTENSION = PREFIX + "envoy.config.core.v3.TypedExtensionConfig"
ORDER = (CLUSTER, SECRET, ENDPOINTS, LISTENER, EXTENSION, SCOPES, ROUTES)
WILDCARD = frozenset((CLUSTER, LISTENER, SCOPES))
"""Types of which Envoy wants all."""
WARMING = frozenset((CLUSTER, LISTENER))
"""Types whose acknowledgement may wait for others that they name."""
EAGER = frozenset((SECRET, ENDPOINTS))
"""Types that do not wait for clusters: clusters wait for them."""
