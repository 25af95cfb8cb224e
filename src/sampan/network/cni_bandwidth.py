"""The capability ``bandwidth``: token buckets at both ends of a pod's link.

What the pod receives is shaped at the bridge's end, what it sends at its own end, where only a container with NET_ADMIN could
change it. Source: CNI conventions (``bandwidth``: bits a second, bits).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.network import qdiscs
from sampan.network.cni_call import INVALID_CONFIG, CniError
from sampan.network.route_netlink import Netlink

SMALLEST_RATE = 8


@dataclass(frozen=True, slots=True)
class Limit:
    rate_bits: int
    """A second."""
    burst_bytes: int


@dataclass(frozen=True, slots=True)
class Bandwidth:
    ingress: Limit | None = None
    egress: Limit | None = None


def bandwidth_of(runtime: Mapping[str, Any]) -> Bandwidth:
    """Return the limits of a call's ``runtimeConfig``. Raises ``CniError``."""
    given = runtime.get("bandwidth") or {}
    if not isinstance(given, dict):
        raise CniError(INVALID_CONFIG, "runtimeConfig.bandwidth is not an object")
    return Bandwidth(_limit(given, "ingress"), _limit(given, "egress"))


def _limit(given: Mapping[str, Any], way: str) -> Limit | None:
    rate, burst = given.get(f"{way}Rate") or 0, given.get(f"{way}Burst") or 0
    for name, value in ((f"{way}Rate", rate), (f"{way}Burst", burst)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise CniError(INVALID_CONFIG, f"bandwidth.{name} {value!r} is no number of bits")
    if not rate:
        if burst:
            raise CniError(INVALID_CONFIG, f"bandwidth.{way}Burst is given without {way}Rate")
        return None
    if rate < SMALLEST_RATE:
        raise CniError(INVALID_CONFIG, f"bandwidth.{way}Rate {rate} is less than a byte a second")
    # runtimes of Kubernetes ask for the largest burst there is; more than a second's bytes would be no limit
    return Limit(rate, min(burst // 8, rate // 8))


def shape(name: str, interface: str, netns: int, bandwidth: Bandwidth) -> None:
    """Limit both ends of a pod's link. Raises ``OSError`` where the kernel has no token buckets."""
    if bandwidth.ingress:
        with Netlink() as here:
            link = here.link(name)
            if link:
                here.request(qdiscs.shape(link.number, bandwidth.ingress.rate_bits, bandwidth.ingress.burst_bytes))
    if bandwidth.egress:
        with Netlink(netns) as pod:
            link = pod.link(interface)
            if link:
                pod.request(qdiscs.shape(link.number, bandwidth.egress.rate_bits, bandwidth.egress.burst_bytes))
