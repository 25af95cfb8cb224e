"""A table of routes for each host name (SRDS): Envoy then rebuilds one host's routes at a change, not all hosts'.

Asked for by ``manyHosts`` of GatewayParameters. The scope is chosen by two headers: the table's name, which the listener
sets itself before it looks, and the host, as it is and with the listener's port. Only exact host names can be scopes: with
a wildcard in a table, it is one table again. Source: Envoy's ``ScopedRouteConfiguration``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from sampan.gateway.xds.encode import encode
from sampan.gateway.xds.tls import ADS_SOURCE
from sampan.gateway.xds.types import ROUTES, SCOPES

if TYPE_CHECKING:
    from sampan.gateway.xds.tables import Table

TABLE_HEADER = "x-sampan-table"
CONFIGURATION = "envoy.config.route.v3.RouteConfiguration"
SCOPE = "envoy.config.route.v3.ScopedRouteConfiguration"
EARLY = "envoy.extensions.http.early_header_mutation.header_mutation.v3.HeaderMutation"
OVERWRITE = 2


def encoded(name: str, table: Table, dirty: set[str]) -> Iterator[tuple[str, str, bytes | None]]:
    """Yield ``(type, name, content)`` for the hosts of a table that changed; None for what is gone."""
    for host in dirty if table.scopes_wanted else dirty | table.scopes.keys():
        there = table.scopes_wanted and host in table.hosts and not host.startswith("*")
        port = table.scope_port if there else table.scopes.pop(host, 0)
        if not port:
            continue
        own = f"{name}|{host}"
        head = {"name": own, "request_headers_to_remove": [TABLE_HEADER]}
        yield ROUTES, own, encode(CONFIGURATION, head) + table.hosts[host] if there else None
        for key in (host, f"{host}:{port}"):
            fragments = [{"string_key": name}, {"string_key": key}]
            scope = {"name": f"{name}|{key}", "route_configuration_name": own, "key": {"fragments": fragments}}
            yield SCOPES, f"{name}|{key}", encode(SCOPE, scope) if there else None
        if there:
            table.scopes[host] = port


def scoped_routes(name: str) -> dict[str, Any]:
    """Return the fields of a connection manager that looks its routes up by scope."""
    fragments = [{"header_value_extractor": {"name": header, "index": 0}} for header in (TABLE_HEADER, ":authority")]
    append = {"header": {"key": TABLE_HEADER, "value": name.replace("%", "%%")}, "append_action": OVERWRITE}
    mutation = {"@type": EARLY, "mutations": [{"append": append}]}
    return {
        "scoped_routes": {
            "name": name,
            "scope_key_builder": {"fragments": fragments},
            "rds_config_source": ADS_SOURCE,
            "scoped_rds": {"scoped_rds_config_source": ADS_SOURCE},
        },
        "early_header_mutation_extensions": [{"name": "table", "typed_config": mutation}],
    }
