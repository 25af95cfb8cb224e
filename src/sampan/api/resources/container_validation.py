"""Validation of containers. Source: kubernetes pkg/apis/core/validation (validateContainers, validateInitContainers …)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sampan.api.resource import Cause
from sampan.api.resources.checking import good_label, label, one_of, port_name_messages, port_number
from sampan.api.resources.environment_validation import origins, variables
from sampan.api.resources.mount_validation import devices, mounts
from sampan.api.resources.pod_rules import Rules, Scope
from sampan.api.resources.probe_validation import PROBES, lifecycle, probes
from sampan.api.resources.quantities import requirements
from sampan.api.resources.security_context_validation import container_context
from sampan.schema.causes import duplicate, forbidden, invalid, not_found, not_supported, required, too_many
from sampan.schema.objects import Object

MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
PULL_POLICIES = ("Always", "IfNotPresent", "Never")
PROTOCOLS = ("SCTP", "TCP", "UDP")
ONLY_SIDECARS = "may not be set for init containers without restartPolicy=Always"
EPHEMERAL = "cannot be set for an Ephemeral Container"
NOT_EPHEMERAL = ("ports", "resources", *PROBES, "lifecycle", "resizePolicy", "restartPolicy", "restartPolicyRules")
RESTART_POLICIES = ("Always", "Never", "OnFailure")
MAX_RESTART_RULES = 20
MAX_EXIT_CODES = 255


def container_list(spec: Object, field: str, scope: Scope) -> Iterator[Cause]:
    """Yield what is wrong with the containers of a PodSpec, of every kind."""
    containers: Sequence[Object] = spec.get("containers") or ()
    if not containers:
        yield required(f"{field}.containers")
    names: set[Any] = set()
    for index, container in enumerate(containers):
        path = f"{field}.containers[{index}]"
        yield from one_container(container, path, scope)
        yield from unique(container, path, names)
        if container.get("lifecycle") is not None:
            yield from lifecycle(container["lifecycle"], f"{path}.lifecycle", scope)
        yield from probes(container, path, scope)
        yield from restarts(container, path, scope)
    yield from host_ports(containers, f"{field}.containers")
    if spec.get("initContainers"):
        yield from init_containers(spec["initContainers"], f"{field}.initContainers", scope, names)
    if spec.get("ephemeralContainers"):
        yield from ephemeral_containers(spec["ephemeralContainers"], f"{field}.ephemeralContainers", scope, names)


def unique(container: Object, path: str, names: set[Any]) -> Iterator[Cause]:
    name = container.get("name")
    if name in names:
        yield duplicate(f"{path}.name", name)
    elif name:
        names.add(name)


def init_containers(listed: Sequence[Object], field: str, scope: Scope, names: set[Any]) -> Iterator[Cause]:
    for index, container in enumerate(listed):
        path = f"{field}[{index}]"
        yield from one_container(container, path, scope)
        sidecar = container.get("restartPolicy") == "Always"
        if not scope.rules.container_restarts and container.get("restartPolicy") not in (None, "Always"):
            yield not_supported(f"{path}.restartPolicy", container["restartPolicy"], ("Always",))
        if scope.rules.container_restarts:
            yield from init_restarts(container, path, scope)
        yield from unique(container, path, names)
        yield from host_ports((container,), field)
        if sidecar:
            if container.get("lifecycle") is not None:
                yield from lifecycle(container["lifecycle"], f"{path}.lifecycle", scope)
            yield from probes(container, path, scope)
        else:
            for key in ("lifecycle", *PROBES):
                if container.get(key) is not None:
                    yield forbidden(f"{path}.{key}", ONLY_SIDECARS)
        if container.get("resizePolicy"):
            yield from init_resize(container["resizePolicy"], f"{path}.resizePolicy", scope.rules, sidecar=sidecar)


def init_restarts(container: Object, path: str, scope: Scope) -> Iterator[Cause]:
    """Rules without a policy are not read (``validateInitContainerRestartPolicy``)."""
    if container.get("restartPolicy") is not None:
        yield from restarts(container, path, scope)
    elif container.get("restartPolicyRules"):
        yield required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")


def init_resize(policies: Sequence[Object], path: str, rules: Rules, *, sidecar: bool) -> Iterator[Cause]:
    """Those that end are never restarted for a change of their resources."""
    if not rules.sidecar_resize or not (sidecar or rules.init_resize):
        yield invalid(path, policies, "must not be set for init containers")
    for index, policy in enumerate(policies):
        if rules.init_resize and not sidecar and policy.get("restartPolicy") == "RestartContainer":
            why = "must not be set to 'RestartContainer' for non-sidecar initContainers"
            yield invalid(f"{path}[{index}].restartPolicy", "RestartContainer", why)


def ephemeral_containers(listed: Sequence[Object], field: str, scope: Scope, names: set[Any]) -> Iterator[Cause]:
    targets = set(names)
    for index, container in enumerate(listed):
        path = f"{field}[{index}]"
        yield from one_container(container, path, scope)
        yield from padded_image(container, path)
        name = container.get("name") or ""
        if name in names:
            yield duplicate(f"{path}.name", name)
        names.add(name)
        target = container.get("targetContainerName")
        if target and target not in targets:
            yield not_found(f"{path}.targetContainerName", target)
        for key in NOT_EPHEMERAL:
            if container.get(key):
                yield forbidden(f"{path}.{key}", EPHEMERAL)
        for place, mount in enumerate(container.get("volumeMounts") or ()):
            for key in ("subPath", "subPathExpr"):
                if mount.get(key):
                    yield forbidden(f"{path}.volumeMounts[{place}].{key}", EPHEMERAL)


def padded_image(container: Object, path: str) -> Iterator[Cause]:
    """Only pods care: a template may have a space for an image."""
    image = container.get("image") or ""
    if image.strip() != image:
        yield invalid(f"{path}.image", image, "must not have leading or trailing whitespace")


def one_container(container: Object, field: str, scope: Scope) -> Iterator[Cause]:
    """What containers of every kind have in common (``validateContainerCommon``)."""
    get = container.get
    name, policy, pull = get("name"), get("terminationMessagePolicy"), get("imagePullPolicy")
    if not name or not good_label(name):
        yield from label(f"{field}.name", name)
    if not get("image"):
        yield required(f"{field}.image")
    if policy not in MESSAGE_POLICIES:
        yield from chosen(f"{field}.terminationMessagePolicy", policy, MESSAGE_POLICIES)
    if get("ports"):
        yield from ports(container["ports"], f"{field}.ports")
    if get("env"):
        yield from variables(container["env"], f"{field}.env", scope)
    if get("envFrom"):
        yield from origins(container["envFrom"], f"{field}.envFrom", scope)
    if get("volumeMounts"):
        yield from mounts(container, f"{field}.volumeMounts", scope.volumes)
    if get("volumeDevices"):
        yield from devices(container, f"{field}.volumeDevices", scope.volumes)
    if pull not in PULL_POLICIES:
        yield from chosen(f"{field}.imagePullPolicy", pull, PULL_POLICIES)
    if get("resources"):
        yield from requirements(container["resources"], f"{field}.resources", scope.claims)
    if get("resizePolicy"):
        yield from resize_policies(container["resizePolicy"], f"{field}.resizePolicy", scope.restart_policy)
    if get("securityContext"):
        yield from container_context(container["securityContext"], f"{field}.securityContext", scope.host_users)


def chosen(field: str, value: Any, known: Sequence[str]) -> Iterator[Cause]:
    """An enumeration that must be there."""
    yield not_supported(field, value, known) if value else required(field)


def ports(listed: Sequence[Object], field: str) -> Iterator[Cause]:
    names: set[str] = set()
    for index, port in enumerate(listed):
        name, number, host, protocol = (
            port.get("name"),
            port.get("containerPort"),
            port.get("hostPort"),
            port.get("protocol"),
        )
        if name:
            messages = port_name_messages(name)
            for message in messages:
                yield invalid(f"{field}[{index}].name", name, message)
            if not messages and name in names:
                yield duplicate(f"{field}[{index}].name", name)
            names.add(name)
        if not number:
            yield required(f"{field}[{index}].containerPort")
        else:
            yield from port_number(f"{field}[{index}].containerPort", number)
        if host:
            yield from port_number(f"{field}[{index}].hostPort", host)
        if protocol not in PROTOCOLS:
            yield from chosen(f"{field}[{index}].protocol", protocol, PROTOCOLS)


def host_ports(containers: Sequence[Object], field: str) -> Iterator[Cause]:
    """No two ports take the same one of the host (``checkHostPortConflicts``)."""
    taken: set[str] = set()
    for index, container in enumerate(containers):
        for place, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort"):
                key = f"{port.get('protocol') or ''}/{port.get('hostIP') or ''}/{port['hostPort']}"
                if key in taken:
                    yield duplicate(f"{field}[{index}].ports[{place}].hostPort", key)
                taken.add(key)


def resize_policies(listed: Sequence[Object], field: str, restart_policy: str) -> Iterator[Cause]:
    seen: set[Any] = set()
    for index, policy in enumerate(listed):
        name, way = policy.get("resourceName"), policy.get("restartPolicy")
        if name in seen:
            yield duplicate(f"{field}[{index}]", name)
        seen.add(name)
        if name not in ("cpu", "memory"):
            yield from chosen(field, name, ("cpu", "memory"))
        if way not in ("NotRequired", "RestartContainer"):
            yield from chosen(field, way, ("NotRequired", "RestartContainer"))
        if restart_policy == "Never" and way != "NotRequired":
            yield invalid(field, way or "", "must be 'NotRequired' when pod `restartPolicy` is 'Never'")


def restarts(container: Object, path: str, scope: Scope) -> Iterator[Cause]:
    """A container's own restart policy, and its rules (KEP-5307)."""
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or ()
    if policy is not None and not scope.rules.container_restarts:
        yield forbidden(f"{path}.restartPolicy", "may not be set for non-init containers")
        return
    yield from one_of(f"{path}.restartPolicy", policy, RESTART_POLICIES)
    if rules and policy is None:
        yield required(f"{path}.restartPolicy", "must specify restartPolicy when restart rules are used")
    if len(rules) > MAX_RESTART_RULES:
        yield too_many(f"{path}.restartPolicyRules", len(rules), MAX_RESTART_RULES)
    for index, rule in enumerate(rules):
        yield from restart_rule(rule, f"{path}.restartPolicyRules[{index}]")


def restart_rule(rule: Object, field: str) -> Iterator[Cause]:
    yield from one_of(f"{field}.action", rule.get("action") or "", ("Restart", "RestartAllContainers"))
    codes = rule.get("exitCodes")
    if codes is None:
        yield required(f"{field}.exitCodes", "must be specified")
        return
    yield from one_of(f"{field}.exitCodes.operator", codes.get("operator") or "", ("In", "NotIn"))
    if len(codes.get("values") or ()) > MAX_EXIT_CODES:
        yield too_many(f"{field}.exitCodes.values", len(codes["values"]), MAX_EXIT_CODES)
