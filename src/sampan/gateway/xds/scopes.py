"""The hosts of a table in parts (SRDS): Envoy then rebuilds some of the hosts' routes at a change, not all hosts'.

Asked for by ``manyHosts`` of GatewayParameters. The part is chosen by two headers: the table's name, which the listener
sets itself before it looks, and the host without its port. Which part a host belongs to is told by its checksum, so it never
moves. A part for each host would take Envoy 15 kB a host and some of the time of its start. Only exact host names can be
scopes: with a wildcard in a table, it is one table again. Source: Envoy's ``ScopedRouteConfiguration``.
"""

from __future__ import annotations

import zlib
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
PARTS = 256
"""At 10,000 hosts a change has Envoy rebuild forty of them; a part that is empty is not there."""


def part_of(host: str) -> str:
    """Return the part that a host's routes belong to."""
    return str(zlib.crc32(host.encode()) % PARTS)


def encoded(name: str, table: Table, dirty: set[str]) -> Iterator[tuple[str, str, bytes | None]]:
    """Yield ``(type, name, content)`` for the parts of a table that changed, and their hosts; None for what is gone."""
    wanted = table.scopes_wanted
    changed: dict[str, None] = {}
    for host in dirty if wanted else {host for hosts in table.parts.values() for host in hosts}:
        part = part_of(host)
        hosts = table.parts.setdefault(part, set())
        known = host in hosts
        if wanted and host in table.hosts and not host.startswith("*"):
            if not known:
                hosts.add(host)
                fragments = [{"string_key": name}, {"string_key": host}]
                names = {"name": f"{name}|{host}", "route_configuration_name": f"{name}|{part}"}
                yield SCOPES, f"{name}|{host}", encode(SCOPE, {**names, "key": {"fragments": fragments}})
        elif known:
            hosts.remove(host)
            yield SCOPES, f"{name}|{host}", None
        changed[part] = None
    for part in changed:
        hosts = table.parts[part]
        if not hosts:
            del table.parts[part]
            yield ROUTES, f"{name}|{part}", None
            continue
        head = {"name": f"{name}|{part}", "ignore_port_in_host_matching": True}
        ours = (table.hosts[host] for host in sorted(hosts))
        yield (
            ROUTES,
            f"{name}|{part}",
            b"".join((encode(CONFIGURATION, {**head, "request_headers_to_remove": [TABLE_HEADER]}), *ours)),
        )


def scoped_routes(name: str) -> dict[str, Any]:
    """Return the fields of a connection manager that looks its routes up by scope."""
    without_port = {"name": ":authority", "element_separator": ":", "index": 0}
    fragments = [
        {"header_value_extractor": {"name": TABLE_HEADER, "index": 0}},
        {"header_value_extractor": without_port},
    ]
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
