"""``sampan gateway plugins``: every Plugin's state, version, requests, latency and failures, as its host counted them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from sampan.cli import reaching

SUMMARY = "the state of plugins: version, requests, latency, failures with their tracebacks"
COLUMNS = ("NAMESPACE", "NAME", "VERSION", "STATE", "REQUESTS", "PER-SECOND", "P50", "P99", "FAILED", "LAST-ERROR")


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "plugin", nargs="?", metavar="NAMESPACE/NAME", help="one only, with the tracebacks of its failures"
    )
    parser.add_argument("-o", "--output", choices=("table", "json"), default="table")
    parser.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import lifecycle

    options.kubeconfig = None
    try:
        found = asyncio.run(reports(options))
    except lifecycle.ClusterError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 1
    if options.plugin and not found:
        print(f"sampan: there is no Plugin {options.plugin}", file=sys.stderr)
        return 1
    if options.output == "json":
        print(json.dumps(found, indent=2))
        return 0
    rows = [COLUMNS, *(row(one) for one in found)]
    widths = [max(len(line[column]) for line in rows) for column in range(len(COLUMNS))]
    for line in rows:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())
    counted = (found[0]["counters"] or {}) if options.plugin else {}
    if counted.get("restarts"):
        print(
            f"\nits process was started again {counted['restarts']} times, the last time as it ended {counted['lastEnding']}"
        )
    for failure in counted.get("errors", ()):
        print(f"\n{failure['traceback'].rstrip()}")
    return 0


async def reports(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Return what is known of each Plugin, ordered by key."""
    from sampan.client.informer import key_of
    from sampan.cluster import lifecycle
    from sampan.gateway.kinds.resources import PLUGINS

    sockets = lifecycle.load(options.name).run_dir / "gateway"
    async with reaching.api(options) as client:
        objects = sorted((await client.list(PLUGINS)).items, key=key_of)
    wanted = [one for one in objects if options.plugin in (None, key_of(one))]
    counters = await asyncio.gather(*(counters_of(sockets, key_of(one), live_version(one)) for one in wanted))
    return [
        {
            "plugin": key_of(one),
            "version": live_version(one),
            "state": state(one),
            "problem": problem(one),
            "counters": counted,
        }
        for one, counted in zip(wanted, counters, strict=True)
    ]


def live_version(plugin: dict[str, Any]) -> str:
    return str((plugin.get("status") or {}).get("liveVersion", ""))


def conditions(plugin: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {entry["type"]: entry for entry in (plugin.get("status") or {}).get("conditions", ())}


def state(plugin: dict[str, Any]) -> str:
    found = conditions(plugin)
    live, accepted = (found.get(name, {}).get("status") == "True" for name in ("Live", "Accepted"))
    return {(True, True): "Live", (True, False): "Outdated", (False, False): "Refused"}.get((live, accepted), "Pending")


def problem(plugin: dict[str, Any]) -> str:
    accepted = conditions(plugin).get("Accepted", {})
    return str(accepted.get("message", "")) if accepted.get("status") == "False" else ""


async def counters_of(sockets: Path, key: str, version: str) -> dict[str, Any] | None:
    """Return what was counted of the version that is live: by a process of its own, by Envoy where it calls a processor, by
    the plugin's host in Envoy. None when nobody answers (no version is live, or its loop is blocked)."""
    from sampan.gateway.plugins.counters import added
    from sampan.gateway.xds.plugins import CALLED, socket_name

    names = (socket_name(key, "counters"), socket_name(key, CALLED), socket_name(key))
    reports = [one for one in await asyncio.gather(*(asked(sockets / name) for name in names)) if one is not None]
    wanted = [one for one in reports if one.get("version") == version] or reports[:1]
    return added(wanted) if wanted else None


async def asked(socket: Path) -> dict[str, Any] | None:
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=2)
    async with aiohttp.ClientSession(connector=aiohttp.UnixConnector(path=str(socket)), timeout=timeout) as session:
        try:
            async with session.get("http://plugin/counters") as answer:
                found = await answer.json() if answer.status == 200 else None
        except (OSError, aiohttp.ClientError, TimeoutError, ValueError):
            return None
    return found if isinstance(found, dict) else None


def row(report: dict[str, Any]) -> tuple[str, ...]:
    namespace, _, name = report["plugin"].partition("/")
    head = (namespace, name, report["version"] or "-", report["state"])
    counted = report["counters"]
    if counted is None:
        return (*head, "-", "-", "-", "-", "-", report["problem"] or "its host does not answer")
    times = (f"{counted[field]:g}ms" for field in ("p50Milliseconds", "p99Milliseconds"))
    ended = f"ended {counted['lastEnding']}" if counted.get("restarts") else "-"
    last = report["problem"] or (counted["errors"][-1]["error"] if counted["errors"] else ended)
    rate = f"{counted['perSecond']:.1f}"
    return (*head, str(counted["requests"]), rate, *times, str(counted["failures"]), last)
