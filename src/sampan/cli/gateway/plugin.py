"""``sampan gateway plugin new|test|run``: a plugin from its first file to its last test, without a cluster."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

SUMMARY = "write, test and run a plugin without a cluster: new, test, run"


def arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="plugin_verb", required=True, metavar="VERB")
    new = verbs.add_parser("new", help="make a directory with a plugin that works")
    new.add_argument("directory", type=Path, metavar="DIRECTORY")
    new.add_argument(
        "--kind", choices=("hook", "asgi", "processor"), default="hook", help="what it is (default: %(default)s)"
    )
    test = verbs.add_parser("test", help="send the recorded requests of requests.yaml through it")
    test.add_argument("directories", nargs="+", type=Path, metavar="DIRECTORY")
    serve = verbs.add_parser("run", help="serve it on loopback, and load it again when a file changes")
    serve.add_argument("directory", type=Path, metavar="DIRECTORY")
    serve.add_argument("--port", type=int, default=8080, help="on 127.0.0.1; 0: any (default: %(default)s)")
    serve.add_argument(
        "--backend", metavar="URL", help="where requests go (default: a mirror that tells what it was asked)"
    )
    for one in (test, serve):
        one.add_argument("--settings", metavar="JSON", help="instead of those of requests.yaml")
        one.add_argument("--entry-point", metavar="MODULE:NAME", help="instead of plugin.toml's")


def run(options: argparse.Namespace) -> int:
    from sampan.gateway.plugins.manifest import PluginError

    verb = {"new": new, "test": test, "run": serve}[options.plugin_verb]
    try:
        return verb(options)
    except (PluginError, OSError, ValueError) as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 0


def new(options: argparse.Namespace) -> int:
    from sampan.gateway.plugins.skeleton import files

    directory: Path = options.directory
    if directory.exists() and any(directory.iterdir()):
        raise ValueError(f"{directory} exists and is not empty")
    name = re.sub(r"[^a-z0-9]+", "-", directory.resolve().name.lower()).strip("-") or "plugin"
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in files(name, options.kind, directory.resolve()).items():
        (directory / file).write_text(text)
        print(directory / file)
    return 0


def plugin_of(directory: Path, options: argparse.Namespace, recorded: dict[str, Any]) -> dict[str, Any]:
    settings = json.loads(options.settings) if options.settings else recorded.get("settings")
    spec = {"path": str(directory), "settings": settings, "entryPoint": options.entry_point}
    return {"spec": {name: value for name, value in spec.items() if value is not None}}


def test(options: argparse.Namespace) -> int:
    failed = 0
    for directory in options.directories:
        failed += asyncio.run(played(directory, options))
    return 1 if failed else 0


async def played(directory: Path, options: argparse.Namespace) -> int:
    from sampan.gateway.plugins.content import content_of
    from sampan.gateway.plugins.rehearsal import play, recordings

    recorded = recordings(directory)
    content = content_of("test/plugin", plugin_of(directory, options, recorded))
    with tempfile.TemporaryDirectory(prefix="sampan-plugin-") as folder:
        results = await play(content, Path(folder), recorded["requests"])
    for result in results:
        print(f"{'FAIL' if result.problems else 'ok':4}  {directory.name}: {result.name}")
        asked = "the backend was not asked"
        if result.backend is not None:
            asked = (
                f"the backend was asked {result.backend['method']} {result.backend['path']} {result.backend['headers']}"
            )
        print(f"      {asked}")
        print(f"      the client got {result.status} {result.headers} {result.body[:200]!r}")
        for problem in result.problems:
            print(f"      {problem}")
    return sum(bool(result.problems) for result in results)


def serve(options: argparse.Namespace) -> int:
    from sampan.gateway.plugins.foreground import mirror, proxy
    from sampan.gateway.plugins.foreground import serve as served
    from sampan.gateway.plugins.manifest import PluginError
    from sampan.gateway.plugins.rehearsal import recordings

    try:
        recorded = recordings(options.directory)
    except PluginError:
        recorded = {}
    if not options.directory.is_dir():
        raise ValueError(f"{options.directory} is not a directory")
    plugin = plugin_of(options.directory, options, recorded)
    backend = proxy(options.backend) if options.backend else mirror
    asyncio.run(served(plugin, options.port, backend, lambda text: print(text, flush=True)))
    return 0
