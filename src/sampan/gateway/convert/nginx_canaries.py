"""Canaries of ingress-nginx: an Ingress beside the main one of the same host and path, that takes a share of its requests.

By weight its backend joins the rule's; by header or cookie it gets rules of its own, which match more and so come first.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

from sampan.gateway.convert.nginx_values import Annotations, BadValue
from sampan.gateway.convert.sources import Sources, namespace_of
from sampan.schema.objects import Object

PREFIX = "nginx.ingress.kubernetes.io/"
WEIGHT_TOTAL = 100
KNOWN = ("canary", "canary-by-header", "canary-by-header-value", "canary-by-header-pattern", "canary-by-cookie",
         "canary-weight", "canary-weight-total")  # fmt: skip


class Canaries:
    def __init__(self, sources: Sources, ingresses: list[Object]) -> None:
        self._sources = sources
        self._by_path: dict[tuple[str, str], tuple[Object, Object]] = {}
        self._unused: dict[int, Object] = {}
        for obj in ingresses:
            self._unused[id(obj)] = obj
            for rule in (obj.get("spec") or {}).get("rules") or ():
                for path in (rule.get("http") or {}).get("paths") or ():
                    self._by_path[rule.get("host") or "", path.get("path") or "/"] = (obj, path)
            for name in Annotations(obj, PREFIX, sources.about(obj)):
                if name not in KNOWN:
                    sources.about(obj).changed(
                        f"metadata.annotations[{PREFIX}{name}]", "a canary's is its main Ingress's"
                    )

    def joined(
        self, host: str, path: Object, rule: Object, backend_of: Callable[[str, Object], Object | None]
    ) -> list[Object]:
        """Return the rules of a path with the share of its canary: one rule where there is none."""
        found = self._by_path.get((host, path.get("path") or "/"))
        if found is None:
            return [rule]
        canary, its_path = found
        self._unused.pop(id(canary), None)
        backend = backend_of("spec.rules", its_path.get("backend") or {})
        if backend is None:
            return [rule]
        values = Annotations(canary, PREFIX, self._sources.about(canary))
        try:
            return [*chosen(values, rule, backend), weighted(values, rule, backend)]
        except BadValue as error:
            values.lost("canary", str(error))
            return [rule]

    def tell_unused(self) -> None:
        for obj in self._unused.values():
            where = f" in namespace {namespace_of(obj)}" if namespace_of(obj) else ""
            self._sources.about(obj).lost("spec.rules", f"no other Ingress{where} has the host and path of this canary")


def weighted(values: Annotations, rule: Object, backend: Object) -> Object:
    total, weight = values.number("canary-weight-total", WEIGHT_TOTAL), values.number("canary-weight")
    if weight > total:
        raise BadValue(f"canary-weight {weight} is more than the whole, {total}")
    if not weight:
        return rule
    shared = copy.deepcopy(rule)
    shared["backendRefs"] = [{**shared["backendRefs"][0], "weight": total - weight}, {**backend, "weight": weight}]
    return shared


def chosen(values: Annotations, rule: Object, backend: Object) -> list[Object]:
    """Return the rules for requests that say themselves where they go."""
    rules = []
    if header := values["canary-by-header"]:
        if value := values["canary-by-header-value"]:
            rules.append(matching(rule, {"name": header, "value": value}, backend))
        elif pattern := values["canary-by-header-pattern"]:
            fitting = {"type": "RegularExpression", "name": header, "value": f".*({pattern}).*"}
            rules.append(matching(rule, fitting, backend))
        else:
            rules.append(matching(rule, {"name": header, "value": "always"}, backend))
            rules.append(matching(rule, {"name": header, "value": "never"}, None))
    if cookie := values["canary-by-cookie"]:
        for word, target in (("always", backend), ("never", None)):
            expression = rf"(.*;\s*)?{re.escape(cookie)}={word}(;.*)?"
            rules.append(matching(rule, {"type": "RegularExpression", "name": "Cookie", "value": expression}, target))
    return rules


def matching(rule: Object, header: Object, backend: Object | None) -> Object:
    """Return a rule that a header must fit, too, with another backend, or with its own."""
    found = copy.deepcopy(rule)
    for match in found["matches"]:
        match.setdefault("headers", []).append(header)
    if backend is not None:
        found["backendRefs"] = [backend]
    return found
