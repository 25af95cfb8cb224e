"""Whether a request is allowed, and in whose name it is made: authorization's answer as a Status, and impersonation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sampan.api.errors import StatusError
from sampan.api.request import Attributes, User

if TYPE_CHECKING:
    from sampan.api.app import Authorizer

EXTRA = "impersonate-extra-"


def authorize(authorizer: Authorizer, attributes: Attributes) -> None:
    """Raises 403."""
    allowed, reason = authorizer.authorize(attributes)
    if not allowed:
        raise denied(attributes, reason)


def denied(attributes: Attributes, reason: str = "") -> StatusError:
    """Return the 403 as Kubernetes words it."""
    user, why = attributes.user.name, f": {reason}" if reason else ""
    if not attributes.resource:
        message = f'User "{user}" cannot {attributes.verb} path "{attributes.path}"{why}'
        return StatusError(403, "Forbidden", f"forbidden: {message}", details={})
    resource = attributes.resource + (f"/{attributes.subresource}" if attributes.subresource else "")
    where = f'in the namespace "{attributes.namespace}"' if attributes.namespace else "at the cluster scope"
    message = (
        f'User "{user}" cannot {attributes.verb} resource "{resource}" in API group "{attributes.group}" {where}{why}'
    )
    qualified = f"{attributes.resource}.{attributes.group}" if attributes.group else attributes.resource
    subject = f'{qualified} "{attributes.name}" is forbidden' if attributes.name else f"{qualified} is forbidden"
    details = {"name": attributes.name, "group": attributes.group, "kind": attributes.resource}
    return StatusError(
        403, "Forbidden", f"{subject}: {message}", details={key: value for key, value in details.items() if value}
    )


def impersonated(authorizer: Authorizer, user: User, headers: Mapping[str, str]) -> User:
    """Return the user that the Impersonate headers name. Raises 403."""
    name = headers["impersonate-user"]
    groups = [group.strip() for group in headers.get("impersonate-group", "").split(",") if group.strip()]
    extra = {
        header[len(EXTRA) :]: tuple(value.strip() for value in text.split(","))
        for header, text in headers.items()
        if header.startswith(EXTRA)
    }
    uid = headers.get("impersonate-uid", "")

    def check(resource: str, asked: str, *, group: str = "", namespace: str = "", subresource: str = "") -> None:
        authorize(
            authorizer,
            Attributes(user, "impersonate", "", group, "v1", resource, subresource, namespace, asked),
        )

    if name.startswith("system:serviceaccount:") and name.count(":") == 3:
        _, _, namespace, account = name.split(":")
        check("serviceaccounts", account, namespace=namespace)
        if not groups:
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    else:
        check("users", name)
    for group in groups:
        check("groups", group)
    if uid:
        check("uids", uid, group="authentication.k8s.io")
    for key, values in extra.items():
        for value in values:
            check("userextras", value, group="authentication.k8s.io", subresource=key)
    everyone = "system:unauthenticated" if name == "system:anonymous" else "system:authenticated"
    if everyone not in groups:
        groups.append(everyone)
    return User(name, tuple(groups), uid, extra)
