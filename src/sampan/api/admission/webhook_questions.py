"""From an admission to what one webhook is shown, and from its patched object back.

An object is shown in the version the webhook's rules name, a scale as a Scale; a created object without what the server
gives it only later (uid, creation time, generated name). Source: kubernetes/apiserver pkg/endpoints/handlers/create.go,
pkg/admission/conversion.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from sampan.api import pipeline
from sampan.api.admission.admission_review import Question, Subject
from sampan.api.catalog import Served
from sampan.api.errors import internal_error
from sampan.api.request import Admission
from sampan.api.scaling import scale_of, set_replicas
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.api.admission.webhooks import Webhooks

LATER = ("uid", "creationTimestamp", "generation")
"""Metadata that a created object gets after mutating admission."""
OPTIONS = {"CREATE": "CreateOptions", "UPDATE": "UpdateOptions", "DELETE": "DeleteOptions"}


class Asked(NamedTuple):
    """A question with what its answer is put back with."""

    question: Question
    asked: Served | None
    sent: Served | None
    kept: Object
    """Metadata that was not shown."""


async def question_for(webhooks: Webhooks, subject: Subject, admission: Admission, *, mutating: bool) -> Asked:
    """Return what a webhook is asked about an admission."""
    resource, catalog = admission.resource, webhooks.api.catalog
    asked = catalog.get(resource.group, resource.version, resource.plural)
    sent = catalog.get(subject.group, subject.version, subject.plural)
    new, old = admission.object, admission.old
    kept: Object = {}
    whole = admission.body_kind == ""
    if new is not None and whole and old is not None:
        new = with_version(new, old)
    elif new is not None and whole and mutating and admission.operation == "CREATE":
        new, kept = without_later(new)
    if whole and asked is not None and sent is not None:
        new, old = [await shown(webhooks, obj, asked, sent, subject) for obj in (new, old)]
    namespace = admission.namespace
    if resource.plural == "namespaces" and not resource.group:
        namespace = admission.name
    name = admission.name if "name" not in kept else ""
    question = Question(
        sent_as=subject,
        asked_as=webhooks.subject(resource, admission.subresource),
        name=name,
        namespace=namespace,
        operation=admission.operation,
        user=admission.user,
        object=new,
        old=old,
        dry_run=admission.dry_run,
        options=options_of(admission),
    )
    return Asked(question, asked, sent, kept)


async def shown(webhooks: Webhooks, obj: Object | None, asked: Served, sent: Served, subject: Subject) -> Object | None:
    if obj is None:
        return None
    if subject.subresource == "scale":
        return scale_of(asked, obj)
    return obj if asked is sent else await webhooks.api.registry.convert(asked, sent, obj)


def with_version(new: Object, old: Object) -> Object:
    return {**new, "metadata": {**new["metadata"], "resourceVersion": old["metadata"].get("resourceVersion", "")}}


def without_later(new: Object) -> tuple[Object, Object]:
    """Return a created object as it is before the server's own metadata, and that metadata."""
    metadata = new["metadata"]
    kept = {key: metadata[key] for key in LATER if key in metadata}
    base, name = metadata.get("generateName"), str(metadata.get("name") or "")
    if base and len(name) > 5 and str(base).startswith(name[:-5]):
        kept["name"] = name
    return {**new, "metadata": {key: value for key, value in metadata.items() if key not in kept}}, kept


def options_of(admission: Admission) -> Object | None:
    """Return the options of the request as ``CreateOptions`` and its like."""
    kind = OPTIONS.get(admission.operation)
    if kind is None:
        return None
    made: Object = {"kind": kind, "apiVersion": "meta.k8s.io/v1"}
    if admission.dry_run:
        made["dryRun"] = ["All"]
    given = admission.options
    if kind == "DeleteOptions":
        return {**made, **{key: value for key, value in given.items() if key in DELETE_OPTIONS}}
    return {**made, **{key: given[key] for key in ("fieldManager", "fieldValidation") if given.get(key)}}


DELETE_OPTIONS = ("gracePeriodSeconds", "preconditions", "propagationPolicy", "orphanDependents")


async def take_over(webhooks: Webhooks, asked: Asked, after: Any, admission: Admission) -> bool:
    """Make a patched object the admission's, in place; return whether it changed. Raises 500 for what is no object."""
    current = admission.object
    assert current is not None
    if not isinstance(after, dict):
        raise internal_error("the patched object is not a JSON object")
    if admission.body_kind:
        return replace(current, after)
    if admission.subresource == "scale":
        before = orjson.dumps(current)
        replicas = (after.get("spec") or {}).get("replicas", 0)
        if asked.asked is not None and isinstance(replicas, int):
            set_replicas(asked.asked, current, replicas)
        return orjson.dumps(current) != before
    if not isinstance(after.get("metadata"), dict):
        raise internal_error("the patched object has no metadata")
    sent, served = asked.sent, asked.asked
    if sent is not None and served is not None and sent is not served:
        after = await webhooks.api.registry.convert(sent, served, after)
    after["metadata"].pop("resourceVersion", None)
    after["metadata"] = restored(current["metadata"], after["metadata"], asked.kept)
    if served is not None and served.type is not None:
        checked = served.type.check(after)
        if checked.error:
            raise internal_error(checked.error)
        after = checked.object
    changed = replace(current, after)
    if changed and served is not None:
        pipeline.default(served, current)
    return changed


def restored(before: Object, after: Object, kept: Object) -> Object:
    """Return patched metadata with what was not shown at its old place."""
    made = {key: kept[key] if key in kept else after[key] for key in before if key in kept or key in after}
    return made | {key: value for key, value in after.items() if key not in made}


def replace(current: Object, after: Object) -> bool:
    if after == current:
        return False
    current.clear()
    current.update(after)
    return True
