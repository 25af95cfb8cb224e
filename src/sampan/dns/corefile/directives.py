"""Each directive of a server block: how it is read into settings, and what of it is refused.

One function a directive, and ``DIRECTIVES`` the list of them. Source: the manuals of CoreDNS's plugins of the same names, and
of the plugin ``k8s_gateway``.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sampan.dns.corefile.arguments import address, lines_of, number, only, seconds, without_lines, zones
from sampan.dns.corefile.configuration import Reader, Reading, zones_of
from sampan.dns.corefile.forward import forward
from sampan.dns.corefile.grammar import Directive
from sampan.dns.corefile.rewrite import rewrite
from sampan.dns.forwarding.cache import CacheSettings, TableSettings
from sampan.dns.gateway_names import RESOURCES, GatewaySettings
from sampan.dns.hosts import HostsSettings
from sampan.dns.records import REVERSE, Options

MOST_TTL = 3600


def accepted(reading: Reading, directive: Directive) -> None:
    """What is always so here: errors are logged, ANY is answered shortly, a changed Corefile is read."""
    only(directive, 0)
    without_lines(directive)


def health(reading: Reading, directive: Directive) -> None:
    (where,) = only(directive, 1) or (":8080",)
    lameduck = 0.0
    for line in lines_of(directive, ("lameduck",)):
        lameduck = seconds(line, *only(line, 1, 1))
    reading.listen(directive, health=address(directive, where), lameduck_seconds=lameduck)


def ready(reading: Reading, directive: Directive) -> None:
    (where,) = only(directive, 1) or (":8181",)
    without_lines(directive)
    reading.listen(directive, ready=address(directive, where))


def prometheus(reading: Reading, directive: Directive) -> None:
    (where,) = only(directive, 1) or ("localhost:9153",)
    without_lines(directive)
    reading.listen(directive, metrics=address(directive, where))


def reload(reading: Reading, directive: Directive) -> None:
    """``reload off`` leaves the Corefile as it is; times are judged, but a change is seen when it comes."""
    without_lines(directive)
    if directive.arguments == ("off",):
        reading.configuration.reload = False
        return
    for text in only(directive, 2):
        seconds(directive, text)


def kubernetes(reading: Reading, directive: Directive) -> None:
    names = [zone for text in directive.arguments for zone in zones_of(text, directive.refuse)] or list(reading.zones)
    is_reverse = [name.endswith(REVERSE) for name in names]
    domains = [name for name, reverse in zip(names, is_reverse, strict=True) if not reverse]
    if len(domains) != 1 or not domains[0]:
        raise directive.refuse(f"it takes one zone for the cluster (cluster.local), not {', '.join(domains) or 'none'}")
    found: dict[str, Any] = {"domain": domains[0], "pods": "disabled", "endpoint_pod_names": False, "zonal": False}
    found["reverse"] = tuple(name for name, reverse in zip(names, is_reverse, strict=True) if reverse)
    found["fallthrough"] = ()
    options = ("pods", "endpoint_pod_names", "ttl", "noendpoints", "fallthrough", "ignore", "zonal", "namespaces")
    for line in lines_of(directive, options):
        if line.name == "pods":
            (mode,) = only(line, 1, 1)
            if mode not in ("disabled", "insecure", "verified"):
                raise line.refuse(f"{mode!r} is none of disabled, insecure, verified")
            found["pods"] = mode
        elif line.name == "ttl":
            found["ttl"] = number(line, only(line, 1, 1)[0], MOST_TTL)
        elif line.name == "fallthrough":
            found["fallthrough"] = tuple(z for text in line.arguments for z in zones_of(text, line.refuse)) or tuple(
                names
            )
        elif line.name == "ignore":
            if line.arguments not in (("empty_service",), ("emptyservice",)):
                raise line.refuse("it is `ignore empty_service`")
            found["ignore_empty_service"] = True
        elif line.name == "namespaces":
            found["namespaces"] = frozenset(only(line, 1000, 1))
        else:
            only(line, 0)
            found["no_endpoints" if line.name == "noendpoints" else line.name] = True
    if found["zonal"] and found.get("no_endpoints"):
        raise directive.refuse("zonal needs endpoints: noendpoints cannot stand beside it")
    reading.block.kubernetes = Options(**found)


def autopath(reading: Reading, directive: Directive) -> None:
    if only(directive, 1, 1) != ("@kubernetes",):
        raise directive.refuse("it is `autopath @kubernetes`: the search list is the asking pod's")
    without_lines(directive)
    reading.block.autopath = True


def hosts(reading: Reading, directive: Directive) -> None:
    file, *names = directive.arguments or ("",)
    own = zones(directive, names) or reading.block.zones
    found: dict[str, Any] = {"zones": own, "lines": ()}
    for line in directive.lines:
        if line.name == "ttl":
            found["ttl"] = number(line, only(line, 1, 1)[0], 65535)
        elif line.name == "no_reverse":
            only(line, 0)
            found["reverse"] = False
        elif line.name == "reload":
            found["reload_seconds"] = seconds(line, *only(line, 1, 1))
        elif line.name == "fallthrough":
            found["fallthrough"] = zones(line, line.arguments) or own
        elif re.match(r"[0-9a-fA-F:.]+$", line.name) and line.arguments:
            found["lines"] += (" ".join((line.name, *line.arguments)),)
        else:
            raise line.refuse("hosts: neither an option nor an address with names")
    given = reading.files.get(file, reading.files.get(Path(file).name)) if file else None
    if given is not None:
        found["lines"] += tuple(given.splitlines())
    elif file:
        found["file"] = Path(file)
    reading.block.hosts = HostsSettings(**found)


def k8s_gateway(reading: Reading, directive: Directive) -> None:
    names = zones(directive, directive.arguments) or reading.block.zones
    found: dict[str, Any] = {"zones": names}
    for line in lines_of(directive, ("resources", "ttl", "fallthrough")):
        if line.name == "resources":
            unknown = sorted(set(only(line, len(RESOURCES), 1)) - set(RESOURCES))
            if unknown:
                raise line.refuse(f"{', '.join(unknown)}: there are {', '.join(RESOURCES)}")
            found["resources"] = frozenset(line.arguments)
        elif line.name == "ttl":
            found["ttl"] = number(line, only(line, 1, 1)[0], MOST_TTL)
        else:
            found["fallthrough"] = zones(line, line.arguments) or names
    reading.block.gateway = GatewaySettings(**found)


def cache(reading: Reading, directive: Directive) -> None:
    arguments = list(directive.arguments)
    longest = number(directive, arguments.pop(0)) if arguments and arguments[0].isdigit() else None
    if arguments and set(zones(directive, arguments)) != set(reading.block.zones):
        raise directive.refuse("its zones are the block's: make another block for others")
    tables = {"success": TableSettings(), "denial": TableSettings(longest_seconds=1800, shortest_seconds=0)}
    if longest is not None:
        tables = {
            name: TableSettings(longest_seconds=longest, shortest_seconds=min(table.shortest_seconds, longest))
            for name, table in tables.items()
        }
    found: dict[str, Any] = {}
    options = ("success", "denial", "prefetch", "serve_stale", "servfail", "disable", "keepttl")
    for line in lines_of(directive, options):
        if line.name in ("success", "denial"):
            given = [number(line, text) for text in only(line, 3, 1)]
            old = tables[line.name]
            capacity, longest_ttl, shortest = (
                given + [old.capacity, old.longest_seconds, old.shortest_seconds][len(given) :]
            )
            tables[line.name] = TableSettings(capacity, longest_ttl, shortest)
        elif line.name == "disable":
            (name,) = only(line, 1, 1)
            if name not in tables:
                raise line.refuse("it is `disable success` or `disable denial`")
            tables[name] = TableSettings(enabled=False)
        elif line.name == "prefetch":
            found |= _prefetch(line)
        elif line.name == "serve_stale":
            found |= _serve_stale(line)
        elif line.name == "servfail":
            found["servfail_seconds"] = seconds(line, *only(line, 1, 1))
            if found["servfail_seconds"] > 300:
                raise line.refuse("it is at most 5m")
        else:
            only(line, 0)
            found["keep_ttl"] = True
    reading.block.cache = CacheSettings(tables["success"], tables["denial"], **found)


def _prefetch(line: Directive) -> dict[str, Any]:
    amount, *rest = only(line, 3, 1)
    found: dict[str, Any] = {"prefetch_amount": number(line, amount)}
    if rest:
        found["prefetch_seconds"] = seconds(line, rest[0])
    if len(rest) == 2:
        if not rest[1].endswith("%") or not 10 <= number(line, rest[1][:-1]) <= 90:
            raise line.refuse(f"{rest[1]!r} is not between 10% and 90%")
        found["prefetch_percentage"] = int(rest[1][:-1])
    return found


def _serve_stale(line: Directive) -> dict[str, Any]:
    arguments = list(only(line, 4))
    found: dict[str, Any] = {"stale_seconds": seconds(line, arguments.pop(0)) if arguments else 3600.0}
    mode = arguments.pop(0) if arguments else "immediate"
    if mode not in ("immediate", "verify"):
        raise line.refuse(f"{mode!r} is neither immediate nor verify")
    found["verify"] = mode == "verify"
    if arguments and found["verify"]:
        found["verify_seconds"] = seconds(line, arguments.pop(0))
    if arguments:
        found["stale_ttl"] = int(seconds(line, arguments.pop(0)))
    if arguments:
        raise line.refuse("FAILURE_RECHECK is not there: one question at a time is under way for a name")
    return found


def loop(reading: Reading, directive: Directive) -> None:
    accepted(reading, directive)
    reading.block.loop = True


def loadbalance(reading: Reading, directive: Directive) -> None:
    without_lines(directive)
    if only(directive, 1) not in ((), ("round_robin",)):
        raise directive.refuse("round_robin is what there is")
    reading.block.loadbalance = True


def log(reading: Reading, directive: Directive) -> None:
    accepted(reading, directive)
    reading.block.log = True


def bufsize(reading: Reading, directive: Directive) -> None:
    without_lines(directive)
    (size,) = only(directive, 1) or ("1232",)
    reading.block.udp_size = number(directive, size, 4096)
    if reading.block.udp_size < 512:
        raise directive.refuse("it is between 512 and 4096")


DIRECTIVES: dict[str, Reader] = {
    "any": accepted,
    "autopath": autopath,
    "bufsize": bufsize,
    "cache": cache,
    "errors": accepted,
    "forward": forward,
    "health": health,
    "hosts": hosts,
    "k8s_gateway": k8s_gateway,
    "kubernetes": kubernetes,
    "loadbalance": loadbalance,
    "log": log,
    "loop": loop,
    "prometheus": prometheus,
    "ready": ready,
    "reload": reload,
    "rewrite": rewrite,
}
