"""Queueing disciplines at a link's exit: a token bucket for a rate, netem for a delay, where the kernel has them.

Source: linux/pkt_sched.h, linux/rtnetlink.h, net/sched/sch_tbf.c, net/sched/sch_netem.c, tc-tbf(8), tc-netem(8).
"""

from __future__ import annotations

import struct

from sampan.network.netlink import ACK, CREATE, REPLACE, attribute, message

NEW_QDISC, DELETE_QDISC = 36, 37
KIND, OPTIONS = 1, 2
ROOT = 0xFFFFFFFF
TBF_PARAMETERS, TBF_RATE_64, TBF_BURST = 1, 4, 6
NETEM_RATE, NETEM_RATE_64, NETEM_LATENCY_64, NETEM_JITTER_64 = 6, 8, 10, 11
LINK_LAYER_ETHERNET = 1
TICK_NANOSECONDS = 64
"""The unit of the packet scheduler's clock (PSCHED_SHIFT)."""
RATE_MAX = 0xFFFFFFFF
QUEUE_SECONDS = 0.05
"""How long a packet waits at most before the bucket drops it."""
NETEM_PACKETS = 10_000


def _request(kind: int, flags: int, number: int, name: str = "", options: bytes = b"") -> bytes:
    body = struct.pack("=BxxxiIII", 0, number, 0, ROOT, 0)
    if name:
        body += attribute(KIND, name.encode() + b"\0") + attribute(OPTIONS, options)
    return message(kind, ACK | flags, body)


def shape(number: int, rate_bits: int, burst_bytes: int = 0) -> bytes:
    """Let a link send no more than ``rate_bits`` a second; what waits longer than 50 ms is dropped. ``burst_bytes`` may be
    sent at once after a pause; 0: what 4 ms take."""
    rate = max(rate_bits // 8, 1)
    burst = min(max(burst_bytes or rate // 250, 2 * 1514), RATE_MAX)
    limit = min(burst + int(rate * QUEUE_SECONDS), RATE_MAX)
    spec = struct.pack("=BBHhHI", 0, LINK_LAYER_ETHERNET, 0, -1, 0, min(rate, RATE_MAX))
    ticks = min(burst * 1_000_000_000 // rate // TICK_NANOSECONDS, RATE_MAX)
    options = attribute(TBF_PARAMETERS, spec + bytes(12) + struct.pack("=III", limit, ticks, 0))
    options += attribute(TBF_BURST, struct.pack("=I", burst))
    if rate > RATE_MAX:
        options += attribute(TBF_RATE_64, struct.pack("=Q", rate))
    return _request(NEW_QDISC, CREATE | REPLACE, number, "tbf", options)


def emulate(number: int, delay_seconds: float, jitter_seconds: float = 0, rate_bits: int = 0) -> bytes:
    """Let what a link sends come later, and no faster than a rate."""
    latency, jitter = (round(seconds * 1e9) for seconds in (delay_seconds, jitter_seconds))
    ticks = (min(value // TICK_NANOSECONDS, RATE_MAX) for value in (latency, jitter))
    old_latency, old_jitter = ticks
    options = struct.pack("=IIIIII", old_latency, NETEM_PACKETS, 0, 0, 0, old_jitter)
    options += attribute(NETEM_LATENCY_64, struct.pack("=q", latency))
    options += attribute(NETEM_JITTER_64, struct.pack("=q", jitter))
    if rate_bits:
        rate = max(rate_bits // 8, 1)
        options += attribute(NETEM_RATE, struct.pack("=IiIi", min(rate, RATE_MAX), 0, 0, 0))
        if rate > RATE_MAX:
            options += attribute(NETEM_RATE_64, struct.pack("=Q", rate))
    return _request(NEW_QDISC, CREATE | REPLACE, number, "netem", options)


def plain(number: int) -> bytes:
    """Give a link the discipline that it has by itself."""
    return _request(DELETE_QDISC, 0, number)
