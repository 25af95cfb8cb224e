"""The core group: its resources in one list, and those too small for a file of their own."""

from __future__ import annotations

from collections.abc import Iterator

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, one_of, selects
from sampan.api.resources.claims import PERSISTENT_VOLUME_CLAIM
from sampan.api.resources.columns import AGE, NAME, WIDE, labels_text, number, template_columns
from sampan.api.resources.configuration import CONFIG_MAP, SECRET, SERVICE_ACCOUNT
from sampan.api.resources.events import CORE_EVENT
from sampan.api.resources.nodes import NAMESPACE, NODE
from sampan.api.resources.pod_spec import default_template
from sampan.api.resources.pod_validation import pod_template
from sampan.api.resources.pods import POD
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.api.resources.services import ENDPOINTS, SERVICE
from sampan.api.resources.volumes import PERSISTENT_VOLUME
from sampan.schema.causes import invalid, required
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
    selector = mapping(new, "spec", "selector")
    if not selector:
        yield required("spec.selector")
    template = dig(new, "spec", "template")
    if template is None:
        yield required("spec.template")
        return
    labels = mapping(template, "metadata", "labels")
    if selector and not selects({"matchLabels": selector}, labels):
        yield invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")
    yield from pod_template(template, "spec.template")
    yield from one_of("spec.template.spec.restartPolicy", dig(template, "spec", "restartPolicy"), ("Always",))


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
    storage_group_resource="controllers",
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
    default=lambda o: default_template(o.get("template")),
    validate=collect(validate_pod_template),
    returns_deleted=True,
    columns=(
        NAME,
        Column("Containers", lambda o: ",".join(c.get("name", "") for c in items(o, "template", "spec", "containers"))),
        Column("Images", lambda o: ",".join(c.get("image", "") for c in items(o, "template", "spec", "containers"))),
        Column("Pod Labels", lambda o: labels_text(mapping(o, "template", "metadata", "labels"))),
    ),
)


def default_limit_range(limit_range: Object) -> None:
    for limit in items(limit_range, "spec", "limits"):
        if limit.get("type") != "Container":
            continue
        for name, amount in mapping(limit, "max").items():
            limit.setdefault("default", {}).setdefault(name, amount)
        for name, amount in mapping(limit, "default").items():
            limit.setdefault("defaultRequest", {}).setdefault(name, amount)
        for name, amount in mapping(limit, "min").items():
            limit.setdefault("defaultRequest", {}).setdefault(name, amount)


def validate_limit_range(new: Object, old: Object | None) -> Iterator[Cause]:
    kinds = [limit.get("type") for limit in items(new, "spec", "limits")]
    for index, kind in enumerate(kinds):
        if kind in kinds[:index]:
            yield Cause(f"spec.limits[{index}].type", "FieldValueDuplicate", f'Duplicate value: "{kind}"')


LIMIT_RANGE = Resource(
    group="",
    version="v1",
    kind="LimitRange",
    plural="limitranges",
    short_names=("limits",),
    generation=False,
    default=default_limit_range,
    validate=collect(validate_limit_range),
    columns=(NAME, Column("Created At", ".metadata.creationTimestamp")),
)


def usage(quota: Object, limits: bool) -> str:
    used, cells = mapping(quota, "status", "used"), []
    for name, hard in sorted(mapping(quota, "spec", "hard").items()):
        if name.startswith("limits.") == limits:
            cells.append(f"{name}: {used.get(name, 0)}/{hard}")
    return ", ".join(cells)


RESOURCE_QUOTA = Resource(
    group="",
    version="v1",
    kind="ResourceQuota",
    plural="resourcequotas",
    short_names=("quota",),
    status=True,
    generation=False,
    prepare=lambda new, old: new.update(status={}) if old is None else None,
    returns_deleted=True,
    columns=(
        NAME,
        Column("Request", lambda quota: usage(quota, False)),
        Column("Limit", lambda quota: usage(quota, True)),
        AGE,
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
