"""The one shape of a check, and the words that checks share.

A check is a list of revisions; each holds from a minor version on until the next. A revision's ``judge(metadata, spec)``
returns ``None`` for a good pod, else a ``Violation``: the short reason, and the detail with names and values.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

from sampan.schema.objects import Object
from sampan.security.levels import Level


class Violation(NamedTuple):
    reason: str
    detail: str


Judge = Callable[[Object, Object], Violation | None]


class Revision(NamedTuple):
    """What a check is from Kubernetes 1.``minor`` on. ``overrides``: baseline checks that it makes needless."""

    minor: int
    judge: Judge
    overrides: tuple[str, ...] = ()


class Check(NamedTuple):
    id: str
    level: Level
    revisions: tuple[Revision, ...]

    def at(self, minor: int) -> Revision | None:
        """Return the revision in force at a minor version, None where the check is younger."""
        return next((one for one in reversed(self.revisions) if one.minor <= minor), None)


def containers(spec: Object) -> Iterator[Object]:
    """Yield every container of a pod, in the order in which they are named."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def context(holder: Object) -> Object:
    """Return the securityContext of a pod's spec or a container, {} where there is none."""
    return holder.get("securityContext") or {}


def names(bad: Iterable[Object]) -> list[str]:
    return [str(container.get("name", "")) for container in bad]


def plural(word: str, count: int) -> str:
    return word if count == 1 else word + "s"


def quoted(words: Iterable[Any]) -> str:
    """Return ``"a", "b"``."""
    return ", ".join(f'"{word}"' for word in words)


def listed(words: Collection[str]) -> str:
    """Return ``container "a"`` or ``containers "a", "b"``."""
    return f"{plural('container', len(words))} {quoted(words)}"


def setters(pod: bool, bad: Collection[str]) -> str:
    """Return who set a bad value: ``pod``, ``containers "a", "b"`` or both."""
    return " and ".join([*(["pod"] if pod else []), *([listed(bad)] if bad else [])])


def in_user_namespace(spec: Object) -> bool:
    return spec.get("hostUsers") is False


def unless_in_user_namespace(judge: Judge) -> Judge:
    """From 1.35 on, root in a user namespace is not root (KEP-127)."""
    return lambda metadata, spec: None if in_user_namespace(spec) else judge(metadata, spec)


def unless_windows(judge: Judge) -> Judge:
    """From 1.25 on, what Windows does not have cannot be asked of its pods (KEP-2802)."""
    return lambda metadata, spec: None if (spec.get("os") or {}).get("name") == "windows" else judge(metadata, spec)
