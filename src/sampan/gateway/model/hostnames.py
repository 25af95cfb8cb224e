"""Host names of listeners and routes: what they share, and which is the more specific. Pure; ``*`` means all.

Source: Gateway API v1, Hostname of Listener and HTTPRoute.
"""

from __future__ import annotations

from collections.abc import Iterable


def covers(wide: str, narrow: str) -> bool:
    """Whether every host of ``narrow`` is one of ``wide``."""
    if wide == "*" or wide == narrow:
        return True
    if not wide.startswith("*."):
        return False
    suffix = wide[1:]
    rest = narrow[1:] if narrow.startswith("*.") else narrow
    return rest.endswith(suffix) and len(rest) > (len(suffix) if not narrow.startswith("*.") else len(suffix) - 1)


def specificity(hostname: str) -> tuple[int, int]:
    """Sort key: exact before wildcard before all, the longer first."""
    if hostname == "*":
        return 2, 0
    return (1 if hostname.startswith("*.") else 0), -len(hostname)


def shared(listener: str, route: str) -> str:
    """Return the more specific of two host names that have something in common, else ``""``."""
    if covers(listener, route):
        return route
    if covers(route, listener):
        return listener
    return ""


def shared_hostnames(listener: str, routes: Iterable[str]) -> tuple[str, ...]:
    """Return the host names that a listener and a route have in common."""
    found = [shared(listener, name.lower()) for name in (list(routes) or ["*"])]
    return tuple(dict.fromkeys(name for name in found if name))


def owner(hostnames: Iterable[str], hostname: str) -> str:
    """Return the most specific of ``hostnames`` that covers a host name, ``""`` when none does."""
    found = [name for name in hostnames if covers(name, hostname)]
    return min(found, key=specificity) if found else ""
