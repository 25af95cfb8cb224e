"""Whether a request is allowed, and in whose name it is made: authorization's answer as a Status, and impersonation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING
from urllib.parse import unquote

from sampan.api.asgi import all_of
from sampan.api.errors import StatusError, internal_error
from sampan.api.request import Attributes, User

if TYPE_CHECKING:
    from sampan.api.app import Authorizer

EXTRA = "impersonate-extra-"


async def permit(authorizer: Authorizer, attributes: Attributes) -> None:
    """Let the authorizer learn what it needs, and authorize. Raises 403."""
    if authorizer.pending(attributes):
        await authorizer.prepare(attributes)
    authorize(authorizer, attributes)


def authorize(authorizer: Authorizer, attributes: Attributes) -> None:
    """Authorize by what the authorizer knows. Raises 403."""
    allowed, reason = authorizer.authorize(attributes)
    if not allowed:
        raise denied(attributes, reason)


def denied(attributes: Attributes, reason: str = "") -> StatusError:
    """Return the 403 as Kubernetes words it; a 500 where an authorizer could not be asked."""
    if attributes.verdict is not None and attributes.verdict.error:
        return internal_error(f'Internal Server Error: "{attributes.path}": {attributes.verdict.error}')
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


async def impersonated(authorizer: Authorizer, user: User, headers: Mapping[str, str]) -> User:
    """Return the user that the Impersonate headers name, with the groups that every such user has. Raises 403, and 500
    where they name none."""
    name = headers.get("impersonate-user", "")
    groups = all_of(headers, "impersonate-group")
    uid = headers.get("impersonate-uid", "")
    extra = {
        unquote(header[len(EXTRA) :]): tuple(all_of(headers, header)) for header in headers if header.startswith(EXTRA)
    }
    if not name:
        if not (groups or uid or extra):
            return user
        asked = [*groups, *(value for values in extra.values() for value in values), *([uid] if uid else ())]
        raise internal_error(f"requested [{' '.join(asked)}] without impersonating a user")
    for attributes in impersonations(user, name, groups, uid, extra):
        await permit(authorizer, attributes)
    home = account_namespace(name)
    if home and not groups:
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{home}"]
    everyone = "system:unauthenticated" if name == "system:anonymous" else "system:authenticated"
    if not {"system:authenticated", "system:unauthenticated"} & set(groups):
        groups = [*groups, everyone]
    return User(name, tuple(groups), uid, extra)


def impersonations(
    user: User, name: str, groups: list[str], uid: str, extra: Mapping[str, tuple[str, ...]]
) -> Iterator[Attributes]:
    """Yield what a user must be allowed to impersonate another."""

    def of(resource: str, asked: str, *, group: str = "", namespace: str = "", subresource: str = "") -> Attributes:
        return Attributes(user, "impersonate", "", group, "v1", resource, subresource, namespace, asked)

    home = account_namespace(name)
    yield of("serviceaccounts", name.rpartition(":")[2], namespace=home) if home else of("users", name)
    for group in groups:
        yield of("groups", group)
    for key, values in extra.items():
        for value in values:
            yield of("userextras", value, group="authentication.k8s.io", subresource=key)
    if uid:
        yield of("uids", uid, group="authentication.k8s.io")


def account_namespace(name: str) -> str:
    """Return the namespace of a ServiceAccount by its user name, "" where it is none."""
    parts = name.split(":")
    return parts[2] if len(parts) == 4 and parts[:2] == ["system", "serviceaccount"] else ""
