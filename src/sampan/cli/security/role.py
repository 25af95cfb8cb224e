"""``sampan security role --from-audit FILE --user NAME``: the smallest roles that allow what a user was seen doing."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SUMMARY = "the smallest roles for what a user did, from an audit log"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--from-audit", required=True, nargs="+", metavar="FILE", help="audit logs, or - for stdin")
    parser.add_argument(
        "--user", default="", help="whose; a ServiceAccount as system:serviceaccount:NS:NAME, or NS/NAME"
    )
    parser.add_argument("--role-name", default="", help="name of the roles (default: made of the user's)")
    parser.add_argument("--names", action="store_true", help="limit to the objects that were touched")
    parser.add_argument("--denied", action="store_true", help="allow what was refused, too")


def run(options: argparse.Namespace) -> int:
    import yaml

    from sampan.security.audit_roles import roles, users, uses

    try:
        events = [event for name in options.from_audit for event in read(name)]
    except ValueError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 2
    user = options.user
    if user.count("/") == 1 and not user.startswith("system:"):
        user = f"system:serviceaccount:{user.replace('/', ':')}"
    seen = users(events)
    if user not in seen:
        print(f"sampan: --user: {user!r} is not in the log" if user else "sampan: --user is needed", file=sys.stderr)
        for name, count in sorted(seen.items(), key=lambda entry: -entry[1])[:20]:
            print(f"  {count:6} events of {name}", file=sys.stderr)
        return 2
    found = list(uses(events, user, denied=options.denied, names=options.names))
    name = options.role_name or user.removeprefix("system:serviceaccount:").replace(":", "-")
    print(yaml.safe_dump_all(roles(found, user, name), sort_keys=False), end="")
    return 0


def read(name: str) -> Iterator[Any]:
    """Yield the events of a log: one JSON object a line, or EventLists. Raises ``ValueError``."""
    import orjson

    text = sys.stdin.read() if name == "-" else Path(name).read_text()
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            event = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"{name}:{number}: this is no audit log: {error}") from error
        yield from event.get("items", []) if event.get("kind") == "EventList" else [event]
