"""Plugin: which version is live since when, and what a newer one lacks. Envoy's refusal counts: the one before serves on."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.hook import refusal_of, why_asked
from sampan.gateway.model.world import World
from sampan.gateway.status.conditions import Moment, condition, generation_of, stamped
from sampan.schema.objects import Object


def status(world: World, key: str, moment: Moment) -> Object | None:
    plugin = world.get("Plugin status", key)
    if plugin is None:
        return None
    generation, old = generation_of(plugin), plugin.get("status") or {}
    live, problem = world.get("LivePlugin", key), world.get("PluginProblem", key) or ""
    refusal = refusal_of(world, key)
    problem = problem or (refusal and f"Envoy refused it: {refusal}")
    version = live.version if live is not None else ""
    if refusal:
        version = old.get("liveVersion", "")
    accepted = condition("Accepted", not problem, "Accepted" if not problem else "Invalid", problem, generation)
    text = f"version {version} is live" if version else "no version is live"
    text += how_asked(world, key, live) if version else ""
    serving = condition("Live", bool(version), "Live" if version else "NotLive", text, generation)
    result: Object = {"conditions": stamped([accepted, serving], old.get("conditions") or [], moment.now)}
    if version:
        result["liveVersion"] = version
        if live is not None and live.revision and not refusal:
            result["revision"] = live.revision
        same = old.get("liveVersion") == version
        result["liveSince"] = old["liveSince"] if same and old.get("liveSince") else moment.now
    return result


def how_asked(world: World, key: str, live: Any) -> str:
    """Return what is to be said of where a plugin is called: who looks for its cost, looks here."""
    here = world.surroundings
    if live is None or (live.kind == "hook" and (live.socket or not here.inline_module)):
        return ""
    if live.kind not in ("hook", "processor") or (live.kind == "processor" and not here.exchange_module):
        return ""
    where = "on a loop of its own" if live.kind == "hook" else "asked in its process"
    why = why_asked(world, key, live)
    return f", {where}, since {why}" if why else ", called by Envoy itself"
