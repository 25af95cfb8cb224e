"""What a node's kernel and runtime can do for a security context; ``node/host_features.py`` finds it out."""

from __future__ import annotations

from typing import NamedTuple

from sampan.security.capabilities import ALL


class Host(NamedTuple):
    """A node. The default is one that can everything, for pods that have no node yet."""

    app_armor: bool = True
    se_linux: bool = True
    seccomp: bool = True
    seccomp_default: bool = False
    """Whether a container that names no profile gets the runtime's (the kubelet's ``seccompDefault``)."""
    user_namespaces: bool = True
    """Whether the runtime can give a pod a user namespace (containerd from 2.0 on, with runc from 1.2 on)."""
    without_user_namespaces: frozenset[str] = frozenset()
    """Handlers of RuntimeClasses that cannot."""
    group_policies: bool = True
    """Whether the runtime knows ``supplementalGroupsPolicy: Strict`` (containerd from 2.0 on)."""
    recursive_read_only: bool = True
    """Whether the runtime can make mounts below a read-only one read-only, too (containerd from 2.0 on)."""
    capabilities: frozenset[str] = ALL
    """What the runtime itself has, and can give."""
    least_oom_score: int = -1000
    """The lowest ``oom_score_adj`` that a process can be given: without CAP_SYS_RESOURCE none below the node's own."""
    seccomp_profiles: str = "/var/lib/kubelet/seccomp"
    """Where profiles of type Localhost are looked for."""


ANY = Host()
