"""The capability ``bandwidth``: token buckets at both ends of a pod's link.

What the pod receives is shaped at the bridge's end, what it sends at its own end, where only a container with NET_ADMIN could
change it. Source: CNI conventions (``bandwidth``: bits a second, bits), linux/pkt_sched.h, tc-tbf(8).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sampan.network.cni_call import INVALID_CONFIG, CniError
from sampan.network.netlink import ACK, CREATE, NESTED, REPLACE, Netlink, attribute, message

NEW_QDISC = 36
ROOT = 0xFFFFFFFF
KIND, OPTIONS = 1, 2
TBF_PARAMETERS, TBF_RATE64, TBF_BURST = 1, 4, 6
LATENCY_SECONDS = 0.025
"""How long a packet may wait; the bridge plugin's bandwidth does it as long."""
TICKS_A_SECOND = 15_625_000
"""The kernel's packet scheduler counts 64 ns (``PSCHED_SHIFT`` 6)."""
SMALLEST_BURST_BYTES = 2048
U32 = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Limit:
    rate: int
    """Bytes a second."""
    burst: int
    """Bytes."""


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
    if rate < 8:
        raise CniError(INVALID_CONFIG, f"bandwidth.{way}Rate {rate} is less than a byte a second")
    # the kubelet's burst is the largest there is; a tenth of a second's bytes is enough for any rate
    bytes_a_second = rate // 8
    wanted = burst // 8 or bytes_a_second // 10
    return Limit(bytes_a_second, max(SMALLEST_BURST_BYTES, min(wanted, bytes_a_second, U32 // 2)))


def token_bucket(interface: int, limit: Limit) -> bytes:
    """Return the request that limits what an interface sends."""
    queue = int(limit.rate * LATENCY_SECONDS) + limit.burst
    buffer = min(U32, int(limit.burst * TICKS_A_SECOND / limit.rate))
    rate = struct.pack("=BBHhHI", 0, 1, 0, -1, 0, min(limit.rate, U32))
    parameters = rate + struct.pack("=12xIII", min(queue, U32), buffer, 0)
    options = attribute(TBF_PARAMETERS, parameters) + attribute(TBF_BURST, struct.pack("=I", limit.burst))
    if limit.rate > U32:
        options += attribute(TBF_RATE64, struct.pack("=Q", limit.rate))
    header = struct.pack("=BxHiIII", 0, 0, interface, 0, ROOT, 0)
    body = header + attribute(KIND, b"tbf\0") + attribute(OPTIONS | NESTED, options)
    return message(NEW_QDISC, ACK | CREATE | REPLACE, body)


def shape(name: str, interface: str, netns: int, bandwidth: Bandwidth) -> None:
    """Limit both ends of a pod's link. Raises ``OSError`` where the kernel has no token buckets."""
    if bandwidth.ingress:
        with Netlink() as here:
            link = here.link(name)
            if link:
                here.request(token_bucket(link.number, bandwidth.ingress))
    if bandwidth.egress:
        with Netlink(netns) as pod:
            link = pod.link(interface)
            if link:
                pod.request(token_bucket(link.number, bandwidth.egress))
