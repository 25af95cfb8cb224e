"""``sampan security check``: which Pod Security Standard the pods of manifests meet, without a cluster.

Every object that makes pods is judged: at the level asked for, or at both, to say the strictest that it meets. Objects that
make none are passed over. The exit code is 1 where one does not meet the level asked for.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

SUMMARY = "judge manifests by the Pod Security Standards"


class Found(NamedTuple):
    """One object that makes pods, and what is said of it."""

    file: str
    name: str
    level: str
    """The strictest level that it meets, at the version asked for."""
    violates: str
    """The standard that it was held against and does not meet, "" where it does."""
    detail: str


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    check = verbs.add_parser("check", help="judge the pods of manifests")
    check.add_argument("files", nargs="+", metavar="FILE", help="YAML or JSON, a directory of them, or - for stdin")
    check.add_argument(
        "--level",
        default="",
        metavar="LEVEL[:VERSION]",
        help="privileged, baseline or restricted, at a version (restricted:v1.30); without it, the next level is explained",
    )
    check.add_argument("-o", "--output", choices=("text", "json"), default="text")


def run(options: argparse.Namespace) -> int:
    from sampan.security import PolicyError, standard

    try:
        asked = standard(options.level) if options.level else None
        found = [one for file, obj in objects(options.files) if (one := judged(file, obj, asked)) is not None]
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
            print("\n".join(lines(one)))
    return 1 if asked is not None and any(one.violates for one in found) else 0


def lines(one: Found) -> Iterator[str]:
    yield f"{one.file}: {one.name}: {one.level}"
    if one.violates:
        yield f"  violates {one.violates}: {one.detail}"


def judged(file: str, obj: Any, asked: Any) -> Found | None:
    """Return what is said of an object, None where it makes no pods."""
    from sampan.security import Level, Standard
    from sampan.security.standards import Evaluator
    from sampan.security.templates import pod_of

    group = str(obj.get("apiVersion") or "").rpartition("/")[0]
    pod = pod_of(group, str(obj.get("kind") or ""), obj)
    if pod is None:
        return None
    evaluator, minor = Evaluator(), (asked or Standard()).minor
    name = f"{str(obj['kind']).lower()}/{(obj.get('metadata') or {}).get('name') or '(no name)'}"
    met = [level for level in Level if evaluator.judge(Standard(level, minor), *pod).allowed]
    against = asked or Standard(Level(min(met[-1] + 1, Level.RESTRICTED)), minor)
    verdict = evaluator.judge(against, *pod)
    return Found(file, name, str(met[-1]), "" if verdict.allowed else str(against), verdict.detail)


def objects(names: list[str]) -> Iterator[tuple[str, Any]]:
    """Yield every object of the files, those of Lists one by one. Raises ``ValueError`` for what is no manifest."""
    for name in names:
        path = Path(name)
        if name != "-" and path.is_dir():
            inside = sorted(file for suffix in ("yaml", "yml", "json") for file in path.rglob(f"*.{suffix}"))
            yield from objects([str(file) for file in inside])
            continue
        text = sys.stdin.read() if name == "-" else path.read_text()
        for document in documents(name, text):
            listed = document.get("items") if str(document.get("kind") or "").endswith("List") else None
            for obj in listed if isinstance(listed, list) else [document]:
                if isinstance(obj, dict):
                    yield name, obj


def documents(name: str, text: str) -> Iterator[dict[str, Any]]:
    import yaml

    try:
        for document in yaml.safe_load_all(text):
            if isinstance(document, dict):
                yield document
            elif document is not None:
                raise ValueError(f"{name}: a manifest is an object, this is {type(document).__name__}")
    except yaml.YAMLError as error:
        raise ValueError(f"{name}: {' '.join(str(error).split())}") from error
