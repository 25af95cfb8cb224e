"""Validation of PodSpec and PodTemplateSpec. Source: kubernetes pkg/apis/core/validation/validation.go (ValidatePodSpec).

Parts have files of their own: containers, volumes, scheduling, security contexts. A good pod costs a pass over what it
says; only what is wrong is worded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.addresses import ip
from sampan.api.resources.checking import between, good_label, good_subdomain, label, labels_of, qualified, subdomain
from sampan.api.resources.container_validation import chosen, container_list
from sampan.api.resources.pod_annotations import annotations_and_fields, noted_meanings
from sampan.api.resources.pod_resources import pod_resources
from sampan.api.resources.pod_rules import LATEST, Rules, Scope
from sampan.api.resources.pod_systems import host_processes, operating_system
from sampan.api.resources.quantities import requirements
from sampan.api.resources.reading import items, mapping
from sampan.api.resources.scheduling_validation import affinity, gates, spread_constraints, tolerations
from sampan.api.resources.security_context_validation import MAX_ID, host_users, pod_context
from sampan.api.resources.volume_sources import POD_SOURCES, one_source
from sampan.schema.causes import duplicate, forbidden, invalid, required, too_long
from sampan.schema.names import dns1123_subdomain, pattern, validate_annotations, validate_labels
from sampan.schema.objects import Object

DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
RESTART_POLICIES = ("Always", "OnFailure", "Never")
SUBDOMAIN_WITH_UNDERSCORE = r"_?[a-z0-9]([-_a-z0-9]*[a-z0-9])?(\._?[a-z0-9]([-_a-z0-9]*[a-z0-9])?)*"
UNDERSCORED = re.compile(SUBDOMAIN_WITH_UNDERSCORE, re.ASCII)
UNDERSCORE_MESSAGE = pattern(
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '_', '-' or '.', and must start "
    "and end with an alphanumeric character",
    SUBDOMAIN_WITH_UNDERSCORE,
    "example.com",
)
NAMES = ("serviceAccountName", "nodeName", "priorityClassName", "runtimeClassName")
CLAIMED: Object = {"persistentVolumeClaim": {}}
"""What a volume of a StatefulSet's claim templates is to its containers."""


def pod_spec(
    spec: Object,
    field: str = "spec",
    claims: Iterable[str] = (),
    *,
    pod: Object | None = None,
    rules: Rules = LATEST,
) -> Iterator[Cause]:
    """Yield why a PodSpec is refused. ``claims`` are names of volumes that come from claim templates; ``pod`` is the
    Pod itself where the spec is that of one."""
    get = spec.get
    volumes: dict[str, Any] = dict.fromkeys(claims, CLAIMED)
    if get("volumes"):
        yield from volume_list(spec["volumes"], f"{field}.volumes", volumes, pod)
    claimed = claims_of(spec)
    if claimed:
        yield from resource_claims(spec["resourceClaims"], f"{field}.resourceClaims")
    grace, restart = get("terminationGracePeriodSeconds"), get("restartPolicy") or ""
    scope = Scope(volumes, claimed, restart, grace, get("hostUsers") is not False, rules)
    if grace is None:
        yield required(f"{field}.terminationGracePeriodSeconds")
    yield from container_list(spec, field, scope)
    if restart not in RESTART_POLICIES:
        yield from chosen(f"{field}.restartPolicy", restart, RESTART_POLICIES)
    if get("dnsPolicy") not in DNS_POLICIES:
        yield from chosen(f"{field}.dnsPolicy", get("dnsPolicy"), DNS_POLICIES)
    for key, check in PARTS:
        value = get(key)
        if value or (value is not None and key in JUDGED_EMPTY):
            yield from check(spec, f"{field}.{key}", rules)
    if get("dnsPolicy") == "None" and get("dnsConfig") is None:
        yield required(f"{field}.dnsConfig", "must provide `dnsConfig` when `dnsPolicy` is None")
    for key in NAMES:
        name = get(key)
        if name and not good_subdomain(name):
            yield from subdomain(f"{field}.{key}", name)
    if get("runtimeClassName") == "":
        yield from (invalid(f"{field}.runtimeClassName", "", message) for message in dns1123_subdomain(""))
    if get("hostNetwork"):
        yield from host_network(spec, field, is_pod=pod is not None)
    if get("securityContext"):
        yield from pod_context(spec, spec["securityContext"], f"{field}.securityContext", field)
    yield from identity(spec, field)
    yield from host_users(spec, field)
    yield from operating_system(spec, field)
    yield from host_processes(spec, field)


def claims_of(spec: Object) -> list[str]:
    """Return the names of a pod's resource claims."""
    return [claim.get("name") or "" for claim in spec.get("resourceClaims") or ()]


def identity(spec: Object, field: str) -> Iterator[Cause]:
    """What the pod is called, and how its processes see each other."""
    if spec.get("hostPID") and spec.get("shareProcessNamespace"):
        why = "ShareProcessNamespace and HostPID cannot both be enabled"
        yield invalid(f"{field}.shareProcessNamespace", True, why)
    for key in ("hostname", "subdomain"):
        name = spec.get(key)
        if name and not good_label(name):
            yield from label(f"{field}.{key}", name)
    override = spec.get("hostnameOverride")
    if override is not None:
        for message in dns1123_subdomain(override):
            yield invalid(f"{field}.hostnameOverride", override, message)
        if len(override) > 64:
            yield too_long(f"{field}.hostnameOverride", 64)
        for key in ("setHostnameAsFQDN", "hostNetwork"):
            if spec.get(key):
                yield forbidden(f"{field}.hostnameOverride", f"may not be specified when {key} is true")


def host_network(spec: Object, field: str, *, is_pod: bool) -> Iterator[Cause]:
    for index, container in enumerate(spec.get("containers") or ()):
        for place, port in enumerate(container.get("ports") or ()):
            host, own = port.get("hostPort") or 0, port.get("containerPort") or 0
            if (is_pod or host) and host != own:
                why = "must match `containerPort` when `hostNetwork` is true"
                yield invalid(f"{field}.containers[{index}].ports[{place}].hostPort", host, why)


# parts that are there or not: ``(spec, path, rules)``


def dns_config(spec: Object, field: str, rules: Rules) -> Iterator[Cause]:
    config = spec["dnsConfig"]
    servers, searches = items(config, "nameservers"), items(config, "searches")
    if spec.get("dnsPolicy") == "None" and not servers:
        yield required(f"{field}.nameservers", "must provide at least one DNS nameserver when `dnsPolicy` is None")
        return
    if len(servers) > 3:
        yield invalid(f"{field}.nameservers", servers, "must not have more than 3 nameservers")
    for index, server in enumerate(servers):
        yield from ip(f"{field}.nameservers[{index}]", server)
    if len(searches) > 32:
        yield invalid(f"{field}.searches", searches, "must not have more than 32 search paths")
    if len(" ".join(searches)) > 2048:
        why = "must not have more than 2048 characters (including spaces) in the search list"
        yield invalid(f"{field}.searches", searches, why)
    for index, search in enumerate(searches):
        yield from search_path(search, f"{field}.searches[{index}]", rules)
    for index, option in enumerate(items(config, "options")):
        if not option.get("name"):
            yield required(f"{field}.options[{index}]", "must not be empty")


def search_path(search: str, field: str, rules: Rules) -> Iterator[Cause]:
    bare = search.removesuffix(".")
    if not rules.relaxed_search:
        for message in dns1123_subdomain(bare):
            yield invalid(field, bare, message)
    elif search != "." and (len(bare) > 253 or not UNDERSCORED.fullmatch(bare)):
        why = UNDERSCORE_MESSAGE if len(bare) <= 253 else "must be no more than 253 characters"
        yield invalid(field, bare, why)


def node_labels(spec: Object, field: str, rules: Rules) -> Iterator[Cause]:
    return labels_of(spec["nodeSelector"], field)


def pod_tolerations(spec: Object, field: str, rules: Rules) -> Iterator[Cause]:
    return tolerations(spec["tolerations"], field, rules.ordered_tolerations)


def readiness_gates(spec: Object, field: str, rules: Rules) -> Iterator[Cause]:
    for index, gate in enumerate(spec["readinessGates"]):
        yield from qualified(f"{field}[{index}].conditionType", gate.get("conditionType"))


def host_aliases(spec: Object, field: str, rules: Rules) -> Iterator[Cause]:
    for index, alias in enumerate(spec["hostAliases"]):
        yield from ip(f"{field}[{index}].ip", alias.get("ip") or "")
        for place, name in enumerate(items(alias, "hostnames")):
            for message in dns1123_subdomain(name):
                yield invalid(f"{field}[{index}].hostnames[{place}]", name, message)


def preemption(spec: Object, field: str, rules: Rules) -> Iterator[Cause]:
    if spec["preemptionPolicy"] not in ("PreemptLowerPriority", "Never"):
        yield from chosen(field, spec["preemptionPolicy"], ("PreemptLowerPriority", "Never"))


JUDGED_EMPTY = frozenset(("activeDeadlineSeconds", "dnsConfig"))
"""Parts that may be wrong although they are zero."""
PARTS = (
    ("dnsConfig", dns_config),
    ("nodeSelector", node_labels),
    ("affinity", lambda spec, field, rules: affinity(spec["affinity"], field)),
    ("topologySpreadConstraints", lambda spec, field, rules: spread_constraints(spec[field.rpartition(".")[2]], field)),
    ("readinessGates", readiness_gates),
    ("schedulingGates", lambda spec, field, rules: gates(spec["schedulingGates"], field)),
    ("tolerations", pod_tolerations),
    ("hostAliases", host_aliases),
    ("preemptionPolicy", preemption),
    ("activeDeadlineSeconds", lambda spec, field, rules: between(field, spec["activeDeadlineSeconds"], 1, MAX_ID)),
    ("overhead", lambda spec, field, rules: requirements({"limits": spec["overhead"]}, field)),
    ("resources", lambda spec, field, rules: pod_resources(spec, field, claims_of(spec))),
)


def volume_list(
    volumes: Sequence[Object], field: str, known: dict[str, Any], pod: Object | None = None
) -> Iterator[Cause]:
    """Yield what is wrong with volumes; ``known`` receives those that mounts may name."""
    owner = str(mapping(pod, "metadata").get("name") or "")
    own: set[str] = set()
    made = {f"{owner}-{v.get('name')}" for v in volumes if owner and v.get("ephemeral") is not None}
    for index, volume in enumerate(volumes):
        path, name = f"{field}[{index}]", volume.get("name")
        found = list(one_source(volume, path, POD_SOURCES))
        if not name or not good_label(name):
            found += label(f"{path}.name", name)
        if name in own:
            found.append(duplicate(f"{path}.name", name))
        found += long_name(volume, path, owner)
        if found:
            yield from found
        elif isinstance(name, str):
            own.add(name)
            known[name] = volume
        claim = mapping(volume, "persistentVolumeClaim").get("claimName") if made else None
        if claim in made:
            why = "must not reference a PVC that gets created for an ephemeral volume"
            yield invalid(f"{path}.persistentVolumeClaim.claimName", claim, why)


def long_name(volume: Object, path: str, owner: str) -> Iterator[Cause]:
    """Names that are made of a volume's name must be good names too."""
    name = volume.get("name") or ""
    if owner and name and volume.get("ephemeral") is not None:
        for message in dns1123_subdomain(f"{owner}-{name}"):
            yield invalid(f"{path}.name", name, f'PVC name "{owner}-{name}": {message}')
    iscsi = mapping(volume, "iscsi")
    if iscsi.get("initiatorName") is not None and len(f"{name}:{iscsi.get('targetPortal') or ''}") > 64:
        why = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
            "iscsi.initiatorName is specified."
        )
        yield invalid(f"{path}.name", name, why)


def resource_claims(listed: Sequence[Object], field: str) -> Iterator[Cause]:
    seen: set[Any] = set()
    for index, claim in enumerate(listed):
        path, name = f"{field}[{index}]", claim.get("name")
        if name in seen:
            yield duplicate(f"{path}.name", name)
        else:
            yield from label(f"{path}.name", name)
            seen.add(name)
        given = [key for key in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(key) is not None]
        if len(given) > 1:
            why = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            yield invalid(path, shown_claim(claim), why)
        elif not given:
            yield invalid(
                path, shown_claim(claim), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            )
        for key in given:
            for message in dns1123_subdomain(claim[key]):
                yield invalid(f"{path}.{key}", claim[key], message)


def shown_claim(claim: Object) -> Object:
    names = ("resourceClaimName", "resourceClaimTemplateName")
    return {"Name": claim.get("name") or "", **{f"R{key[1:]}": claim.get(key) for key in names}}


def pod_template(template: Any, field: str, claims: Iterable[str] = (), *, rules: Rules = LATEST) -> Iterator[Cause]:
    """Yield why a PodTemplateSpec is refused."""
    metadata, spec = mapping(template, "metadata"), mapping(template, "spec")
    labels: Mapping[str, Any] = metadata.get("labels") or {}
    noted: Mapping[str, Any] = metadata.get("annotations") or {}
    if labels:
        yield from (Cause(*cause) for cause in validate_labels(dict(labels), f"{field}.labels"))
    if noted:
        yield from (Cause(*cause) for cause in validate_annotations(dict(noted), f"{field}.annotations"))
        yield from noted_meanings(noted, spec, f"{field}.annotations")
    yield from pod_spec(spec, f"{field}.spec", claims, rules=rules)
    if noted:
        yield from annotations_and_fields(noted, spec, f"{field}.spec")
    if spec.get("ephemeralContainers"):
        yield forbidden(f"{field}.spec.ephemeralContainers", "ephemeral containers not allowed in pod template")
