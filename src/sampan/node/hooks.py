"""Lifecycle hooks: what a container wants done after its start and before its end. Source: core/v1 Lifecycle."""

from __future__ import annotations

import asyncio

from sampan.node.probes import HttpFault, Target, get
from sampan.node.runtime import Runtime, RuntimeFailure
from sampan.schema.objects import Object

EXEC_SECONDS = 3600
"""Hooks have no time limit of their own; preStop is bounded by the grace period of its caller."""


async def run_hook(runtime: Runtime, hook: Object, target: Target) -> str:
    """Run a hook and return why it failed, or ``""``."""
    if "sleep" in hook:
        await asyncio.sleep(hook["sleep"]["seconds"])
        return ""
    if "httpGet" in hook:
        try:
            await get(hook["httpGet"], target)  # any answer will do
        except HttpFault as error:
            return str(error)
        return ""
    if "exec" in hook:
        try:
            done = await runtime.exec_sync(target.container_id, list(hook["exec"].get("command") or ()), EXEC_SECONDS)
        except RuntimeFailure as error:
            return str(error)
        if done.exit_code:
            output = (done.stdout + done.stderr).decode(errors="replace").strip()
            return f"command exited with {done.exit_code}: {output[:512]}"
    return ""
