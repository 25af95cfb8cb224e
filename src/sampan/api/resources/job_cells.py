"""Cells of ``kubectl get jobs``. Source: kubernetes pkg/printers/internalversion (printJob)."""

from __future__ import annotations

from datetime import datetime

from sampan.api.resources.reading import dig, items, text
from sampan.schema.durations import age, human_duration
from sampan.schema.objects import Object


def completions(job: Object) -> str:
    wanted, done = dig(job, "spec", "completions"), dig(job, "status", "succeeded") or 0
    if wanted is not None:
        return f"{done}/{wanted}"
    parallelism = dig(job, "spec", "parallelism") or 0
    return f"{done}/1 of {parallelism}" if parallelism > 1 else f"{done}/1"


def duration(job: Object) -> str:
    start, end = text(job, "status", "startTime"), text(job, "status", "completionTime")
    if not start:
        return ""
    if not end:
        return age(start)
    return human_duration((datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds())


def job_status(job: Object) -> str:
    true = {c.get("type") for c in items(job, "status", "conditions") if c.get("status") == "True"}
    for kind, word in (("Complete", "Complete"), ("Failed", "Failed")):
        if kind in true:
            return word
    if dig(job, "metadata", "deletionTimestamp"):
        return "Terminating"
    for kind, word in (
        ("Suspended", "Suspended"),
        ("FailureTarget", "FailureTarget"),
        ("SuccessCriteriaMet", "SuccessCriteriaMet"),
    ):
        if kind in true:
            return word
    return "Running"
