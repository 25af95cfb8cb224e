"""The variables of CEL in admission, from a request: for match conditions of webhooks and for policies.

The authorizer may have to look something up before it knows; then ``settled`` awaits that and evaluates again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from sampan.api.admission.admission_review import Question, request_of
from sampan.api.request import Attributes, User
from sampan.schema.cel.admission import activation
from sampan.schema.cel.libraries.authorizers import Authorizer, Decide, resource_check
from sampan.schema.cel.libraries.authorizers import Question as Asked
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api

Result = TypeVar("Result")
OBJECTS = ("uid", "object", "oldObject")


class _Pending(BaseException):
    """The authorizer does not know yet. No ``Exception``: an evaluation must not take it for an error of its own."""

    def __init__(self, attributes: Attributes, asked: Asked, known: dict[Asked, tuple[bool, str]]) -> None:
        super().__init__()
        self._attributes, self._asked, self._known = attributes, asked, known

    async def settle(self, api: Api) -> None:
        await api.authorizer.prepare(self._attributes)
        self._known[self._asked] = api.authorizer.authorize(self._attributes)


async def settled(api: Api, evaluate: Callable[[], Result]) -> Result:
    """Return what an evaluation gives, once the authorizer knows all it is asked."""
    while True:
        try:
            return evaluate()
        except _Pending as pending:
            await pending.settle(api)


def variables_of(
    api: Api, question: Question, *, namespace: Object | None = None, params: Any = None
) -> dict[str, Any]:
    """Return the variables of one request for admission. ``namespace``: the Namespace it is in."""
    request = {key: value for key, value in request_of(question).items() if key not in OBJECTS}
    decide, at = decider(api, question.user), question.asked_as
    check = Asked(
        "",
        group=at.group,
        resource=at.plural,
        subresource=at.subresource,
        namespace=question.namespace,
        name=question.name,
    )
    return activation(
        object=question.object,
        old=question.old,
        request=request,
        namespace=namespace,
        params=params,
        authorizer=Authorizer(decide),
        request_resource=resource_check(decide, check),
    )


def decider(api: Api, user: User) -> Decide:
    """Return what answers the questions of one request's expressions; each question is decided once."""
    known: dict[Asked, tuple[bool, str]] = {}

    def decide(asked: Asked) -> tuple[bool, str]:
        found = known.get(asked)
        if found is None:
            attributes = attributes_of(user, asked)
            if api.authorizer.pending(attributes):
                raise _Pending(attributes, asked, known)
            found = known[asked] = api.authorizer.authorize(attributes)
        return found

    return decide


def attributes_of(user: User, asked: Asked) -> Attributes:
    if asked.service_account is not None:
        namespace, name = asked.service_account
        groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
        user = User(f"system:serviceaccount:{namespace}:{name}", groups)
    if asked.path:
        return Attributes(user, asked.verb, asked.path)
    return Attributes(
        user, asked.verb, "", asked.group, "*", asked.resource, asked.subresource, asked.namespace, asked.name
    )
