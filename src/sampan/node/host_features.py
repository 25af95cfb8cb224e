"""What this node can do for a security context: asked of the runtime once, and read from the kernel's own files.

Source: CRI StatusResponse (handlers' and the runtime's features), Documentation/admin-guide/LSM of the kernel,
proc_pid_oom_score_adj(5).
"""

from __future__ import annotations

from pathlib import Path

from sampan.node import cri_pb2 as cri
from sampan.node.containerd import has_se_linux
from sampan.node.process import read_status
from sampan.security.capabilities import of_mask
from sampan.security.host import Host

APP_ARMOR = Path("/sys/module/apparmor/parameters/enabled")
APP_ARMOR_PARSER = Path("/sbin/apparmor_parser")
"""With it containerd loads the default profile; without, it takes AppArmor for absent."""

OWN_OOM_SCORE = Path("/proc/self/oom_score_adj")


def has_app_armor() -> bool:
    try:
        return APP_ARMOR.read_text().strip() == "Y" and APP_ARMOR_PARSER.exists()
    except OSError:
        return False


def host_features(status: cri.StatusResponse, seccomp_profiles: Path, *, seccomp_default: bool = False) -> Host:
    """Return what the runtime and the kernel can; ``seccomp_profiles`` is the folder of profiles of type Localhost."""
    own = read_status(Path("/proc/self"))
    capabilities = of_mask(int(own["CapBnd"], 16))
    default = [handler for handler in status.runtime_handlers if handler.name in ("", "runc")]
    return Host(
        app_armor=has_app_armor(),
        se_linux=has_se_linux(),
        seccomp="Seccomp" in own,
        seccomp_default=seccomp_default,
        user_namespaces=any(handler.features.user_namespaces for handler in default),
        without_user_namespaces=frozenset(
            handler.name for handler in status.runtime_handlers if not handler.features.user_namespaces
        ),
        recursive_read_only=any(handler.features.recursive_read_only_mounts for handler in default),
        group_policies=status.features.supplemental_groups_policy,
        capabilities=capabilities,
        least_oom_score=-1000 if "SYS_RESOURCE" in capabilities else int(OWN_OOM_SCORE.read_text()),
        seccomp_profiles=str(seccomp_profiles),
    )
