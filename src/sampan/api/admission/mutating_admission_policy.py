"""MutatingAdmissionPolicy: expressions change what is written, by merging a configuration or by a JSON patch.

A policy with reinvocationPolicy IfNeeded is evaluated again where something changed the object after it. Source: KEP-3962;
kubernetes/apiserver pkg/admission/plugin/policy/mutating.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.admission.policies import Invocation, Policies
from sampan.api.admission.webhook_questions import Asked, question_for, take_over
from sampan.api.admission.webhooks import Round
from sampan.api.errors import StatusError, forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import mapping
from sampan.schema.merge import MergeError, merge
from sampan.schema.objects import Object
from sampan.schema.patch import PatchError, json_patch

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup
    from sampan.schema.cel.policies import MutatingPolicy, Mutation

POLICIES, BINDINGS = "mutatingadmissionpolicies", "mutatingadmissionpolicybindings"


class MutationFailed(Exception):
    """Why a mutation could not be made."""


class MutatingAdmissionPolicy:
    """Applies the mutations of the policies that want a write, one after the other."""

    def __init__(self, setup: Setup) -> None:
        version = setup.api.types.version

        def compile(policy: Object) -> MutatingPolicy:
            from sampan.schema.cel.policies import MutatingPolicy

            return MutatingPolicy(policy, version)

        self.policies: Policies[MutatingPolicy] = Policies(setup.webhooks, POLICIES, BINDINGS, compile)

    @classmethod
    def made(cls, setup: Setup) -> MutatingAdmissionPolicy:
        return cls(setup)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return self.policies.handles(resource, subresource, operation)

    async def admit(self, admission: Admission) -> None:
        if admission.object is None:
            return
        turn = Round.of(admission, POLICIES)
        errors: list[tuple[str, str]] = []
        async for invocation in self.policies.invocations(admission):
            problems = [invocation.error] if invocation.error else await self._invoke(invocation, admission, turn)
            reason = "Forbidden" if invocation.error else "Invalid"
            if invocation.policy.compiled.fails:
                errors += [(worded(invocation, problem), reason) for problem in problems]
        turn.end(admission)
        if errors:
            raise refusal(admission, errors)

    async def _invoke(self, invocation: Invocation[MutatingPolicy], admission: Admission, turn: Round) -> list[str]:
        """Apply the mutations of one policy; returns what went wrong."""
        policy, key = invocation.policy.compiled, key_of(invocation)
        if policy.conditions:
            match = await self._match(policy, await self._values(invocation, admission))
            if match is not None:
                return [match] if match else []
        if turn.second and key not in turn.due:
            return []
        begun, before, problems = perf_counter(), orjson.dumps(admission.object), []
        for mutation in policy.mutations:
            try:
                await self._mutate(invocation, mutation, admission)
            except MutationFailed as error:
                problems.append(str(error))
        if orjson.dumps(admission.object) != before:
            turn.changed(admission)
        if policy.reinvoked:
            turn.called.add(key)
        binding = str(mapping(invocation.binding, "metadata").get("name") or "")
        labels = (invocation.policy.name, binding, "invalid_error" if problems else "no_error")
        measured = admission.api.measured
        measured.count("apiserver_mutating_admission_policy_check_total", *labels)
        name = "apiserver_mutating_admission_policy_check_duration_seconds"
        measured.observe(name, perf_counter() - begun, *labels)
        return problems

    async def _values(self, invocation: Invocation[MutatingPolicy], admission: Admission) -> dict[str, Any]:
        asked = await question_for(self.policies.webhooks, invocation.subject, admission, mutating=True)
        return self._variables(asked, invocation, admission)

    def _variables(self, asked: Asked, invocation: Invocation[Any], admission: Admission) -> dict[str, Any]:
        from sampan.api.admission.cel_variables import variables_of

        namespace = self.policies.namespace(admission)
        return variables_of(self.policies.api, asked.question, namespace=namespace, params=invocation.params)

    async def _match(self, policy: MutatingPolicy, values: dict[str, Any]) -> str | None:
        """Return None where the match conditions hold, "" where they do not, and else why they cannot be told."""
        from sampan.api.admission.cel_variables import settled

        found = await settled(self.policies.api, lambda: policy.composition.match(policy.conditions, values))
        return None if found.matches else found.error

    async def _mutate(self, invocation: Invocation[MutatingPolicy], mutation: Mutation, admission: Admission) -> None:
        """Evaluate one mutation on the object as it is now, and apply it. Raises ``MutationFailed``."""
        from sampan.api.admission.cel_variables import settled

        asked = await question_for(self.policies.webhooks, invocation.subject, admission, mutating=True)
        current = asked.question.object
        if current is None:
            return
        values = self._variables(asked, invocation, admission)
        value, error = await settled(self.policies.api, lambda: invocation.policy.compiled.evaluate(mutation, values))
        if error:
            raise MutationFailed(error)
        after = patched(current, value) if mutation.patch else merged(current, value, asked)
        if after is not None:
            await take_over(self.policies.webhooks, asked, after, admission)


def patched(current: Object, value: Any) -> Object | None:
    """Return the object with a JSON patch applied, None where one of its tests fails. Raises ``MutationFailed``."""
    from sampan.schema.cel.mutations import MutationError, operations

    try:
        return json_patch(current, operations(value))
    except MutationError as error:
        raise MutationFailed(str(error)) from None
    except PatchError as error:
        if "test" in error.message and error.code == 422:
            return None
        raise MutationFailed(f"JSON Patch: {error.message}") from None


def merged(current: Object, value: Any, asked: Asked) -> Object:
    """Return the object with a configuration merged into it, as server-side apply does. Raises ``MutationFailed``."""
    from sampan.schema.cel.mutations import MutationError, atomics, configuration

    type = asked.sent.type if asked.sent is not None else None
    try:
        wanted = configuration(value)
    except MutationError as error:
        raise MutationFailed(str(error)) from None
    whole = list(atomics(type, wanted))
    if whole:
        why = "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: "
        raise MutationFailed(why + ", ".join(whole))
    if type is not None:
        checked = type.check(orjson.loads(orjson.dumps({**wanted, **_head(current)})))
        if checked.error or checked.unknown:
            why = checked.error or checked.unknown[0]
            raise MutationFailed(f"error applying patch: failed to convert patch object to typed object: {why}")
    try:
        found: Object = merge(type, current, wanted)
    except MergeError as error:
        raise MutationFailed(f"error applying patch: failed to merge patch: {error}") from None
    return found


def _head(current: Object) -> Object:
    return {key: current[key] for key in ("apiVersion", "kind") if key in current}


def key_of(invocation: Invocation[Any]) -> str:
    metadata = mapping(invocation.params or {}, "metadata")
    binding = mapping(invocation.binding, "metadata").get("name")
    return f"{invocation.policy.name}/{binding}/{metadata.get('namespace', '')}/{metadata.get('name', '')}"


def worded(invocation: Invocation[Any], why: str) -> str:
    if invocation.binding is None:
        return f'policy "{invocation.policy.name}" denied request: {why}'
    binding = mapping(invocation.binding, "metadata").get("name")
    return f"policy '{invocation.policy.name}' with binding '{binding}' denied request: {why}"


def refusal(admission: Admission, errors: list[tuple[str, str]]) -> StatusError:
    details = {**(forbidden(admission.resource, admission.name, "").details or {})}
    details["causes"] = [{"message": message} for message, _ in errors]
    return StatusError(403, errors[0][1], errors[0][0], details=details)
