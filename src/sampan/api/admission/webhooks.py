"""MutatingAdmissionWebhook and ValidatingAdmissionWebhook: others have a say in every write.

``Webhooks`` keeps the configurations compiled and knows for each kind of request which webhooks want it, so that a write
nobody asked for costs nothing. Mutating webhooks are called one after the other, in the order of their configurations'
names; their JSON patches change the object in place. Validating ones are called at the same time. Both are asked in the
version their rules name. A configuration is in force when its write is answered.
Source: kubernetes/apiserver pkg/admission/plugin/webhook/{mutating,validating}/dispatcher.go.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.admission.admission_review import (
    InvalidReview,
    Question,
    Subject,
    Verdict,
    denied,
    request_of,
    review,
    review_version,
    verdict,
)
from sampan.api.admission.webhook_questions import Asked, question_for, take_over
from sampan.api.admission.webhook_rules import EXEMPT, VIRTUAL, Call, Hook, Kind, calls_for, hooks_of, object_selected
from sampan.api.errors import StatusError, bad_request, forbidden, internal_error
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import mapping
from sampan.api.webhook_client import CallError, WebhookClient
from sampan.schema.patch import PatchError, json_patch
from sampan.store import Event
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup
    from sampan.api.app import Api
    from sampan.schema.cel.admission import MatchConditions

logger = logging.getLogger("sampan.api.admission")

GROUP = "admissionregistration.k8s.io"
NAMESPACES = prefix_of("namespaces")
MUTATING, VALIDATING = "mutatingwebhookconfigurations", "validatingwebhookconfigurations"
PREFIXES = {plural: prefix_of(f"{plural}.{GROUP}") for plural in (MUTATING, VALIDATING)}


EXCLUDES_VIRTUAL = "ExcludeAdmissionWebhookVirtualResources"


class CallFailed(Exception):
    """A webhook could not be asked; whether that matters is its failurePolicy's business."""


class Webhooks:
    """The webhooks of one API: compiled configurations and the calls each kind of request wants."""

    def __init__(self, api: Api, client: WebhookClient) -> None:
        self.api = api
        self.client = client
        self._hooks: dict[str, tuple[Hook, ...]] = {MUTATING: (), VALIDATING: ()}
        self._calls: dict[tuple[str, int, str, str], list[Call]] = {}
        self._conditions: dict[str, MatchConditions] = {}
        api.catalog.on_change(self.forget)

    async def load(self) -> None:
        """Take over the configurations in the store."""
        for plural in self._hooks:
            page = await self.api.store.page(PREFIXES[plural])
            found = [hook for record in page.records for hook in hooks_of(self.api.parsed(record))]
            self._hooks[plural] = tuple(found)
        self._conditions.clear()
        self._calls.clear()
        self.api.chain.forget()

    async def follow(self, events: Sequence[Event]) -> None:
        """Take in what was written under ``PREFIXES``."""
        await self.load()

    def calls(self, plural: str, resource: Resource, subresource: str, operation: str) -> list[Call]:
        """Return who wants a kind of request, in order."""
        hooks = self._hooks[plural]
        if not hooks or (resource.group == GROUP and resource.kind in EXEMPT):
            return []
        if (resource.group, resource.plural) in VIRTUAL and self.api.features.enabled(EXCLUDES_VIRTUAL):
            return []
        if operation == "UPDATE" and subresource != "scale" and self._has_own_body(resource, subresource):
            return []  # what a Binding does to its pod: the Binding itself was asked about
        key = (plural, id(resource), subresource, operation)
        known = self._calls.get(key)
        if known is None:
            known = self._calls[key] = calls_for(hooks, self.kind(resource, subresource, operation))
        return known

    def forget(self) -> None:
        """The catalog has changed: kinds are looked at anew."""
        self._calls.clear()

    def kind(self, resource: Resource, subresource: str, operation: str) -> Kind:
        catalog = self.api.catalog
        served = catalog.get(resource.group, resource.version, resource.plural)
        others = [
            other.resource
            for other in catalog
            if served is not None and other is not served and other.key_prefix == served.key_prefix
        ]
        equivalents = [self.subject(other, subresource) for other in others]
        return Kind(self.subject(resource, subresource), operation, not resource.namespaced, equivalents)

    def _has_own_body(self, resource: Resource, subresource: str) -> bool:
        kind = self.subject(resource, subresource).kind
        return kind != (resource.group, resource.version, resource.kind)

    def subject(self, resource: Resource, subresource: str) -> Subject:
        kind = (resource.group, resource.version, resource.kind)
        served = self.api.catalog.get(resource.group, resource.version, resource.plural)
        described = served.subresources.get(subresource) if served is not None and subresource else None
        if subresource == "scale":
            kind = ("autoscaling", "v1", "Scale")
        elif described is not None and described.kind:
            kind = (described.group, described.version or resource.version, described.kind)
        return Subject(resource.group, resource.version, resource.plural, subresource, kind)

    # one request

    def wants(self, call: Call, admission: Admission) -> bool:
        """Whether the selectors of a webhook want this very request. Raises 404 where the namespace is not there."""
        hook = call.hook
        if not object_selected(hook, admission.object, admission.old):
            return False
        if hook.namespaces.empty:
            return True
        labels = self.namespace_labels(admission)
        return labels is None or hook.namespaces.matches(labels)

    def namespace_labels(self, admission: Admission) -> dict[str, str] | None:
        """Return what a namespaceSelector looks at; None for what is in no namespace."""
        is_namespace = admission.resource.plural == "namespaces" and not admission.resource.group
        if is_namespace and not admission.subresource and admission.object is not None:
            return mapping(admission.object, "metadata", "labels")
        name = admission.name if is_namespace else admission.namespace
        if not name:
            return None
        record = self.api.store.get(NAMESPACES + name)
        if record is None:
            details = {"name": name, "kind": "namespaces"}
            raise StatusError(404, "NotFound", f'namespaces "{name}" not found', details=details)
        return mapping(self.api.parsed(record), "metadata", "labels")

    async def meets(self, call: Call, question: Question, admission: Admission, mutating: bool) -> bool:
        """Whether a webhook's matchConditions hold. Raises 403 where they cannot be evaluated and failure matters."""
        if not call.hook.webhook.get("matchConditions"):
            return True
        from sampan.api.admission.cel_variables import settled, variables_of

        conditions = self._compiled(call.hook)
        variables = variables_of(self.api, question)  # as in Kubernetes, without the namespace
        match = await settled(self.api, lambda: conditions.match(variables))
        step = "admit" if mutating else "validate"
        labels = (call.hook.name, "webhook", step, admission.operation)
        if match.error:
            self.api.measured.count("apiserver_admission_match_condition_evaluation_errors_total", *labels)
        elif not match.matches:
            self.api.measured.count("apiserver_admission_match_condition_exclusions_total", *labels)
        if match.error and not call.hook.ignores_failure:
            raise forbidden(admission.resource, admission.name, match.error)
        return match.matches and not match.error

    def _compiled(self, hook: Hook) -> MatchConditions:
        """Return the match conditions of a webhook, compiled when they are first needed."""
        known = self._conditions.get(hook.key)
        if known is None:
            from sampan.schema.cel.admission import MatchConditions

            known = MatchConditions(hook.webhook["matchConditions"], self.api.types.version)
            self._conditions[hook.key] = known
        return known

    async def ask(self, call: Call, question: Question, mutating: bool, admission: Admission) -> Verdict:
        """Ask one webhook, and count it. Raises ``CallFailed``, and 400 where it does not allow a dry run."""
        begun, hook, step = perf_counter(), call.hook, "admit" if mutating else "validating"
        code, kind, rejected = 0, "apiserver_internal_error", True
        try:
            found = await self._ask(call, question, mutating)
            rejected, kind = not found.allowed, "no_error"
            code = 200 if found.allowed else denied(hook.name, found.result).code
            return found
        except CallFailed:
            code, kind, rejected = 503, "calling_webhook_error", not hook.ignores_failure
            raise
        finally:
            elapsed, measured = perf_counter() - begun, self.api.measured
            labels, rejection = (hook.name, step, admission.operation), str(rejected).lower()
            measured.observe("apiserver_admission_webhook_admission_duration_seconds", elapsed, *labels, rejection)
            measured.count("apiserver_admission_webhook_request_total", *labels, str(min(code, 600)), rejection)
            if rejected:
                measured.count("apiserver_admission_webhook_rejection_count", *labels, kind, str(min(code, 600)))
            elif code == 503:
                measured.count("apiserver_admission_webhook_fail_open_count", hook.name, step)
            if mutating and admission.request is not None:
                admission.request.outside_seconds += elapsed

    async def _ask(self, call: Call, question: Question, mutating: bool) -> Verdict:
        hook = call.hook
        if question.dry_run and hook.webhook.get("sideEffects") not in ("None", "NoneOnDryRun"):
            raise bad_request(f'admission webhook "{hook.name}" does not support dry run')
        request = request_of(question)
        try:
            version = review_version(hook.webhook)
        except InvalidReview as error:
            raise CallFailed(f"could not create admission objects: {error}") from None
        try:
            answer = await self.client.post(hook.client_config, review(version, request), hook.timeout_seconds)
        except CallError as error:
            raise CallFailed(f"failed to call webhook: {error}") from None
        try:
            return verdict(version, request["uid"], mutating, answer)
        except InvalidReview as error:
            raise CallFailed(f"received invalid webhook response: {error}") from None

    def heard(self, hook: Hook, found: Verdict, admission: Admission) -> None:
        """Take warnings and annotations; refuse what was refused."""
        admission.warnings += found.warnings
        for key, value in found.annotations.items():
            admission.audit_annotations[f"{hook.name}/{key}"] = value
        if not found.allowed:
            raise denied(hook.name, found.result)

    def failed(self, hook: Hook, error: CallFailed, admission: Admission, place: str, index: int) -> None:
        """Raises 500, unless the webhook may fail."""
        why = f'failed calling webhook "{hook.name}": {error}'
        if not hook.ignores_failure:
            raise internal_error(why) from None
        logger.warning("%s; its failurePolicy lets the request pass", why)
        admission.audit_annotations[f"failed-open.{place}.webhook.admission.k8s.io/round_0_index_{index}"] = hook.name


class MutatingAdmissionWebhook:
    """Asks one webhook after the other and applies their patches."""

    connects = True

    def __init__(self, webhooks: Webhooks) -> None:
        self.webhooks = webhooks

    @classmethod
    def made(cls, setup: Setup) -> MutatingAdmissionWebhook:
        return cls(setup.webhooks)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return bool(self.webhooks.calls(MUTATING, resource, subresource, operation))

    async def admit(self, admission: Admission) -> None:
        calls = self.webhooks.calls(MUTATING, admission.resource, admission.subresource, admission.operation)
        round_ = Round.of(admission)
        for index, call in enumerate(calls):
            if round_.second and call.hook.key not in round_.due:
                continue
            if self.webhooks.wants(call, admission):
                await self._call(index, call, admission, round_)
        round_.end(admission)

    async def _call(self, index: int, call: Call, admission: Admission, round_: Round) -> None:
        asked = await question_for(self.webhooks, call.subject, admission, mutating=True)
        if not await self.webhooks.meets(call, asked.question, admission, True):
            return
        hook, changed = call.hook, False
        try:
            found = await self.webhooks.ask(call, asked.question, True, admission)
            self.webhooks.heard(hook, found, admission)
            changed = await self._apply(hook, found, asked, admission)
        except CallFailed as error:
            self.webhooks.failed(hook, error, admission, "mutation", index)
        if changed:
            round_.changed(admission)
        if hook.reinvoked:
            round_.called.add(hook.key)
        self._annotate(index, hook, admission, round_, changed)

    async def _apply(self, hook: Hook, found: Verdict, asked: Asked, admission: Admission) -> bool:
        if not found.patch:
            return False
        before = asked.question.object
        if before is None:
            why = f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this operation'
            raise internal_error(why)
        try:
            after = json_patch(before, found.patch)
        except PatchError as error:
            raise internal_error(error.message) from None
        return await take_over(self.webhooks, asked, after, admission)

    def _annotate(self, index: int, hook: Hook, admission: Admission, round_: Round, changed: bool) -> None:
        configuration = hook.key.partition("/")[0]
        told = {"configuration": configuration, "webhook": hook.name, "mutated": changed}
        key = f"mutation.webhook.admission.k8s.io/round_{int(round_.second)}_index_{index}"
        admission.audit_annotations[key] = orjson.dumps(told).decode()


class Round:
    """Which webhooks are called again (reinvocationPolicy IfNeeded): those before one that changed the object, and all of
    them where another plugin changed it after the last webhook."""

    def __init__(self) -> None:
        self.second = False
        self.called: set[str] = set()
        self.due: set[str] = set()
        self._output = b""

    @staticmethod
    def of(admission: Admission, plugin: str = MUTATING) -> Round:
        known = admission.notes.get(plugin)
        if known is None:
            known = admission.notes[plugin] = Round()
            return known
        assert isinstance(known, Round)
        known.second = True
        if known.called and orjson.dumps(admission.object) != known._output:
            known._require()
        return known

    def _require(self) -> None:
        if self.called:
            self.due |= self.called
            self.called = set()

    def changed(self, admission: Admission) -> None:
        self._require()
        admission.reinvoke = True

    def end(self, admission: Admission) -> None:
        if self.called:
            self._output = orjson.dumps(admission.object)


class ValidatingAdmissionWebhook:
    """Asks all webhooks at the same time; the first of them that refuses is the answer."""

    connects = True

    def __init__(self, webhooks: Webhooks) -> None:
        self.webhooks = webhooks

    @classmethod
    def made(cls, setup: Setup) -> ValidatingAdmissionWebhook:
        return cls(setup.webhooks)

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return bool(self.webhooks.calls(VALIDATING, resource, subresource, operation))

    async def validate(self, admission: Admission) -> None:
        calls = self.webhooks.calls(VALIDATING, admission.resource, admission.subresource, admission.operation)
        wanted: list[tuple[Call, Question]] = []
        for call in calls:
            if self.webhooks.wants(call, admission):
                asked = await question_for(self.webhooks, call.subject, admission, mutating=False)
                if await self.webhooks.meets(call, asked.question, admission, False):
                    wanted.append((call, asked.question))
        if wanted:
            begun = perf_counter()
            try:
                await self._all(wanted, admission)
            finally:
                if admission.request is not None:
                    admission.request.outside_seconds += perf_counter() - begun

    async def _all(self, wanted: list[tuple[Call, Question]], admission: Admission) -> None:
        if len(wanted) == 1:
            await self._call(0, *wanted[0], admission)
            return
        told: Sequence[Any] = await asyncio.gather(
            *(self._call(index, call, question, admission) for index, (call, question) in enumerate(wanted)),
            return_exceptions=True,
        )
        for error in told:
            if error is not None:
                raise error

    async def _call(self, index: int, call: Call, question: Question, admission: Admission) -> None:
        try:
            found = await self.webhooks.ask(call, question, False, admission)
        except CallFailed as error:
            self.webhooks.failed(call.hook, error, admission, "validating", index)
            return
        self.webhooks.heard(call.hook, found, admission)


class WebhookConfigurations:
    """Puts a configuration in force as soon as it is written."""

    def __init__(self, webhooks: Webhooks) -> None:
        self.webhooks = webhooks

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        return resource.group == GROUP and resource.plural in (MUTATING, VALIDATING)

    async def commit(self, admission: Admission) -> None:
        await self.webhooks.load()
