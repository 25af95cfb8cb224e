"""PodSecurity: a namespace's labels say how strict the Pod Security Standards are for its pods.

``enforce`` refuses pods, ``warn`` and ``audit`` say what would be refused, of pods and of what makes pods. A namespace whose
labels become stricter is told which of its pods would not be let in now. The judging is in ``sampan.security``.
Source: KEP-2579; configuration: PodSecurityConfiguration of pod-security.admission.config.k8s.io/v1.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sampan.api.errors import StatusError, forbidden, invalid
from sampan.api.request import Admission
from sampan.api.resource import Cause, Resource
from sampan.api.resources.reading import items, mapping
from sampan.schema.causes import Cause as FoundCause
from sampan.schema.objects import Object
from sampan.security.levels import MODES, PREFIX, Level, Policy, Standard, policy_of
from sampan.security.templates import TEMPLATES, pod_of
from sampan.store import Record

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup
    from sampan.security.standards import Evaluator, Verdict

KEPT_POLICIES = 4096
MAX_PODS = 3000
"""How many pods of a namespace are judged when its labels change."""

IGNORED = frozenset(("exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"))
"""Subresources of pods that change nothing a check looks at."""


class PodSecurity:
    def __init__(self, minor: int, configuration: Mapping[str, Any] | None = None) -> None:
        self.minor = minor
        self.defaults = defaults_of(mapping(configuration, "defaults"))
        exempt = mapping(configuration, "exemptions")
        self.users, self.namespaces, self.runtime_classes = (
            frozenset(items(exempt, key)) for key in ("usernames", "namespaces", "runtimeClasses")
        )
        self._policies: dict[str, tuple[int, tuple[Policy, list[FoundCause]]]] = {}
        """Key of a namespace → revision, policy and what is wrong with its labels."""

    @cached_property
    def evaluator(self) -> Evaluator:
        """The checks: read when the first namespace asks for any."""
        from sampan.security.standards import Evaluator

        return Evaluator(self.minor)

    @classmethod
    def made(cls, setup: Setup) -> PodSecurity:
        return cls(int(setup.api.types.version.partition(".")[2]), setup.configuration)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        if operation not in ("CREATE", "UPDATE") or (resource.kind == "Namespace" and resource.group):
            return False
        if resource.kind == "Pod":
            return not resource.group and subresource not in IGNORED
        return not subresource and (resource.kind == "Namespace" or (resource.group, resource.kind) in TEMPLATES)

    async def validate(self, admission: Admission) -> None:
        if admission.object is None:
            return
        if admission.resource.kind == "Namespace":
            await self.validate_namespace(admission, admission.object)
        elif admission.namespace in self.namespaces:
            annotate(admission, "exempt", "namespace")
        elif admission.user.name in self.users:
            annotate(admission, "exempt", "user")
        else:
            self.validate_pod(admission, admission.object)

    # pods and what makes pods

    def validate_pod(self, admission: Admission, obj: Object) -> None:
        enforced = admission.resource.kind == "Pod"
        policy, wrong = self.policy(admission)
        if not wrong and not (policy.audit.level or policy.warn.level or (enforced and policy.enforce.level)):
            if enforced:
                annotate(admission, "enforce-policy", str(Standard()))
            return
        if enforced and admission.old is not None and not significant(obj, admission.old):
            return
        pod = pod_of(admission.resource.group, admission.resource.kind, obj)
        if pod is None:
            return
        if pod[1].get("runtimeClassName") in self.runtime_classes:
            annotate(admission, "exempt", "runtimeClass")
            return
        if wrong:
            said = ", ".join(f"{cause.field}: {cause.message}" for cause in wrong)
            annotate(admission, "error", f"Failed to parse policy: {said if len(wrong) == 1 else f'[{said}]'}")
        self.judge(admission, policy, pod, enforced)

    def policy(self, admission: Admission) -> tuple[Policy, list[FoundCause]]:
        """Return the policy of the namespace, read from its labels once a revision."""
        record = namespace_record(admission)
        known = self._policies.get(record.key)
        if known is None or known[0] != record.revision:
            labels = mapping(admission.api.parsed(record), "metadata", "labels")
            if len(self._policies) >= KEPT_POLICIES:
                self._policies.clear()
            known = self._policies[record.key] = (record.revision, policy_of(labels, self.defaults))
        return known[1]

    def judge(self, admission: Admission, policy: Policy, pod: tuple[Object, Object], enforced: bool) -> None:
        verdicts: dict[Standard, Verdict] = {}

        def verdict(standard: Standard) -> Verdict:
            if standard not in verdicts:
                verdicts[standard] = self.evaluator.judge(standard, *pod)
            return verdicts[standard]

        if enforced:
            annotate(admission, "enforce-policy", str(policy.enforce))
        audited = verdict(policy.audit)
        if not audited.allowed:
            annotate(admission, "audit-violations", f'would violate PodSecurity "{policy.audit}": {audited.detail}')
        if enforced and not verdict(policy.enforce).allowed:
            why = f'violates PodSecurity "{policy.enforce}": {verdict(policy.enforce).detail}'
            raise forbidden(admission.resource, admission.name, why)
        warned = verdict(policy.warn)
        if not warned.allowed:
            admission.warnings.append(f'would violate PodSecurity "{policy.warn}": {warned.detail}')

    # namespaces

    async def validate_namespace(self, admission: Admission, namespace: Object) -> None:
        labels = mapping(namespace, "metadata", "labels")
        before = mapping(admission.old, "metadata", "labels")
        if admission.old is not None and relevant(labels) == relevant(before):
            return
        policy, wrong = policy_of(labels, self.defaults)
        old, was_wrong = policy_of(before, self.defaults)
        if wrong and (admission.old is None or wrong != was_wrong):
            raise invalid(admission.resource, admission.name, [Cause(*cause) for cause in wrong])
        exempt = admission.name in self.namespaces
        if admission.old is None:
            if exempt:
                self.warn_exempt(admission, policy, labels)
            return
        now, then = policy.enforce, old.enforce
        if now == then or not now.level or (now.minor == then.minor and now.level <= then.level):
            return
        if exempt:
            self.warn_exempt(admission, policy, labels)
            return
        page = await admission.api.store.page(f"/registry/pods/{admission.name}/")
        pods = (admission.api.parsed(record) for record in page.records)
        admission.warnings += self.existing(admission.name, now, pods)

    def existing(self, namespace: str, standard: Standard, pods: Iterable[Object]) -> list[str]:
        """Return the warnings about the pods that are there already."""
        ordered = [pod for pod in one_a_controller(pods) if not self.exempt_class(pod)]
        found: dict[str, list[str]] = {}
        for pod in ordered[:MAX_PODS]:
            verdict = self.evaluator.judge(standard, mapping(pod, "metadata"), mapping(pod, "spec"))
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

    def exempt_class(self, pod: Object) -> bool:
        return mapping(pod, "spec").get("runtimeClassName") in self.runtime_classes

    def warn_exempt(self, admission: Admission, policy: Policy, labels: Mapping[str, str]) -> None:
        if policy.privileged or policy.same(self.defaults):
            return
        said = [
            f"{mode}={standard}"
            for mode, standard in policy._asdict().items()
            if standard.level and (PREFIX + mode in labels or f"{PREFIX}{mode}-version" in labels)
        ]
        what = f"is exempt from Pod Security, and the policy ({', '.join(said)}) will be ignored"
        admission.warnings.append(f'namespace "{admission.name}" {what}')


def defaults_of(configured: Mapping[str, Any]) -> Policy:
    """Return the policy of namespaces without labels. Raises ``ValueError`` where the configuration names no level."""
    labels = {PREFIX + key: str(value) for key, value in configured.items() if value}
    policy, wrong = policy_of({f"{PREFIX}warn": str(Level.PRIVILEGED), **labels})
    if wrong:
        raise ValueError("; ".join(f"defaults.{cause.field}: {cause.message}" for cause in wrong))
    return policy


def namespace_record(admission: Admission) -> Record:
    record: Record | None = admission.api.store.get(f"/registry/namespaces/{admission.namespace}")
    if record is None:
        why = f'Internal error occurred: failed to lookup namespace "{admission.namespace}"'
        raise StatusError(500, "InternalError", why)
    return record


def relevant(labels: Mapping[str, str]) -> dict[str, str]:
    keys = [key for mode in MODES for key in (PREFIX + mode, f"{PREFIX}{mode}-version")]
    return {key: labels[key] for key in keys if key in labels}


def significant(pod: Object, old: Object) -> bool:
    """Whether an update changed what a check may look at: an image, or which containers there are."""
    new_spec, old_spec = mapping(pod, "spec"), mapping(old, "spec")
    for field in ("containers", "initContainers"):
        images = [[container.get("image") for container in items(spec, field)] for spec in (new_spec, old_spec)]
        if images[0] != images[1]:
            return True
    before = {container.get("name"): container.get("image") for container in items(old_spec, "ephemeralContainers")}
    return any(
        container.get("name") not in before or before[container.get("name")] != container.get("image")
        for container in items(new_spec, "ephemeralContainers")
    )


def one_a_controller(pods: Iterable[Object]) -> list[Object]:
    """Return the pods, those first that are the only ones of their controller so far."""
    first, rest, seen = [], [], set()
    for pod in pods:
        owner = next((o["uid"] for o in items(pod, "metadata", "ownerReferences") if o.get("controller")), None)
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


def annotate(admission: Admission, key: str, value: str) -> None:
    admission.audit_annotations[PREFIX + key] = value
