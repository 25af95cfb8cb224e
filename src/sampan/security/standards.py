"""Judging pods: the checks of a level and version, run in Kubernetes' order, joined into its words.

``Evaluator(minor)`` knows the standards up to the Kubernetes version that is emulated: a later version asked for, and
``latest``, mean that one. The checks of each standard are picked once.
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.schema.objects import Object
from sampan.security import baseline, restricted
from sampan.security.checks import Check, Judge, Violation
from sampan.security.levels import Level, Standard

NEWEST = max(one.minor for check in (*baseline.CHECKS, *restricted.CHECKS) for one in check.revisions)


class Verdict(NamedTuple):
    """What the checks of a standard say of a pod."""

    violations: tuple[Violation, ...]

    @property
    def allowed(self) -> bool:
        return not self.violations

    @property
    def reason(self) -> str:
        """The reasons alone, as a warning about many pods has them."""
        return ", ".join(violation.reason for violation in self.violations)

    @property
    def detail(self) -> str:
        """Reasons with details, as a refusal has them."""
        return ", ".join(f"{reason} ({detail})" if detail else reason for reason, detail in self.violations)


GOOD = Verdict(())


class Evaluator:
    """The standards as one version of Kubernetes knows them."""

    def __init__(self, minor: int = NEWEST) -> None:
        self.newest = min(minor, NEWEST)
        self._judges: dict[Standard, tuple[Judge, ...]] = {}
        self._names: dict[Standard, tuple[str, ...]] = {}

    def judge(self, standard: Standard, metadata: Object, spec: Object) -> Verdict:
        """Return the verdict of a standard on a pod."""
        if standard.level is Level.PRIVILEGED:
            return GOOD
        judges = self._of(standard)
        return Verdict(tuple(found for judge in judges if (found := judge(metadata, spec)) is not None))

    def violations(self, standard: Standard, metadata: Object, spec: Object) -> dict[str, Violation]:
        """Return what is wrong with a pod by the ids of the checks."""
        if standard.level is Level.PRIVILEGED:
            return {}
        judges = self._of(standard)
        names = self._names[Standard(standard.level, min(standard.minor, self.newest))]
        found = zip(names, (judge(metadata, spec) for judge in judges), strict=True)
        return {name: violation for name, violation in found if violation is not None}

    def violated(self, standard: Standard, metadata: Object, spec: Object) -> list[str]:
        """Return the ids of the checks of a standard that a pod fails."""
        return list(self.violations(standard, metadata, spec))

    def _of(self, standard: Standard) -> tuple[Judge, ...]:
        """Return the judges of a standard, picked once."""
        standard = Standard(standard.level, min(standard.minor, self.newest))
        judges = self._judges.get(standard)
        if judges is None:
            named = check_judges(standard)
            self._names[standard] = tuple(named)
            judges = self._judges[standard] = tuple(named.values())
        return judges

    def strictest(self, minor: int, metadata: Object, spec: Object) -> Level:
        """Return the strictest level that a pod meets at a minor version."""
        levels = (level for level in reversed(Level) if self.judge(Standard(level, minor), metadata, spec).allowed)
        return next(levels, Level.PRIVILEGED)


def check_judges(standard: Standard) -> dict[str, Judge]:
    """Return what judges at a standard, by the id of the check: baseline's first, then restricted's, each by its name."""
    stricter = chosen(restricted.CHECKS, standard.minor) if standard.level is Level.RESTRICTED else {}
    needless = {name for revision in stricter.values() for name in revision[1]}
    basic = {name: one for name, one in chosen(baseline.CHECKS, standard.minor).items() if name not in needless}
    return {name: judge for name, (judge, _) in (*basic.items(), *stricter.items())}


def chosen(checks: tuple[Check, ...], minor: int) -> dict[str, tuple[Judge, tuple[str, ...]]]:
    found = {check.id: check.at(minor) for check in sorted(checks, key=lambda check: check.id)}
    return {name: (one.judge, one.overrides) for name, one in found.items() if one is not None}
