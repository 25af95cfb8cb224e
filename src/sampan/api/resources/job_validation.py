"""What a Job may be and become. Source: kubernetes pkg/apis/batch/validation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import (
    domain_prefixed_path,
    immutable,
    label_selector,
    non_negative,
    one_of,
    qualified,
    selects,
)
from sampan.api.resources.difference import same
from sampan.api.resources.pod_validation import pod_template
from sampan.api.resources.pod_warnings import template_warnings
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.workloads import fits, name_warnings
from sampan.schema.causes import duplicate, invalid, not_supported, required, too_long, too_many
from sampan.schema.names import dns1123_label
from sampan.schema.objects import Object

UID_LABEL = "batch.kubernetes.io/controller-uid"
NAME_LABEL = "batch.kubernetes.io/job-name"
NUMBERS = (
    "parallelism", "completions", "activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished",
    "backoffLimitPerIndex", "maxFailedIndexes",
)  # fmt: skip
ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
MAX_PARALLELISM = 100_000
MAX_RULES, MAX_PATTERNS, MAX_CODES, MAX_SUCCESS_RULES, MAX_SUCCEEDED_INDEXES = 20, 20, 255, 20, 64 * 1024
MANY_COMPLETIONS, MANY_PARALLELISM, MANY_FAILED = 100_000, 10_000, 10_000
FIXED = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
NO_VALUE = "Invalid value: "


def validate_job(new: Object, old: Object | None, *, resizes: bool = False) -> Iterator[Cause]:
    """Yield why a Job is refused. ``resizes``: what a suspended Job's pods ask for may change (1.36)."""
    spec, name = mapping(new, "spec"), text(new, "metadata", "name")
    if old is None:
        yield from generated_selector(new, spec)
        count = spec.get("completions") or 0
        if spec.get("completionMode") == "Indexed" and count > 0 and dns1123_label(f"{name}-{count - 1}"):
            why = f"will not able to create pod with invalid DNS label: {name}-{count - 1}"
            yield invalid("metadata.name", name, why)
    yield from job_spec(spec, "spec")
    chosen = spec.get("selector")
    wrong = list(label_selector("spec.selector", chosen))
    if chosen is None:
        yield required("spec.selector")
    yield from wrong
    if not wrong:
        yield from fits(chosen, spec.get("template"))
    if old is not None:
        yield from job_changes(spec, mapping(old, "spec"), old, resizes=resizes)


def generated_selector(job: Object, spec: Object) -> Iterator[Cause]:
    """The labels that make pods the Job's own are its uid and name."""
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    uid, name = text(job, "metadata", "uid"), text(job, "metadata", "name")
    labels, path = mapping(spec, "template", "metadata", "labels"), "spec.template.metadata.labels"
    own = {"controller-uid": uid, "job-name": name, UID_LABEL: uid, NAME_LABEL: name}
    for key, value in own.items():
        if key not in labels:
            yield required(f"{path}[{key}]", f"must be '{value}'")
        elif labels[key] != value:
            yield invalid(f"{path}[{key}]", labels, f"must be '{value}'")
    if not list(label_selector("spec.selector", spec["selector"])) and not selects(spec["selector"], own):
        yield invalid("spec.selector", in_order(spec["selector"]), "`selector` not auto-generated")


def in_order(selector: Object) -> Object:
    """Return a selector as it is shown: by Go, which sorts maps."""
    wanted = selector.get("matchLabels")
    return {**selector, "matchLabels": dict(sorted(wanted.items()))} if wanted else selector


def job_spec(spec: Object, path: str) -> Iterator[Cause]:
    """Yield why the spec of a Job, or of a CronJob's template, is refused."""
    for key in NUMBERS:
        yield from non_negative(f"{path}.{key}", spec.get(key))
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    mode = spec.get("completionMode")
    yield from one_of(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        yield from indexed(spec, path)
    elif mode in (None, "NonIndexed"):
        for key in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(key) is not None:
                yield invalid(f"{path}.{key}", spec[key], "requires indexed completion mode")
    if spec.get("podFailurePolicy") is not None:
        yield from failure_policy(spec, f"{path}.podFailurePolicy")
    if spec.get("successPolicy") is not None and mode == "Indexed":
        yield from success_policy(spec, f"{path}.successPolicy")
    elif spec.get("successPolicy") is not None:
        shown = shown_success(spec["successPolicy"])
        yield invalid(f"{path}.successPolicy", shown, "requires indexed completion mode")
    replacement = spec.get("podReplacementPolicy")
    known = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    yield from one_of(f"{path}.podReplacementPolicy", replacement, known)
    yield from manager(spec.get("managedBy"), f"{path}.managedBy")
    template = spec.get("template")
    yield from pod_template(template, f"{path}.template")
    yield from restart_policy(spec, text(template, "spec", "restartPolicy"), f"{path}.template.spec.restartPolicy")


def shown_success(policy: Object) -> Object:
    """A success policy as its internal Go struct is written."""
    keys = ("succeededIndexes", "succeededCount")
    rules = [{f"S{key[1:]}": rule.get(key) for key in keys} for rule in items(policy, "rules")]
    return {"Rules": rules or (None if policy.get("rules") is None else [])}


def restart_policy(spec: Object, policy: str, path: str) -> Iterator[Cause]:
    if policy in ("", "Always"):
        yield required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield not_supported(path, policy, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        yield invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def manager(name: Any, path: str) -> Iterator[Cause]:
    if name is None:
        return
    yield from domain_prefixed_path(path, name) if name else (required(path),)
    if len(name) > 63:
        yield too_long(path, 63)


def indexed(spec: Object, path: str) -> Iterator[Cause]:
    count, parallel, failed = (spec.get(key) for key in ("completions", "parallelism", "maxFailedIndexes"))
    if count is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    if parallel is not None and parallel > MAX_PARALLELISM:
        why = f"must be less than or equal to {MAX_PARALLELISM} when completion mode is Indexed"
        yield invalid(f"{path}.parallelism", parallel, why)
    if count is not None and failed is not None and failed > count:
        yield invalid(f"{path}.maxFailedIndexes", failed, "must be less than or equal to completions")
    if failed is not None and failed > MAX_PARALLELISM:
        yield invalid(f"{path}.maxFailedIndexes", failed, f"must be less than or equal to {MAX_PARALLELISM}")
    if count is None or count <= MANY_COMPLETIONS or spec.get("backoffLimitPerIndex") is None:
        return
    above = f"when completions are above {MANY_COMPLETIONS} and used with backoff limit per index"
    if failed is None:
        why = f"must be specified when completions is above {MANY_COMPLETIONS}"
        yield required(f"{path}.maxFailedIndexes", why)
    if parallel is not None and parallel > MANY_PARALLELISM:
        yield invalid(f"{path}.parallelism", parallel, f"must be less than or equal to {MANY_PARALLELISM} {above}")
    if failed is not None and failed > MANY_FAILED:
        yield invalid(f"{path}.maxFailedIndexes", failed, f"must be less than or equal to {MANY_FAILED} {above}")


def failure_policy(spec: Object, path: str) -> Iterator[Cause]:
    rules = items(spec, "podFailurePolicy", "rules")
    if len(rules) > MAX_RULES:
        yield too_many(f"{path}.rules", len(rules), MAX_RULES)
    pod = mapping(spec, "template", "spec")
    names = {c.get("name") for key in ("containers", "initContainers") for c in items(pod, key)}
    for index, rule in enumerate(rules):
        yield from failure_rule(spec, rule, f"{path}.rules[{index}]", names)


def failure_rule(spec: Object, rule: Object, path: str, names: set[Any]) -> Iterator[Cause]:
    action, codes, conditions = rule.get("action"), rule.get("onExitCodes"), items(rule, "onPodConditions")
    if not action:
        yield required(f"{path}.action", 'valid values: ["Count" "FailIndex" "FailJob" "Ignore"]')
    elif action == "FailIndex":
        if spec.get("backoffLimitPerIndex") is None:
            yield invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set")
    else:
        yield from one_of(f"{path}.action", action, ACTIONS)
    if codes is not None:
        yield from exit_codes(codes, f"{path}.onExitCodes", names)
    if len(conditions) > MAX_PATTERNS:
        yield too_many(f"{path}.onPodConditions", len(conditions), MAX_PATTERNS)
    for index, condition in enumerate(conditions):
        place, state = f"{path}.onPodConditions[{index}]", condition.get("status")
        yield from qualified(f"{place}.type", condition.get("type"))
        if not state:
            yield required(f"{place}.status", 'valid values: ["False" "True" "Unknown"]')
        else:
            yield from one_of(f"{place}.status", state, ("False", "True", "Unknown"))
    if codes is not None and conditions:
        yield bare(path, "specifying both OnExitCodes and OnPodConditions is not supported")
    if codes is None and not conditions:
        yield bare(path, "specifying one of OnExitCodes and OnPodConditions is required")


def bare(path: str, why: str) -> Cause:
    """A complaint that shows no value (``OmitValueType``)."""
    return Cause(path, "FieldValueInvalid", NO_VALUE + why)


def exit_codes(codes: Object, path: str, names: set[Any]) -> Iterator[Cause]:
    operator, values, container = codes.get("operator"), items(codes, "values"), codes.get("containerName")
    if not operator:
        yield required(f"{path}.operator", 'valid values: ["In" "NotIn"]')
    else:
        yield from one_of(f"{path}.operator", operator, ("In", "NotIn"))
    if container is not None and container not in names:
        why = "must be one of the container or initContainer names in the pod template"
        yield invalid(f"{path}.containerName", container, why)
    if not values:
        yield invalid(f"{path}.values", values, "at least one value is required")
    elif len(values) > MAX_CODES:
        yield too_many(f"{path}.values", len(values), MAX_CODES)
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            yield invalid(f"{path}.values[{index}]", value, "must not be 0 for the In operator")
        if value in values[:index]:
            yield duplicate(f"{path}.values[{index}]", value)
    if values != sorted(values):
        yield invalid(f"{path}.values", values, "must be ordered")


def success_policy(spec: Object, path: str) -> Iterator[Cause]:
    """KEP-3998."""
    rules = items(spec, "successPolicy", "rules")
    if not rules:
        yield required(f"{path}.rules", "at least one rules must be specified when the successPolicy is specified")
    if len(rules) > MAX_SUCCESS_RULES:
        yield too_many(f"{path}.rules", len(rules), MAX_SUCCESS_RULES)
    for index, rule in enumerate(rules):
        yield from success_rule(rule, spec.get("completions") or 0, f"{path}.rules[{index}]")


def success_rule(rule: Object, completions: int, path: str) -> Iterator[Cause]:
    count, wanted = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and wanted is None:
        yield required(path, "at least one of succeededCount or succeededIndexes must be specified")
    total = completions
    if wanted is not None:
        if len(wanted) > MAX_SUCCEEDED_INDEXES:
            yield too_long(f"{path}.succeededIndexes", MAX_SUCCEEDED_INDEXES)
        else:
            wrong, total = count_indexes(wanted, completions)
            if wrong:
                why = f"error parsing succeededIndexes: {wrong}"
                yield invalid(f"{path}.succeededIndexes", wanted, why)
    if count is not None:
        yield from non_negative(f"{path}.succeededCount", count)
        if count > completions:
            why = f"must be less than or equal to {completions} (the number of specified completions)"
            yield invalid(f"{path}.succeededCount", count, why)
        elif wanted is not None and count > total:
            why = (
                f"must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            )
            yield invalid(f"{path}.succeededCount", count, why)


def count_indexes(text: str, completions: int) -> tuple[str, int]:
    """Return what is wrong with a list of indexes and ranges (``1,3-5``), and how many it names."""
    total, last = 0, -1
    for piece in text.split(",") if text else ():
        ends = piece.split("-")
        if len(ends) > 2:
            why = "violates the requirement that an index interval can have at most two parts separated by '-'"
            return f'the fragment "{piece}" {why}', 0
        for end in ends:
            if not end.isascii() or not end.isdigit():
                return f'cannot convert string to integer for index: "{end}"', 0
        low, high = int(ends[0]), int(ends[-1])
        if max(low, high) >= completions:
            return f'too large index: "{low if low >= completions else high}"', 0
        if low <= last:
            return f"non-increasing order, previous: {last}, current: {low}", 0
        if len(ends) == 2 and high <= low:
            return f"non-increasing order, previous: {low}, current: {high}", 0
        total, last = total + high - low + 1, high
    return "", total


def job_changes(spec: Object, before: Object, old: Object, *, resizes: bool) -> Iterator[Cause]:
    count, was = spec.get("completions"), before.get("completions")
    if spec.get("completionMode") != "Indexed":
        yield from immutable("spec.completions", count, was)
    elif count is not None and count != was and count != spec.get("parallelism"):
        yield invalid("spec.completions", count, "can only be modified in tandem with spec.parallelism")
    for key in FIXED:
        yield from immutable(f"spec.{key}", spec.get(key), before.get(key))
    template, had = mapping(spec, "template"), mapping(before, "template")
    unstarted = dig(old, "status", "startTime") is None
    if before.get("suspend") and (unstarted or (resizes and is_idle(old))):
        had = with_directives(had, template)
        had = with_resources(had, template) if resizes else had
    if not same(had, template):
        yield invalid("spec.template", template, "field is immutable")


def is_idle(job: Object) -> bool:
    """Whether a Job is known to be suspended and has no pod left."""
    told = any(c.get("type") == "Suspended" and c.get("status") == "True" for c in items(job, "status", "conditions"))
    return told and not dig(job, "status", "active")


def with_resources(template: Object, new: Object) -> Object:
    """Return a template whose containers ask for what those of the new one do."""
    spec = dict(mapping(template, "spec"))
    for key in ("containers", "initContainers"):
        old, wanted = items(spec, key), items(mapping(new, "spec"), key)
        if len(old) == len(wanted) > 0:
            pairs = zip(old, wanted, strict=True)
            spec[key] = [{**before, "resources": after.get("resources")} for before, after in pairs]
    return {**template, "spec": spec}


def with_directives(template: Object, new: Object) -> Object:
    """Return a template with where its pods may run as the new one says: a Job that has not begun may be moved."""
    spec, wanted = dict(mapping(template, "spec")), mapping(new, "spec")
    for key in ("nodeSelector", "tolerations", "schedulingGates"):
        spec[key] = wanted.get(key)
    rest = {k: v for k, v in mapping(spec, "affinity").items() if k != "nodeAffinity"}
    node = dig(wanted, "affinity", "nodeAffinity")
    spec["affinity"] = ({**rest, "nodeAffinity": node} if node is not None else rest) or None
    metadata = dict(mapping(template, "metadata"))
    for key in ("annotations", "labels"):
        metadata[key] = mapping(new, "metadata").get(key)
    return {**template, "spec": spec, "metadata": metadata}


def job_warnings(new: Object, old: Object | None) -> Iterator[str]:
    if old is None:
        yield from name_warnings(new)
    if old is None or new.get("spec") != old.get("spec"):
        yield from job_spec_warnings(mapping(new, "spec"), "spec")


def job_spec_warnings(spec: Object, path: str) -> Iterator[str]:
    """``WarningsForJobSpec``."""
    if spec.get("completionMode") == "Indexed":
        count, parallel = spec.get("completions") or 0, spec.get("parallelism") or 0
        if count > MANY_COMPLETIONS and parallel > MANY_PARALLELISM:
            yield (
                f"{path}: In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than "
                "10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
            )
    for index, rule in enumerate(items(spec, "podFailurePolicy", "rules")):
        for place, condition in enumerate(items(rule, "onPodConditions")):
            if condition.get("type") == "DisruptionTarget" and condition.get("status") == "False":
                where = f"{path}.podFailurePolicy.rules[{index}].onPodConditions[{place}].status"
                yield f'{where}: deprecated value "False"'
    yield from template_warnings(spec.get("template"), f"{path}.template")
