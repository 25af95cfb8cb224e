"""Policies: a level (privileged, baseline, restricted) at a version, for each of enforce, audit and warn.

``policy_of(labels, defaults)`` reads a namespace's ``pod-security.kubernetes.io/…`` labels. It always returns a policy: what
a label says wrongly counts as the strictest for enforce and as none for audit and warn. Source: KEP-2579.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import IntEnum
from typing import NamedTuple

from sampan.schema.causes import Cause, invalid

PREFIX = "pod-security.kubernetes.io/"
ENFORCE, AUDIT, WARN = "enforce", "audit", "warn"
MODES = (ENFORCE, AUDIT, WARN)

LATEST = 1 << 30
"""The minor version that ``latest`` stands for: newer than any."""

_version = re.compile(r"v1\.([0-9]|[1-9][0-9]*)")


class Level(IntEnum):
    """How strict: the order is the strictness."""

    PRIVILEGED = 0
    BASELINE = 1
    RESTRICTED = 2

    def __str__(self) -> str:
        return self.name.lower()


class PolicyError(ValueError):
    """A level or version that is none; the message is Kubernetes'."""


class Standard(NamedTuple):
    """A level at a minor version of Kubernetes 1."""

    level: Level = Level.PRIVILEGED
    minor: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{version_text(self.minor)}"


class Policy(NamedTuple):
    """What a namespace asks of its pods."""

    enforce: Standard = Standard()
    audit: Standard = Standard()
    warn: Standard = Standard()

    @property
    def privileged(self) -> bool:
        """Whether no pod can break it."""
        return not (self.enforce.level or self.audit.level or self.warn.level)

    def same(self, other: Policy) -> bool:
        """Whether both judge alike: of privileged, the version does not matter."""
        return all(a == b or (not a.level and not b.level) for a, b in zip(self, other, strict=True))


PRIVILEGED = Policy()


def version_text(minor: int) -> str:
    return "latest" if minor == LATEST else f"v1.{minor}"


def level(text: str) -> Level:
    """Return the level of that name. Raises ``PolicyError``."""
    for one in Level:
        if text == str(one):
            return one
    raise PolicyError("must be one of privileged, baseline, restricted")


def version(text: str) -> int:
    """Return the minor of ``latest`` or ``v1.30``. Raises ``PolicyError``."""
    if text == "latest":
        return LATEST
    match = _version.fullmatch(text)
    if match is None or len(match[1]) > 9:
        raise PolicyError('must be "latest" or "v1.x"')
    return int(match[1])


def standard(text: str) -> Standard:
    """Return the standard of ``restricted`` or ``restricted:v1.30``. Raises ``PolicyError``."""
    name, _, at = text.partition(":")
    return Standard(level(name), version(at) if at else LATEST)


def policy_of(labels: Mapping[str, str], defaults: Policy = PRIVILEGED) -> tuple[Policy, list[Cause]]:
    """Return the policy of a namespace with these labels, and what is wrong with them."""
    wrong: list[Cause] = []
    found = {mode: _mode(labels, mode, getattr(defaults, mode), wrong) for mode in MODES}
    enforce, warn = found[ENFORCE], found[WARN]
    if _is_level(labels.get(PREFIX + ENFORCE)) and PREFIX + WARN not in labels and enforce.level > warn.level:
        # who asks for more than the default gets warned of it too
        at = warn.minor if f"{PREFIX}warn-version" in labels else enforce.minor
        found[WARN] = Standard(enforce.level, at)
    return Policy(**found), wrong


def _mode(labels: Mapping[str, str], mode: str, default: Standard, wrong: list[Cause]) -> Standard:
    chosen, minor = default
    for key in (PREFIX + mode, f"{PREFIX}{mode}-version"):
        text = labels.get(key)
        if text is None:
            continue
        try:
            if key.endswith("-version"):
                minor = version(text)
            else:
                chosen = level(text)
        except PolicyError as error:
            wrong.append(invalid(f"metadata.labels[{key}]", text, str(error)))
            if key.endswith("-version"):
                minor = LATEST
            else:
                chosen = Level.RESTRICTED if mode == ENFORCE else Level.PRIVILEGED
    return Standard(chosen, minor)


def _is_level(text: str | None) -> bool:
    return text is not None and any(text == str(one) for one in Level)
