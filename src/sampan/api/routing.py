"""From a method and a path to what is asked: Kubernetes' RequestInfo.

In: ``GET /apis/apps/v1/namespaces/default/deployments/web/scale``. Out: a ``Target``, or None for what is no resource
(``/version``, ``/apis``). Pure; the source is the path layout of the API conventions.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import parse_qsl

NAMESPACE_SUBRESOURCES = ("status", "finalize")

OBJECT_VERBS = {"GET": "get", "HEAD": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


class Target(NamedTuple):
    """A resource path taken apart. ``watch`` says that the deprecated ``watch/`` prefix was there."""

    group: str
    version: str
    namespace: str
    plural: str
    name: str = ""
    subresource: str = ""
    rest: str = ""
    watch: bool = False


def parse(path: str) -> Target | None:
    """Return what a path names; None where it is no resource path."""
    return _parsed_path(path) if len(path) <= REMEMBERED_PATH else _parsed_path.__wrapped__(path)


REMEMBERED_PATH = 256


@lru_cache(512)
def _parsed_path(path: str) -> Target | None:
    parts = path.rstrip("/").split("/")
    if len(parts) < 4:
        return None
    if parts[1] == "api":
        group, version, tail = "", parts[2], parts[3:]
    elif parts[1] == "apis" and len(parts) >= 5:
        group, version, tail = parts[2], parts[3], parts[4:]
    else:
        return None
    watch = tail[0] == "watch" and len(tail) > 1
    if watch:
        tail = tail[1:]
    if "" in tail[:3]:
        return None
    namespace = ""
    if tail[0] == "namespaces" and len(tail) > 1:
        namespace = tail[1]
        if len(tail) > 2 and tail[2] not in NAMESPACE_SUBRESOURCES:
            tail = tail[2:]
    name = tail[1] if len(tail) > 1 else ""
    subresource = tail[2] if len(tail) > 2 else ""
    return Target(group, version, namespace, tail[0], name, subresource, "/".join(tail[3:]), watch)


def verb_of(method: str, target: Target, query: Mapping[str, str]) -> str:
    """Return Kubernetes' verb of a request, "" for an unknown method."""
    if target.name:
        if target.watch and method == "GET":
            return "watch"
        return OBJECT_VERBS.get(method, "")
    if method in ("GET", "HEAD"):
        return "watch" if target.watch or is_true(query.get("watch")) else "list"
    if method == "DELETE":
        return "deletecollection"
    return "create" if method == "POST" else ""


def is_true(value: str | None) -> bool:
    """A boolean query parameter as Kubernetes reads it: present without a value is true."""
    return value is not None and value.lower() not in ("false", "0", "f")


NAME_SELECTOR = re.compile(r"(?:^|,)metadata\.name==?([^,=]+)(?:,|$)")


def selected_name(query: Mapping[str, str]) -> str:
    """Return the name that a field selector pins a list or watch to; "" where it does not."""
    found = NAME_SELECTOR.search(query.get("fieldSelector", ""))
    return found.group(1) if found else ""


class Query(NamedTuple):
    """A query string: the last value of each parameter, and all of them. Shared: do not change."""

    last: dict[str, str]
    lists: dict[str, list[str]]


REMEMBERED_BYTES = 1024
"""Longer query strings are parsed each time: anybody can send them, and memory is not theirs to fill."""


def parse_query(raw: bytes) -> Query:
    """Return the parameters of a raw query string."""
    return _remembered(raw) if len(raw) <= REMEMBERED_BYTES else _parsed(raw)


@lru_cache(2048)
def _remembered(raw: bytes) -> Query:
    return _parsed(raw)


def _parsed(raw: bytes) -> Query:
    last: dict[str, str] = {}
    lists: dict[str, list[str]] = {}
    for name, value in parse_qsl(raw.decode("latin-1"), keep_blank_values=True, errors="replace"):
        last[name] = value
        lists.setdefault(name, []).append(value)
    return Query(last, lists)
