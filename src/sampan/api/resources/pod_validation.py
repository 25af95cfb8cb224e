"""Validation of PodSpec and PodTemplateSpec. Source: kubernetes pkg/apis/core/validation/validation.go."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import (
    label,
    label_selector,
    non_negative,
    one_of,
    subdomain,
)
from sampan.api.resources.container_validation import container_list
from sampan.api.resources.reading import dig, items, mapping
from sampan.schema.causes import duplicate, forbidden, invalid, required
from sampan.schema.names import label_value, qualified_name, validate_annotations, validate_labels
from sampan.schema.objects import Object

DNS_POLICIES = ("ClusterFirst", "ClusterFirstWithHostNet", "Default", "None")
VOLUME_SOURCES_WITH_ITEMS = ("configMap", "secret", "downwardAPI")
MAX_ID = 2**31 - 1
ID_RANGE = "must be between 0 and 2147483647, inclusive"


def pod_spec(spec: Object, field: str = "spec", claims: Iterable[str] = ()) -> Iterator[Cause]:
    """Yield why a PodSpec is refused. ``claims`` are names of volumes that come from claim templates."""
    volumes: set[str] = set()
    yield from volume_list(items(spec, "volumes"), f"{field}.volumes", volumes)
    yield from container_list(spec, field, volumes.union(claims))
    yield from one_of(f"{field}.restartPolicy", spec.get("restartPolicy"), ("Always", "OnFailure", "Never"))
    yield from dns(spec, field)
    yield from labels_of(mapping(spec, "nodeSelector"), f"{field}.nodeSelector")
    yield from host_things(spec, field)
    for key in ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName"):
        yield from subdomain(f"{field}.{key}", spec.get(key), needed=False)
    for key in ("hostname", "subdomain"):
        yield from label(f"{field}.{key}", spec.get(key), needed=False)
    yield from tolerations(spec, field)
    yield from security_context(mapping(spec, "securityContext"), f"{field}.securityContext")
    yield from affinity(mapping(spec, "affinity"), f"{field}.affinity")
    yield from spread_constraints(spec, field)
    yield from non_negative(f"{field}.terminationGracePeriodSeconds", spec.get("terminationGracePeriodSeconds"))
    seconds = spec.get("activeDeadlineSeconds")
    if seconds is not None and not 1 <= seconds <= MAX_ID:
        yield invalid(f"{field}.activeDeadlineSeconds", seconds, "must be between 1 and 2147483647, inclusive")
    for index, gate in enumerate(items(spec, "readinessGates")):
        for message in qualified_name(gate.get("conditionType") or ""):
            yield invalid(f"{field}.readinessGates[{index}].conditionType", gate.get("conditionType"), message)


def pod_template(template: Any, field: str, claims: Iterable[str] = ()) -> Iterator[Cause]:
    """Yield why a PodTemplateSpec is refused."""
    metadata = mapping(template, "metadata")
    yield from (Cause(*c) for c in validate_labels(mapping(metadata, "labels"), f"{field}.metadata.labels"))
    annotations = mapping(metadata, "annotations")
    yield from (Cause(*c) for c in validate_annotations(annotations, f"{field}.metadata.annotations"))
    yield from pod_spec(mapping(template, "spec"), f"{field}.spec", claims)
    if items(template, "spec", "ephemeralContainers"):
        yield forbidden(f"{field}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")


def labels_of(labels: dict[str, Any], field: str) -> Iterator[Cause]:
    for key, value in labels.items():
        for message in qualified_name(key):
            yield invalid(field, key, message)
        for message in label_value(value):
            yield invalid(field, value, message)


def dns(spec: Object, field: str) -> Iterator[Cause]:
    yield from one_of(f"{field}.dnsPolicy", spec.get("dnsPolicy"), DNS_POLICIES)
    config = mapping(spec, "dnsConfig")
    if spec.get("dnsPolicy") == "None" and not items(config, "nameservers"):
        if not config:
            yield required(f"{field}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
        else:
            yield required(
                f"{field}.dnsConfig.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None"
            )
    if len(items(config, "nameservers")) > 3:
        servers = items(config, "nameservers")
        yield invalid(f"{field}.dnsConfig.nameservers", servers, "must not have more than 3 nameservers")


def host_things(spec: Object, field: str) -> Iterator[Cause]:
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        yield invalid(
            f"{field}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled"
        )
    for index, alias in enumerate(items(spec, "hostAliases")):
        if not valid_ip(alias.get("ip") or ""):
            message = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
            yield invalid(f"{field}.hostAliases[{index}].ip", alias.get("ip") or "", message)
    for index, secret in enumerate(items(spec, "imagePullSecrets")):
        if not secret.get("name"):
            yield required(f"{field}.imagePullSecrets[{index}].name")


def valid_ip(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def tolerations(spec: Object, field: str) -> Iterator[Cause]:
    for index, toleration in enumerate(items(spec, "tolerations")):
        path = f"{field}.tolerations[{index}]"
        key, operator = toleration.get("key") or "", toleration.get("operator") or "Equal"
        if key:
            for message in qualified_name(key):
                yield invalid(f"{path}.key", key, message)
        elif operator != "Exists":
            message = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{path}.operator", operator, message)
        if toleration.get("tolerationSeconds") is not None and toleration.get("effect") != "NoExecute":
            message = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield invalid(f"{path}.effect", toleration.get("effect") or "", message)
        if operator == "Exists" and toleration.get("value"):
            yield invalid(f"{path}.operator", toleration, "value must be empty when `operator` is 'Exists'")
        yield from one_of(f"{path}.operator", operator, ("Equal", "Exists", "Gt", "Lt"))
        if toleration.get("effect"):
            yield from one_of(f"{path}.effect", toleration["effect"], ("NoSchedule", "PreferNoSchedule", "NoExecute"))


def security_context(context: Object, field: str) -> Iterator[Cause]:
    for key in ("runAsUser", "runAsGroup", "fsGroup"):
        value = context.get(key)
        if value is not None and not 0 <= value <= MAX_ID:
            yield invalid(f"{field}.{key}", value, ID_RANGE)
    for index, group in enumerate(items(context, "supplementalGroups")):
        if not 0 <= group <= MAX_ID:
            yield invalid(f"{field}.supplementalGroups[{index}]", group, ID_RANGE)
    yield from one_of(f"{field}.fsGroupChangePolicy", context.get("fsGroupChangePolicy"), ("Always", "OnRootMismatch"))
    for index, sysctl in enumerate(items(context, "sysctls")):
        if not sysctl.get("name"):
            yield required(f"{field}.sysctls[{index}].name")


def affinity(affinity: Object, field: str) -> Iterator[Cause]:
    node = mapping(affinity, "nodeAffinity")
    wanted = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    path = f"{field}.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution"
    if wanted is not None:
        if not items(wanted, "nodeSelectorTerms"):
            yield required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
        for index, term in enumerate(items(wanted, "nodeSelectorTerms")):
            yield from node_term(term, f"{path}.nodeSelectorTerms[{index}]")
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    for index, choice in enumerate(items(node, preferred)):
        yield from weight(choice, f"{field}.nodeAffinity.{preferred}[{index}]")
    for kind in ("podAffinity", "podAntiAffinity"):
        for index, term in enumerate(items(affinity, kind, "requiredDuringSchedulingIgnoredDuringExecution")):
            yield from pod_term(term, f"{field}.{kind}.requiredDuringSchedulingIgnoredDuringExecution[{index}]")
        for index, choice in enumerate(items(affinity, kind, preferred)):
            path = f"{field}.{kind}.{preferred}[{index}]"
            yield from weight(choice, path)
            yield from pod_term(mapping(choice, "podAffinityTerm"), f"{path}.podAffinityTerm")


def weight(choice: Object, field: str) -> Iterator[Cause]:
    if not 1 <= (choice.get("weight") or 0) <= 100:
        yield invalid(f"{field}.weight", choice.get("weight") or 0, "must be in the range 1-100")


def pod_term(term: Object, field: str) -> Iterator[Cause]:
    yield from label_selector(f"{field}.labelSelector", term.get("labelSelector"))
    if not term.get("topologyKey"):
        yield required(f"{field}.topologyKey", "can not be empty")


def node_term(term: Object, field: str) -> Iterator[Cause]:
    for index, expression in enumerate(items(term, "matchExpressions")):
        path = f"{field}.matchExpressions[{index}]"
        operator, values = expression.get("operator"), items(expression, "values")
        if operator in ("In", "NotIn") and not values:
            yield required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            yield forbidden(f"{path}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'")
        elif operator in ("Gt", "Lt") and len(values) != 1:
            yield required(f"{path}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'")
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"):
            yield invalid(f"{path}.operator", operator or "", "not a valid selector operator")
        for message in qualified_name(expression.get("key") or ""):
            yield invalid(f"{path}.key", expression.get("key") or "", message)


def spread_constraints(spec: Object, field: str) -> Iterator[Cause]:
    for index, constraint in enumerate(items(spec, "topologySpreadConstraints")):
        path = f"{field}.topologySpreadConstraints[{index}]"
        if (constraint.get("maxSkew") or 0) <= 0:
            yield invalid(f"{path}.maxSkew", constraint.get("maxSkew") or 0, "must be greater than zero")
        if not constraint.get("topologyKey"):
            yield required(f"{path}.topologyKey", "can not be empty")
        actions = ("DoNotSchedule", "ScheduleAnyway")
        yield from one_of(f"{path}.whenUnsatisfiable", constraint.get("whenUnsatisfiable") or "", actions)
        yield from label_selector(f"{path}.labelSelector", constraint.get("labelSelector"))


def volume_list(volumes: list[Object], field: str, names: set[str]) -> Iterator[Cause]:
    """Yield what is wrong with volumes; ``names`` receives those that mounts may name."""
    for index, volume in enumerate(volumes):
        path = f"{field}[{index}]"
        name = volume.get("name")
        found = list(label(f"{path}.name", name))
        yield from found
        if name in names:
            yield duplicate(f"{path}.name", name)
        elif not found and name:
            names.add(name)
        yield from volume_source(volume, path)


def volume_source(volume: Object, field: str) -> Iterator[Cause]:
    sources = [key for key, value in volume.items() if key != "name" and value is not None]
    if not sources:
        yield required(field, "must specify a volume type")
    for extra in sources[1:]:
        yield forbidden(f"{field}.{extra}", "may not specify more than 1 volume type")
    for key, needed in (
        ("hostPath", "path"),
        ("configMap", "name"),
        ("secret", "secretName"),
        ("persistentVolumeClaim", "claimName"),
        ("csi", "driver"),
        ("nfs", "server"),
    ):
        if key in volume and not dig(volume, key, needed):
            yield required(f"{field}.{key}.{needed}")
    for key in VOLUME_SOURCES_WITH_ITEMS:
        if key in volume:
            yield from file_items(volume[key], f"{field}.{key}", need_key=key != "downwardAPI")
    for index, source in enumerate(items(volume, "projected", "sources")):
        yield from projection(source, f"{field}.projected.sources[{index}]")


def projection(source: Object, field: str) -> Iterator[Cause]:
    kinds = [key for key, value in source.items() if value is not None]
    if len(kinds) > 1:
        yield forbidden(f"{field}.{kinds[1]}", "may not specify more than 1 volume type")
    for key in ("configMap", "secret"):
        if key in source:
            if not source[key].get("name"):
                yield required(f"{field}.{key}.name")
            yield from file_items(source[key], f"{field}.{key}", need_key=True)
    token = source.get("serviceAccountToken")
    if token is not None:
        seconds = token.get("expirationSeconds") or 0
        if seconds < 600:
            yield invalid(
                f"{field}.serviceAccountToken.expirationSeconds",
                seconds,
                "may not specify a duration less than 10 minutes",
            )
        if not token.get("path"):
            yield required(f"{field}.serviceAccountToken.path")


def file_items(source: Object, field: str, *, need_key: bool) -> Iterator[Cause]:
    mode = source.get("defaultMode")
    if mode is not None and not 0 <= mode <= 0o777:
        yield invalid(f"{field}.defaultMode", mode, "must be a number between 0 and 0777 (octal), both inclusive")
    for index, item in enumerate(items(source, "items")):
        path = f"{field}.items[{index}]"
        if need_key and not item.get("key"):
            yield required(f"{path}.key")
        target = item.get("path") or ""
        if not target:
            yield required(f"{path}.path")
        elif target.startswith("/"):
            yield invalid(f"{path}.path", target, "must be a relative path")
        elif ".." in target.split("/"):
            yield invalid(f"{path}.path", target, "must not contain '..'")
        elif target.startswith(".."):
            yield invalid(f"{path}.path", target, "must not start with '..'")
