"""Reviews: questions about identity and permission, answered at once and never stored.

Source: authentication.k8s.io/v1 (TokenReview, SelfSubjectReview), authorization.k8s.io/v1 (the four access reviews).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.api import review_selectors
from sampan.api.authn.known import Known
from sampan.api.errors import StatusError, invalid
from sampan.api.options import decode_object
from sampan.api.rendering import refuse_tables, value_response
from sampan.api.request import Admission, Attributes, Request, Response, User
from sampan.api.resource import Cause
from sampan.api.resources.reading import items, mapping, text
from sampan.api.tokens import BadToken
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.authn import Authenticators
    from sampan.api.catalog import Served
    from sampan.api.rbac import RbacAuthorizer

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"


def add(api: Api, authorizer: RbacAuthorizer, authenticator: Authenticators) -> None:
    """Serve the reviews; ``authorizer`` is the one that knows the rules of a user."""
    reviews = Reviews(authorizer, authenticator)
    for group, plural, handler in (
        (AUTHENTICATION, "tokenreviews", reviews.token),
        (AUTHENTICATION, "selfsubjectreviews", reviews.self_subject),
        (AUTHORIZATION, "selfsubjectaccessreviews", reviews.self_access),
        (AUTHORIZATION, "subjectaccessreviews", reviews.subject_access),
        (AUTHORIZATION, "localsubjectaccessreviews", reviews.local_access),
        (AUTHORIZATION, "selfsubjectrulesreviews", reviews.rules),
    ):
        for version in ("v1", "v1beta1", "v1alpha1"):
            if api.catalog.get(group, version, plural) is not None:
                api.catalog.subresource(group, version, plural, "", {"POST": handler})


class Asked(NamedTuple):
    """A review that was sent, and has been through mutating admission."""

    served: Served
    review: Object
    admission: Admission

    async def accepted(self) -> None:
        """Let validating admission have its say, once the review itself is found right."""
        await self.admission.api.chain.validate(self.admission)


async def asked(request: Request) -> Asked:
    """Return the review that was sent. Raises 400, and what admission raises."""
    refuse_tables(request)
    at = request.attributes
    served = request.api.catalog.get(at.group, at.version, at.resource)
    assert served is not None
    review = decode_object(request, served)
    admission = request.api.registry.admission(request, served, "CREATE", "", at.namespace, "", review, None)
    await request.api.chain.admit(admission)
    return Asked(served, review, admission)


def answered(request: Request, served: Served, review: Object, status: Object) -> Response:
    metadata = dict(mapping(review, "metadata"))
    metadata.setdefault("creationTimestamp", None)
    made = {"kind": served.resource.kind, "apiVersion": served.resource.api_version, "metadata": metadata}
    return value_response(request, {**made, "spec": review.get("spec", {}), "status": status}, 201)


class Reviews:
    """The handlers."""

    def __init__(self, authorizer: RbacAuthorizer, authenticator: Authenticators) -> None:
        self.authorizer = authorizer
        self.authenticator = authenticator

    async def token(self, request: Request) -> Response:
        sent = await asked(request)
        served, review, _ = sent
        token = text(review, "spec", "token")
        if not token:
            raise StatusError(400, "BadRequest", "token is required for TokenReview in authentication")
        await sent.accepted()
        audiences = items(review, "spec", "audiences")
        try:
            found = self.authenticator.by_token(token, tuple(audiences))
            known = found if isinstance(found, Known) else await found
        except BadToken as error:
            why = f"[invalid bearer token, {error}]" if str(error) else "invalid bearer token"
            return answered(request, served, review, {"user": {}, "error": why})
        status = {"authenticated": True, "user": known.user.info(), "audiences": list(known.audiences)}
        return answered(request, served, review, status)

    async def self_subject(self, request: Request) -> Response:
        found = await asked(request)
        await found.accepted()
        served, review, _ = found
        return answered(request, served, review, {"userInfo": request.user.info()})

    async def self_access(self, request: Request) -> Response:
        return await self._access(request, request.user)

    async def subject_access(self, request: Request) -> Response:
        return await self._access(request, None)

    async def local_access(self, request: Request) -> Response:
        return await self._access(request, None, request.attributes.namespace)

    async def _access(self, request: Request, user: User | None, namespace: str = "") -> Response:
        found = await asked(request)
        served, review, _ = found
        spec = mapping(review, "spec")
        if user is None:
            user = subject(spec)
            if not user.name and not user.groups:
                causes = [
                    Cause(
                        "spec.user",
                        "FieldValueInvalid",
                        'Invalid value: "": at least one of user or group must be specified',
                    )
                ]
                raise invalid(served.resource, "", causes)
        resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
        if (resource is None) == (path is None):
            message = (
                'Invalid value: "null": exactly one of nonResourceAttributes or resourceAttributes must be specified'
                if resource is None
                else 'Invalid value: "null": cannot be specified in combination with resourceAttributes'
            )
            field = "spec.resourceAttributes" if resource is None else "spec.nonResourceAttributes"
            raise invalid(served.resource, "", [Cause(field, "FieldValueInvalid", message)])
        if namespace and text(resource, "namespace") != namespace:
            message = f'Invalid value: "{text(resource, "namespace")}": must match metadata.namespace'
            raise invalid(
                served.resource, "", [Cause("spec.resourceAttributes.namespace", "FieldValueInvalid", message)]
            )
        authorizer, attributes = request.api.authorizer, attributes_of(user, resource, path)
        if resource is not None and request.api.features.past("AuthorizeWithSelectors"):
            wrong = list(review_selectors.check(resource))
            if wrong:
                raise invalid(served.resource, "", wrong)
            attributes.field_selector = review_selectors.as_sent(resource, "fieldSelector")
            attributes.label_selector = review_selectors.as_sent(resource, "labelSelector")
        await found.accepted()
        if authorizer.pending(attributes):
            await authorizer.prepare(attributes)
        allowed, reason, error = authorizer.decide(attributes)
        told = {"denied": allowed is False, "reason": reason, "evaluationError": error}
        status: Object = {"allowed": bool(allowed), **{key: value for key, value in told.items() if value}}
        return answered(request, served, review, status)

    async def rules(self, request: Request) -> Response:
        found = await asked(request)
        served, review, _ = found
        namespace = text(review, "spec", "namespace")
        if not namespace:
            raise StatusError(400, "BadRequest", "no namespace on request")
        await found.accepted()
        resource_rules: list[Object] = []
        path_rules: list[Object] = []
        for rule in self.authorizer.policy.rules_for(request.user, namespace):
            keys = (
                ("verbs", "nonResourceURLs")
                if rule.get("nonResourceURLs")
                else ("verbs", "apiGroups", "resources", "resourceNames")
            )
            (path_rules if rule.get("nonResourceURLs") else resource_rules).append(
                {k: rule[k] for k in keys if rule.get(k)}
            )
        told = [why for mode in request.api.authorizer.modes if (why := mode.unresolved(request.user))]
        status: Object = {
            "resourceRules": resource_rules,
            "nonResourceRules": path_rules,
            "incomplete": bool(told),
        }
        if told:
            status["evaluationError"] = ", ".join(told)
        return answered(request, served, review, status)


def subject(spec: Object) -> User:
    extra = {key: tuple(values) for key, values in mapping(spec, "extra").items() if isinstance(values, list)}
    return User(text(spec, "user"), tuple(items(spec, "groups")), text(spec, "uid"), extra)


def attributes_of(user: User, resource: Any, path: Any) -> Attributes:
    """Return the request that a review asks about."""
    if resource is None:
        return Attributes(user, text(path, "verb"), text(path, "path"))
    # an empty resource in a review means none in particular, which only a wildcard grants
    return Attributes(
        user,
        text(resource, "verb"),
        "",
        text(resource, "group"),
        text(resource, "version"),
        text(resource, "resource") or "*",
        text(resource, "subresource"),
        text(resource, "namespace"),
        text(resource, "name"),
    )
