"""What a pod or template says that works, but not as its author may think. Source: kubernetes pkg/api/pod/warnings.go.

``pod_warnings(pod)`` and ``template_warnings(template, path)`` yield the texts of ``Warning`` headers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sampan.api.resources.pod_annotations import APP_ARMOR, SECCOMP_CONTAINER, SECCOMP_POD
from sampan.api.resources.pod_spec import CONTAINER_FIELDS
from sampan.api.resources.quantities import amount
from sampan.api.resources.reading import items, mapping
from sampan.api.resources.scheduling_validation import PREFERRED, REQUIRED
from sampan.schema.names import dns1123_label
from sampan.schema.objects import Object

OLD_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": 'deprecated since v1.17; use "topology.kubernetes.io/region" instead',
    "failure-domain.beta.kubernetes.io/zone": 'deprecated since v1.17; use "topology.kubernetes.io/zone" instead',
    "beta.kubernetes.io/instance-type": 'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead',
}
OLD_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": (
        'non-functional in v1.16+; use the "priorityClassName" field instead'
    ),
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
OLD_VOLUMES = {
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
NULL_SELECTOR = "a null labelSelector results in matching no pod"
SECCOMP_GONE = 'non-functional in v1.27+; use the "seccompProfile" field instead'
NAME_WARNING = (
    "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; "
    "a DNS label is recommended"
)
FRACTIONAL = ("memory", "ephemeral-storage")


def pod_warnings(pod: Object, old: Object | None) -> Iterator[str]:
    """On create only: updates of pods are made by machines."""
    if old is not None:
        return
    messages = dns1123_label(str(mapping(pod, "metadata").get("name") or ""))
    if messages:
        yield f"{NAME_WARNING}: [{' '.join(messages)}]"
    yield from warnings(mapping(pod, "spec"), mapping(pod, "metadata"), "")


def template_warnings(template: Any, path: str) -> Iterator[str]:
    """``path``: of the template (``spec.template``)."""
    if isinstance(template, dict):
        yield from warnings(mapping(template, "spec"), mapping(template, "metadata"), f"{path}.")


def warnings(spec: Object, metadata: Object, prefix: str) -> Iterator[str]:
    """``prefix`` ends with a dot, or is empty for a Pod."""
    field = f"{prefix}spec"
    for key in spec.get("nodeSelector") or ():
        if key in OLD_LABELS:
            yield f"{field}.nodeSelector[{key}]: {OLD_LABELS[key]}"
    if spec.get("affinity"):
        yield from node_affinity(mapping(spec, "affinity", "nodeAffinity"), f"{field}.affinity.nodeAffinity")
    for index, constraint in enumerate(spec.get("topologySpreadConstraints") or ()):
        path, key = f"{field}.topologySpreadConstraints[{index}]", constraint.get("topologyKey")
        if key in OLD_LABELS:
            yield f"{path}.topologyKey: {key} is {OLD_LABELS[key]}"
        if constraint.get("labelSelector") is None:
            yield f"{path}.labelSelector: {NULL_SELECTOR}"
    noted = metadata.get("annotations") or {}
    for key, message in OLD_ANNOTATIONS.items() if noted else ():
        if key in noted:
            yield f"{prefix}metadata.annotations[{key}]: {message}"
    if spec.get("volumes"):
        yield from volumes(spec["volumes"], f"{field}.volumes")
    yield from repeated(spec, field)
    yield from fractions(spec.get("overhead") or {}, f"{field}.overhead")
    if noted and SECCOMP_POD in noted and not mapping(spec, "securityContext").get("seccompProfile"):
        yield f"{prefix}metadata.annotations[{SECCOMP_POD}]: {SECCOMP_GONE}"
    for kind in CONTAINER_FIELDS:
        for index, container in enumerate(spec.get(kind) or ()):
            yield from one_container(container, f"{field}.{kind}[{index}]", spec, noted, prefix)
    yield from ports(spec, field)
    if (spec.get("terminationGracePeriodSeconds") or 0) < 0:
        why = "must be >= 0; negative values are invalid and will be treated as 1"
        yield f"{field}.terminationGracePeriodSeconds: {why}"
    if spec.get("affinity"):
        yield from pod_affinity(spec["affinity"], f"{field}.affinity")


def node_affinity(affinity: Object, field: str) -> Iterator[str]:
    for index, term in enumerate(items(affinity, REQUIRED, "nodeSelectorTerms")):
        yield from node_term(term, f"{field}.{REQUIRED}.nodeSelectorTerms[{index}]")
    for index, choice in enumerate(items(affinity, PREFERRED)):
        yield from node_term(mapping(choice, "preference"), f"{field}.{PREFERRED}[{index}].preference")


def node_term(term: Object, field: str) -> Iterator[str]:
    for index, expression in enumerate(items(term, "matchExpressions")):
        key = expression.get("key")
        if key in OLD_LABELS:
            yield f"{field}.matchExpressions[{index}].key: {key} is {OLD_LABELS[key]}"


def pod_affinity(affinity: Object, field: str) -> Iterator[str]:
    for kind in ("podAffinity", "podAntiAffinity"):
        for index, term in enumerate(items(affinity, kind, REQUIRED)):
            if term.get("labelSelector") is None:
                yield f"{field}.{kind}.{REQUIRED}[{index}].labelSelector: {NULL_SELECTOR}"
        for index, choice in enumerate(items(affinity, kind, PREFERRED)):
            if mapping(choice, "podAffinityTerm").get("labelSelector") is None:
                yield f"{field}.{kind}.{PREFERRED}[{index}].podAffinityTerm.labelSelector: {NULL_SELECTOR}"


def volumes(listed: Sequence[Object], field: str) -> Iterator[str]:
    tokens: set[str] = set()
    for index, volume in enumerate(listed):
        for key, message in OLD_VOLUMES.items():
            if volume.get(key) is not None:
                yield f"{field}[{index}].{key}: {message}"
        claim = mapping(volume, "ephemeral", "volumeClaimTemplate", "spec")
        if claim:
            yield from claim_warnings(claim, f"{field}[{index}].ephemeral.volumeClaimTemplate.spec")
        for part in items(volume, "projected", "sources"):
            if part.get("serviceAccountToken") is not None:
                tokens.add(part["serviceAccountToken"].get("path"))
    for index, volume in enumerate(listed if tokens else ()):
        for part in items(volume, "projected", "sources"):
            path = f"{field}[{index}].projected.sources"
            for key, shown in (("configMap", "configMap"), ("secret", "secrets"), ("downwardAPI", "downwardAPI")):
                for place, item in enumerate(items(part, key, "items")):
                    if item.get("path") in tokens:
                        token = f'has duplicated path with ServiceAccountToken "{item["path"]}"'
                        yield f"{path}.{shown}[{place}]: {token}"
            bundle = mapping(part, "clusterTrustBundle").get("path")
            if bundle in tokens:
                yield f'{path}.ClusterTrustBundle: has duplicated path with ServiceAccountToken "{bundle}"'


def claim_warnings(spec: Object, field: str) -> Iterator[str]:
    """``GetWarningsForPersistentVolumeClaimSpec``."""
    for name, value in mapping(spec, "resources", "requests").items():
        if name == "storage":
            yield from fractions({name: value}, f"{field}.resources.requests", names=("storage",))


def repeated(spec: Object, field: str) -> Iterator[str]:
    for key, name, what in (("hostAliases", "ip", "ip"), ("imagePullSecrets", "name", "name")):
        seen: set[Any] = set()
        for index, item in enumerate(spec.get(key) or ()):
            value = item.get(name) or ""
            if value in seen:
                yield f'{field}.{key}[{index}].{name}: duplicate {what} "{value}"'
            seen.add(value)
    for index, secret in enumerate(spec.get("imagePullSecrets") or ()):
        if not secret.get("name"):
            yield f'{field}.imagePullSecrets[{index}].name: invalid empty name ""'


def fractions(amounts: Object, field: str, names: Sequence[str] = FRACTIONAL) -> Iterator[str]:
    for name in names:
        found = amount(str(amounts[name])) if name in amounts else None
        if found is not None and found.nano % 1_000_000_000:
            yield f'{field}[{name}]: fractional byte value "{amounts[name]}" is invalid, must be an integer'


def one_container(container: Object, path: str, spec: Object, noted: Object, prefix: str) -> Iterator[str]:
    if noted:
        yield from profile_annotations(container, spec, noted, prefix)
    resources = container.get("resources")
    if resources:
        for kind in ("limits", "requests"):
            yield from fractions(resources.get(kind) or {}, f"{path}.resources.{kind}")
    variables = container.get("env") or ()
    if len(variables) > 1:
        seen: set[Any] = set()
        for index, variable in enumerate(variables):
            name = variable.get("name")
            if name in seen and hides(variable, f"$({name})"):
                why = f'hides previous definition of "{name}", which may be dropped when using apply'
                yield f"{path}.env[{index}]: {why}"
            seen.add(name)


def hides(variable: Object, reference: str) -> bool:
    value = variable.get("value") or ""
    return variable.get("valueFrom") is not None or value == reference or reference not in value


def profile_annotations(container: Object, spec: Object, noted: Object, prefix: str) -> Iterator[str]:
    context, name = container.get("securityContext") or {}, container.get("name")
    key = f"{SECCOMP_CONTAINER}{name}"
    if key in noted and not context.get("seccompProfile"):
        yield f"{prefix}metadata.annotations[{key}]: {SECCOMP_GONE}"
    key = f"{APP_ARMOR}{name}"
    own = context.get("appArmorProfile") or mapping(spec, "securityContext").get("appArmorProfile")
    if key in noted and not own:
        why = 'deprecated since v1.30; use the "appArmorProfile" field instead'
        yield f"{prefix}metadata.annotations[{key}]: {why}"


def ports(spec: Object, field: str) -> Iterator[str]:
    """Ports that are there twice, over all containers."""
    known: dict[tuple[Any, Any], list[tuple[str, Object]]] = {}
    for kind in CONTAINER_FIELDS:
        for index, container in enumerate(spec.get(kind) or ()):
            for place, port in enumerate(container.get("ports") or ()):
                path = f"{field}.{kind}[{index}].ports[{place}]"
                if port.get("hostIP") and not port.get("hostPort"):
                    shown = " ".join(f"{name}:{port.get(key) or empty}" for key, name, empty in PORT_FIELDS)
                    yield f"{path}: hostIP set without hostPort: {{{shown}}}"
                others = known.setdefault((port.get("containerPort"), port.get("protocol")), [])
                for where, other in others:
                    word = clash(port, other)
                    if word:
                        yield f"{path}: {word} port definition with {where}"
                others.append((path, port))


PORT_FIELDS = (
    ("name", "Name", ""), ("hostPort", "HostPort", "0"), ("containerPort", "ContainerPort", "0"),
    ("protocol", "Protocol", ""), ("hostIP", "HostIP", ""),
)  # fmt: skip


def clash(port: Object, other: Object) -> str:
    host, other_host = port.get("hostPort") or 0, other.get("hostPort") or 0
    address, other_address = port.get("hostIP") or "", other.get("hostIP") or ""
    if host == other_host and address == other_address:
        return "duplicate"
    if not host or not other_host:
        return "overlapping"
    if host == other_host and bool(address) != bool(other_address):
        return "dangerously ambiguous"
    return ""
