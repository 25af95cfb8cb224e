"""The search list of the pod that asks: with it a name is looked for in one round trip instead of five; pure.

A resolver with ``ndots:5`` asks for ``www.example.org`` first as ``www.example.org.shop.svc.cluster.local``. We know whose
address asks, so we know its list, and go on along it ourselves. Names that the client meant as they stand do not leave the
cluster: one label alone, and what is below a Service of its own namespace. Source: resolv.conf(5), CoreDNS's ``autopath``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sampan.dns import wire
from sampan.dns.entries import PodEntry


def search_list(pod: PodEntry, domain: str, host_searches: Iterable[str]) -> list[str]:
    """Return a pod's search list as its node writes it; empty where another server than ours is asked first."""
    if pod.searches is None:
        return []
    usual = [f"{pod.namespace}.svc.{domain}", f"svc.{domain}", domain, *host_searches, *pod.searches]
    return list(dict.fromkeys(one.rstrip(".").lower() for one in usual))


def candidates(name: bytes, searches: list[str], is_service: Callable[[str], bool]) -> list[bytes]:
    """Return the names that a client would come to ask for, the first being what it asks for now; that one alone where
    it is no first step of a search. ``is_service``: whether the pod's namespace has a Service of this name."""
    if not searches:
        return [name]
    first = wire.name_to_wire(searches[0])
    base = name[: -len(first)]
    if not base or not wire.is_below(name, first):
        return [name]
    labels = wire.wire_to_name(base + b"\0").split(".")
    ends = [wire.name_to_wire(one) for one in searches[1:]]
    if len(labels) > 1 and not is_service(labels[-1]):
        ends.append(b"\0")
    return [name, *(base + end for end in ends if len(base) + len(end) <= 255)]
