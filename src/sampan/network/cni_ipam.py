"""Which addresses an attachment gets: from our own leases, or from the IPAM plugin that the configuration names.

``ipam.type`` ``sampan`` (or none) is ``cni_leases.py``; any other is an executable of ``CNI_PATH`` (``host-local``,
``static``, ``dhcp``), which is run with the call's own environment and configuration.
Source: CNI specification 1.1.0, section 4 (delegation).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

from sampan.network.cni_call import (
    INVALID_CONFIG,
    INVALID_ENVIRONMENT,
    IO_FAILURE,
    NO_ADDRESS,
    Call,
    CniError,
)
from sampan.network.cni_leases import Leases, ranges_of
from sampan.network.families import Address

LEASES = Path("/var/lib/cni/sampan")
OURS = ("", "sampan")
NETWORK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


@dataclass(frozen=True, slots=True)
class Lent:
    address: Address
    prefix_length: int
    """Of the subnet."""
    gateway: Address


def ipam_of(call: Call) -> dict[str, Any]:
    found = call.config.get("ipam") or {}
    if not isinstance(found, dict):
        raise CniError(INVALID_CONFIG, "ipam is not an object")
    return found


def holder_of(call: Call) -> str:
    return f"{call.need('CONTAINERID')}/{call.need('IFNAME')}"


def leases_of(call: Call) -> Leases:
    name = call.config.get("name")
    if not isinstance(name, str) or not NETWORK_NAME.fullmatch(name):
        raise CniError(INVALID_CONFIG, f"name {name!r} is no name of a network")
    return Leases(Path(str(ipam_of(call).get("dataDir") or LEASES)) / name)


def lend(call: Call) -> list[Lent]:
    """Return the addresses of an attachment, one for each list of ranges. Raises ``CniError``."""
    if delegated(call):
        return [_lent(entry) for entry in (delegate(call) or {}).get("ips") or ()]
    ranges, wanted = ranges_of(ipam_of(call)), call.wanted_addresses
    for address in wanted:
        if not any(address in each for choices in ranges for each in choices):
            raise CniError(INVALID_CONFIG, f"ips: {address} is no address of ipam.ranges")
    holder, found = holder_of(call), []
    with leases_of(call) as leases:
        try:
            for choices in ranges:
                address, home = leases.take(holder, choices, wanted)
                found.append(Lent(address, home.subnet.prefixlen, home.gateway))
        except BaseException:
            leases.release(holder)
            raise
    return found


def _lent(entry: dict[str, Any]) -> Lent:
    interface = ip_interface(entry["address"])
    gateway = ip_interface(entry["gateway"]).ip if entry.get("gateway") else interface.network[1]
    return Lent(interface.ip, interface.network.prefixlen, gateway)


def take_back(call: Call) -> None:
    """Return an attachment's addresses; one that has none is no error."""
    if delegated(call):
        delegate(call)
    else:
        with leases_of(call) as leases:
            leases.release(holder_of(call))


def still_lent(call: Call, addresses: list[Address]) -> None:
    """Raise ``CniError`` where an attachment's addresses are not its own any more."""
    if delegated(call):
        delegate(call)
        return
    with leases_of(call) as leases:
        held = leases.held()
    for address in addresses:
        if held.get(address) != holder_of(call):
            raise CniError(NO_ADDRESS, f"{address} is not lent to this attachment")


def keep_only(call: Call, valid: set[str]) -> list[str]:
    """Take back the addresses of all but the valid holders; return the holders that are gone."""
    if delegated(call):
        delegate(call)
        return []
    with leases_of(call) as leases:
        gone = sorted(leases.holders() - valid)
        for holder in gone:
            leases.release(holder)
    return gone


def free(call: Call) -> None:
    """Raise ``CniError`` where no pod could get an address."""
    if delegated(call):
        delegate(call)
        return
    ranges = ranges_of(ipam_of(call))
    with leases_of(call) as leases:
        held = leases.held()
    for choices in ranges:
        size = sum(int(each.last) - int(each.first) + 1 - (each.gateway in each) for each in choices)
        if sum(1 for address in held if any(address in each for each in choices)) >= size:
            raise CniError(NO_ADDRESS, f"every address of {choices[0].first}-{choices[-1].last} is lent")


def delegated(call: Call) -> str:
    """Return the IPAM plugin that is not ours, or ``""``."""
    kind = str(ipam_of(call).get("type") or "")
    return "" if kind in OURS else kind


def delegate(call: Call) -> dict[str, Any] | None:
    """Run the configuration's IPAM plugin. Raises ``CniError`` with its own words."""
    kind = delegated(call)
    program = shutil.which(kind, path=call.variables.get("PATH", "")) if "/" not in kind else None
    if program is None:
        raise CniError(INVALID_ENVIRONMENT, f"CNI_PATH: there is no IPAM plugin {kind!r} in it")
    environment = {**os.environ, **{f"CNI_{name}": value for name, value in call.variables.items()}}
    done = subprocess.run([program], input=json.dumps(call.config).encode(), capture_output=True, env=environment)
    try:
        answer = json.loads(done.stdout) if done.stdout.strip() else None
    except ValueError as error:
        raise CniError(IO_FAILURE, f"the IPAM plugin {kind} did not answer in JSON: {done.stdout[:200]!r}") from error
    if done.returncode:
        said = answer or {"code": IO_FAILURE, "msg": done.stderr.decode(errors="replace")[:500]}
        raise CniError(
            int(said.get("code") or IO_FAILURE), f"{kind}: {said.get('msg')}", str(said.get("details") or "")
        )
    return answer
