"""Pod Security admission, without the API around it: what is said of a request about a pod, what makes pods, or a namespace.

``PodSecurityRules`` holds the configuration (defaults, exemptions) and judges; the API's admission plugin
(``api/admission/pod_security.py``) and the webhook (``sampan.webhook``) give it requests and namespaces and act on the
``Outcome``, so both say the same in the same words.
Source: KEP-2579; PodSecurityConfiguration of pod-security.admission.config.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.schema.causes import Cause
from sampan.schema.objects import Object
from sampan.security.levels import MODES, PREFIX, Level, Policy, Standard, policy_of
from sampan.security.templates import TEMPLATES, pod_of

if TYPE_CHECKING:
    from sampan.security.standards import Evaluator, Verdict

MAX_PODS = 3000
"""How many pods of a namespace are judged when its labels change."""

IGNORED = frozenset(("exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"))
"""Subresources of pods that change nothing a check looks at."""

NOTHING = str(Standard())
"""How the audit log calls a policy that lets everything through."""

NamespacePolicy = tuple[Policy, list[Cause]]
"""A namespace's policy, and what is wrong with its labels."""


class Request(NamedTuple):
    """What is asked of the API, as far as Pod Security cares."""

    group: str
    kind: str
    namespace: str
    user: str
    object: Object
    old: Object | None = None

    @property
    def is_pod(self) -> bool:
        return self.kind == "Pod" and not self.group


@dataclass
class Outcome:
    """What is said of a request. Neither ``refusal`` nor ``wrong``: it is let through."""

    refusal: str = ""
    wrong: list[Cause] = field(default_factory=list)
    """Labels of a namespace that are none."""
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    """For the audit log, without their prefix."""

    @property
    def violated(self) -> bool:
        return bool(self.refusal or self.warnings or "audit-violations" in self.annotations)


class PodSecurityRules:
    def __init__(self, minor: int, configuration: Mapping[str, Any] | None = None) -> None:
        self.minor = minor
        given = configuration or {}
        self.defaults = defaults_of(given.get("defaults") or {})
        exempt = given.get("exemptions") or {}
        self.users, self.namespaces, self.runtime_classes = (
            frozenset(exempt.get(key) or ()) for key in ("usernames", "namespaces", "runtimeClasses")
        )

    @cached_property
    def evaluator(self) -> Evaluator:
        """The checks: read when the first namespace asks for any."""
        from sampan.security.standards import Evaluator

        return Evaluator(self.minor)

    def handles(self, group: str, kind: str, subresource: str, operation: str) -> bool:
        if operation not in ("CREATE", "UPDATE") or (kind == "Namespace" and group):
            return False
        if kind == "Pod":
            return not group and subresource not in IGNORED
        return not subresource and (kind == "Namespace" or (group, kind) in TEMPLATES)

    def policy(self, labels: Mapping[str, str]) -> NamespacePolicy:
        return policy_of(labels, self.defaults)

    def exempt(self, namespace: str, user: str) -> str:
        """Return by what a request is exempt, "" where it is not."""
        if namespace in self.namespaces:
            return "namespace"
        return "user" if user in self.users else ""

    # pods and what makes pods

    def judge(self, request: Request, of_namespace: NamespacePolicy, exemptions: Sequence[Object] = ()) -> Outcome:
        """Return what is said of a pod, or of what makes pods. ``exemptions``: the namespace's PodSecurityExemptions."""
        outcome, (policy, wrong) = Outcome(), of_namespace
        enforced = request.is_pod
        if asks_nothing(of_namespace, is_pod=enforced):
            if enforced:
                outcome.annotations["enforce-policy"] = NOTHING
            return outcome
        if enforced and request.old is not None and not significant(request.object, request.old):
            return outcome
        pod = pod_of(request.group, request.kind, request.object)
        if pod is None:
            return outcome
        if pod[1].get("runtimeClassName") in self.runtime_classes:
            outcome.annotations["exempt"] = "runtimeClass"
            return outcome
        if wrong:
            said = ", ".join(f"{cause.field}: {cause.message}" for cause in wrong)
            outcome.annotations["error"] = f"Failed to parse policy: {said if len(wrong) == 1 else f'[{said}]'}"
        self._judge(outcome, policy, pod, enforced, exemptions)
        return outcome

    def _judge(
        self,
        outcome: Outcome,
        policy: Policy,
        pod: tuple[Object, Object],
        enforced: bool,
        exemptions: Sequence[Object],
    ) -> None:
        verdicts: dict[Standard, Verdict] = {}

        def verdict(standard: Standard) -> Verdict:
            if standard not in verdicts:
                verdicts[standard] = self._verdict(standard, pod, exemptions, outcome)
            return verdicts[standard]

        if enforced:
            outcome.annotations["enforce-policy"] = str(policy.enforce)
        audited = verdict(policy.audit)
        if not audited.allowed:
            outcome.annotations["audit-violations"] = f'would violate PodSecurity "{policy.audit}": {audited.detail}'
        if enforced and not verdict(policy.enforce).allowed:
            outcome.refusal = f'violates PodSecurity "{policy.enforce}": {verdict(policy.enforce).detail}'
            return
        warned = verdict(policy.warn)
        if not warned.allowed:
            outcome.warnings.append(f'would violate PodSecurity "{policy.warn}": {warned.detail}')

    def _verdict(
        self, standard: Standard, pod: tuple[Object, Object], exemptions: Sequence[Object], outcome: Outcome
    ) -> Verdict:
        if not exemptions:
            return self.evaluator.judge(standard, *pod)
        from sampan.security.exemptions import exempted

        return exempted(self.evaluator, standard, pod, exemptions, outcome.annotations)

    # namespaces

    def namespace(self, name: str, labels: Mapping[str, str], before: Mapping[str, str] | None) -> Outcome:
        """Return what is said of a namespace with these labels, and those it had. Where ``looks_at_pods``, its pods are to be
        looked at, too (``existing``)."""
        outcome = Outcome()
        if before is not None and relevant(labels) == relevant(before):
            return outcome
        policy, wrong = self.policy(labels)
        if wrong and (before is None or wrong != self.policy(before)[1]):
            outcome.wrong = wrong
        elif name in self.namespaces and (before is None or self._stricter(labels, before)):
            outcome.warnings = self._exempt_warning(name, policy, labels)
        return outcome

    def looks_at_pods(self, name: str, labels: Mapping[str, str], before: Mapping[str, str] | None) -> bool:
        """Whether pods that are there may no longer be let in by a namespace's new labels."""
        return before is not None and name not in self.namespaces and self._stricter(labels, before)

    def _stricter(self, labels: Mapping[str, str], before: Mapping[str, str]) -> bool:
        if relevant(labels) == relevant(before):
            return False
        now, then = self.policy(labels)[0].enforce, self.policy(before)[0].enforce
        return bool(now != then and now.level and (now.minor != then.minor or now.level > then.level))

    def existing(self, namespace: str, labels: Mapping[str, str], pods: Iterable[Object]) -> list[str]:
        """Return the warnings about the pods that are there already."""
        standard = self.policy(labels)[0].enforce
        ordered = [pod for pod in one_a_controller(pods) if not self._exempt_class(pod)]
        found: dict[str, list[str]] = {}
        for pod in ordered[:MAX_PODS]:
            verdict = self.evaluator.judge(standard, pod.get("metadata") or {}, pod.get("spec") or {})
            if not verdict.allowed:
                found.setdefault(verdict.reason, []).append(pod["metadata"]["name"])
        warnings = []
        if len(ordered) > MAX_PODS:
            checked = f"the first {MAX_PODS} of {len(ordered)} existing pods"
            warnings.append(f"new PodSecurity enforce level only checked against {checked}")
        if found:
            level = f'the new PodSecurity enforce level "{standard}"'
            warnings.append(f'existing pods in namespace "{namespace}" violate {level}')
        return warnings + sorted(f"{among(names)}: {reason}" for reason, names in found.items())

    def _exempt_class(self, pod: Object) -> bool:
        return (pod.get("spec") or {}).get("runtimeClassName") in self.runtime_classes

    def _exempt_warning(self, name: str, policy: Policy, labels: Mapping[str, str]) -> list[str]:
        if policy.privileged or policy.same(self.defaults):
            return []
        said = [
            f"{mode}={standard}"
            for mode, standard in policy._asdict().items()
            if standard.level and (PREFIX + mode in labels or f"{PREFIX}{mode}-version" in labels)
        ]
        what = f"is exempt from Pod Security, and the policy ({', '.join(said)}) will be ignored"
        return [f'namespace "{name}" {what}']


def asks_nothing(of_namespace: NamespacePolicy, *, is_pod: bool) -> bool:
    """Whether a namespace's policy lets everything through, in silence."""
    policy, wrong = of_namespace
    return not (wrong or policy.audit.level or policy.warn.level or (is_pod and policy.enforce.level))


def defaults_of(configured: Mapping[str, Any]) -> Policy:
    """Return the policy of namespaces without labels. Raises ``ValueError`` where the configuration names no level."""
    labels = {PREFIX + key: str(value) for key, value in configured.items() if value}
    policy, wrong = policy_of({f"{PREFIX}warn": str(Level.PRIVILEGED), **labels})
    if wrong:
        raise ValueError("; ".join(f"defaults.{cause.field}: {cause.message}" for cause in wrong))
    return policy


def relevant(labels: Mapping[str, str]) -> dict[str, str]:
    keys = [key for mode in MODES for key in (PREFIX + mode, f"{PREFIX}{mode}-version")]
    return {key: labels[key] for key in keys if key in labels}


def significant(pod: Object, old: Object) -> bool:
    """Whether an update changed what a check may look at: an image, or which containers there are."""
    new_spec, old_spec = pod.get("spec") or {}, old.get("spec") or {}
    for kind in ("containers", "initContainers"):
        images = [[container.get("image") for container in spec.get(kind) or ()] for spec in (new_spec, old_spec)]
        if images[0] != images[1]:
            return True
    before = {container.get("name"): container.get("image") for container in old_spec.get("ephemeralContainers") or ()}
    return any(
        container.get("name") not in before or before[container.get("name")] != container.get("image")
        for container in new_spec.get("ephemeralContainers") or ()
    )


def one_a_controller(pods: Iterable[Object]) -> list[Object]:
    """Return the pods, those first that are the only ones of their controller so far."""
    first, rest, seen = [], [], set()
    for pod in pods:
        owners = (pod.get("metadata") or {}).get("ownerReferences") or ()
        owner = next((one["uid"] for one in owners if one.get("controller")), None)
        if owner is not None and owner in seen:
            rest.append(pod)
        else:
            first.append(pod)
            seen.add(owner)
    return first + rest


def among(names: list[str]) -> str:
    """Return the first name, and how many more there are."""
    more = len(names) - 1
    return min(names) + (f" (and {more} other pod{'s' if more > 1 else ''})" if more else "")
