"""PodSecurity: a namespace's labels say how strict the Pod Security Standards are for its pods.

``enforce`` refuses pods, ``warn`` and ``audit`` say what would be refused, of pods and of what makes pods. A namespace whose
labels become stricter is told which of its pods would not be let in now. The judging is ``sampan.security.admission``; here
are the namespaces, their policies kept by revision, and the exemptions of the store, read when a pod is found wanting.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sampan.api.errors import StatusError, forbidden, invalid
from sampan.api.request import Admission
from sampan.api.resource import Cause, Resource
from sampan.api.resources.reading import mapping
from sampan.schema.objects import Object
from sampan.security.admission import NOTHING, NamespacePolicy, Outcome, PodSecurityRules, Request, asks_nothing
from sampan.security.levels import PREFIX
from sampan.store import Record
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup

KEPT_POLICIES = 4096
EXEMPTIONS = prefix_of("podsecurityexemptions.security.sampan.dev")
NAMESPACES, PODS = prefix_of("namespaces"), prefix_of("pods")


class PodSecurity:
    def __init__(self, minor: int, configuration: Mapping[str, Any] | None = None) -> None:
        self.rules = PodSecurityRules(minor, configuration)
        self._policies: dict[str, tuple[int, NamespacePolicy]] = {}
        """Key of a namespace → revision, policy and what is wrong with its labels."""

    @classmethod
    def made(cls, setup: Setup) -> PodSecurity:
        return cls(int(setup.api.types.version.partition(".")[2]), setup.configuration)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return self.rules.handles(resource.group, resource.kind, subresource, operation)

    async def validate(self, admission: Admission) -> None:
        if admission.object is None:
            return
        if admission.resource.kind == "Namespace":
            await self.validate_namespace(admission, admission.object)
            return
        if exempt := self.rules.exempt(admission.namespace, admission.user.name):
            annotate(admission, "exempt", exempt)
            return
        policy, is_pod = self.policy(admission), admission.resource.kind == "Pod"
        if asks_nothing(policy, is_pod=is_pod):
            if is_pod:
                annotate(admission, "enforce-policy", NOTHING)
            return
        request = request_of(admission, admission.object)
        outcome = self.rules.judge(request, policy)
        if outcome.violated:
            page = await admission.api.store.page(f"{EXEMPTIONS}{admission.namespace}/")
            if page.records:
                exemptions = [admission.api.parsed(record) for record in page.records]
                outcome = self.rules.judge(request, policy, exemptions)
        self.act(admission, outcome)

    def policy(self, admission: Admission) -> NamespacePolicy:
        """Return the policy of the namespace, read from its labels once a revision."""
        record = namespace_record(admission)
        known = self._policies.get(record.key)
        if known is None or known[0] != record.revision:
            labels = mapping(admission.api.parsed(record), "metadata", "labels")
            if len(self._policies) >= KEPT_POLICIES:
                self._policies.clear()
            known = self._policies[record.key] = (record.revision, self.rules.policy(labels))
        return known[1]

    async def validate_namespace(self, admission: Admission, namespace: Object) -> None:
        labels = mapping(namespace, "metadata", "labels")
        before = mapping(admission.old, "metadata", "labels") if admission.old is not None else None
        outcome = self.rules.namespace(admission.name, labels, before)
        if not outcome.wrong and self.rules.looks_at_pods(admission.name, labels, before):
            page = await admission.api.store.page(f"{PODS}{admission.name}/")
            pods = (admission.api.parsed(record) for record in page.records)
            outcome.warnings += self.rules.existing(admission.name, labels, pods)
        self.act(admission, outcome)

    def act(self, admission: Admission, outcome: Outcome) -> None:
        for key, value in outcome.annotations.items():
            annotate(admission, key, value)
        if outcome.wrong:
            raise invalid(admission.resource, admission.name, [Cause(*cause) for cause in outcome.wrong])
        if outcome.refusal:
            raise forbidden(admission.resource, admission.name, outcome.refusal)
        admission.warnings += outcome.warnings


def request_of(admission: Admission, obj: Object) -> Request:
    resource = admission.resource
    return Request(resource.group, resource.kind, admission.namespace, admission.user.name, obj, admission.old)


def namespace_record(admission: Admission) -> Record:
    record: Record | None = admission.api.store.get(NAMESPACES + admission.namespace)
    if record is None:
        why = f'Internal error occurred: failed to lookup namespace "{admission.namespace}"'
        raise StatusError(500, "InternalError", why)
    return record


def annotate(admission: Admission, key: str, value: str) -> None:
    admission.audit_annotations[PREFIX + key] = value
