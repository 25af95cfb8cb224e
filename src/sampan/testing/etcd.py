"""``etcd`` as far as envtest needs one: it keeps the data directory, and answers that it is well.

The API server that is given its URL asks ``/sampan/data-dir`` and keeps its own log of revisions there, so that state
lives and goes with this process' directory as it does with etcd's. It speaks no etcd protocol.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

DATA_DIR_PATH = "/sampan/data-dir"
FLAGS = (
    "advertise-client-urls",
    "data-dir",
    "listen-client-urls",
    "listen-peer-urls",
    "unsafe-no-fsync",
)
"""What is understood. Client and peer URLs are one server's: there is nobody to advertise to and no peer."""


def parse(words: list[str], known: tuple[str, ...]) -> dict[str, str]:
    """Return flags as Go's programs take them: ``--name=value`` or ``--name value``; a flag alone is true. Raises
    ``ValueError`` with Go's words."""
    flags: dict[str, str] = {}
    at = 0
    while at < len(words):
        word = words[at]
        if not word.startswith("-"):
            raise ValueError(f'unknown command "{word}"')
        name, equals, value = word.lstrip("-").partition("=")
        if name not in known:
            raise ValueError(f"unknown flag: --{name}")
        if not equals and at + 1 < len(words) and not words[at + 1].startswith("-"):
            at += 1
            value = words[at]
        elif not equals:
            value = "true"
        flags[name] = value
        at += 1
    return flags


def usage(program: str, known: tuple[str, ...]) -> str:
    lines = [f"{program} of sampan: what envtest starts", "", "Flags:", *(f"  --{name}" for name in sorted(known))]
    return "\n".join(lines)


def handler(data_dir: Path, safe: bool) -> type[BaseHTTPRequestHandler]:
    answers = {
        "/health": {"health": "true", "reason": ""},
        DATA_DIR_PATH: {"dataDir": str(data_dir), "fsync": safe},
    }

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = answers.get(self.path)
            body = json.dumps(found if found is not None else {"error": "this etcd serves no data"}).encode()
            self.send_response(200 if found is not None else 404)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            """Say nothing: envtest asks ten times a second."""

    return Handler


def main() -> int:
    words = sys.argv[1:]
    if "--help" in words or "-h" in words:
        print(usage("etcd", FLAGS))
        return 0
    try:
        flags = parse(words, FLAGS)
    except ValueError as error:
        print(f"etcd: {error}", file=sys.stderr)
        return 2
    data_dir = Path(flags.get("data-dir", "default.etcd"))
    data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    at = urlsplit(flags.get("listen-client-urls", "http://localhost:2379").split(",")[0])
    safe = flags.get("unsafe-no-fsync", "false") != "true"
    try:
        server = ThreadingHTTPServer((at.hostname or "127.0.0.1", at.port or 2379), handler(data_dir.resolve(), safe))
    except OSError as error:
        print(f"etcd: {at.netloc}: {error.strerror}", file=sys.stderr)
        return 1
    server.daemon_threads = True
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))  # it holds nothing
    server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
