"""Jobs: defaults, strategy and declaration. Source: kubernetes pkg/apis/batch/v1/defaults.go, pkg/registry/batch/job.

Checks stand in ``job_validation``, cells in ``job_cells``.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from sampan.api.resource import Column, Resource
from sampan.api.resources.checking import collect
from sampan.api.resources.columns import AGE, NAME, WIDE, selector, template_columns
from sampan.api.resources.job_cells import completions, duration, job_status
from sampan.api.resources.job_status import validate_job_status
from sampan.api.resources.job_validation import NAME_LABEL, UID_LABEL, job_warnings, validate_job
from sampan.api.resources.pod_spec import default_template, fill
from sampan.api.resources.reading import mapping, text
from sampan.schema.objects import Object

MAX_INT32 = 2**31 - 1


def default_job(job: Object) -> None:
    default_early_job(job)
    spec = job["spec"]
    fill(spec, "podReplacementPolicy", "Failed" if spec.get("podFailurePolicy") else "TerminatingOrFailed")


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
    default_job_spec(spec)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    spec.setdefault("manualSelector", False)


def default_job_spec(spec: Object) -> None:
    """Fill what a Job and the template of one have in common."""
    default_template(spec.setdefault("template", {}))
    for rule in mapping(spec, "podFailurePolicy").get("rules") or ():
        for condition in rule.get("onPodConditions") or ():
            fill(condition, "status", "True")


def prepare_job(new: Object, old: Object | None) -> None:
    """Give a new Job its status, and its pods the labels and selector that make them its own (``generateSelector``).
    What the user has set is left alone: validation will have its say."""
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
    uid, name = new["metadata"]["uid"], text(new, "metadata", "name")
    own = {NAME_LABEL: name, UID_LABEL: uid, "job-name": name, "controller-uid": uid}
    metadata["labels"] = {**own, **(metadata.get("labels") or {})}
    chosen = spec.get("selector")
    if not isinstance(chosen, dict):
        chosen = spec["selector"] = {}
    chosen["matchLabels"] = {UID_LABEL: uid, **mapping(chosen, "matchLabels")}


def by_version(minor: int) -> Mapping[str, Any]:
    return {
        "default": default_job if minor >= 28 else default_early_job,
        "validate": collect(partial(validate_job, resizes=minor >= 36)),
        "validates": {"status": collect(partial(validate_job_status, strict=minor >= 32))},
    }


JOB = Resource(
    group="batch",
    version="v1",
    kind="Job",
    plural="jobs",
    categories=("all",),
    status=True,
    default=default_job,
    by_version=by_version,
    prepare=prepare_job,
    validate=collect(validate_job),
    validates={"status": collect(validate_job_status)},
    warn=job_warnings,
    trusts_definition=False,
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
