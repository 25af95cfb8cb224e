"""What became of an Ingress or IngressRoute: its addresses when Envoy serves it, and what of it is not served.

Source: Kubernetes networking.k8s.io/v1, IngressStatus."""

from __future__ import annotations

from functools import partial

from sampan.gateway.infrastructure import generated_name
from sampan.gateway.ingress.shared import gateway_key
from sampan.gateway.ingress.translation import Translation
from sampan.gateway.model.gateways import GatewayModel
from sampan.gateway.model.routes import RouteId, RouteModel
from sampan.gateway.model.world import World
from sampan.gateway.status.conditions import Moment, Status
from sampan.gateway.status.listeners import refusal_of as listener_refusal
from sampan.gateway.status.routes import conditions_of, refusal_of
from sampan.schema.objects import Object


def status_function(kind: str) -> Status:
    return partial(status, kind)


def status(kind: str, world: World, key: str, moment: Moment) -> Object | None:
    """Return the status of an Ingress. That of the others is nothing, but they are read, so that they are due when they
    come to something else."""
    obj, translation = world.get(f"{kind} status", key), world.get("Translation", (kind, key))
    if obj is None or translation is None:
        return None
    world.put("Outcome", (kind, key), tuple(problems(world, translation)) or None)
    if kind != "Ingress":
        return None
    given = addresses(world, translation) if moment.live and is_served(world, translation) else []
    return {"loadBalancer": {"ingress": given} if given else {}}


def addresses(world: World, translation: Translation) -> list[Object]:
    """Return the addresses of the shared Gateway, as its Service has them."""
    key = gateway_key(translation.ingress_class)
    gateway = world.get("Gateway", key)
    if gateway is None:
        return []
    service = world.get("Service status", f"{key.partition('/')[0]}/{generated_name(gateway)}")
    entries = (((service or {}).get("status") or {}).get("loadBalancer") or {}).get("ingress") or []
    return [{field: entry[field] for field in ("ip", "hostname") if entry.get(field)} for entry in entries]


def routes_of(world: World, translation: Translation) -> list[RouteModel]:
    found = (world.get("RouteModel", RouteId(kind, key)) for kind, key in translation.objects)
    return [model for model in found if model is not None]


def is_served(world: World, translation: Translation) -> bool:
    """Whether a route of it is on a listener that Envoy did not refuse. A canary is served with its main Ingress."""
    return any(
        attachment.listener.serves and not listener_refusal(world, attachment.gateway, attachment.listener)
        for model in routes_of(world, translation)
        if not refusal_of(world, model) and (any(model.places.values()) or model.streams)
        for parent in model.parents
        for attachment in parent.attachments
    )


def problems(world: World, translation: Translation) -> list[str]:
    """Return what is not served, each once: what was not translated, listeners and routes that are not as they were meant."""
    found = list(translation.problems)
    gateway: GatewayModel | None = world.get("GatewayModel", gateway_key(translation.ingress_class))
    wanted = {wish.section for wish in translation.wishes}
    for listener in gateway.listeners if gateway is not None else ():
        if listener.id.name in wanted:
            bad = [listener.accepted] * (not listener.is_accepted) + [listener.resolved] * (
                listener.resolved.reason != "ResolvedRefs"
            )
            found += [f"{listener.protocol} {listener.hostname}: {verdict.message}" for verdict in bad]
    for model in routes_of(world, translation):
        for parent in model.parents:
            for entry in conditions_of(world, model, parent, 0):
                if (entry["status"] == "True") == (entry["type"] == "PartiallyInvalid"):
                    found.append(entry["message"])
    return list(dict.fromkeys(found))
