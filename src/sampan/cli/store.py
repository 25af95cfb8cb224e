"""``sampan store``: what is stored, as it is stored, now or at a revision; who changed what when."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sampan.cluster.stored import Stored
    from sampan.store import Event

SUMMARY = "show what is stored: get, ls, watch, and history (who changed what when)"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    get = verbs.add_parser("get", help="one object as it is stored")
    ls = verbs.add_parser("ls", help="the keys of a resource, or of everything")
    watch = verbs.add_parser("watch", help="changes as they happen")
    history = verbs.add_parser("history", help="who changed what when, as a difference for each revision")
    for verb in (get, history):
        verb.add_argument("object", help="pods/web, deployments.apps/web, widgets.example.com/w, or a whole key")
        verb.add_argument("-n", "--namespace", default="default", help="its namespace (default: %(default)s)")
    for verb in (ls, watch):
        verb.add_argument(
            "resource", nargs="?", default="/registry/", help="pods, deployments.apps, or a prefix of keys"
        )
    get.add_argument("-o", "--output", choices=("yaml", "json"), default="yaml")
    for verb in (get, ls):
        verb.add_argument("--at", type=int, default=0, metavar="REVISION", help="as it was at a revision")
    for verb in (get, ls, watch, history):
        verb.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import lifecycle

    settings = lifecycle.load(options.name)

    async def ask() -> int:
        from sampan.client.errors import ApiUnreachable
        from sampan.cluster.stored import stored

        try:
            async with stored(settings) as found:
                return await VERBS[options.verb](found, options)
        except ApiUnreachable as error:
            raise lifecycle.ClusterError(f"the API does not answer: {error}") from error

    return asyncio.run(ask())


async def get(found: Stored, options: argparse.Namespace) -> int:
    import orjson

    record = await only(found, options)
    if options.output == "json":
        print(orjson.dumps(record["value"], option=orjson.OPT_INDENT_2).decode())
    else:
        import yaml

        print(yaml.safe_dump(record["value"], sort_keys=False, allow_unicode=True), end="")
    return 0


async def only(found: Stored, options: argparse.Namespace) -> dict[str, Any]:
    """Return the record of the object that was asked for. Raises ``ClusterError``."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.store.layout import keys_of

    keys = keys_of(options.object, options.namespace)
    for key in keys:
        _, records = await found.records(key, options.at)
        for record in records:
            if record["key"] == key:
                return record
    at = f" at revision {options.at}" if options.at else ""
    raise ClusterError(f"nothing is stored under {keys[0]}{at}", "`sampan store ls` shows all keys; -n NAMESPACE")


async def ls(found: Stored, options: argparse.Namespace) -> int:
    from sampan.store.layout import prefix_of

    revision, records = await found.records(prefix_of(options.resource), options.at, values=False)
    print(f"{'REVISION':>9}  KEY")
    for record in records:
        print(f"{record['revision']:>9}  {record['key']}")
    print(f"{len(records)} keys at revision {revision}", file=sys.stderr)
    return 0


async def watch(found: Stored, options: argparse.Namespace) -> int:
    from sampan.store.layout import prefix_of
    from sampan.store.revisions import revision_of

    async with aclosing(found.watch(prefix_of(options.resource))) as changes:  # type: ignore[type-var]
        async for told in changes:
            event, time = event_of(told)
            show(revision_of(event, time), event.record.key)
    return 0


async def history(found: Stored, options: argparse.Namespace) -> int:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.store.layout import keys_of
    from sampan.store.revisions import revision_of

    keys = keys_of(options.object, options.namespace)
    for key in keys:
        events = await found.history(key)
        if events:
            for told in events:
                event, time = event_of(told)
                show(revision_of(event, time))
            return 0
    options.at = 0
    record = await only(found, options)  # it is there, and has not changed since the oldest that is kept
    name = record["key"].rpartition("/")[2]
    raise ClusterError(
        f"{name} is at revision {record['revision']}, and what was before is forgotten",
        "keep more: `etcd-compaction-interval: 24h` in a file for `sampan up --api-config`",
    )


def event_of(told: dict[str, Any]) -> tuple[Event, str]:
    """Return an event, and when it was (RFC 3339, empty where nobody knows)."""
    import orjson

    from sampan.store import Event, Record

    def record(given: dict[str, Any]) -> Record:
        return Record(given["key"], orjson.dumps(given["value"]), given["createRevision"], given["revision"])

    previous = record(told["previous"]) if told["previous"] else None
    time = ""
    if told["time"] is not None:
        time = datetime.datetime.fromtimestamp(told["time"], datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Event(record(told["record"]), previous, told["deleted"]), time


def show(revision: Any, key: str = "") -> None:
    who = ", ".join(revision.managers)
    parts = [str(revision.revision), revision.time or "-", revision.verb, key, f"by {who}" if who else ""]
    print("  ".join(part for part in parts if part), flush=True)
    for line in revision.lines:
        print(f"    {line}", flush=True)


VERBS = {"get": get, "ls": ls, "watch": watch, "history": history}
