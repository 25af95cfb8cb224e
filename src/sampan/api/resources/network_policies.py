"""NetworkPolicies. Source: kubernetes pkg/apis/networking/v1/defaults.go, pkg/apis/networking/validation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.addresses import STRICT_SINCE, cidr, cidr_family, strict_cidr
from sampan.api.resources.checking import collect, label_selector, one_of, port_name_messages, port_number
from sampan.api.resources.columns import AGE, NAME, selector
from sampan.api.resources.reading import items, mapping, text
from sampan.schema.causes import forbidden, invalid, required
from sampan.schema.objects import Object

GROUP = "networking.k8s.io"
TYPES = ("Ingress", "Egress")
PROTOCOLS = ("TCP", "UDP", "SCTP")

Check = Callable[[str, str], Iterator[Cause]]
"""Judges a CIDR at a path."""


def default_policy(policy: Object) -> None:
    spec = policy.setdefault("spec", {})
    spec.setdefault("podSelector", {})
    for way in ("ingress", "egress"):
        for rule in items(spec, way):
            for port in items(rule, "ports"):
                port.setdefault("protocol", "TCP")
    if not items(spec, "policyTypes"):
        spec["policyTypes"] = ["Ingress", "Egress"] if items(spec, "egress") else ["Ingress"]


def policy_by_version(minor: int) -> dict[str, Any]:
    return {"validate": collect(partial(validate_policy, strict=minor >= STRICT_SINCE))}


def blocks_of(policy: Object | None) -> Iterator[str]:
    """Yield the CIDRs of a policy."""
    for way, side in (("ingress", "from"), ("egress", "to")):
        for rule in items(policy, "spec", way):
            for peer in items(rule, side):
                yield from (text(peer, "ipBlock", "cidr"), *items(peer, "ipBlock", "except"))


def validate_policy(new: Object, old: Object | None, *, strict: bool) -> Iterator[Cause]:
    """``strict``: CIDRs are of one network, unless they were there before (1.36)."""
    spec, known = mapping(new, "spec"), frozenset(blocks_of(old))

    def check(path: str, value: str) -> Iterator[Cause]:
        return iter(()) if value in known else (strict_cidr if strict else cidr)(path, value)

    yield from label_selector("spec.podSelector", spec.get("podSelector"))
    for way, side in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(items(spec, way)):
            for place, port in enumerate(items(rule, "ports")):
                yield from policy_port(port, f"spec.{way}[{index}].ports[{place}]")
            for place, peer in enumerate(items(rule, side)):
                yield from policy_peer(peer, f"spec.{way}[{index}].{side}[{place}]", check)
    kinds = items(spec, "policyTypes")
    if len(kinds) > len(TYPES):
        yield invalid("spec.policyTypes", kinds, "may not specify more than two policyTypes")
        return
    for index, kind in enumerate(kinds):
        yield from one_of(f"spec.policyTypes[{index}]", kind, TYPES)


def policy_port(port: Object, path: str) -> Iterator[Cause]:
    first, last = port.get("port"), port.get("endPort")
    yield from one_of(f"{path}.protocol", port.get("protocol"), PROTOCOLS)
    if isinstance(first, int):
        yield from port_number(f"{path}.port", first)
        if last is not None:
            if last < first:
                yield invalid(f"{path}.endPort", last, "must be greater than or equal to `port`")
            yield from port_number(f"{path}.endPort", last)
        return
    if last is not None:
        what = "not specified" if first is None else "non-numeric"
        yield invalid(f"{path}.endPort", last, f"may not be specified when `port` is {what}")
    if first is not None:
        for message in port_name_messages(first):
            yield invalid(f"{path}.port", first, message)


def policy_peer(peer: Object, path: str, check: Check) -> Iterator[Cause]:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    for key in given:
        if key == "ipBlock":
            yield from ip_block(peer[key], f"{path}.{key}", check)
        else:
            yield from label_selector(f"{path}.{key}", peer[key])
    if not given:
        yield required(path, "must specify a peer")
    elif "ipBlock" in given and len(given) > 1:
        yield forbidden(path, "may not specify both ipBlock and another peer")


def ip_block(block: Object, path: str, check: Check) -> Iterator[Cause]:
    whole = block.get("cidr") or ""
    if not whole:
        yield required(f"{path}.cidr")
        return
    yield from check(f"{path}.cidr", whole)
    for index, part in enumerate(items(block, "except") if cidr_family(whole) else ()):
        yield from check(f"{path}.except[{index}]", part)
        if cidr_family(part) and not strictly_inside(part, whole):
            yield invalid(f"{path}.except[{index}]", part, "must be a strict subset of `cidr`")


def strictly_inside(part: str, whole: str) -> bool:
    import ipaddress

    inner, outer = ipaddress.ip_network(part, strict=False), ipaddress.ip_network(whole, strict=False)
    same = inner.version == outer.version and inner.prefixlen > outer.prefixlen
    return same and inner.network_address in outer


NETWORK_POLICY = Resource(
    group=GROUP,
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    default=default_policy,
    by_version=policy_by_version,
    trusts_definition=False,
    columns=(NAME, Column("Pod-Selector", selector("spec", "podSelector")), AGE),
)
