"""Linux capabilities: their numbers, the sets that a container gets, and masks as ``/proc`` writes them.

Kubernetes names them without ``CAP_``. Source: include/uapi/linux/capability.h, capabilities(7); what a runtime gives to a
container that says nothing: containerd's OCI defaults.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

NAMES = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID", "SETPCAP",
    "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW", "IPC_LOCK", "IPC_OWNER", "SYS_MODULE",
    "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT", "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME",
    "SYS_TTY_CONFIG", "MKNOD", "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)  # fmt: skip
"""By their bit, from 0 on."""

ALL = frozenset(NAMES)

RUNTIME_DEFAULT = frozenset(
    ("AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD", "NET_BIND_SERVICE", "NET_RAW", "SETFCAP",
     "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT")
)  # fmt: skip


def plain(name: str) -> str:
    """Return a capability as Kubernetes names it: ``cap_net_raw`` is ``NET_RAW``."""
    return name.upper().removeprefix("CAP_")


def granted(add: Iterable[str], drop: Iterable[str], available: Collection[str] = ALL) -> frozenset[str]:
    """Return what a container may have: the runtime's own set, then ``ALL`` added, ``ALL`` dropped, others added, dropped.

    ``available``: what the runtime itself has; nobody can give more."""
    added, dropped = {plain(name) for name in add}, {plain(name) for name in drop}
    given = set(available) if "ALL" in added else set(RUNTIME_DEFAULT)
    if "ALL" in dropped:
        given = set()
    return frozenset((given | (added - {"ALL"})) - dropped) & frozenset(available)


def of_mask(mask: int) -> frozenset[str]:
    """Return the names of a mask; a bit that nobody has named yet is ``CAP_<bit>``."""
    bits = (bit for bit in range(mask.bit_length()) if mask >> bit & 1)
    return frozenset(NAMES[bit] if bit < len(NAMES) else f"CAP_{bit}" for bit in bits)


def mask_of(names: Iterable[str]) -> int:
    return sum(1 << NAMES.index(name) for name in set(names))


def shown(names: Collection[str]) -> str:
    """Return a set for people: ``none``, ``ALL``, ``default`` (the runtime's own), what differs from those, or the names."""
    held = frozenset(names)
    if not held:
        return "none"
    if held == ALL:
        return "ALL"
    for word, known in (("default", RUNTIME_DEFAULT), ("ALL", ALL)):
        more, less = held - known, known - held
        if len(more) + len(less) < min(4, len(held)):
            return " ".join([word, *(f"+{name}" for name in sorted(more)), *(f"-{name}" for name in sorted(less))])
    return " ".join(sorted(held))
