"""``authorizer.group('').resource('pods').check('create').allowed()`` (1.27) and its selectors (1.31).

The API gives an ``Authorizer`` a function that decides; this library only collects what is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from sampan.schema.cel.declarations import overload
from sampan.schema.cel.errors import EvaluationError
from sampan.schema.cel.values import Opaque
from sampan.schema.names import dns1123_label, dns1123_subdomain


class Question(NamedTuple):
    """May they? ``service_account`` is ``(namespace, name)`` where it is not the user of the request who is asked for."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""
    service_account: tuple[str, str] | None = None


Decide = Callable[[Question], tuple[bool, str]]
"""``question -> (allowed, reason)``"""


class Authorizer(Opaque):
    __slots__ = ("decide", "service_account")
    type_name = "kubernetes.authorization.Authorizer"

    def __init__(self, decide: Decide, service_account: tuple[str, str] | None = None) -> None:
        self.decide = decide
        self.service_account = service_account


class Check(Opaque):
    """What is asked for so far: a path, a group or a resource."""

    __slots__ = ("decide", "question", "type_name")

    def __init__(self, type_name: str, decide: Decide, question: Question) -> None:
        self.type_name = type_name
        self.decide = decide
        self.question = question

    def with_(self, **asked: str) -> Check:
        return Check(self.type_name, self.decide, self.question._replace(**asked))  # type: ignore[arg-type]


class Decision(Opaque):
    __slots__ = ("allowed", "error", "reason")
    type_name = "kubernetes.authorization.Decision"

    def __init__(self, allowed: bool, reason: str, error: str) -> None:
        self.allowed = allowed
        self.reason = reason
        self.error = error


def resource_check(decide: Decide, question: Question) -> Check:
    """Return ``authorizer.requestResource``: a check of the resource of a request."""
    return Check(RESOURCE_CHECK, decide, question)


PATH_CHECK = "kubernetes.authorization.PathCheck"
GROUP_CHECK = "kubernetes.authorization.GroupCheck"
RESOURCE_CHECK = "kubernetes.authorization.ResourceCheck"


def _path(authorizer: Authorizer, path: str) -> Check:
    if not path.strip():
        raise EvaluationError("path must not be empty")
    question = Question("", path=path, service_account=authorizer.service_account)
    return Check(PATH_CHECK, authorizer.decide, question)


def _group(authorizer: Authorizer, group: str) -> Check:
    return Check(GROUP_CHECK, authorizer.decide, Question("", group=group, service_account=authorizer.service_account))


def _service_account(authorizer: Authorizer, namespace: str, name: str) -> Authorizer:
    if dns1123_subdomain(name):
        raise EvaluationError("Invalid service account name")
    if dns1123_label(namespace):
        raise EvaluationError("Invalid service account namespace")
    return Authorizer(authorizer.decide, (namespace, name))


def _resource(check: Check, resource: str) -> Check:
    if not resource.strip():
        raise EvaluationError("resource must not be empty")
    return Check(RESOURCE_CHECK, check.decide, check.question._replace(resource=resource))


def _decide(check: Check, verb: str) -> Decision:
    allowed, reason = check.decide(check.question._replace(verb=verb))
    return Decision(allowed, reason, "")


AUTHORIZERS = [
    overload("authorizer_path", "Authorizer.path(string) -> PathCheck", _path),
    overload("authorizer_group", "Authorizer.group(string) -> GroupCheck", _group),
    overload("authorizer_serviceaccount", "Authorizer.serviceAccount(string, string) -> Authorizer", _service_account),
    overload("groupcheck_resource", "GroupCheck.resource(string) -> ResourceCheck", _resource),
    overload(
        "resourcecheck_subresource",
        "ResourceCheck.subresource(string) -> ResourceCheck",
        lambda c, x: c.with_(subresource=x),
    ),
    overload(
        "resourcecheck_namespace", "ResourceCheck.namespace(string) -> ResourceCheck", lambda c, x: c.with_(namespace=x)
    ),
    overload("resourcecheck_name", "ResourceCheck.name(string) -> ResourceCheck", lambda c, x: c.with_(name=x)),
    overload("pathcheck_check", "PathCheck.check(string) -> Decision", _decide),
    overload("resourcecheck_check", "ResourceCheck.check(string) -> Decision", _decide),
    overload("decision_errored", "Decision.errored() -> bool", lambda decision: bool(decision.error)),
    overload("decision_error", "Decision.error() -> string", lambda decision: decision.error),
    overload("decision_allowed", "Decision.allowed() -> bool", lambda decision: decision.allowed),
    overload("decision_reason", "Decision.reason() -> string", lambda decision: decision.reason),
]
SELECTORS = [
    overload(
        "resourcecheck_fieldselector",
        "ResourceCheck.fieldSelector(string) -> ResourceCheck",
        lambda c, x: c.with_(field_selector=x),
    ),
    overload(
        "resourcecheck_labelselector",
        "ResourceCheck.labelSelector(string) -> ResourceCheck",
        lambda c, x: c.with_(label_selector=x),
    ),
]
JSON_PATCH = [
    overload(
        "string_jsonpatch_escapeKey_string",
        "jsonpatch.escapeKey(string) -> string",
        lambda text: text.replace("~", "~0").replace("/", "~1"),
    )
]
"""For the keys in a MutatingAdmissionPolicy's JSONPatch."""
