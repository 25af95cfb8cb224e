"""CronJobs. Source: kubernetes pkg/apis/batch/v1/defaults.go, pkg/apis/batch/validation, printers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, needed_one_of, non_negative
from sampan.api.resources.columns import AGE, NAME, WIDE, field, selector, template_columns
from sampan.api.resources.job_validation import job_spec, job_spec_warnings
from sampan.api.resources.jobs import default_job_spec
from sampan.api.resources.pod_spec import fill
from sampan.api.resources.reading import items, mapping, text
from sampan.api.resources.workloads import name_warnings
from sampan.schema.causes import invalid, not_supported, required
from sampan.schema.cron import CronError, parse
from sampan.schema.durations import age
from sampan.schema.objects import Object
from sampan.schema.remembering import remembered

ZONE_PART = re.compile(r"[A-Za-z.\-_0-9+]{1,14}", re.ASCII)
EXPLICIT_ZONE = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
LONGEST_NAME = 52
"""A Job's name of 63 characters, without the time that is put to its end."""


def suspended(job: Object) -> str:
    value = mapping(job, "spec").get("suspend")
    return "<unset>" if value is None else str(bool(value))


def default_cron_job(cron_job: Object) -> None:
    spec = cron_job.setdefault("spec", {})
    fill(spec, "concurrencyPolicy", "Allow")
    spec.setdefault("suspend", False)
    spec.setdefault("successfulJobsHistoryLimit", 3)
    spec.setdefault("failedJobsHistoryLimit", 1)
    default_job_spec(spec.setdefault("jobTemplate", {}).setdefault("spec", {}))


def validate_cron_job(new: Object, old: Object | None) -> Iterator[Cause]:
    spec, before, name = mapping(new, "spec"), mapping(old, "spec"), text(new, "metadata", "name")
    yield from schedule(spec, text(before, "schedule"))
    yield from non_negative("spec.startingDeadlineSeconds", spec.get("startingDeadlineSeconds"))
    if old is None or spec.get("timeZone") != before.get("timeZone"):
        yield from time_zone(spec.get("timeZone"))
    yield from needed_one_of("spec.concurrencyPolicy", spec.get("concurrencyPolicy"), ("Allow", "Forbid", "Replace"))
    template = mapping(spec, "jobTemplate", "spec")
    yield from job_spec(template, "spec.jobTemplate.spec")
    if template.get("selector") is not None:
        why = "`selector` will be auto-generated"
        yield invalid("spec.jobTemplate.spec.selector", template["selector"], why)
    if template.get("manualSelector"):
        yield not_supported("spec.jobTemplate.spec.manualSelector", True, ("nil", "false"))
    for key in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    if old is None and len(name) > LONGEST_NAME:
        yield invalid("metadata.name", name, f"must be no more than {LONGEST_NAME} characters")


def schedule(spec: Object, before: str) -> Iterator[Cause]:
    found = spec.get("schedule") or ""
    if not found:
        yield required("spec.schedule")
        return
    wrong = schedule_error(found)
    if wrong:
        yield invalid("spec.schedule", found, wrong)
    if "TZ" in found:
        if "TZ" not in before:
            why = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"
            yield invalid("spec.schedule", found, why)
        elif spec.get("timeZone") is not None:
            why = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
            yield invalid("spec.schedule", found, why)


@remembered(512)
def schedule_error(text: str) -> str:
    try:
        parse(text)
    except CronError as error:
        return str(error)
    return ""


def time_zone(zone: Any) -> Iterator[Cause]:
    if zone is None:
        return
    if not zone:
        yield invalid("spec.timeZone", zone, "timeZone must be nil or non-empty string")
        return
    parts = zone.split("/")
    bad = any(part in (".", "..") or part.startswith("-") or not ZONE_PART.fullmatch(part) for part in parts)
    if zone.lower() == "local" and not bad:
        yield invalid("spec.timeZone", zone, EXPLICIT_ZONE)
    elif bad or not known_zone(zone):
        yield invalid("spec.timeZone", zone, f"unknown time zone {zone}")


@remembered(512)
def known_zone(name: str) -> bool:
    import zoneinfo

    try:
        zoneinfo.ZoneInfo(name)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True


def warnings(new: Object, old: Object | None) -> Iterator[str]:
    if old is None:
        yield from name_warnings(new)
    if "TZ" in text(new, "spec", "schedule"):
        yield "CRON_TZ or TZ used in spec.schedule is not officially supported, see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"  # fmt: skip  # noqa: E501
    if old is None or new.get("spec") != old.get("spec"):
        yield from job_spec_warnings(mapping(new, "spec", "jobTemplate", "spec"), "spec.jobTemplate.spec")


def last_schedule(cron_job: Object) -> str:
    last = text(cron_job, "status", "lastScheduleTime")
    return age(last) if last else "<none>"


CRON_JOB = Resource(
    group="batch",
    version="v1",
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    status=True,
    default=default_cron_job,
    prepare=lambda new, old: new.update(status={}) if old is None else None,
    validate=collect(validate_cron_job),
    validates={"status": lambda new, old: []},
    warn=warnings,
    trusts_definition=False,
    columns=(
        NAME,
        Column("Schedule", ".spec.schedule"),
        Column("Timezone", field("spec", "timeZone")),
        Column("Suspend", suspended, type="boolean"),
        Column("Active", lambda cron_job: len(items(cron_job, "status", "active")), type="integer"),
        Column("Last Schedule", last_schedule),
        AGE,
        *template_columns("spec", "jobTemplate", "spec", "template", "spec"),
        Column("Selector", selector("spec", "jobTemplate", "spec", "selector"), priority=WIDE),
    ),
)
