"""``sampan up``: a cluster, or a word that it is there already."""

from __future__ import annotations

import argparse
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

SUMMARY = "start a cluster, or continue one"
GATE = re.compile(r"[A-Za-z0-9]+=(?:true|false)")
PROGRAMS = {
    "containerd": "containerd",
    "runc": "runc",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "catatonit": "catatonit",
}
"""Programs of the host that real pods need, with the Debian package of each."""


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", default="default", help="the cluster's name (default: %(default)s)")
    parser.add_argument(
        "--pods",
        choices=("real", "simulated", "none"),
        default="real",
        help="real: containers on this machine (root, Linux); simulated: a pretended node; none: API and controllers",
    )
    parser.add_argument(
        "--kubernetes-version", metavar="1.N", help="the Kubernetes to be, 1.25 to 1.37 (default: 1.37)"
    )
    parser.add_argument(
        "--wait", type=float, default=60, metavar="SECONDS", help="how long to wait (default: %(default)s)"
    )
    parser.add_argument("--kubeconfig", metavar="FILE", help="where to put the context (default: as kubectl finds it)")
    parser.add_argument(
        "--store",
        metavar="URL",
        help="where the state is kept: sqlite (a file of the cluster's own, the default), etcd://HOST:PORT,… or "
        "etcds://HOST:PORT?cacert=FILE&cert=FILE&key=FILE",
    )
    parser.add_argument(
        "--api-config", metavar="FILE", help="settings of the API, by the names of kube-apiserver's flags (YAML)"
    )
    parser.add_argument(
        "--feature-gates",
        metavar="NAME=true,…",
        help="gates of the emulated Kubernetes; with --api-config they go before those in the file",
    )
    parser.add_argument(
        "--kubelet-config", metavar="FILE", help="settings of the kubelet: a KubeletConfiguration (YAML; docs/node.md)"
    )
    parser.add_argument(
        "--scheduler-config", metavar="FILE", help="a KubeSchedulerConfiguration: profiles, plugins, their arguments"
    )
    parser.add_argument(
        "--cri-endpoint",
        metavar="SOCKET",
        help="a container runtime that runs already (unix:///run/crio/crio.sock); its network is its own (docs/node.md)",
    )
    parser.add_argument(
        "--ip-family",
        choices=("ipv4", "ipv6", "dual"),
        help="addresses of pods, Services and the node: of IPv4 (the default), of IPv6, or of both",
    )
    parser.add_argument(
        "--gateway",
        choices=("sampan", "none"),
        help="of real pods: Sampan's (the default), or none, for one that is installed as in any cluster",
    )
    parser.add_argument(
        "--api-port", type=int, metavar="PORT", help="port of the API on 127.0.0.1 (default: a free one)"
    )


def run(options: argparse.Namespace) -> int:
    from sampan.cluster import kubeconfig, lifecycle

    begun = time.monotonic()
    check(options)
    flags = None if options.api_config is None else read_flags(Path(options.api_config))
    if options.feature_gates is not None:
        flags = with_gates(flags or {}, options.feature_gates)
    if flags:
        check_gates(flags, options.name, options.kubernetes_version)
    store = None if options.store is None else read_store(options.store)
    kubelet = None if options.kubelet_config is None else read_kubelet_config(Path(options.kubelet_config))
    endpoint = None if options.cri_endpoint is None else read_endpoint(options.cri_endpoint)
    scheduler = None if options.scheduler_config is None else read_scheduler_config(Path(options.scheduler_config))
    settings = lifecycle.choose(
        options.name,
        options.pods,
        options.kubernetes_version,
        options.api_port,
        flags,
        store,
        kubelet,
        endpoint,
        scheduler_config=scheduler,
        ip_family=options.ip_family,
        gateway=options.gateway,
    )
    file = kubeconfig.user_file(options.kubeconfig)

    def step(name: str, text: str) -> None:
        line = {
            "namespaces": f"namespaces {text}",
            "containerd": "containerd started",
            "api": f"API ready  https://127.0.0.1:{settings.api_port}",
            "node": f"node {settings.node_name} Ready",
            "dns": f"DNS answers at {settings.dns_service_ip}",
            "gateway": "GatewayClass sampan ready",
        }.get(name, text)
        stream = sys.stderr if name == "error" else sys.stdout
        print(f"{time.monotonic() - begun:6.2f}s  {line}", file=stream, flush=True)

    with lifecycle.one_at_a_time(settings):
        status = lifecycle.ask(settings, "status")
        if status is None:
            lifecycle.up(settings, step, options.wait)
        context = kubeconfig.merge(file, settings.kubeconfig("admin").read_text())
    if status is not None:
        since, url = f"{status['seconds']:.0f} s", f"https://127.0.0.1:{settings.api_port}"
        print(f"cluster {settings.name} is up already (since {since}): {url}")
    else:
        print(f"{time.monotonic() - begun:6.2f}s  context {context} in {file}")
    return 0


def read_flags(file: Path) -> dict[str, Any]:
    """Return the settings of an ``--api-config``. Raises ``ClusterError`` for what is wrong with them."""
    import yaml

    from sampan.api import flags
    from sampan.cluster.lifecycle import ClusterError

    hint = "lines like `oidc-issuer-url: https://…`; docs/api-identity.md has them all"
    try:
        given = yaml.safe_load(file.read_text())
        if given is None:
            given = {}
        if not isinstance(given, dict):
            raise flags.FlagError("it holds no names with values")
        made = flags.resolved(given, file.absolute().parent)
        parsed = flags.parse(made)
    except OSError as error:
        raise ClusterError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, flags.FlagError, UnicodeDecodeError) as error:
        raise ClusterError(f"{file}: {error}", hint) from error
    for named in flags.files(parsed):
        if not named.is_file():
            raise ClusterError(f"{file} names {named}, which is no file")
    return made


def with_gates(given: dict[str, Any], gates: str) -> dict[str, Any]:
    """Return settings of the API with ``--feature-gates``. Raises ``ClusterError`` for what are none."""
    from sampan.api import flags
    from sampan.cluster.lifecycle import ClusterError

    named = [gate for gate in gates.split(",") if gate]
    if not named or not all(GATE.fullmatch(gate) for gate in named):
        raise ClusterError(f"--feature-gates {gates!r} is not NAME=true or NAME=false, separated by commas")
    chosen = {gate.partition("=")[0] for gate in named}
    before = [gate for gate in flags.parse(given).feature_gates if gate.partition("=")[0] not in chosen]
    return {**given, "feature-gates": [*before, *named]}


def check_gates(given: dict[str, Any], name: str, version: str | None) -> None:
    """Raise ``ClusterError`` for gates that a cluster cannot have: before it is made, or changed."""
    from sampan.api import flags
    from sampan.api.feature_gates import FeatureGates
    from sampan.cluster import lifecycle
    from sampan.cluster.settings import DEFAULT_KUBERNETES_VERSION

    if version is None:
        there = name in lifecycle.names()
        version = lifecycle.load(name).kubernetes_version if there else DEFAULT_KUBERNETES_VERSION
    try:
        FeatureGates(version, flags.parse(given).feature_gates)
    except flags.FlagError as error:
        hint = f"docs/api-identity.md tells of gates; this is Kubernetes {version}"
        raise lifecycle.ClusterError(str(error), hint) from error


def read_endpoint(endpoint: str) -> str:
    """Return the path of ``--cri-endpoint``. Raises ``ClusterError`` where no runtime listens there that our node can use."""
    import asyncio

    from sampan.cluster.lifecycle import ClusterError
    from sampan.node.runtime import Runtime, RuntimeFailure

    path = Path(endpoint.removeprefix("unix://")).absolute()
    if not path.is_socket():
        raise ClusterError(f"{path} is no socket", "start the runtime first; `crictl info` shows where it listens")

    async def asked() -> tuple[str, str]:
        runtime = Runtime(path)
        try:
            return str((await runtime.version()).runtime_name), await runtime.cgroup_driver()
        finally:
            runtime.close()

    try:
        name, driver = asyncio.run(asked())
    except RuntimeFailure as error:
        raise ClusterError(f"no runtime answers by CRI v1 at {path}: {error}") from error
    if driver == "systemd":
        hint = 'cgroup_manager = "cgroupfs" and conmon_cgroup = "pod" for CRI-O, SystemdCgroup = false for containerd'
        raise ClusterError(f"{name} at {path} has the cgroup driver systemd, and the node has cgroupfs", hint)
    return str(path)


def read_kubelet_config(file: Path) -> dict[str, Any]:
    """Return the KubeletConfiguration of ``--kubelet-config``. Raises ``ClusterError`` for what is wrong with it."""
    import yaml

    from sampan.cluster.lifecycle import ClusterError
    from sampan.node import kubelet_config, numa
    from sampan.node.node_status import memory_bytes

    try:
        given = yaml.safe_load(file.read_text())
        if not isinstance(given, dict):
            raise kubelet_config.ConfigFault("it is no KubeletConfiguration")
        config = kubelet_config.read(given)
        numa.check(config, numa.numa_nodes(), f"{memory_bytes()}")
    except OSError as error:
        raise ClusterError(f"{file} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, kubelet_config.ConfigFault, UnicodeDecodeError) as error:
        raise ClusterError(f"{file}: {error}", "docs/node.md has the fields that are honoured") from error
    return given


def read_scheduler_config(file: Path) -> str:
    """Return the path of a ``--scheduler-config`` that a scheduler can be made of. Raises ``ClusterError``."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.scheduler.configuration import embedded, profiles_of, read
    from sampan.scheduler.reading import ConfigurationError

    try:
        profiles_of(embedded(read(file)))
    except OSError as error:
        raise ClusterError(f"{file} cannot be read: {error.strerror}") from error
    except ConfigurationError as error:
        raise ClusterError(f"{file}: {error}", f"`sampan scheduler check {file}`") from error
    return str(file.absolute())


def read_store(url: str) -> str:
    """Return the URL of ``--store`` with the paths in it absolute, empty for SQLite. Raises ``ClusterError``."""
    from sampan.cluster.lifecycle import ClusterError
    from sampan.store import StoreError
    from sampan.store.etcd_address import absolute

    if url == "sqlite":
        return ""
    try:
        return absolute(url, Path.cwd())
    except StoreError as error:
        raise ClusterError(str(error), "--store sqlite, or --store etcd://127.0.0.1:2379; docs/store.md") from error


def check(options: argparse.Namespace) -> None:
    """Raise ``ClusterError`` for what can be known before anything is made."""
    from sampan.cluster.lifecycle import ClusterError

    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,29}[a-z0-9])?", options.name):
        raise ClusterError(
            f"{options.name!r} cannot be a cluster's name", "a lowercase RFC 1123 label of at most 31 characters"
        )
    if options.kubernetes_version:
        from sampan.schema.types import UnknownVersion, type_system

        try:
            type_system(options.kubernetes_version)
        except UnknownVersion as error:
            raise ClusterError(str(error), "leave --kubernetes-version out for the newest") from error
    if options.api_port is not None and not 0 < options.api_port < 65536:
        raise ClusterError(f"{options.api_port} is not a port", "a number from 1 to 65535")
    if options.pods != "real":
        if options.gateway == "sampan":
            raise ClusterError(f"--pods={options.pods} has no gateway", "--gateway is for real pods")
        if options.ip_family not in (None, "ipv4"):
            raise ClusterError(f"--pods={options.pods} has IPv4 only", "--ip-family is for real pods")
        return
    if sys.platform != "linux":
        raise ClusterError("real pods need Linux", "`sampan up --pods=simulated` works on any system")
    if os.geteuid() != 0:
        raise ClusterError("real pods need root", "`sudo sampan up`, or `sampan up --pods=simulated`")
    if options.ip_family in ("ipv6", "dual"):
        from sampan.network.cluster_link import ipv6_works

        if not ipv6_works():
            why = "this machine has no IPv6, or it is switched off for new interfaces"
            raise ClusterError(why, "sysctl net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.default.disable_ipv6=0")
    missing = sorted({package for program, package in PROGRAMS.items() if not which(program)})
    if missing:
        raise ClusterError(f"this machine lacks {', '.join(missing)}", f"apt-get install -y {' '.join(missing)}")


def which(program: str) -> Path | None:
    """Return where a program is."""
    import shutil

    found = shutil.which(program)
    return Path(found) if found else None
