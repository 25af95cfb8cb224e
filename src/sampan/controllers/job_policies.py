"""What a Job's policies say of failed pods and of indexes that succeeded. Pure.

Source: KEP-3329 (podFailurePolicy), KEP-3998 (successPolicy).
"""

from __future__ import annotations

from typing import NamedTuple

from sampan.controllers.job_indexes import parsed
from sampan.schema.objects import Object


class Verdict(NamedTuple):
    """``action`` is that of the rule that matches, empty where none does; ``message`` is why the whole Job fails."""

    action: str = ""
    message: str = ""

    @property
    def counts(self) -> bool:
        """Whether the failure counts against a backoff limit."""
        return self.action != "Ignore"


COUNTED = Verdict()


def verdict_on(job: Object, pod: Object) -> Verdict:
    """Return what the first rule that matches says of a failed pod."""
    policy = job["spec"].get("podFailurePolicy") or {}
    for number, rule in enumerate(policy.get("rules") or ()):
        action = rule["action"]
        metadata = pod["metadata"]
        if rule.get("onExitCodes"):
            status = exit_that_matches(pod, rule["onExitCodes"])
            if status is not None:
                code = status["state"]["terminated"]["exitCode"]
                where = f"Container {status['name']} for pod {metadata['namespace']}/{metadata['name']}"
                why = f"{where} failed with exit code {code} matching {action} rule at index {number}"
                return Verdict(action, why if action == "FailJob" else "")
        elif rule.get("onPodConditions"):
            condition = condition_that_matches(pod, rule["onPodConditions"])
            if condition is not None:
                where = f"Pod {metadata['namespace']}/{metadata['name']} has condition {condition}"
                why = f"{where} matching {action} rule at index {number}"
                return Verdict(action, why if action == "FailJob" else "")
    return COUNTED


def exit_that_matches(pod: Object, requirement: Object) -> Object | None:
    status = pod.get("status") or {}
    name, values = requirement.get("containerName"), requirement.get("values") or ()
    for one in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        ended = (one.get("state") or {}).get("terminated")
        if ended is None or (name is not None and one["name"] != name) or not ended.get("exitCode"):
            continue
        if (ended["exitCode"] in values) == (requirement["operator"] == "In"):
            found: Object = one
            return found
    return None


def condition_that_matches(pod: Object, patterns: list[Object]) -> str | None:
    have = {one["type"]: one["status"] for one in (pod.get("status") or {}).get("conditions") or ()}
    for pattern in patterns:
        if have.get(pattern["type"]) == (pattern.get("status") or "True"):
            return str(pattern["type"])
    return None


def success_of(job: Object, succeeded: set[int]) -> str:
    """Return which rule of the success policy the succeeded indexes meet, in words; empty where none."""
    spec = job["spec"]
    for number, rule in enumerate((spec.get("successPolicy") or {}).get("rules") or ()):
        count = rule.get("succeededCount")
        chosen = succeeded
        if rule.get("succeededIndexes"):
            asked = parsed(rule["succeededIndexes"], spec["completions"])
            chosen = succeeded & asked
            count = len(asked) if count is None else count
        if count is not None and len(chosen) >= count:
            return f"Matched rules at index {number}"
    return ""
