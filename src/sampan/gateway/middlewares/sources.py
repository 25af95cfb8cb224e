"""Who is counted: Traefik's ``sourceCriterion`` and ``ipStrategy``.

A short script (``lua/source.lua``) writes who it is into the request's metadata, where Envoy's filters of limits read it.
Source: Traefik v3, pkg/ip/strategy.go, pkg/middlewares/extractor.go: a client of no address, and a header that is not
there, count as one more client.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
from typing import Any

from sampan.gateway.filters.seam import Draft
from sampan.gateway.middlewares import scripts
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
KEPT = "sampan.source"
IDENTITY = "identity"
CRITERIA = ("ipStrategy", "requestHeaderName", "requestHost")
STRATEGY = ("depth", "excludedIPs", "ipv6Subnet")
ORDER = 16
"""Before all that reads it."""
MOST_DEPTH = 100


def criterion_of(criterion: Object, otherwise: Object, at: str = "sourceCriterion") -> dict[str, Any]:
    """Return what ``lua/source.lua`` is told of a criterion. Raises ``Unsupported``."""
    for name in criterion:
        if name not in CRITERIA:
            raise Unsupported(f"{at}.{name}: this option is not served")
    given = {name: value for name, value in criterion.items() if value not in (None, False, "")} or otherwise
    if len(given) != 1:
        raise Unsupported(f"{at}: one of {', '.join(CRITERIA)}")
    ((name, value),) = given.items()
    if name == "requestHost":
        return {"by": "host"}
    if name == "requestHeaderName":
        return {"by": "header", "header": value.lower()}
    return {"by": "address", **strategy_of(value, f"{at}.ipStrategy")}


def strategy_of(strategy: Object, at: str = "ipStrategy") -> dict[str, str]:
    """Return what the script is told of an ``ipStrategy``: nothing where the client is who connected. Raises
    ``Unsupported``."""
    for name in strategy:
        if name not in STRATEGY:
            raise Unsupported(f"{at}.{name}: this option is not served")
    depth, subnet = strategy.get("depth") or 0, strategy.get("ipv6Subnet")
    told = {}
    if not isinstance(depth, int) or not 0 <= depth <= MOST_DEPTH:
        raise Unsupported(f"{at}.depth: must be 0 to {MOST_DEPTH}")
    if depth:
        told["depth"] = str(depth)
    elif strategy.get("excludedIPs"):
        told["excluded"] = ranges(networks_of(strategy["excludedIPs"], f"{at}.excludedIPs"))
    if subnet is not None:
        if not isinstance(subnet, int) or not 0 < subnet <= 128:
            raise Unsupported(f"{at}.ipv6Subnet: must be 1 to 128")
        told["subnet"] = str(subnet)
    return told


def networks_of(texts: list[str], at: str) -> list[Network]:
    """Return the ranges of some texts; an address is one. Raises ``Unsupported``."""
    for text in texts:
        if not isinstance(text, str):
            raise Unsupported(f"{at}: {text!r} is no address or range")
    try:
        return [ipaddress.ip_network(text, strict=False) for text in texts]
    except ValueError as error:
        raise Unsupported(f"{at}: {error}") from error


def ranges(networks: list[Network]) -> str:
    """Return ranges as the script reads them."""
    return " ".join(str(one) for one in networks)


def source(draft: Draft, told: dict[str, Any]) -> dict[str, Any]:
    """Let a route find who a request is from; return Envoy's action of a descriptor that has it under ``source``."""
    slot = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:12]
    context = {"slot": slot, **told}
    if not scripts.is_run(draft, "source", context):
        scripts.run(draft, ORDER, "source", context, library="address")
    return kept("source", slot)


def kept(descriptor_key: str, slot: str) -> dict[str, Any]:
    return {
        "metadata": {
            "descriptor_key": descriptor_key,
            "metadata_key": {"key": KEPT, "path": [{"key": slot}]},
        }
    }
