"""The parameters of a policy's binding: objects of the policy's paramKind, by name or by selector.

Source: kubernetes/apiserver pkg/admission/plugin/policy/generic/policy_dispatcher.go (CollectParams).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sampan.api.catalog import Served
from sampan.api.resources.reading import mapping
from sampan.schema.objects import Object, split_api_version
from sampan.schema.selectors import label_selector
from sampan.store import Record

if TYPE_CHECKING:
    from sampan.api.app import Api


class ConfigurationError(Exception):
    """Why a policy or a binding cannot be used."""


def kind_of(api: Api, policy: Object) -> Served | None:
    """Return the resource of a policy's paramKind, None where it has none. Raises ``ConfigurationError``."""
    wanted = mapping(policy, "spec", "paramKind")
    if not wanted:
        return None
    group, version = split_api_version(wanted.get("apiVersion") or "")
    served = api.catalog.by_kind(group, version, wanted.get("kind") or "")
    if served is None:
        shown = f"{wanted.get('apiVersion')}, Kind={wanted.get('kind')}"
        raise ConfigurationError(f"failed to find resource referenced by paramKind: '{shown}'")
    return served


async def collect(api: Api, served: Served | None, reference: Object | None, namespace: str) -> list[Any]:
    """Return the parameters a binding refers to; ``[None]`` where there are none to have, ``[]``: the policy is not
    evaluated. Raises ``ConfigurationError``."""
    if served is None or reference is None:
        return [None]
    home, asked = "", str(reference.get("namespace") or "")
    if served.resource.namespaced:
        home = asked or namespace
        if not home:
            raise ConfigurationError(
                "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
            )
    elif asked:
        raise ConfigurationError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
    found = await _found(api, served, reference, home)
    if not found and reference.get("parameterNotFoundAction") == "Deny":
        raise ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction")
    return found


async def _found(api: Api, served: Served, reference: Object, namespace: str) -> list[Any]:
    name, selector = reference.get("name"), reference.get("selector")
    if name and selector is not None:
        raise ConfigurationError("paramRef.name and paramRef.selector are mutually exclusive")
    if name:
        record = api.store.get(served.key(namespace, name))
        return [] if record is None else [await _param(api, served, record)]
    if selector is None:
        raise ConfigurationError("one of name or selector must be provided")
    wanted = label_selector(selector)
    records = (await api.store.page(served.prefix(namespace))).records
    return [
        await _param(api, served, record)
        for record in records
        if wanted.matches(mapping(api.parsed(record), "metadata", "labels"))
    ]


async def _param(api: Api, served: Served, record: Record) -> Object:
    value: Object = orjson.loads(await api.registry.served_value(served, record))
    return value
