"""Where a cluster lives and which addresses are its own: the one source of every path, port and range.

Every cluster has an index (0-15) that no other cluster on the machine has; its ranges follow from it:
``10.(240+i).0.0/16`` = pods /18, services /18, LoadBalancer pool /20, link to the host /30; and of IPv6, where it is asked
for, ``fd53:6d70:<f0+i>::/48`` (a unique local range, RFC 4193) = pods /64, services /112, LoadBalancer pool /112, link /126.
"""

from __future__ import annotations

import ipaddress
import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

PodsMode = Literal["real", "simulated", "none"]
IPFamily = Literal["ipv4", "ipv6", "dual"]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
DEFAULT_KUBERNETES_VERSION = "1.37"


def state_root() -> Path:
    """``/var/lib/sampan`` for root, else ``$XDG_STATE_HOME/sampan``."""
    if os.geteuid() == 0:
        return Path("/var/lib/sampan")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "sampan"


def snapshots_root() -> Path:
    """Where the snapshots of all clusters are: they outlive the clusters. No cluster can have this name."""
    return state_root() / ".snapshots"


def run_root() -> Path:
    """``/run/sampan`` for root, else ``$XDG_RUNTIME_DIR/sampan``."""
    if os.geteuid() == 0:
        return Path("/run/sampan")
    return Path(os.environ.get("XDG_RUNTIME_DIR") or f"/tmp/sampan-{os.getuid()}") / "sampan"


IPV6_BASE = int(ipaddress.IPv6Address("fd53:6d70::"))


@dataclass(frozen=True, slots=True)
class Ranges:
    """What a cluster has of one family: a range, and where in it the others begin."""

    cluster: Network
    pod_prefix: int
    service: tuple[int, int]
    """Number of the first address, length of the prefix."""
    load_balancer: tuple[int, int]
    link: int

    @property
    def pods(self) -> Network:
        return self._part(0, self.pod_prefix)

    @property
    def services(self) -> Network:
        return self._part(*self.service)

    @property
    def load_balancers(self) -> Network:
        return self._part(*self.load_balancer)

    @property
    def host_ip(self) -> Address:
        return self.cluster[self.link + 1]

    @property
    def node_ip(self) -> Address:
        return self.cluster[self.link + 2]

    def _part(self, first: int, prefix: int) -> Network:
        if self.cluster.version == 4:
            return ipaddress.IPv4Network((int(self.cluster[first]), prefix))
        return ipaddress.IPv6Network((int(self.cluster[first]), prefix))


@dataclass(frozen=True, slots=True)
class Settings:
    """What ``sampan up`` decided for a cluster; kept as ``cluster.json`` in its state directory."""

    name: str
    index: int
    pods: PodsMode
    kubernetes_version: str
    api_port: int
    """Port of the API on the host's 127.0.0.1, and on ``node_ip`` inside the cluster's namespace."""
    api_flags: dict[str, Any] = field(default_factory=dict)
    """What ``--api-config`` gave: settings under the names of kube-apiserver's flags, paths absolute."""
    kubelet_config: dict[str, Any] = field(default_factory=dict)
    """What ``--kubelet-config`` gave: a KubeletConfiguration."""
    cri_endpoint: str = ""
    """``--cri-endpoint``: the socket of a runtime that is there already; empty: a containerd of the cluster's own."""
    store_url: str = ""
    """``--store``: etcd's URL; empty: SQLite in the state directory."""

    scheduler_config: str = ""
    """``--scheduler-config``: the path of a KubeSchedulerConfiguration."""
    ip_family: IPFamily = "ipv4"
    """``--ip-family``: dual is both, IPv4 the main one."""
    gateway: str = "sampan"
    """``--gateway``: none is for somebody else's."""

    # directories
    @property
    def state_dir(self) -> Path:
        return state_root() / self.name

    @property
    def run_dir(self) -> Path:
        return run_root() / self.name

    @property
    def pki_dir(self) -> Path:
        return self.state_dir / "pki"

    @property
    def log_dir(self) -> Path:
        return self.state_dir / "logs"

    @property
    def store_path(self) -> Path:
        return self.state_dir / "store.db"

    @property
    def kubelet_dir(self) -> Path:
        """Pod volumes and the node's own state."""
        return self.state_dir / "kubelet"

    @property
    def volumes_dir(self) -> Path:
        """The persistent volumes of the class ``standard``: one folder each."""
        return self.state_dir / "volumes"

    @property
    def pod_log_dir(self) -> Path:
        """CRI container logs: ``<namespace>_<name>_<uid>/<container>/<restart>.log``."""
        return self.state_dir / "pod-logs"

    @property
    def containerd_dir(self) -> Path:
        return self.state_dir / "containerd"

    # sockets and pinned namespaces
    @property
    def supervisor_socket(self) -> Path:
        return self.run_dir / "supervisor.sock"

    @property
    def containerd_socket(self) -> Path:
        """Of the cluster's own containerd, or of the runtime that is there already."""
        return Path(self.cri_endpoint) if self.cri_endpoint else self.run_dir / "containerd.sock"

    @property
    def cni_socket(self) -> Path:
        """Where the node's network agent answers the CNI plugin."""
        return self.run_dir / "cni.sock"

    @property
    def sockets(self) -> tuple[Path, ...]:
        """The sockets that our parts make: their paths must fit the kernel's addresses."""
        own = (self.supervisor_socket,)
        if self.pods != "real":
            return own
        of_containerd = self.run_dir / "containerd.sock.ttrpc"
        of_plugin = self.run_dir / "gateway" / f"{0:012}.{0:012}.sock"  # a hash of its name, and of its version
        return (*own, of_containerd, self.cni_socket, of_plugin)

    @property
    def netns_path(self) -> Path:
        return self.run_dir / "ns" / "net"

    @property
    def mntns_path(self) -> Path:
        return self.run_dir / "ns" / "mnt"

    def kubeconfig(self, user: str) -> Path:
        """The kubeconfig of one of our agents: ``admin``, ``node``, ``dns``, ``gateway``, ``network``."""
        return self.state_dir / "kubeconfig" / f"{user}.kubeconfig"

    # names on the host and in cgroups
    @property
    def cgroup(self) -> str:
        """The cluster's cgroup in every hierarchy; pods are under ``<cgroup>/kubepods``."""
        return f"/sampan/{self.name}"

    @property
    def node_name(self) -> str:
        return f"{self.name}-node"

    # addresses: of one family or of both, the main one first; what has one name is of the main family
    @property
    def ranges(self) -> tuple[Ranges, ...]:
        number = 0xF0 + self.index
        four = Ranges(
            ipaddress.IPv4Network((number << 16 | 0x0A000000, 16)), 18, (64 << 8, 18), (128 << 8, 20), 255 << 8
        )
        six = Ranges(
            ipaddress.IPv6Network((IPV6_BASE + (number << 80), 48)), 64, (1 << 64, 112), (2 << 64, 112), 255 << 64
        )
        return {"ipv4": (four,), "ipv6": (six,), "dual": (four, six)}[self.ip_family]

    @property
    def cluster_cidrs(self) -> tuple[Network, ...]:
        return tuple(one.cluster for one in self.ranges)

    @property
    def pod_cidrs(self) -> tuple[Network, ...]:
        return tuple(one.pods for one in self.ranges)

    @property
    def service_cidrs(self) -> tuple[Network, ...]:
        return tuple(one.services for one in self.ranges)

    @property
    def load_balancer_cidrs(self) -> tuple[Network, ...]:
        return tuple(one.load_balancers for one in self.ranges)

    @property
    def host_ips(self) -> tuple[Address, ...]:
        """The host's end of the link, seen from the cluster as its gateway."""
        return tuple(one.host_ip for one in self.ranges)

    @property
    def node_ips(self) -> tuple[Address, ...]:
        """The cluster's end of the link: the addresses of the one node."""
        return tuple(one.node_ip for one in self.ranges)

    @property
    def pod_cidr(self) -> Network:
        return self.pod_cidrs[0]

    @property
    def service_cidr(self) -> Network:
        return self.service_cidrs[0]

    @property
    def host_ip(self) -> Address:
        return self.host_ips[0]

    @property
    def node_ip(self) -> Address:
        return self.node_ips[0]

    @property
    def kubernetes_service_ip(self) -> Address:
        return self.service_cidr[1]

    @property
    def dns_service_ips(self) -> tuple[Address, ...]:
        return tuple(network[10] for network in self.service_cidrs)

    @property
    def dns_service_ip(self) -> Address:
        return self.dns_service_ips[0]

    @property
    def cluster_domain(self) -> str:
        return "cluster.local"

    def save(self) -> None:
        self.state_dir.mkdir(parents=True, exist_ok=True)
        path = self.state_dir / "cluster.json"
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self), indent=2))
        temporary.replace(path)

    @classmethod
    def load(cls, name: str) -> Settings:
        """Return the settings of an existing cluster. Raises ``FileNotFoundError`` where there is none."""
        return cls(**json.loads((state_root() / name / "cluster.json").read_text()))
