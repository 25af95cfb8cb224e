"""A Pod as the sandbox CRI is asked for: names, DNS, namespaces, cgroup. Pure."""

from __future__ import annotations

from pathlib import Path

from sampan.node import cri_pb2 as cri
from sampan.node.pod_dns import DnsSettings, dns_config
from sampan.node.resources import cgroup_parent
from sampan.schema.objects import Object
from sampan.security.context import supplemental_groups
from sampan.security.host import ANY, Host

NAME, NAMESPACE, UID = "io.kubernetes.pod.name", "io.kubernetes.pod.namespace", "io.kubernetes.pod.uid"
CONTAINER = "io.kubernetes.container.name"
NODE = "sampan.dev/node"


class NameTooLong(Exception):
    """The pod's full name is longer than the kernel's host names; the message is the kubelet's."""


def sandbox_hostname(pod: Object, cluster_domain: str) -> str:
    """Return what the pod's kernel calls its host: its short name, or the whole with setHostnameAsFQDN. Raises
    ``NameTooLong``."""
    spec, name = pod["spec"], hostname_of(pod)
    if not spec.get("setHostnameAsFQDN") or not spec.get("subdomain") or spec.get("hostnameOverride"):
        return name
    full = f"{name}.{spec['subdomain']}.{pod['metadata']['namespace']}.svc.{cluster_domain}"
    if len(full) > 64:
        raise NameTooLong(
            f"Failed to construct FQDN from Pod hostname and cluster domain, FQDN {full} is too long (64 characters is the "
            f"max, {len(full)} characters requested)"
        )
    return full


def hostname_of(pod: Object) -> str:
    """Return the pod's host name, at most 63 characters."""
    if pod["spec"].get("hostnameOverride"):
        return str(pod["spec"]["hostnameOverride"])
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def log_directory(root: Path, pod: Object) -> Path:
    metadata = pod["metadata"]
    return root / f"{metadata['namespace']}_{metadata['name']}_{metadata['uid']}"


def namespace_options(
    spec: Object, *, target: str = "", userns: cri.UserNamespace | None = None
) -> cri.NamespaceOption:
    """Return whose namespaces a container is in. ``target``: the container whose processes it is to see."""
    pid = cri.NODE if spec.get("hostPID") else cri.POD if spec.get("shareProcessNamespace") else cri.CONTAINER
    pid = cri.TARGET if target and pid == cri.CONTAINER else pid
    return cri.NamespaceOption(
        network=cri.NODE if spec.get("hostNetwork") else cri.POD,
        pid=pid,
        ipc=cri.NODE if spec.get("hostIPC") else cri.POD,
        target_id=target if pid == cri.TARGET else "",
        userns_options=userns or cri.UserNamespace(mode=cri.NODE),
    )


def seccomp_of(profile: Object, folder: str) -> cri.SecurityProfile:
    """Return a seccomp profile for CRI. Those of the node are files below ``folder``."""
    made = cri.SecurityProfile(profile_type=profile["type"])
    if profile["type"] == "Localhost":
        made.localhost_ref = f"{folder}/{profile.get('localhostProfile', '')}"
    return made


def app_armor_of(profile: Object) -> cri.SecurityProfile:
    """Return an AppArmor profile for CRI. Those of the node are named, as the kernel has them loaded."""
    return cri.SecurityProfile(profile_type=profile["type"], localhost_ref=profile.get("localhostProfile", ""))


def se_linux_of(options: Object | None) -> cri.SELinuxOption | None:
    return cri.SELinuxOption(**{key: value for key, value in options.items() if value}) if options else None


def sandbox_security(
    spec: Object, host: Host, userns: cri.UserNamespace | None = None
) -> cri.LinuxSandboxSecurityContext:
    """Return the security context of the process that holds the pod's namespaces: the pod's own."""
    context = spec.get("securityContext") or {}
    made = cri.LinuxSandboxSecurityContext(
        namespace_options=namespace_options(spec, userns=userns),
        privileged=any((c.get("securityContext") or {}).get("privileged") for c in every_container(spec)),
        seccomp=seccomp_of({"type": "RuntimeDefault"}, ""),
        supplemental_groups=supplemental_groups(spec),
        supplemental_groups_policy=context.get("supplementalGroupsPolicy", "Merge"),
        selinux_options=se_linux_of(context.get("seLinuxOptions") if host.se_linux else None),
    )
    if context.get("runAsUser") is not None:
        made.run_as_user.value = context["runAsUser"]
        if context.get("runAsGroup") is not None:  # CRI refuses a group without a user
            made.run_as_group.value = context["runAsGroup"]
    return made


def sandbox_config(
    pod: Object,
    attempt: int,
    log_root: Path,
    cgroup: str,
    dns: DnsSettings,
    host: Host = ANY,
    userns: cri.UserNamespace | None = None,
) -> cri.PodSandboxConfig:
    """Return what ``RunPodSandbox`` is given."""
    metadata, spec = pod["metadata"], pod["spec"]
    context = spec.get("securityContext") or {}
    config = cri.PodSandboxConfig(
        metadata=cri.PodSandboxMetadata(
            name=metadata["name"], uid=metadata["uid"], namespace=metadata["namespace"], attempt=attempt
        ),
        hostname="" if spec.get("hostNetwork") else sandbox_hostname(pod, dns.cluster_domain),
        log_directory=str(log_directory(log_root, pod)),
        dns_config=dns_config(pod, dns),
        labels={**(metadata.get("labels") or {}), **identity(pod)},
        annotations=metadata.get("annotations") or {},
        linux=cri.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_parent(cgroup, pod),
            security_context=sandbox_security(spec, host, userns),
            sysctls={entry["name"]: entry["value"] for entry in context.get("sysctls") or ()},
        ),
    )
    for container in spec.get("containers") or ():
        for port in container.get("ports") or ():
            if port.get("hostPort"):
                config.port_mappings.add(
                    protocol=cri.Protocol.Value(port.get("protocol", "TCP")),
                    container_port=port["containerPort"],
                    host_port=port["hostPort"],
                    host_ip=port.get("hostIP", ""),
                )
    return config


def identity(pod: Object) -> dict[str, str]:
    """Return the labels by which the pod's sandboxes and containers are found again, and told from those of other nodes."""
    metadata = pod["metadata"]
    own = {NAME: metadata["name"], NAMESPACE: metadata["namespace"], UID: metadata["uid"]}
    node = pod["spec"].get("nodeName")
    return {**own, NODE: node} if node else own


def every_container(spec: Object) -> list[Object]:
    names = ("initContainers", "containers", "ephemeralContainers")
    return [container for name in names for container in spec.get(name) or ()]
