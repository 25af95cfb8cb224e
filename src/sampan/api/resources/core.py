"""The core group: its resources in one list, and those too small for a file of their own."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, non_negative
from sampan.api.resources.claims import PERSISTENT_VOLUME_CLAIM
from sampan.api.resources.columns import AGE, NAME, WIDE, labels_text, number, template_columns
from sampan.api.resources.configuration import CONFIG_MAP, SECRET, SERVICE_ACCOUNT
from sampan.api.resources.endpoints import ENDPOINTS
from sampan.api.resources.events import CORE_EVENT
from sampan.api.resources.limits import LIMIT_RANGE, RESOURCE_QUOTA
from sampan.api.resources.namespaces import NAMESPACE
from sampan.api.resources.nodes import NODE
from sampan.api.resources.pod_spec import default_template
from sampan.api.resources.pod_validation import pod_template
from sampan.api.resources.pod_warnings import template_warnings
from sampan.api.resources.pods import POD
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.services import SERVICE
from sampan.api.resources.volumes import PERSISTENT_VOLUME
from sampan.api.resources.workloads import fits, only_always, replica_counts
from sampan.schema.causes import required
from sampan.schema.objects import Object


def default_controller(controller: Object) -> None:
    spec = controller.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    labels = mapping(spec, "template", "metadata", "labels")
    if labels:
        spec.setdefault("selector", dict(labels))
        controller["metadata"].setdefault("labels", dict(labels))
    default_template(spec.get("template"))


def validate_controller(new: Object, old: Object | None) -> Iterator[Cause]:
    """``ValidateReplicationControllerSpec``."""
    spec = mapping(new, "spec")
    selector, template = mapping(spec, "selector"), spec.get("template")
    for key in ("minReadySeconds", "replicas"):
        yield from non_negative(f"spec.{key}", spec.get(key))
    if not selector:
        yield required("spec.selector")
    if template is None:
        yield required("spec.template")
        return
    if selector:
        yield from fits({"matchLabels": selector}, template)
    yield from pod_template(template, "spec.template")
    yield from only_always(template, "spec.template", "ReplicationController")


REPLICATION_CONTROLLER = Resource(
    group="",
    version="v1",
    kind="ReplicationController",
    plural="replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    status=True,
    scale={
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".spec.selector",
    },
    default=default_controller,
    prepare=lambda new, old: new.update(status={"replicas": 0}) if old is None else None,
    validate=collect(validate_controller),
    validates={"status": collect(replica_counts(fully_labeled=True))},
    warn=lambda new, old: template_warnings(dig(new, "spec", "template"), "spec.template"),
    trusts_definition=False,
    columns=(
        NAME,
        Column("Desired", number("spec", "replicas"), type="integer"),
        Column("Current", number("status", "replicas"), type="integer"),
        Column("Ready", number("status", "readyReplicas"), type="integer"),
        AGE,
        *template_columns("spec", "template", "spec"),
        Column("Selector", lambda rc: labels_text(mapping(rc, "spec", "selector")), priority=WIDE),
    ),
    field_selectors={"status.replicas": lambda rc: text(rc, "status", "replicas") or "0"},
)


def validate_pod_template(new: Object, old: Object | None) -> Iterator[Cause]:
    yield from pod_template(dig(new, "template"), "template")


POD_TEMPLATE = Resource(
    group="",
    version="v1",
    kind="PodTemplate",
    plural="podtemplates",
    default=lambda o: default_template(o.setdefault("template", {})),
    validate=collect(validate_pod_template),
    warn=lambda new, old: template_warnings(new.get("template"), "template"),
    trusts_definition=False,
    returns_deleted=True,
    columns=(
        NAME,
        Column("Containers", lambda o: ",".join(c.get("name", "") for c in items(o, "template", "spec", "containers"))),
        Column("Images", lambda o: ",".join(c.get("image", "") for c in items(o, "template", "spec", "containers"))),
        Column("Pod Labels", lambda o: labels_text(mapping(o, "template", "metadata", "labels"))),
    ),
)


def healthy(component: Object) -> Object:
    return next((one for one in items(component, "conditions") if one.get("type") == "Healthy"), {})


COMPONENT_STATUS = Resource(
    group="",
    version="v1",
    kind="ComponentStatus",
    plural="componentstatuses",
    namespaced=False,
    deprecated="v1 ComponentStatus is deprecated in v1.19+",
    short_names=("cs",),
    verbs=("get", "list"),
    columns=(
        NAME,
        Column(
            "Status",
            lambda one: {"True": "Healthy", "False": "Unhealthy"}.get(text(healthy(one), "status"), "Unknown"),
        ),
        Column("Message", lambda one: text(healthy(one), "message")),
        Column("Error", lambda one: text(healthy(one), "error")),
    ),
)
"""Answered by ``api/component_statuses.py``."""

BINDING = Resource(group="", version="v1", kind="Binding", plural="bindings", verbs=("create",))

RESOURCES = (
    BINDING,
    COMPONENT_STATUS,
    CONFIG_MAP,
    ENDPOINTS,
    CORE_EVENT,
    LIMIT_RANGE,
    NAMESPACE,
    NODE,
    PERSISTENT_VOLUME_CLAIM,
    PERSISTENT_VOLUME,
    POD,
    POD_TEMPLATE,
    REPLICATION_CONTROLLER,
    RESOURCE_QUOTA,
    SECRET,
    SERVICE_ACCOUNT,
    SERVICE,
)
