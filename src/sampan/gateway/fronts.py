"""What leads clients to Envoy: a Service for every Gateway, and the way of Services with routes of their own through it.

``ensure_service`` and ``ensure_waypoints`` make what should be of what the pipeline knows, where it is otherwise than last
time; what the API refuses for now is tried again in a moment. Source: GEP-1762 (in-cluster deployments), GAMMA.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from typing import Any

from sampan.client.errors import ApiError
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import ENDPOINT_SLICES, SERVICES
from sampan.gateway import infrastructure
from sampan.gateway.configuration import GatewayConfig
from sampan.gateway.failures import expected
from sampan.gateway.pipeline import Pipeline
from sampan.gateway.xds.ads import Ads
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.gateway")

ANSWER_SECONDS = 10.0
"""How long Envoy may take to answer before Services are led through it all the same."""
PAUSE_SECONDS = 1.0
"""How long what the API refused is left alone."""


class Fronts:
    """``again`` has the agent come by once more."""

    def __init__(
        self,
        config: GatewayConfig,
        client: Client,
        pipeline: Pipeline,
        ads: Ads,
        informers: Mapping[ResourceType, Informer],
        again: Callable[[], None],
    ) -> None:
        self.config, self.client, self.pipeline, self.ads = config, client, pipeline, ads
        self.informers, self._again = informers, again
        self.services: dict[str, dict[str, Any]] = {}
        """Gateway → what its Service was made to be."""
        self._pauses: dict[str, float] = {}
        """Gateway → before when its Service is not tried again."""
        self._waypoints: dict[str, Object] = {}

    def learn(self) -> None:
        """Take over what is there from before."""
        if self.pipeline.world.surroundings.has_mesh:  # else they are another gateway's
            self._waypoints = infrastructure.waypoints_of(self.informers[ENDPOINT_SLICES].all())

    async def remove_others(self) -> None:
        """Remove the Services of Gateways that are gone."""
        for key in [key for key in self.services if key not in self.pipeline.gateways]:
            gone = self.services.pop(key)
            if self.config.on_host or self.config.replica is not None:  # nobody else collects it
                namespace = key.partition("/")[0]
                await infrastructure.remove(self.client, namespace, gone["name"], self.config.replica)

    async def ensure_service(self, key: str, leads: bool) -> None:
        """Make the Service of a Gateway as it should be, when it should be otherwise than last time or is gone."""
        gateway = self.pipeline.world.get("Gateway", key)  # one that Ingresses share is not in the API
        if gateway is None or "deletionTimestamp" in gateway["metadata"]:
            return
        model, ports = self.pipeline.gateways[key], self.pipeline.gateway_ports(key)
        name = infrastructure.generated_name(gateway)
        wanted = {
            "ports": sorted(ports.items()),
            "addresses": model.addresses,
            "infrastructure": gateway["spec"].get("infrastructure"),
            "uid": gateway["metadata"]["uid"],
            "name": name,
        }
        there = self.informers[SERVICES].get(f"{gateway['metadata']['namespace']}/{name}")
        now = asyncio.get_running_loop().time()
        if not ports or (self.services.get(key) == wanted and there is not None) or self._pauses.get(key, 0.0) > now:
            return
        self.services[key] = wanted
        try:
            leads_to = "" if self.config.on_host else self.config.reached_at
            if leads or there is not None:
                await infrastructure.ensure(
                    self.client, gateway, ports, model.addresses, leads_to, self.config.replica, leads
                )
            else:
                self.services.pop(key, None)  # when the one who leads has made it
            if self.config.on_host:
                addresses = model.addresses[:1] or (infrastructure.reachable(self.config.node_ip),)
                await infrastructure.give(self.client, gateway, addresses)
        except Exception as error:
            self.services.pop(key, None)
            if not expected(error):
                raise
            logger.warning("gateway %s: %s", key, error)
            self._pauses[key] = now + PAUSE_SECONDS
            asyncio.get_running_loop().call_later(PAUSE_SECONDS + 0.01, self._again)

    async def ensure_waypoints(self, number: int) -> None:
        """Lead Services with routes of their own through Envoy, when it is there, and those without past it."""
        if not self.pipeline.waypoints and not self._waypoints:
            return
        wanted = {
            key: infrastructure.waypoint_of(service, ports, self.config.reached_at)
            for key, ports in self.pipeline.waypoints.items()
            if (service := self.informers[SERVICES].get(key)) is not None
        }
        if any(self._waypoints.get(key) != piece for key, piece in wanted.items()):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(ANSWER_SECONDS):
                    while self.ads.acknowledged < number:
                        await self.ads.answered()
        for key in wanted.keys() | self._waypoints.keys():
            if self._waypoints.get(key) == wanted.get(key):
                continue
            namespace, _, name = key.partition("/")
            piece, slice_name = wanted.get(key), infrastructure.waypoint_name(name)
            try:
                if piece is None:
                    self._waypoints.pop(key)
                    await self.client.delete(ENDPOINT_SLICES, slice_name, namespace)
                else:
                    self._waypoints[key] = piece
                    manager = infrastructure.FIELD_MANAGER
                    await self.client.patch(
                        ENDPOINT_SLICES, slice_name, piece, namespace, type="apply", field_manager=manager, force=True
                    )
            except Exception as error:
                if not expected(error):
                    raise
                if not (isinstance(error, ApiError) and error.is_not_found):
                    logger.warning("waypoint of service %s: %s", key, error)
                    self._waypoints.pop(key, None)
                    asyncio.get_running_loop().call_later(1.0, self._again)
