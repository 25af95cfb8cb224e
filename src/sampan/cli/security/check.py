"""``sampan security check``: which Pod Security Standard the pods of manifests meet, without a cluster.

Every object that makes pods is judged: at the level asked for, or at both, to say the strictest that it meets. Objects that
make none are passed over, but for PodSecurityExemptions, which count for the pods of their namespace. The exit code is 1
where one does not meet the level asked for. With ``--versions``: the strictest level in each version of Kubernetes.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

SUMMARY = "judge the pods of manifests by the Pod Security Standards"


class Found(NamedTuple):
    """One object that makes pods, and what is said of it."""

    file: str
    name: str
    level: str
    """The strictest level that it meets, at the version asked for."""
    violates: str
    """The standard that it was held against and does not meet, "" where it does."""
    detail: str
    levels: dict[str, str]
    """The strictest level that it meets, by version."""
    exempt: str = ""
    """By what it need not meet the standard, or single checks of it."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", metavar="FILE", help="YAML or JSON, a directory of them, or - for stdin")
    parser.add_argument(
        "--level",
        default="",
        metavar="LEVEL[:VERSION]",
        help="privileged, baseline or restricted, at a version (restricted:v1.30); without it, the next level is explained",
    )
    parser.add_argument("--versions", action="store_true", help="the strictest level in each version, too")
    parser.add_argument(
        "--config", metavar="FILE", help="a PodSecurityConfiguration: whom its exemptions name is let off"
    )
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(options: argparse.Namespace) -> int:
    from sampan.cli.security.manifests import objects, read_configuration
    from sampan.security import PolicyError, standard

    try:
        asked = standard(options.level) if options.level else None
        all_of_them = list(objects(options.files))
        let_off = LetOff.of(read_configuration(options.config) if options.config else {}, all_of_them)
        found = [one for file, obj in all_of_them if (one := judged(file, obj, asked, let_off)) is not None]
    except PolicyError as error:
        print(f"sampan: --level {options.level}: {error}", file=sys.stderr)
        return 2
    except ValueError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 2
    if options.output == "json":
        print(json.dumps([one._asdict() for one in found], indent=2))
    else:
        for one in found:
            print("\n".join(lines(one, versions=options.versions)))
    return 1 if asked is not None and any(one.violates for one in found) else 0


def lines(one: Found, *, versions: bool) -> Iterator[str]:
    yield f"{one.file}: {one.name}: {one.level}"
    if one.violates:
        yield f"  violates {one.violates}: {one.detail}"
    if one.exempt:
        yield f"  exempt: {one.exempt}"
    if versions:
        yield f"  {ranges(one.levels)}"


def ranges(levels: dict[str, str]) -> str:
    """Return levels by version, equal neighbours as one: ``restricted v1.0-v1.7, baseline v1.8-v1.37``."""
    runs: list[list[str]] = []
    for version, level in levels.items():
        if runs and runs[-1][0] == level:
            runs[-1][2] = version
        else:
            runs.append([level, version, version])
    return ", ".join(f"{level} {first}" + (f"-{last}" if last != first else "") for level, first, last in runs)


class LetOff(NamedTuple):
    """Who need not meet the standard: namespaces and runtime classes, and by namespace the exemptions of single checks."""

    namespaces: frozenset[str]
    runtime_classes: frozenset[str]
    exemptions: dict[str, list[Any]]

    @classmethod
    def of(cls, configuration: Any, found: list[tuple[str, Any]]) -> LetOff:
        from sampan.security.exemptions import KIND

        exempt = configuration.get("exemptions") or {}
        exemptions: dict[str, list[Any]] = {}
        for _, obj in found:
            if obj.get("kind") == KIND:
                exemptions.setdefault(namespace_of(obj), []).append(obj)
        namespaces, classes = (frozenset(exempt.get(key) or ()) for key in ("namespaces", "runtimeClasses"))
        return cls(namespaces, classes, exemptions)

    def whole(self, obj: Any, spec: Any) -> str:
        """Return by what an object is let off the whole standard, "" where it is not."""
        if namespace_of(obj) in self.namespaces:
            return f"namespace {namespace_of(obj)}"
        runtime_class = spec.get("runtimeClassName")
        return f"runtimeClass {runtime_class}" if runtime_class in self.runtime_classes else ""


def namespace_of(obj: Any) -> str:
    return str((obj.get("metadata") or {}).get("namespace") or "default")


def judged(file: str, obj: Any, asked: Any, let_off: LetOff) -> Found | None:
    """Return what is said of an object, None where it makes no pods."""
    from sampan.cli.security.manifests import group_of, name_of
    from sampan.security import Level, Standard
    from sampan.security.exemptions import exempted
    from sampan.security.standards import GOOD, Evaluator
    from sampan.security.templates import pod_of

    pod = pod_of(group_of(obj), str(obj.get("kind") or ""), obj)
    if pod is None:
        return None
    evaluator, minor = Evaluator(), (asked or Standard()).minor
    met = evaluator.strictest(minor, *pod)
    against = asked or Standard(Level(min(met + 1, Level.RESTRICTED)), minor)
    told: dict[str, str] = {}
    exempt = let_off.whole(obj, pod[1])
    exemptions = let_off.exemptions.get(namespace_of(obj), [])
    verdict = GOOD if exempt else exempted(evaluator, against, pod, exemptions, told)
    exempt = exempt or told.get("exempt-checks", "")
    levels = {f"v1.{at}": str(evaluator.strictest(at, *pod)) for at in range(evaluator.newest + 1)}
    violates = "" if verdict.allowed else str(against)
    return Found(file, name_of(obj), str(met), violates, verdict.detail, levels, exempt)
