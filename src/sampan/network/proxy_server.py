"""What the Service proxy answers over HTTP: ``/healthz``, ``/livez``, ``/metrics``, ``/proxyMode``, and for each Service with
a ``healthCheckNodePort`` whether it has endpoints on this node, on that port.

Source: pkg/proxy/healthcheck, cmd/kube-proxy (ports 10256 and 10249).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sampan.client.events import EventRecorder
from sampan.client.informer import Informer, split_key
from sampan.network.proxy_metrics import ProxyMetrics
from sampan.network.services import ServiceRules

if TYPE_CHECKING:
    from aiohttp import web

logger = logging.getLogger("sampan.network")

HEALTHZ_PORT, METRICS_PORT = 10256, 10249
TO_BE_DELETED = "ToBeDeletedByClusterAutoscaler"
HEADERS = {"X-Content-Type-Options": "nosniff"}
EVERYWHERE = ("0.0.0.0", "::")


class ProxyServer:
    """Serves one proxy. ``run`` is a task of the owner's; ``follow`` is told what changed."""

    def __init__(
        self,
        metrics: ProxyMetrics,
        nodes: Informer,
        services: Informer,
        node_name: str,
        events: EventRecorder,
        *,
        healthz_port: int = HEALTHZ_PORT,
        metrics_port: int = METRICS_PORT,
    ) -> None:
        self._metrics, self._nodes, self._services = metrics, nodes, services
        self._node_name, self._events = node_name, events
        self._ports = {healthz_port: EVERYWHERE, metrics_port: ("127.0.0.1",)}
        self._wanted: dict[str, tuple[int, int]] = {}
        """The port of each Service that is asked for its health, and how many endpoints it has here."""
        self._asked: dict[int, str] = {}
        self._sites: dict[int, list[web.TCPSite]] = {}
        self._wake = asyncio.Event()

    def follow(self, changed: Mapping[str, ServiceRules]) -> None:
        for key, rules in changed.items():
            if rules.health_port:
                self._wanted[key] = (rules.health_port, rules.local_endpoints)
                self._wake.set()
            elif self._wanted.pop(key, None):
                self._wake.set()

    async def run(self) -> None:
        """Serve until cancelled."""
        from aiohttp import web

        own = web.Application()
        own.router.add_get("/healthz", self._healthz)
        own.router.add_get("/livez", self._livez)
        own.router.add_get("/metrics", self._show_metrics)
        own.router.add_get("/proxyMode", self._proxy_mode)
        checks = web.Application()
        checks.router.add_route("*", "/{any:.*}", self._health_of_service)
        runners = [web.AppRunner(app, access_log=None, shutdown_timeout=1) for app in (own, checks)]
        for runner in runners:
            await runner.setup()
        try:
            for port, hosts in self._ports.items():
                if problem := await self._open(runners[0], port, hosts):
                    logger.error("the Service proxy does not answer on port %s: %s", port, problem)
            while True:
                self._wake.clear()
                await self._follow_services(runners[1])
                await self._wake.wait()
        finally:
            for runner in runners:
                await runner.cleanup()

    async def _follow_services(self, runner: web.AppRunner) -> None:
        wanted = {port: key for key, (port, _) in self._wanted.items()}
        for port in [port for port, key in self._asked.items() if wanted.get(port) != key]:
            del self._asked[port]
            for site in self._sites.pop(port, ()):
                await site.stop()
        for port, key in wanted.items():
            if port in self._asked:
                continue
            self._asked[port] = key
            if problem := await self._open(runner, port, EVERYWHERE):
                said = f'node {self._node_name} failed to start healthcheck "{key}" on port {port}: {problem}'
                logger.error("%s", said)
                if service := self._services.get(key):
                    self._events.warning(service, "FailedToStartServiceHealthcheck", said)

    async def _open(self, runner: web.AppRunner, port: int, hosts: tuple[str, ...]) -> str:
        """Listen on a port; return what was refused. A kernel without IPv6 is no reason not to answer IPv4."""
        from aiohttp import web

        refused, opened = "", []
        for host in hosts:
            site = web.TCPSite(runner, host, port, reuse_address=True)
            try:
                await site.start()
                opened.append(site)
            except OSError as error:
                refused = refused or str(error.strerror or error)
        self._sites[port] = opened
        return "" if opened else refused

    # answers

    async def _healthz(self, request: web.Request) -> web.Response:
        eligible = self._eligible()
        return self._probe("healthz", self._metrics.healthy and eligible, {"nodeEligible": eligible})

    async def _livez(self, request: web.Request) -> web.Response:
        return self._probe("livez", self._metrics.healthy, {})

    def _probe(self, name: str, well: bool, more: dict[str, Any]) -> web.Response:
        code = 200 if well else 503
        self._metrics.probes[name, code] += 1
        times = {"lastUpdated": self._metrics.last_updated, "currentTime": datetime.now(UTC).timestamp()}
        said = {key: str(datetime.fromtimestamp(value, UTC)) for key, value in times.items()}
        return _json({**said, **more}, code)

    def _eligible(self) -> bool:
        """Whether load balancers should send to this node: not when it is about to go."""
        node = self._nodes.get(self._node_name)
        if node is None:
            return True
        taints = (node.get("spec") or {}).get("taints") or ()
        return "deletionTimestamp" not in node["metadata"] and all(one.get("key") != TO_BE_DELETED for one in taints)

    async def _show_metrics(self, request: web.Request) -> web.Response:
        from aiohttp import web

        from sampan.api.metrics.exposition import lines

        text = "".join(f"{line}\n" for line in lines(self._metrics.families()))
        return web.Response(body=text.encode(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    async def _proxy_mode(self, request: web.Request) -> web.Response:
        from aiohttp import web

        return web.Response(text="nftables")

    async def _health_of_service(self, request: web.Request) -> web.Response:
        port = request.transport.get_extra_info("sockname")[1] if request.transport else 0
        key = self._asked.get(port, "")
        namespace, name = split_key(key)
        count = self._wanted.get(key, (0, 0))[1]
        well = self._metrics.healthy
        said = {"service": {"namespace": namespace, "name": name}, "localEndpoints": count, "serviceProxyHealthy": well}
        answer = _json(said, 200 if count and well else 503)
        answer.headers["X-Load-Balancing-Endpoint-Weight"] = str(count)
        return answer


def _json(said: dict[str, Any], code: int) -> web.Response:
    from aiohttp import web

    return web.Response(body=json.dumps(said).encode(), status=code, content_type="application/json", headers=HEADERS)
