"""What a pod's resolver is told: its dnsPolicy, its dnsConfig merged in, and as much of it as resolvers take. Pure.

Source: the kubelet's ``pkg/kubelet/network/dns``, KEP-2595 (limits).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import ip_address
from typing import NamedTuple

from sampan.node import cri_pb2 as cri
from sampan.schema.objects import Object

MOST_SERVERS, MOST_SEARCHES, MOST_SEARCH_CHARACTERS = 3, 32, 2048
LONGEST_SEARCH = 253
"""A longer one makes some resolvers abort."""


@dataclass(frozen=True, slots=True)
class DnsSettings:
    """What pods are told about DNS. ``host``: the node's own resolv.conf, parsed."""

    cluster_dns: str
    cluster_domain: str
    host_servers: tuple[str, ...] = ()
    host_searches: tuple[str, ...] = ()
    host_options: tuple[str, ...] = ()
    has_host: bool = True
    """False where the kubelet's ``resolvConf`` is empty: pods of the host's settings have none."""


class Formed(NamedTuple):
    config: cri.DNSConfig
    warnings: list[str]
    """What was left out, in the kubelet's words: events ``DNSConfigForming``."""


def read_resolv_conf(text: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Return the servers, searches and options of a resolv.conf; of searches and options the last line counts."""
    servers: list[str] = []
    searches: list[str] = []
    options: list[str] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0][0] in "#;":
            continue
        if words[0] == "nameserver":
            servers.append(words[1])
        elif words[0] == "search":
            # with or without its closing dot it is the same domain
            searches = [word.removesuffix(".") for word in words[1:]]
        elif words[0] == "options":
            options = words[1:]
    return tuple(servers), tuple(searches), tuple(options)


def is_stub(servers: Iterable[str]) -> bool:
    """Whether resolvers are all on the host's loopback: no pod reaches them there."""
    found = []
    for server in servers:
        try:
            found.append(ip_address(server.partition("%")[0]).is_loopback)
        except ValueError:
            found.append(False)
    return bool(found) and all(found)


def dns_config(pod: Object, settings: DnsSettings) -> cri.DNSConfig:
    """Return the pod's resolver by its dnsPolicy, with its dnsConfig merged in."""
    return formed(pod, settings).config


def formed(pod: Object, settings: DnsSettings) -> Formed:
    """The same, with what had to be left out."""
    servers, searches, options = _by_policy(pod, settings)
    own = pod["spec"].get("dnsConfig") or {}
    servers = list(dict.fromkeys([*servers, *(own.get("nameservers") or ())]))
    searches = list(dict.fromkeys([*searches, *(own.get("searches") or ())]))
    warnings = []
    if len(servers) > MOST_SERVERS:
        servers = servers[:MOST_SERVERS]
        warnings.append(
            "Nameserver limits were exceeded, some nameservers have been omitted, the applied nameserver line is: "
            + " ".join(servers)
        )
    kept = fitting(searches)
    if kept != searches:
        warnings.append(
            "Search Line limits were exceeded, some search paths have been omitted, the applied search line is: "
            + " ".join(kept)
        )
    config = cri.DNSConfig(servers=servers, searches=kept, options=_merged(options, own.get("options") or ()))
    return Formed(config, warnings)


def _by_policy(pod: Object, settings: DnsSettings) -> tuple[list[str], list[str], list[str]]:
    spec, domain = pod["spec"], settings.cluster_domain
    policy = spec.get("dnsPolicy", "ClusterFirst")
    if policy == "ClusterFirst" and spec.get("hostNetwork"):
        policy = "Default"
    if policy in ("ClusterFirst", "ClusterFirstWithHostNet"):
        searches = [f"{pod['metadata']['namespace']}.svc.{domain}", f"svc.{domain}", domain, *settings.host_searches]
        return [settings.cluster_dns], searches, ["ndots:5"]
    if policy == "Default":
        if not settings.has_host:  # resolvers look on their own host then: there is none
            return ["127.0.0.1"], ["."], []
        return list(settings.host_servers), list(settings.host_searches), list(settings.host_options)
    return [], [], []


def _merged(options: Iterable[str], own: Iterable[Object]) -> list[str]:
    """Return options by their names, the pod's own in the place of others."""
    found = {name: value for name, _, value in (option.partition(":") for option in options)}
    found |= {str(option["name"]): str(option.get("value") or "") for option in own}
    return [f"{name}:{value}" if value else name for name, value in found.items()]


def fitting(searches: Iterable[str]) -> list[str]:
    """Return as many search domains as a resolver takes."""
    kept = [search for search in list(searches)[:MOST_SEARCHES] if len(search) <= LONGEST_SEARCH]
    while len(" ".join(kept)) > MOST_SEARCH_CHARACTERS:
        kept.pop()
    return kept
