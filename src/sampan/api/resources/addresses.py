"""IP addresses and CIDRs as the API checks them. Source: apimachinery pkg/util/validation/ip.go, ValidateNonSpecialIP.

Addresses are told apart by ``inet_pton``, which is what the kernel takes too; ``ipaddress`` is only asked where an address
has to be understood, so that an API that never sees a Service does not pay for the import.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from sampan.api.resource import Cause
from sampan.schema.causes import invalid
from sampan.schema.remembering import remembered

IP_MESSAGE = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
LEADING_ZEROS = re.compile(r"\b0+(?=[0-9])")
CIDR_MESSAGE = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"


@remembered(4096)
def family(text: str) -> str:
    """Return ``IPv4`` or ``IPv6``, "" for what is no address."""
    for name, kind in (("IPv4", socket.AF_INET), ("IPv6", socket.AF_INET6)):
        try:
            socket.inet_pton(kind, text)
        except (OSError, ValueError):
            continue
        return name
    return ""


def cidr_family(text: str) -> str:
    """Return the family of a CIDR, "" for what is none."""
    address, slash, length = text.partition("/")
    kind = family(address)
    fits = slash and length.isascii() and length.isdigit() and int(length) <= (32 if kind == "IPv4" else 128)
    return kind if fits else ""


def valid_ip(text: Any) -> bool:
    return isinstance(text, str) and bool(family(text))


def ip(field: str, text: Any) -> Iterator[Cause]:
    if not valid_ip(text):
        yield invalid(field, text or "", IP_MESSAGE)


def strict_ip(field: str, text: Any) -> Iterator[Cause]:
    """An address as ``IsValidIPForLegacyField`` judges it since 1.36: what all programs take for the same."""
    if not valid_ip(text):
        zeros = isinstance(text, str) and family(LEADING_ZEROS.sub("", text))
        yield invalid(field, text or "", "must not have leading 0s" if zeros else IP_MESSAGE)
    elif ":" in text and "." in str(canonical(text)):
        yield invalid(field, text, "must not be an IPv4-mapped IPv6 address")


def canonical_ip(field: str, text: Any) -> Iterator[Cause]:
    """``IsValidIP``: an address that is written as everybody writes it."""
    wrong = list(strict_ip(field, text))
    yield from wrong
    if not wrong and text != canonical(text):
        yield invalid(field, text, f'must be in canonical form ("{canonical(text)}")')


def canonical(text: str) -> str:
    kind = socket.AF_INET6 if ":" in text else socket.AF_INET
    return socket.inet_ntop(kind, socket.inet_pton(kind, text))


def cidr(field: str, text: Any) -> Iterator[Cause]:
    if not cidr_family(text or ""):
        yield invalid(field, text or "", CIDR_MESSAGE)


STRICT_SINCE = 36
"""Kubernetes' ``StrictIPCIDRValidation`` (KEP-4858) is on from 1.36 on."""


def strict_cidr(field: str, text: Any) -> Iterator[Cause]:
    """A CIDR as ``IsValidCIDRForLegacyField`` judges it since 1.36: of one network, written as everybody reads it."""
    wrong = list(cidr(field, text))
    if wrong:
        yield from wrong
        return
    import ipaddress

    address = ipaddress.ip_address(text.partition("/")[0])
    length = text.partition("/")[2]
    if length != str(int(length)):
        yield invalid(field, text, "must not have leading 0s in IP or prefix length")
    elif isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        yield invalid(field, text, "must not have an IPv4-mapped IPv6 address")
    elif address != ipaddress.ip_network(text, strict=False).network_address:
        yield invalid(field, text, "must not have bits set beyond the prefix length")


def non_special(field: str, text: str) -> Iterator[Cause]:
    """An address that may stand for an endpoint: not unspecified, loopback or link-local."""
    for message in special(text):
        yield invalid(field, text, message)


@remembered(4096)
def special(text: str) -> tuple[str, ...]:
    """What makes an address none that an endpoint may have: the same ones come with every write of a slice."""
    import ipaddress

    try:
        address = ipaddress.ip_address(text if ":" in text else LEADING_ZEROS.sub("", text))
    except ValueError:
        return ("must be a valid IP address",)
    multicast = "224.0.0.0/24" if address.version == 4 else "ff02::/16"
    told = (
        (address.is_unspecified, f"may not be unspecified ({text})"),
        (address.is_loopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"),
        (address.is_link_local, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (
            address in ipaddress.ip_network(multicast),
            "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)",
        ),
    )
    return tuple(message for wrong, message in told if wrong)


def one_of_each_family(field: str, texts: Sequence[str], what: str = "IP", shown: Any = None) -> Iterator[Cause]:
    """Two at most, and then one of each family."""
    families = [family(text.partition("/")[0]) for text in texts]
    if len(families) > 1 and (len(families) > 2 or families[0] == families[1]):
        message = f"may specify no more than one {what} for each IP family"
        yield invalid(field, list(texts) if shown is None else shown, message)
