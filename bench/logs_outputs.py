"""The outputs of the logs agent: megabytes of log per second of the agent's CPU, its start included, from a file of CRI lines
(bench/logs.py's, one record in twenty a trace) through a spool to a server that takes everything and does nothing with it.

The peer is our own output to a file, on the same lines: what is beside it is the price of the protocol and of the spool.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench import logs
from bench.table import Row

MEGABYTES = int(os.environ.get("SAMPAN_BENCH_LOGS_MB", "100")) // 2
SERVER = """
import asyncio, sys
from aiohttp import web

async def take(request):
    async for _ in request.content.iter_any():
        pass
    return web.json_response({"errors": False})

async def main():
    app = web.Application(client_max_size=1 << 30)
    app.router.add_post("/{rest:.*}", take)
    runner = web.AppRunner(app, auto_decompress=False)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    drain = await asyncio.start_server(discard, "127.0.0.1", 0)
    print(runner.addresses[0][1], drain.sockets[0].getsockname()[1], flush=True)
    await asyncio.Event().wait()

async def discard(reader, writer):
    while await reader.read(1 << 20):
        pass

asyncio.run(main())
"""


def rows() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(prefix="sampan-bench-") as directory, server() as (http, stream):
        home = Path(directory)
        log = home / "0.log"
        size = logs.write(log, True, MEGABYTES)
        at = f"http://127.0.0.1:{http}"
        file = size / logs.once(home, log, "file")
        outputs = {
            "http, no spool": "",
            "http": at,
            "OTLP over HTTP": f"otlp+{at}",
            "Elasticsearch": f"elasticsearch+{at}",
            "Loki": f"loki+{at}",
            "syslog, TCP": f"syslog+tcp://127.0.0.1:{stream}",
        }
        direct = home / "direct.yaml"
        direct.write_text(f"outputs: [{{name: direct, type: http, url: '{at}', spool: {{limit: 0}}}}]\n")
        for name, address in outputs.items():
            words = ["--output", address] if address else ["--config", str(direct)]
            yield Row(name, size / once(home, log, name, words), "MB per CPU second", file, "json:FILE")


def once(home: Path, log: Path, name: str, words: list[str]) -> float:
    """Return the agent's CPU seconds, until the server has acknowledged everything."""
    state = home / f"state-{name.replace(' ', '-')}"
    agent = [sys.executable, "-m", "sampan.cli.main", "logs", "agent", "--once", "--path", str(log)]
    return logs.cpu_of([*agent, "--state", str(state), *words])


@contextmanager
def server() -> Iterator[tuple[int, int]]:
    """Run the server; yield its ports, of HTTP and of what is only read."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        http, stream = process.stdout.readline().split()
        yield int(http), int(stream)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)
