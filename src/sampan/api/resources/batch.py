"""batch/v1. Source: kubernetes pkg/apis/batch/v1/defaults.go, pkg/registry/batch/job/strategy.go, validation, printers."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import (
    collect,
    immutable,
    label_selector,
    needed_one_of,
    non_negative,
    one_of,
    selects,
)
from sampan.api.resources.columns import AGE, NAME, WIDE, field, selector, template_columns, truth
from sampan.api.resources.pod_spec import default_template
from sampan.api.resources.pod_validation import pod_template
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import invalid, required
from sampan.schema.durations import age, human_duration
from sampan.schema.objects import Object

GROUP = "batch"
MAX_INT32 = 2**31 - 1
UID_LABEL = "batch.kubernetes.io/controller-uid"
NAME_LABEL = "batch.kubernetes.io/job-name"


def default_job(job: Object) -> None:
    default_early_job(job)
    spec = job["spec"]
    spec.setdefault("podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")


def default_early_job(job: Object) -> None:
    """Fill a Job of Kubernetes before 1.28, which had no podReplacementPolicy (KEP-3939)."""
    spec = job.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = spec["parallelism"] = 1
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6 if spec.get("backoffLimitPerIndex") is None else MAX_INT32)
    labels = mapping(spec, "template", "metadata", "labels")
    if labels and not mapping(job, "metadata", "labels"):
        job["metadata"]["labels"] = dict(labels)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)
    default_template(spec.get("template"))


def prepare_job(new: Object, old: Object | None) -> None:
    """Give a new Job its status, and its pods the labels and selector that make them its own (``generateSelector``)."""
    if old is not None:
        return
    new["status"] = {}
    spec = mapping(new, "spec")
    template = spec.get("template")
    if spec.get("manualSelector") or not isinstance(template, dict):
        return
    metadata = template.get("metadata")
    if not isinstance(metadata, dict):
        metadata = template["metadata"] = {}
    labels = metadata["labels"] = dict(metadata.get("labels") or {})
    uid, name = new["metadata"]["uid"], new["metadata"].get("name") or ""
    labels |= {UID_LABEL: uid, NAME_LABEL: name, "controller-uid": uid, "job-name": name}
    chosen = spec.get("selector")
    if not isinstance(chosen, dict):
        chosen = spec["selector"] = {}
    chosen["matchLabels"] = {**mapping(chosen, "matchLabels"), UID_LABEL: uid}


def job_spec(spec: Object, path: str) -> Iterator[Cause]:
    numbers = (
        "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
        "backoffLimitPerIndex", "maxFailedIndexes",
    )  # fmt: skip
    for key in numbers:
        yield from non_negative(f"{path}.{key}", spec.get(key))
    mode = spec.get("completionMode")
    yield from one_of(f"{path}.completionMode", mode, ("Indexed", "NonIndexed"))
    if mode == "Indexed" and spec.get("completions") is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    template = spec.get("template")
    if template is None:
        return
    yield from pod_template(template, f"{path}.template")
    policy = dig(template, "spec", "restartPolicy")
    if policy == "Always":
        field = f"{path}.template.spec.restartPolicy"
        yield from needed_one_of(field, policy, ("OnFailure", "Never"))


def validate_job(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    chosen = spec.get("selector")
    if chosen is None:
        yield required("spec.selector")
    else:
        yield from label_selector("spec.selector", chosen)
        labels = mapping(spec, "template", "metadata", "labels")
        if not selects(chosen, labels):
            yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    if len(text(new, "metadata", "name")) > 63:
        yield invalid("metadata.name", text(new, "metadata", "name"), "must be no more than 63 characters")
    yield from job_spec(spec, "spec")
    if old is not None:
        before = mapping(old, "spec")
        for key in (
            "completions",
            "selector",
            "completionMode",
            "podFailurePolicy",
            "backoffLimitPerIndex",
            "managedBy",
        ):
            if key == "completions" and spec.get("completionMode") == "Indexed":
                continue
            yield from immutable(f"spec.{key}", spec.get(key), before.get(key))
        suspended = before.get("suspend") and not dig(old, "status", "startTime")
        if not suspended:
            yield from immutable("spec.template", spec.get("template"), before.get("template"))


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


JOB = Resource(
    group=GROUP,
    version="v1",
    kind="Job",
    plural="jobs",
    categories=("all",),
    status=True,
    default=default_job,
    by_version=lambda minor: {"default": default_job if minor >= 28 else default_early_job},
    prepare=prepare_job,
    validate=collect(validate_job),
    columns=(
        NAME,
        Column("Status", job_status),
        Column("Completions", completions),
        Column("Duration", duration),
        AGE,
        *template_columns("spec", "template", "spec"),
        Column("Selector", selector("spec", "selector"), priority=WIDE),
    ),
    field_selectors={"status.successful": lambda job: text(job, "status", "succeeded") or "0"},
)


def default_cron_job(cron_job: Object) -> None:
    spec = cron_job.setdefault("spec", {})
    spec.setdefault("concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    default_template(dig(spec, "jobTemplate", "spec", "template"))


def validate_cron_job(new: Object, old: Object | None) -> Iterator[Cause]:
    spec = mapping(new, "spec")
    schedule = spec.get("schedule") or ""
    if not schedule:
        yield required("spec.schedule")
    elif not schedule.startswith("@") and len(schedule.split()) != 5:
        message = f"expected exactly 5 fields, found {len(schedule.split())}: [{' '.join(schedule.split())}]"
        yield invalid("spec.schedule", schedule, message)
    yield from needed_one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    for key in ("startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    if len(text(new, "metadata", "name")) > 52:
        yield invalid("metadata.name", text(new, "metadata", "name"), "must be no more than 52 characters")
    yield from job_spec(mapping(spec, "jobTemplate", "spec"), "spec.jobTemplate.spec")


def last_schedule(cron_job: Object) -> str:
    last = text(cron_job, "status", "lastScheduleTime")
    return age(last) if last else "<none>"


CRON_JOB = Resource(
    group=GROUP,
    version="v1",
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    status=True,
    default=default_cron_job,
    prepare=lambda new, old: new.update(status={}) if old is None else None,
    validate=collect(validate_cron_job),
    columns=(
        NAME,
        Column("Schedule", ".spec.schedule"),
        Column("Timezone", field("spec", "timeZone")),
        Column("Suspend", truth("spec", "suspend")),
        Column("Active", lambda cron_job: len(items(cron_job, "status", "active")), type="integer"),
        Column("Last Schedule", last_schedule),
        AGE,
        *template_columns("spec", "jobTemplate", "spec", "template", "spec"),
        Column("Selector", selector("spec", "jobTemplate", "spec", "selector"), priority=WIDE),
    ),
)

RESOURCES = (CRON_JOB, JOB)
