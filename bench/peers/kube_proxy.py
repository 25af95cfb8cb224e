"""kube-proxy in its nftables mode. It is no package: ``KUBE_PROXY`` names a program that somebody has built
(``docs/foreign-kubernetes.md`` tells how)."""

from __future__ import annotations

import os
from pathlib import Path

from bench.peers.etcd_apiserver import PeerMissing

VARIABLE = "KUBE_PROXY"


def command(kubeconfig: Path, node: str, cluster_cidr: str) -> list[str]:
    """Return what runs it, beside no other in its network namespace. Raises ``PeerMissing``."""
    program = os.environ.get(VARIABLE, "")
    if not program:
        raise PeerMissing(f"{VARIABLE} does not name a kube-proxy")
    return [
        program,
        "--proxy-mode=nftables",
        f"--kubeconfig={kubeconfig}",
        f"--hostname-override={node}",
        f"--cluster-cidr={cluster_cidr}",
        "--conntrack-max-per-core=0",  # of the machine, not of a namespace
        "--conntrack-min=0",
        "--conntrack-tcp-timeout-established=0",
        "--conntrack-tcp-timeout-close-wait=0",
        "--healthz-bind-address=127.0.0.1:20256",
        "--metrics-bind-address=127.0.0.1:20249",
    ]
