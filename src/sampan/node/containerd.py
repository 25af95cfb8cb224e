"""containerd as the cluster's own: its configuration, and the command that starts it.

It keeps nothing outside the cluster's directories: root, state, socket, CNI configuration, and its network namespaces
too (``netns_mounts_under_state_dir``). Plugins that pods do not need are off, which saves memory and time.
``restrict_oom_score_adj`` lets it work without CAP_SYS_RESOURCE; ``use_internal_loopback`` spares a plugin's process from
containerd 2.0 on, and older ones do not know it. Source: containerd's CRI configuration, version 2.
"""

from __future__ import annotations

import ctypes
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

PAUSE_IMAGE = "sampan.dev/pause:1"
DISABLED = (
    "io.containerd.grpc.v1.introspection",
    "io.containerd.internal.v1.opt",
    "io.containerd.internal.v1.restart",
    "io.containerd.internal.v1.tracing",
    "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.snapshotter.v1.aufs",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.zfs",
)


@dataclass(frozen=True, slots=True)
class ContainerdConfig:
    root: Path
    run_dir: Path
    socket: Path
    cni_dir: Path
    """Holds ``bin`` (the plugin) and ``net.d`` (its configuration)."""
    cgroup: str


def has_overlay() -> bool:
    """Whether the kernel has overlayfs. On a machine that has not used it yet it is a module that nobody has loaded: the
    kernel looks for it when it is asked to mount one (a mount without layers, which it then refuses)."""
    filesystems = Path("/proc/filesystems")
    if filesystems.exists() and "overlay" not in filesystems.read_text():
        ctypes.CDLL(None).mount(b"overlay", b"/", b"overlay", ctypes.c_ulong(0), None)
    return filesystems.exists() and "overlay" in filesystems.read_text()


def has_se_linux() -> bool:
    return Path("/sys/fs/selinux/enforce").exists()


def snapshotter() -> str:
    return "overlayfs" if has_overlay() else "native"


OTHER_RUNTIMES = ("crun", "youki")
"""OCI runtimes that speak runc's command line: where one is installed, it is a handler for RuntimeClasses."""


def handlers() -> str:
    """Return the configuration of the other OCI runtimes of this machine."""
    at = 'plugins."io.containerd.grpc.v1.cri".containerd.runtimes'
    return "".join(
        f"""    [{at}.{name}]
      runtime_type = "io.containerd.runc.v2"
      [{at}.{name}.options]
        BinaryName = "{program}"
        SystemdCgroup = false
"""
        for name in OTHER_RUNTIMES
        if (program := shutil.which(name))
    )


def configuration(config: ContainerdConfig) -> str:
    """Return the text of ``config.toml``."""
    disabled = ", ".join(f'"{name}"' for name in DISABLED)
    return f"""version = 2
root = "{config.root}"
state = "{config.run_dir}"
disabled_plugins = [{disabled}]
oom_score = 0

[grpc]
  address = "{config.socket}"

[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  enable_selinux = {str(has_se_linux()).lower()}
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
  max_container_log_line_size = 16384
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "{config.cni_dir}/bin"
    conf_dir = "{config.cni_dir}/net.d"
    max_conf_num = 1
    use_internal_loopback = true
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "{snapshotter()}"
    default_runtime_name = "runc"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
      runtime_type = "io.containerd.runc.v2"
      [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
        SystemdCgroup = false
{handlers()}  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{config.root}/certs.d"
"""


def prepare(config: ContainerdConfig) -> tuple[str, ...]:
    """Write the configuration and return the command that runs containerd with it."""
    for folder in (config.root, config.run_dir, config.cni_dir / "bin", config.cni_dir / "net.d"):
        folder.mkdir(parents=True, exist_ok=True)
    file = config.root / "config.toml"
    file.write_text(configuration(config))
    program = shutil.which("containerd") or "/usr/bin/containerd"
    return (program, "--config", str(file), "--log-level", "error" if "-v" not in sys.argv else "info")
