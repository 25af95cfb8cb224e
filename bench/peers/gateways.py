"""Other gateways: Traefik, HAProxy and nginx, each the one on the PATH or the one that ``SAMPAN_BENCH_TRAEFIK`` (…) names.

HAProxy and nginx are Debian's packages. Traefik is no package: build it from its sources or take its release. Its plugins are
in ``traefik/``, interpreted by its Yaegi as its local plugins are.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.peers.etcd_apiserver import PeerMissing
from bench.processes import running

PLUGINS = Path(__file__).parent / "traefik"
PLUGIN_NAMES = ("header", "hmac", "body")
HAPROXY = """
global
  nbthread {threads}
  maxconn 4000
defaults
  mode http
  timeout client 30s
  timeout server 30s
  timeout connect 5s
  http-reuse always
frontend bench
  bind 127.0.0.1:{port}
  http-response set-header x-bench yes
  default_backend bench
backend bench
  server one 127.0.0.1:{backend}
"""
NGINX = """
user root;
daemon off;
worker_processes {threads};
pid {home}/nginx.pid;
error_log stderr error;
events {{ worker_connections 4000; }}
http {{
  access_log off;
  client_body_temp_path {home}/body;
  proxy_temp_path {home}/proxy;
  fastcgi_temp_path {home}/fastcgi;
  uwsgi_temp_path {home}/uwsgi;
  scgi_temp_path {home}/scgi;
  keepalive_requests 1000000000;
  upstream bench {{ server 127.0.0.1:{backend}; keepalive 512; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    add_header x-bench yes;
    location / {{
      proxy_pass http://bench;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
    }}
  }}
}}
"""


def binary(name: str) -> str:
    """Return its path. Raises ``PeerMissing`` where it is not installed."""
    variable = f"SAMPAN_BENCH_{name.upper()}"
    found = os.environ.get(variable) or shutil.which(name)
    if not found:
        raise PeerMissing(f"{name} is not installed (on the PATH, or named by {variable})")
    return found


@contextmanager
def traefik(home: Path, port: int, dynamic: dict[str, dict[str, Any]]) -> Iterator[int]:
    """Yield the pid of a Traefik with the files of ``dynamic`` (name -> configuration) in ``home / "dynamic"``."""
    folder = home / "dynamic"
    folder.mkdir()
    for name, content in dynamic.items():
        (folder / name).write_text(json.dumps(content))
    shutil.copytree(PLUGINS, home / "plugins-local/src/bench.local")
    static = {
        "global": {"checkNewVersion": False, "sendAnonymousUsage": False},
        "log": {"level": "ERROR"},
        "entryPoints": {"web": {"address": f"127.0.0.1:{port}"}},
        "providers": {"file": {"directory": str(folder)}},
        "experimental": {"localPlugins": {name: {"moduleName": f"bench.local/{name}"} for name in PLUGIN_NAMES}},
    }
    (home / "traefik.yaml").write_text(json.dumps(static))
    with process([binary("traefik"), f"--configFile={home}/traefik.yaml"], home) as pid:
        yield pid


@contextmanager
def haproxy(home: Path, port: int, backend: int) -> Iterator[int]:
    (home / "haproxy.cfg").write_text(HAPROXY.format(port=port, backend=backend, threads=os.cpu_count() or 1))
    with process([binary("haproxy"), "-db", "-f", str(home / "haproxy.cfg")], home) as pid:
        yield pid


@contextmanager
def nginx(home: Path, port: int, backend: int) -> Iterator[int]:
    (home / "nginx.conf").write_text(NGINX.format(home=home, port=port, backend=backend, threads=os.cpu_count() or 1))
    with process([binary("nginx"), "-c", str(home / "nginx.conf")], home) as pid:
        yield pid


@contextmanager
def process(command: list[str], home: Path) -> Iterator[int]:
    """Yield the pid of a program with its files in a folder; what it says is in ``home / "log"``."""
    with running(command, home / "log", home) as started:
        yield started.pid
