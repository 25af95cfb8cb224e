"""A real packet on the way that ``trace.py`` tells, and what the kernel says of each rule that it met.

``probe`` makes a socket in the pod's namespace, so the packet is the pod's own; a table of its own marks that one flow for
tracing in the node's namespace, and ``nft monitor trace`` tells the rest. Both are gone afterwards.
Source: nft(8), "meta nftrace" and "monitor trace".
"""

from __future__ import annotations

import errno
import os
import re
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sampan.network.families import Address, family_of
from sampan.network.netns import entered

CONNECTED, REFUSED, SILENT, SENT, UNREACHABLE = "connected", "refused", "silent", "sent", "unreachable"
SUBSCRIBED_SECONDS, SETTLED_SECONDS = 5.0, 0.3
TRACE_GROUP = 1 << 8
"""NFNLGRP_NFTRACE (9) as a bit of the groups that a netlink socket hears."""
NETLINK_NETFILTER = 12
KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}
LINE = re.compile(r"trace id (\S+) (\S+) (\S+) (\S+) (.*)")


class LiveError(Exception):
    """The packet could not be sent or followed."""


@dataclass(frozen=True, slots=True)
class Step:
    """A rule that the packet met, or a base chain's policy."""

    table: str
    chain: str
    rule: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet's way through the node; one that is not answered is sent again, and may be led elsewhere then."""

    steps: tuple[Step, ...]
    went: str
    """Its destination as it was seen last, behind any translation."""

    @property
    def dropped(self) -> bool:
        return any(step.verdict == "drop" or step.verdict == "policy drop" for step in self.steps)


@dataclass(frozen=True, slots=True)
class Live:
    outcome: str
    seconds: float
    packets: tuple[Packet, ...] = ()

    @property
    def arrived(self) -> bool:
        return self.outcome in (CONNECTED, SENT)

    @property
    def deciding(self) -> Packet | None:
        """The packet that tells why the outcome is as it is."""
        if self.arrived:
            return next((packet for packet in self.packets if not packet.dropped), None)
        return self.packets[0] if self.packets else None


def probe(
    node_netns: Path, pod_netns: Path, source: Address, to: Address, port: int, protocol: str, seconds: float
) -> Live:
    """Send a packet and follow it. Blocks for ``seconds`` at most, and a little. Raises ``LiveError``."""
    if protocol not in KINDS:
        raise LiveError(f"a probe by {protocol.upper()} cannot be sent from here; TCP and UDP can")
    word = family_of(to).nft
    flow = f"{word} saddr {source} {word} daddr {to} {protocol} dport {port} meta nftrace set 1"
    table = f"sampan-trace-{os.getpid()}"
    made = (
        f"table inet {table} {{\n"
        f"  chain prerouting {{ type filter hook prerouting priority -350; {flow}; }}\n"
        f"  chain output {{ type filter hook output priority -350; {flow}; }}\n}}\n"
    )
    enter = ["nsenter", f"--net={node_netns}"]
    _nft(enter, made)
    try:
        with _monitor(enter) as monitor:
            begun = time.monotonic()
            outcome = _send(pod_netns, to, port, protocol, seconds)
            spent = time.monotonic() - begun
            time.sleep(SETTLED_SECONDS)  # the monitor prints what the kernel has told it; it does not say when it has
            monitor.terminate()
            said = monitor.communicate()[0]
    finally:
        _nft(enter, f"delete table inet {table}\n")
    return Live(outcome, spent, read_packets(said, table))


def _send(pod_netns: Path, to: Address, port: int, protocol: str, seconds: float) -> str:
    descriptor = os.open(pod_netns, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with entered(descriptor):
            made = socket.socket(family_of(to).af, KINDS[protocol])
    finally:
        os.close(descriptor)
    with made:
        made.settimeout(seconds)
        try:
            made.connect((str(to), port))
            if protocol == "tcp":
                return CONNECTED
            made.send(b"\n")
            made.recv(1)
            return CONNECTED
        except ConnectionRefusedError:
            return REFUSED
        except TimeoutError:
            return SENT if protocol == "udp" else SILENT
        except OSError as error:
            if error.errno in (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EPERM, errno.EACCES):
                return UNREACHABLE
            raise LiveError(f"the probe could not be sent: {error}") from error


@contextmanager
def _monitor(enter: list[str]) -> Iterator[subprocess.Popen[str]]:
    """Run ``nft monitor trace``; it hears the kernel when this yields."""
    command = [*enter, "nft", "monitor", "trace"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + SUBSCRIBED_SECONDS
        while not _hears(process.pid):
            if process.poll() is not None or time.monotonic() > deadline:
                said = (
                    process.stderr.read().strip() if process.poll() is not None and process.stderr else "it stays deaf"
                )
                raise LiveError(f"nft monitor trace: {said}")
            time.sleep(0.01)
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()


def _hears(pid: int) -> bool:
    """Whether a process has subscribed to traces."""
    try:
        lines = Path(f"/proc/{pid}/net/netlink").read_text().splitlines()[1:]
    except OSError:
        return False
    for line in lines:
        fields = line.split()
        if int(fields[1]) == NETLINK_NETFILTER and int(fields[3], 16) & TRACE_GROUP:
            return True
    return False


def _nft(enter: list[str], text: str) -> None:
    done = subprocess.run([*enter, "nft", "-f", "-"], input=text, capture_output=True, text=True)
    if done.returncode:
        raise LiveError(f"nft refuses to trace: {done.stderr.strip()[:500]}")


def read_packets(said: str, own_table: str) -> tuple[Packet, ...]:
    """Return the traced packets and the rules that they met, from what ``nft monitor trace`` prints."""
    packets: list[Packet] = []
    begun: set[tuple[str, str]] = set()
    steps: list[Step] = []
    went = current = ""
    for line in said.splitlines():
        found = LINE.match(line)
        if not found or found[3] == own_table:
            continue
        at, rest = (f"{found[2]} {found[3]}", found[4]), found[5]
        # a packet enters each base chain once
        again = rest.startswith("packet:") and at in begun
        if (current and found[1] != current) or again:
            packets.append(Packet(tuple(steps), went))
            begun, steps, went = set(), [], ""
        current = found[1]
        if rest.startswith("packet:"):
            begun.add(at)
            went = _destination(rest) or went
        elif rest.startswith("rule "):
            rule, _, verdict = rest.removeprefix("rule ").rpartition(" (verdict ")
            steps.append(Step(*at, _short(rule), verdict.removesuffix(")")))
        elif rest.startswith("policy "):
            steps.append(Step(*at, "", rest.strip()))
    if current:
        packets.append(Packet(tuple(steps), went))
    return tuple(packets)


def _destination(packet: str) -> str:
    address, port = re.search(r"\bip6? .*?daddr (\S+)", packet), re.search(r"\b(?:tcp|udp) .*?dport (\S+)", packet)
    if not address or not port:
        return ""
    return f"[{address[1]}]:{port[1]}" if ":" in address[1] else f"{address[1]}:{port[1]}"


def _short(rule: str) -> str:
    return re.sub(r"counter packets \d+ bytes \d+ ?", "", rule).strip()
