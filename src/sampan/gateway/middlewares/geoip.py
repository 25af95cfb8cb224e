"""``geoip`` (ours alone): the backend is told where a client is, by MaxMind databases; countries may be let in or kept out.

The databases are files on the gateway's machine (``.mmdb``: City, Country, ASN, ISP, Anonymous IP); they are followed
(``databases.py``). What a client says of itself in the same headers is taken away first. Source: Envoy's HTTP filter
``geoip`` and its provider ``maxmind``.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sampan.gateway.filters.seam import AWAKE, Draft, HttpFilter, Site
from sampan.gateway.middlewares import access
from sampan.gateway.model.verdicts import Unresolved, Unsupported
from sampan.gateway.model.world import World
from sampan.schema.objects import Object

OPTIONS = ("databases", "headers", "depth", "allowCountries", "denyCountries")
TYPE = "envoy.extensions.filters.http.geoip.v3.Geoip"
MAXMIND = "envoy.extensions.geoip_providers.maxmind.v3.MaxMindConfig"
MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
MUTATION_PER_ROUTE = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"
DATABASES = {
    "city": "city_db_path",
    "country": "country_db_path",
    "asn": "asn_db_path",
    "isp": "isp_db_path",
    "anonymous": "anon_db_path",
}
CITY, COUNTRY, ASN, ISP, ANONYMOUS = DATABASES
TOLD = {
    "country": ("country", (COUNTRY, CITY)),
    "city": ("city", (CITY,)),
    "region": ("region", (CITY,)),
    "asn": ("asn", (ASN, ISP)),
    "isp": ("isp", (ISP,)),
    "anonymous": ("anon", (ANONYMOUS,)),
    "vpn": ("anon_vpn", (ANONYMOUS,)),
    "hosting": ("anon_hosting", (ANONYMOUS,)),
    "tor": ("anon_tor", (ANONYMOUS,)),
    "proxy": ("anon_proxy", (ANONYMOUS,)),
    "privateRelay": ("apple_private_relay", (ISP,)),
}
"""What may be told → Envoy's name for it, and the databases of which one has it."""
OWN_HEADER = "x-sampan-country"
ORDER = 13


def apply(settings: Object, draft: Draft, site: Site) -> None:
    databases = databases_of(settings.get("databases") or {}, site.world)
    headers = headers_of(settings.get("headers") or {}, databases)
    allowed, denied = (countries(settings, name) for name in ("allowCountries", "denyCountries"))
    if allowed and denied:
        raise Unsupported("denyCountries: with allowCountries nobody is left to be kept out")
    if not headers and not allowed and not denied:
        raise Unsupported("headers: neither headers nor countries: it would do nothing")
    if (allowed or denied) and "country" not in headers:
        need(databases, "country", "allowCountries" if allowed else "denyCountries")
        headers["country"] = OWN_HEADER
        removed = draft.route.setdefault("request_headers_to_remove", [])
        removed += [name for name in (OWN_HEADER,) if name not in removed]
    clean(draft, sorted(headers.values()))
    config = geoip(databases, headers, depth_of(settings))
    name = f"geoip/{hashlib.sha256(repr(config).encode()).hexdigest()[:12]}"
    draft.need(HttpFilter.of(ORDER, name, config), AWAKE)
    if allowed or denied:
        matcher: dict[str, Any] = {
            "name": headers["country"],
            "string_match": {"safe_regex": {"regex": "|".join(allowed or denied)}},
            "treat_missing_header_as_empty": True,
            "invert_match": bool(denied),
        }
        access.allow(draft, "countries", [{"header": matcher}])


def databases_of(given: Object, world: World) -> dict[str, str]:
    """Return where Envoy finds the databases. Raises ``Unsupported``, ``Unresolved``."""
    if not given:
        raise Unsupported("databases: Required value")
    copies = {}
    for name, path in given.items():
        if name not in DATABASES:
            raise Unsupported(f"databases.{name}: this option is not served")
        if not isinstance(path, str) or not path.startswith("/"):
            raise Unsupported(f"databases.{name}: an absolute path on the gateway's machine is expected")
        copies[name] = world.get("Database", path)
        if copies[name] is None:
            problem = world.get("DatabaseProblem", path) or "it has not been read yet"
            raise Unresolved("InvalidMiddleware", f"geoip.databases.{name}: {path}: {problem}")
    return copies


def paths_of(settings: Object) -> set[str]:
    """Return the databases that have to be followed."""
    given = (settings.get("databases") or {}).values()
    return {path for path in given if isinstance(path, str) and path.startswith("/")}


def headers_of(given: Object, databases: dict[str, str]) -> dict[str, str]:
    """Return what is told in which header: Traefik's way, header → what."""
    found: dict[str, str] = {}
    for header, what in given.items():
        if what not in TOLD:
            raise Unsupported(f"headers.{header}: {what!r} is none of {', '.join(TOLD)}")
        if what in found:
            raise Unsupported(f"headers.{header}: {what} is told in {found[what]} already")
        need(databases, what, f"headers.{header}")
        found[what] = header.lower()
    return found


def need(databases: dict[str, str], what: str, at: str) -> None:
    if not any(name in databases for name in TOLD[what][1]):
        raise Unsupported(f"{at}: no database of {' or '.join(TOLD[what][1])} is given")


def countries(settings: Object, name: str) -> list[str]:
    found = settings.get(name) or []
    for code in found:
        if not isinstance(code, str) or len(code) != 2 or not code.isascii() or not code.isalpha():
            raise Unsupported(f"{name}: {code!r} is no country of ISO 3166-1 (two letters)")
    return sorted(code.upper() for code in found)


def depth_of(settings: Object) -> int:
    depth = settings.get("depth") or 0
    if not isinstance(depth, int) or not 0 <= depth <= 100:
        raise Unsupported("depth: must be 0 to 100")
    return depth


def clean(draft: Draft, headers: list[str]) -> None:
    """Take away what the client says in these headers."""
    known = draft.route.get("typed_per_filter_config", {})
    number = sum(1 for one in known if one.startswith("headers/taken"))
    entry = HttpFilter.of(ORDER - 1, f"headers/taken/{number}", {"@type": MUTATION})
    mutations = {"request_mutations": [{"remove": name} for name in headers]}
    draft.need(entry, {"@type": MUTATION_PER_ROUTE, "mutations": mutations})


def geoip(databases: dict[str, str], headers: dict[str, str], depth: int) -> dict[str, Any]:
    provider: dict[str, Any] = {DATABASES[name]: path for name, path in databases.items()}
    provider["common_provider_config"] = {"geo_field_keys": {TOLD[what][0]: name for what, name in headers.items()}}
    typed = {"@type": MAXMIND, **provider}
    config: dict[str, Any] = {"@type": TYPE, "provider": {"name": "maxmind", "typed_config": typed}}
    if depth:  # Envoy's own entry of X-Forwarded-For is the one after the last that is trusted
        config["xff_config"] = {"xff_num_trusted_hops": depth}
    return config
