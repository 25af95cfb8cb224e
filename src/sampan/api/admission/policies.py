"""Admission policies and their bindings as they are in the store: which of them want a request, with which parameters.

``Policies`` keeps those of one sort (validating or mutating) compiled, and knows for each kind of request which policies
want it, so that a write without a policy costs nothing. A policy is in force when its write is answered, and does
nothing without a binding. Source: kubernetes/apiserver pkg/admission/plugin/policy/generic.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

from sampan.api.admission.admission_review import Subject
from sampan.api.admission.policy_matching import KindMatch, match_kind
from sampan.api.admission.policy_params import ConfigurationError, collect, kind_of
from sampan.api.admission.webhook_rules import VIRTUAL
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import mapping
from sampan.schema.objects import Object
from sampan.store import Event
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.admission.webhooks import Webhooks

GROUP = "admissionregistration.k8s.io"
NAMESPACES = prefix_of("namespaces")
EXEMPT = (
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "MutatingAdmissionPolicyBinding",
)
"""Kinds that no policy sees, so that a wrong one can always be mended."""

Compiled = TypeVar("Compiled")


class Policy(NamedTuple, Generic[Compiled]):
    """A policy with its bindings, by names."""

    name: str
    object: Object
    bindings: tuple[Object, ...]
    compiled: Compiled


class Wanted(NamedTuple, Generic[Compiled]):
    """A policy that wants a kind of request: its match, and that of each binding that may want it."""

    policy: Policy[Compiled]
    match: KindMatch
    bindings: tuple[tuple[Object, KindMatch], ...]


class Invocation(NamedTuple, Generic[Compiled]):
    """A policy to be evaluated for a request with one parameter; or why it cannot be (``error``)."""

    policy: Policy[Compiled]
    binding: Object | None
    subject: Subject
    params: Any = None
    error: str = ""


class Policies(Generic[Compiled]):
    """The policies of one sort. ``compile``: policy object → what its plugin evaluates."""

    def __init__(self, webhooks: Webhooks, policies: str, bindings: str, compile: Callable[[Object], Compiled]) -> None:
        self.webhooks = webhooks
        self.api = webhooks.api
        self.plurals = (policies, bindings)
        self.prefixes = tuple(prefix_of(f"{plural}.{GROUP}") for plural in (policies, bindings))
        self.compile = compile
        self._policies: list[Policy[Compiled]] = []
        self._known: dict[str, tuple[Object, Compiled]] = {}
        self._wanted: dict[tuple[int, str, str], list[Wanted[Compiled]]] = {}
        self.api.catalog.on_change(self._wanted.clear)

    async def load(self) -> None:
        """Take over the policies and bindings in the store; what has not changed stays compiled."""
        policies, bindings = [
            [self.api.parsed(record) for record in (await self.api.store.page(prefix)).records]
            for prefix in self.prefixes
        ]
        known, self._known, self._policies = self._known, {}, []
        for policy in policies:
            name = policy["metadata"]["name"]
            bound = tuple(one for one in bindings if mapping(one, "spec").get("policyName") == name)
            if not bound or policy["metadata"].get("deletionTimestamp"):
                continue
            before = known.get(name)
            spec = policy.get("spec")
            made = before[1] if before is not None and before[0] == spec else self.compile(policy)
            self._known[name] = (spec or {}, made)
            self._policies.append(Policy(name, policy, bound, made))
        self._wanted.clear()
        self.api.chain.forget()

    async def follow(self, events: Sequence[Event]) -> None:
        """Take in what was written under ``prefixes``."""
        await self.load()

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return bool(self.wanted(resource, subresource, operation))

    def wanted(self, resource: Resource, subresource: str, operation: str) -> list[Wanted[Compiled]]:
        """Return the policies that want a kind of request."""
        if not self._policies or (resource.group == GROUP and resource.kind in EXEMPT):
            return []
        if (resource.group, resource.plural) in VIRTUAL:
            return []
        key = (id(resource), subresource, operation)
        found = self._wanted.get(key)
        if found is None:
            found = self._wanted[key] = self._find(resource, subresource, operation)
        return found

    def _find(self, resource: Resource, subresource: str, operation: str) -> list[Wanted[Compiled]]:
        request = self.webhooks.kind(resource, subresource, operation)
        found = []
        for policy in self._policies:
            match = match_kind(mapping(policy.object, "spec").get("matchConstraints"), request)
            if match is None:
                continue
            matches = [
                (one, match_kind(mapping(one, "spec").get("matchResources"), request)) for one in policy.bindings
            ]
            bindings = tuple((binding, one) for binding, one in matches if one is not None)
            if bindings:
                found.append(Wanted(policy, match, bindings))
        return found

    async def invocations(self, admission: Admission) -> AsyncIterator[Invocation[Compiled]]:
        """Yield what is to be evaluated for a request. Raises 404 where its namespace is not there."""
        wanted = self.wanted(admission.resource, admission.subresource, admission.operation)
        labels = self.webhooks.namespace_labels(admission)
        about = (admission.name, admission.object, admission.old, labels)
        for policy, match, bindings in wanted:
            subject = match.subject(*about)
            if subject is None:
                continue
            try:
                params_of = kind_of(self.api, policy.object)
            except ConfigurationError as error:
                yield Invocation(policy, None, subject, error=f"failed to configure policy: {error}")
                continue
            for binding, binding_match in bindings:
                if binding_match.subject(*about) is None:
                    continue
                reference = mapping(binding, "spec").get("paramRef")
                try:
                    params = await collect(self.api, params_of, reference, admission.namespace)
                except ConfigurationError as error:
                    yield Invocation(policy, binding, subject, error=f"failed to configure binding: {error}")
                    continue
                for one in params:
                    yield Invocation(policy, binding, subject, one)

    def namespace(self, admission: Admission) -> Object | None:
        """Return the Namespace that a request is in, None for what is in none."""
        if not admission.namespace or (admission.resource.plural == "namespaces" and not admission.resource.group):
            return None
        record = self.api.store.get(NAMESPACES + admission.namespace)
        return None if record is None else self.api.parsed(record)

    async def commit(self, admission: Admission) -> None:
        """Put what was written in force."""
        await self.load()

    def are_written(self, resource: Resource) -> bool:
        return resource.group == GROUP and resource.plural in self.plurals
