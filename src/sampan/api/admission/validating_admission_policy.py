"""ValidatingAdmissionPolicy: writes are held against expressions; what fails is denied, warned of, or audited.

Source: KEP-3488; kubernetes/apiserver pkg/admission/plugin/policy/validating/dispatcher.go.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.admission.policies import Invocation, Policies
from sampan.api.admission.webhook_questions import question_for
from sampan.api.errors import StatusError, forbidden
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup
    from sampan.schema.cel.policies import Decision, ValidatingPolicy, Verdict
    from sampan.schema.objects import Object

CODES = {"Forbidden": 403, "Unauthorized": 401, "RequestEntityTooLarge": 413}
MAX_FAILURES = 50
MAX_ANNOTATION = 10 * 1024
FAILURE = "validation.policy.admission.k8s.io/validation_failure"


class ValidatingAdmissionPolicy:
    """Evaluates the policies that want a write; the first that denies is the answer."""

    def __init__(self, setup: Setup) -> None:
        version = setup.api.types.version

        def compile(policy: Object) -> ValidatingPolicy:
            from sampan.schema.cel.policies import ValidatingPolicy

            return ValidatingPolicy(policy, version)

        names = ("validatingadmissionpolicies", "validatingadmissionpolicybindings")
        self.policies: Policies[ValidatingPolicy] = Policies(setup.webhooks, *names, compile)

    @classmethod
    def made(cls, setup: Setup) -> ValidatingAdmissionPolicy:
        return cls(setup)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return self.policies.handles(resource, subresource, operation)

    async def validate(self, admission: Admission) -> None:
        outcome = _Outcome(admission)
        async for invocation in self.policies.invocations(admission):
            if invocation.error:
                if invocation.policy.compiled.fails:
                    outcome.deny(invocation, invocation.error, "")
            else:
                begun = perf_counter()
                verdict = await self._judge(invocation, admission)
                outcome.take(invocation, verdict, perf_counter() - begun)
        outcome.settle()

    async def _judge(self, invocation: Invocation[ValidatingPolicy], admission: Admission) -> Verdict:
        from sampan.api.admission.cel_variables import settled, variables_of

        policies = self.policies
        asked = await question_for(policies.webhooks, invocation.subject, admission, mutating=False)
        namespace = policies.namespace(admission)
        values = variables_of(policies.api, asked.question, namespace=namespace, params=invocation.params)
        return await settled(policies.api, lambda: invocation.policy.compiled.judge(values))


class _Outcome:
    """What all policies have to say of one write."""

    def __init__(self, admission: Admission) -> None:
        self.admission = admission
        self.denied: list[tuple[str, str]] = []
        self.failures: list[dict[str, Any]] = []
        self.annotations: dict[str, list[str]] = {}

    def take(self, invocation: Invocation[Any], verdict: Verdict, seconds: float) -> None:
        for decision in verdict.decisions:
            for action in items(invocation.binding, "spec", "validationActions") or ["Deny"]:
                self._act(str(action), invocation, decision)
                # a validation that could not be evaluated has no reason of its own
                error = "no_error" if decision.reason else "invalid_error"
                self._count(invocation, error, str(action).lower(), seconds)
        if not verdict.decisions:
            self._count(invocation, "no_error", "allow", seconds)
        for annotation in verdict.annotations:
            if annotation.error:
                self.deny(invocation, annotation.error, "")
            elif annotation.value:
                told = self.annotations.setdefault(f"{invocation.policy.name}/{annotation.key}", [])
                value = annotation.value.encode()[:MAX_ANNOTATION].decode(errors="ignore")
                if value not in told:
                    told.append(value)

    def _count(self, invocation: Invocation[Any], error: str, action: str, seconds: float) -> None:
        labels = (invocation.policy.name, _name(invocation), error, action)
        measured = self.admission.api.measured
        measured.count("apiserver_validating_admission_policy_check_total", *labels)
        measured.observe("apiserver_validating_admission_policy_check_duration_seconds", seconds, *labels)

    def _act(self, action: str, invocation: Invocation[Any], decision: Decision) -> None:
        policy, binding = invocation.policy.name, _name(invocation)
        if action == "Deny":
            self.deny(invocation, decision.message, decision.reason)
        elif action == "Warn":
            words = f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}'"
            self.admission.warnings.append(f"{words}: {decision.message}")
        elif action == "Audit":
            self.failures.append(
                {
                    "message": decision.message,
                    "policy": policy,
                    "binding": binding,
                    "expressionIndex": decision.place,
                    "validationActions": items(invocation.binding, "spec", "validationActions"),
                }
            )

    def deny(self, invocation: Invocation[Any], why: str, reason: str) -> None:
        words = f"ValidatingAdmissionPolicy '{invocation.policy.name}'"
        if invocation.binding is not None:
            words += f" with binding '{_name(invocation)}'"
        self.denied.append((f"{words} denied request: {why}", reason or "Invalid"))

    def settle(self) -> None:
        """Write the audit annotations; raises the refusal where something was denied."""
        told = self.admission.audit_annotations
        told.update({key: ", ".join(values) for key, values in self.annotations.items()})
        if self.failures:
            told[FAILURE] = orjson.dumps(self.failures[:MAX_FAILURES]).decode()
        for message, reason in self.denied[:1]:
            raise refusal(self.admission, message, reason)


def _name(invocation: Invocation[Any]) -> str:
    return str(mapping(invocation.binding, "metadata").get("name") or "")


def refusal(admission: Admission, message: str, reason: str) -> StatusError:
    """Return the answer to a write that a policy denies: worded as forbidden, with the policy's reason and its code."""
    found = forbidden(admission.resource, admission.name, message)
    details = {**(found.details or {}), "causes": [{"message": message}]}
    return StatusError(CODES.get(reason, 422), reason, found.message, details=details)
