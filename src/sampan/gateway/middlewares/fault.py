"""``fault`` (ours alone): some requests are delayed, some are answered with an error, to see what callers make of it."""

from __future__ import annotations

from typing import Any

from sampan.gateway.filters.seam import Draft, HttpFilter, Site
from sampan.gateway.model.durations import go_duration
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("delay", "abort")
TYPE = "envoy.extensions.filters.http.fault.v3.HTTPFault"
FILTER = HttpFilter.of(42, "fault", {"@type": TYPE})
MILLIONTHS = 2


def apply(settings: Object, draft: Draft, site: Site) -> None:
    delay, abort = settings.get("delay"), settings.get("abort")
    if not delay and not abort:
        raise Unsupported("delay: neither delay nor abort is asked for")
    config: dict[str, Any] = {"@type": TYPE}
    if delay:
        only(delay, ("duration", "percent"), "delay")
        duration = go_duration(delay.get("duration") or "", "delay.duration")
        config["delay"] = {"fixed_delay": duration, "percentage": share(delay, "delay")}
    if abort:
        only(abort, ("status", "percent"), "abort")
        status = abort.get("status")
        if not isinstance(status, int) or not 200 <= status <= 599:
            raise Unsupported(f"abort.status: {status!r} is no status")
        config["abort"] = {"http_status": status, "percentage": share(abort, "abort")}
    draft.need(FILTER, config)


def only(settings: Object, known: tuple[str, ...], at: str) -> None:
    for name in settings:
        if name not in known:
            raise Unsupported(f"{at}.{name}: this option is not served")


def share(settings: Object, at: str) -> dict[str, int]:
    percent = settings.get("percent", 100)
    if not isinstance(percent, int | float) or not 0 <= percent <= 100:
        raise Unsupported(f"{at}.percent: must be 0 to 100")
    return {"numerator": round(percent * 10_000), "denominator": MILLIONTHS}
