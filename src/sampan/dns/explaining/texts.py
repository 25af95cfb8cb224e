"""Records and endpoints as a line of text."""

from __future__ import annotations

import struct
from ipaddress import ip_address

from sampan.dns import wire
from sampan.dns.entries import Endpoint


def described(endpoint: Endpoint) -> str:
    """Return an endpoint in a line: address and ports, whether it is ready, the pod behind it."""
    ports = ",".join(str(port) for _, _, port in endpoint.ports)
    pod = f"  Pod {endpoint.pod}" if endpoint.pod else ""
    called = f"  hostname {endpoint.hostname}" if endpoint.hostname else ""
    zone = f"  zone {endpoint.zone}" if endpoint.zone else ""
    host = f"[{endpoint.address}]" if endpoint.address.version == 6 else endpoint.address
    return f"{host}:{ports or '-'}  {'ready' if endpoint.ready else 'not ready'}{pod}{called}{zone}"


def text_of(record: bytes) -> tuple[str, int]:
    """Return a record as ``TYPE data`` and its TTL."""
    end = wire.skip_name(record, 0)
    kind, _, ttl = struct.unpack_from("!HHI", record, end)
    data = record[end + 10 :]
    name = wire.TYPES.get(kind, f"TYPE{kind}")
    if kind in (wire.A, wire.AAAA):
        return f"{name} {ip_address(data)}", ttl
    if kind in (wire.CNAME, wire.PTR, wire.NS):
        return f"{name} {wire.wire_to_name(data)}", ttl
    if kind == wire.SRV:
        priority, weight, port = struct.unpack_from("!HHH", data)
        return f"{name} {priority} {weight} {port} {wire.wire_to_name(data[6:])}", ttl
    if kind == wire.TXT:
        return f"{name} {data[1:].decode(errors='replace')!r}", ttl
    return f"{name} ({len(data)} bytes)", ttl
