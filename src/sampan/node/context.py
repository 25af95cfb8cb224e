"""What all pods of a node share: the runtime, the API client, caches of what pods refer to, and the node's facts."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client
from sampan.node import cgroup_limits
from sampan.node import cri_pb2 as cri
from sampan.node.allocations import Allocations
from sampan.node.cgroup_limits import Limits
from sampan.node.cpu_sets import CpuSets
from sampan.node.csi.attaching import Attaching
from sampan.node.csi.registration import CsiPlugins
from sampan.node.devices.plugins import Devices
from sampan.node.environment import Lookup, service_links
from sampan.node.image_puller import ImagePuller
from sampan.node.kubelet_config import KubeletConfig
from sampan.node.materials import Materials
from sampan.node.memory_sets import MemorySets
from sampan.node.pod_certificates import PodCertificates
from sampan.node.pod_cgroups import create, remove
from sampan.node.pod_config import hostname_of
from sampan.node.pod_dns import DnsSettings, is_stub, read_resolv_conf
from sampan.node.resources import cgroup_parent
from sampan.node.runtime import Runtime
from sampan.node.tokens import Tokens
from sampan.node.volumes.material import data_of
from sampan.schema.objects import Object
from sampan.schema.quantity import parse
from sampan.security.host import ANY, Host

HOST_RESOLV_CONF = "/etc/resolv.conf"
BEHIND_STUB = "/run/systemd/resolve/resolv.conf"


@dataclass
class NodeContext:
    """The node as its pod workers see it."""

    node_name: str
    node_ips: tuple[str, ...]
    """One of each family, the main one first."""
    client: Client
    runtime: Runtime
    images: ImagePuller
    events: EventRecorder
    tokens: Tokens
    certificates: PodCertificates
    materials: Materials
    services: Informer
    kubelet_dir: Path
    pod_log_dir: Path
    cgroup: str
    cluster_dns: str
    cluster_domain: str
    capacity: Mapping[str, str]
    allocatable: Mapping[str, str]
    """What of it pods may have."""
    logger: logging.Logger
    kubelet: KubeletConfig
    allocations: Allocations
    csi: CsiPlugins
    devices: Devices
    cpus: CpuSets
    memory: MemorySets
    attaching: Attaching
    pressures: Callable[[], Collection[str]] = tuple
    """The conditions of pressure that the node is in."""
    shutting_down: bool = False
    """No pod is taken in any more."""
    node: Callable[[], Object] = dict
    """The Node as it is known here."""
    end_pod: Callable[[str, str, str], None] = lambda uid, reason, message: None
    """``(uid, reason, message)``: end a pod of this node for another's sake."""
    is_ending: Callable[[str], bool] = lambda uid: False
    """Whether the pod of a uid is ended for the node's sake, or deleted."""
    is_gone: Callable[[str], bool] = lambda uid: False
    """Whether the pod of a uid is in the API no more, whatever is still here of it."""
    runtime_name: str = "containerd"
    own_runtime: bool = True
    """Whether the runtime is the cluster's alone."""
    host: Host = ANY
    """What the kernel and the runtime can do for security contexts: known when the runtime answers."""
    owners: dict[str, Callable[[str], None]] = field(default_factory=dict)
    """How to tell the worker of a container or sandbox, by its id, that it ended: known before it is started, so that no
    exit is missed."""

    def release(self, uid: str) -> None:
        """Take back what a pod was given to itself."""
        self.devices.release(uid)
        self.cpus.release(uid)
        self.memory.release(uid)

    @property
    def memory_bytes(self) -> int:
        """The memory of the machine."""
        return parse(self.capacity["memory"]).value()

    @property
    def pod_pids_limit(self) -> int:
        """How many processes a pod may have; 0: any number."""
        return max(self.kubelet.pod_pids_limit, 0)

    def pod_dir(self, pod: Object) -> Path:
        """Return the folder of a pod's volumes and files."""
        return self.kubelet_dir / "pods" / str(pod["metadata"]["uid"])

    def lookup(self, namespace: str) -> Lookup:
        """Return a function that finds the data of a ConfigMap or Secret of a namespace."""

        def find(kind: str, name: str) -> Mapping[str, str] | None:
            found = self.materials.get(kind, namespace, name)
            return None if found is None else data_of({**found, "kind": kind})

        return find

    def pull_secrets(self, pod: Object) -> list[Object]:
        namespace = pod["metadata"]["namespace"]
        names = [reference["name"] for reference in pod["spec"].get("imagePullSecrets") or ()]
        found = [self.materials.get("Secret", namespace, name) for name in names]
        return [secret for secret in found if secret is not None]

    def service_links(self, pod: Object) -> dict[str, str]:
        own = pod["spec"].get("enableServiceLinks", True)
        return service_links(self.services.all(), pod["metadata"]["namespace"], own=own)

    def facts(self, pod_ips: Sequence[str]) -> dict[str, str]:
        """Return what the downward API knows of a pod from its node."""
        return {
            "hostIP": self.node_ips[0],
            "hostIPs": ",".join(self.node_ips),
            "podIP": next(iter(pod_ips), ""),
            "podIPs": ",".join(pod_ips),
            **self.allocatable,
        }

    def dns(self) -> DnsSettings:
        file = self.kubelet.resolv_conf
        servers, searches, options = _resolv_conf(file)
        if file == HOST_RESOLV_CONF and is_stub(servers):
            # systemd-resolved's own list instead of its stub, which no pod reaches
            servers = _resolv_conf(BEHIND_STUB)[0] or servers
        return DnsSettings(self.cluster_dns, self.cluster_domain, servers, searches, options, bool(file))

    def own_mounts(
        self, pod: Object, container: Object, pod_dir: Path, restarts: int, ips: Sequence[str]
    ) -> list[cri.Mount]:
        """Return the mounts that every container gets: /etc/hosts and the file of its termination message."""
        taken = {mount["mountPath"] for mount in container.get("volumeMounts") or ()}
        mounts = []
        if "/etc/hosts" not in taken:
            hosts = pod_dir / "etc-hosts"
            hosts.parent.mkdir(parents=True, exist_ok=True)
            hosts.write_text(hosts_file(pod, ips, self.cluster_domain))
            mounts.append(cri.Mount(container_path="/etc/hosts", host_path=str(hosts)))
        folder = pod_dir / "containers" / container["name"]
        folder.mkdir(parents=True, exist_ok=True)
        message = folder / str(restarts)
        message.touch()
        message.chmod(0o666)
        path = container.get("terminationMessagePath", "/dev/termination-log")
        mounts.append(cri.Mount(container_path=path, host_path=str(message)))
        return mounts

    def ensure_pod_cgroup(self, cgroup: str, limits: Limits) -> None:
        """Make a pod's cgroup with its limits, before anything runs in it: the kernel refuses a limit below what is in use.
        Raises ``OSError``."""
        create(cgroup)
        try:
            cgroup_limits.write(cgroup, limits)
        except OSError:
            if not cgroup_limits.memory_in_use(cgroup):
                raise
            self.logger.warning("%s has more than it may have", cgroup)  # what an earlier sandbox left is still going

    def remove_pod_cgroup(self, pod: Object) -> None:
        remove(cgroup_parent(self.cgroup, pod))


def _resolv_conf(file: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    try:
        return read_resolv_conf(Path(file).read_text()) if file else ((), (), ())
    except OSError:
        return (), (), ()


def hosts_file(pod: Object, ips: Sequence[str], cluster_domain: str) -> str:
    """Return the pod's /etc/hosts: its own names, then its hostAliases."""
    spec = pod["spec"]
    lines = [
        "# Kubernetes-managed hosts file.",
        "127.0.0.1\tlocalhost",
        "::1\tlocalhost ip6-localhost ip6-loopback",
        "fe00::0\tip6-localnet",
        "fe00::0\tip6-mcastprefix",
        "fe00::1\tip6-allnodes",
        "fe00::2\tip6-allrouters",
    ]
    if spec.get("hostNetwork"):
        try:
            lines = ["# Kubernetes-managed hosts file (host network).", Path("/etc/hosts").read_text().rstrip()]
        except OSError:
            lines = lines[:2]
    elif ips:
        name = hostname_of(pod)
        subdomain = spec.get("subdomain")
        full = f"{name}.{subdomain}.{pod['metadata']['namespace']}.svc.{cluster_domain}\t" if subdomain else ""
        lines += [f"{ip}\t{full}{name}" for ip in ips]
    aliases, tab = spec.get("hostAliases") or (), "\t"
    if aliases:
        lines += ["", "# Entries added by HostAliases."]
        lines += [f"{alias['ip']}\t{tab.join(alias.get('hostnames') or ())}" for alias in aliases]
    return "\n".join(lines) + "\n"
