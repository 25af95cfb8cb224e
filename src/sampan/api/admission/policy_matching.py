"""Which requests a policy or a binding is for: resource rules with names, exclusions, selectors, equivalent versions. Pure.

What depends on the kind of a request alone is decided once a kind (``Match.kind``), the rest for each request.
Source: kubernetes/apiserver pkg/admission/plugin/policy/matching.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from sampan.api.admission.admission_review import Subject
from sampan.api.admission.webhook_rules import Kind, rule_wants
from sampan.api.resources.reading import items, mapping
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, label_selector


class Rule(NamedTuple):
    """A rule that wants a kind of request: in which version, and which names (all where there are none)."""

    subject: Subject
    names: tuple[str, ...]

    def wants(self, name: str) -> bool:
        return not self.names or name in self.names


class KindMatch(NamedTuple):
    """What of a ``MatchResources`` concerns one kind of request."""

    rules: tuple[Rule, ...]
    excluded: tuple[Rule, ...]
    namespaces: LabelSelector
    objects: LabelSelector

    def subject(
        self, name: str, new: Object | None, old: Object | None, labels: Mapping[str, str] | None
    ) -> Subject | None:
        """Return the version in which a request is wanted, None where it is not. ``labels``: those of its namespace,
        None for what is in none."""
        if any(rule.wants(name) for rule in self.excluded):
            return None
        found = next((rule.subject for rule in self.rules if rule.wants(name)), None)
        if found is None or not (labels is None or self.namespaces.matches(labels)):
            return None
        return found if self._selects(new, old) else None

    def _selects(self, new: Object | None, old: Object | None) -> bool:
        if self.objects.empty:
            return True
        return any(one is not None and self.objects.matches(mapping(one, "metadata", "labels")) for one in (new, old))


def match_kind(resources: Object | None, request: Kind) -> KindMatch | None:
    """Return how ``MatchResources`` match a kind of request, None where they never do. No resources, or none with
    rules (as bindings may have): all requests."""
    given = resources or {}
    exact = given.get("matchPolicy") == "Exact"
    rules = _rules(items(given, "resourceRules"), request, exact)
    if not items(given, "resourceRules"):
        rules = (Rule(request.asked, ()),)
    if not rules:
        return None
    return KindMatch(
        rules,
        _rules(items(given, "excludeResourceRules"), request, exact),
        label_selector(mapping(given, "namespaceSelector")),
        label_selector(mapping(given, "objectSelector")),
    )


def _rules(rules: list[Object], request: Kind, exact: bool) -> tuple[Rule, ...]:
    found = [Rule(request.asked, _names(rule)) for rule in rules if rule_wants(rule, request.asked, request)]
    if not exact:
        found += [
            Rule(subject, _names(rule))
            for rule in rules
            for subject in request.equivalents
            if rule_wants(rule, subject, request)
        ]
    return tuple(found)


def _names(rule: Object) -> tuple[str, ...]:
    return tuple(items(rule, "resourceNames"))
