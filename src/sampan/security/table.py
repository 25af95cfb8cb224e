"""The effective security context for people: one row a container and setting, with value, source, and what the kernel says.

``rows`` turns the settled settings of each container into rows, users and groups resolved by the image's files. With the
``Process`` that really runs, each row has what the kernel holds in ``live``; ``differs`` is where that is not what was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sampan.schema.objects import Object
from sampan.security.capabilities import shown
from sampan.security.checks import containers
from sampan.security.context import settle, who
from sampan.security.host import Host
from sampan.security.image_user import Identity, ImageUser
from sampan.security.settings import DERIVED, IMAGE, KERNEL, POD, RUNTIME, Settled

PROTECTED = "/proc/sys"
"""Read-only by a mount of its own where /proc is as by default, so this one tells for all that is masked or read-only."""
UNSET = ("windowsOptions", "seLinuxChangePolicy", "seLinuxOptions", "sysctls")
"""Not worth a row where nobody sets them."""


class Process(NamedTuple):
    """The first process of a container, as the kernel has it."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int]
    effective: frozenset[str]
    bounding: frozenset[str]
    no_new_privileges: bool
    seccomp: bool
    """Whether a filter is on."""
    namespaces: Mapping[str, int]
    """Kind → inode."""
    node_namespaces: Mapping[str, int]
    """Those of the node, to compare with."""
    sandbox_namespaces: Mapping[str, int]
    """Those of the pod's sandbox."""
    read_only_root: bool
    mounted_over: frozenset[str]
    """Paths below /proc and /sys that something is mounted on."""
    app_armor: str = ""


class Row(NamedTuple):
    container: str
    setting: str
    value: Any
    source: str
    note: str = ""
    live: Any = None
    differs: bool = False


def rows(
    spec: Object,
    image_of: Callable[[Object], ImageUser],
    host: Host,
    processes: Mapping[str, Process] | None = None,
) -> Iterator[Row]:
    """Yield the rows of every container of a pod. ``processes``: by the container's name, of those that run."""
    for container in containers(spec):
        image = image_of(container)
        identity = who(spec, container, image)
        process = (processes or {}).get(container["name"])
        for name, settled in resolved(settle(spec, container, image, host), identity):
            if settled.value is None and name in UNSET and not settled.note:
                continue
            row = Row(container["name"], name, *settled)
            yield compared(row, process) if process is not None and name in LIVE else row


def resolved(settled: Mapping[str, Settled], identity: Identity) -> Iterator[tuple[str, Settled]]:
    """Yield the settings with user and groups as the image's files make them, and the process's own capabilities."""
    for name, one in settled.items():
        if name == "runAsUser" and isinstance(one.value, str) and identity.uid is not None:
            yield name, one._replace(value=identity.uid)
        elif name == "runAsGroup" and one.value is None and identity.gid is not None:
            source = IMAGE if identity.gid else RUNTIME
            yield name, Settled(identity.gid, source, "/etc/passwd" if identity.gid else "")
        elif name == "supplementalGroups":
            yield name, one
            note = ", ".join(str(group) for group in sorted(identity.of_image))
            asked = identity.groups - identity.of_image
            source = "".join([POD] * bool(asked)) + ("+" if asked and note else "") + (IMAGE if note else "")
            yield "groups", Settled(sorted(identity.groups), source or RUNTIME, f"{note} of /etc/group" if note else "")
        elif name == "capabilities":
            yield name, one
            yield "effectiveCapabilities", effective_capabilities(one, identity)
        else:
            yield name, one


def effective_capabilities(bounding: Settled, identity: Identity) -> Settled:
    """Return what the process itself holds: only root's has what it may have (there are no ambient ones)."""
    if identity.uid is None:
        return Settled(None, KERNEL, "the image's user is not known")
    if identity.uid == 0:
        return Settled(bounding.value, KERNEL, "root")
    return Settled([], KERNEL, f"user {identity.uid} is not root")


# what the kernel says


def shares(kind: str, sandbox: bool = False) -> Callable[[Process], bool]:
    def shared(process: Process) -> bool:
        other = process.sandbox_namespaces if sandbox else process.node_namespaces
        return process.namespaces.get(kind) == other.get(kind)

    return shared


LIVE: Mapping[str, Callable[[Process], Any]] = {
    "runAsUser": lambda process: process.uid,
    "runAsGroup": lambda process: process.gid,
    "groups": lambda process: sorted(process.groups - {process.gid}),
    "allowPrivilegeEscalation": lambda process: not process.no_new_privileges,
    "capabilities": lambda process: sorted(process.bounding),
    "effectiveCapabilities": lambda process: sorted(process.effective),
    "readOnlyRootFilesystem": lambda process: process.read_only_root,
    "procMount": lambda process: "Default" if PROTECTED in process.mounted_over else "Unmasked",
    "seccompProfile": lambda process: "filtered" if process.seccomp else "Unconfined",
    "appArmorProfile": lambda process: process.app_armor or "Unconfined",
    "hostUsers": shares("user"),
    "hostNetwork": shares("net"),
    "hostPID": shares("pid"),
    "hostIPC": shares("ipc"),
    "shareProcessNamespace": shares("pid", sandbox=True),
}
"""Setting → what the kernel holds for a process."""


def compared(row: Row, process: Process) -> Row:
    """Return the row with what the kernel holds, and whether that differs."""
    live = LIVE[row.setting](process)
    return row._replace(live=live, differs=differs(row, live))


def differs(row: Row, live: Any) -> bool:
    if row.value is None:
        return False
    if row.setting == "seccompProfile":
        return bool((row.value["type"] == "Unconfined") != (live == "Unconfined"))
    if row.setting == "appArmorProfile":
        return row.source != KERNEL and (row.value["type"] == "Unconfined") != (live.lower() == "unconfined")
    if row.setting == "shareProcessNamespace":
        return bool(row.value) and not live
    return bool(live != row.value)


# as text


def text_of(setting: str, value: Any) -> str:
    """Return a value as a cell of a table."""
    if setting in ("capabilities", "effectiveCapabilities") and value is not None:
        return shown(value)
    if isinstance(value, bool):
        return str(value).lower()
    if value is None or value == []:
        return "-"
    if isinstance(value, dict) and "type" in value:
        return " ".join(str(word) for word in value.values())
    if isinstance(value, dict):
        return ",".join(f"{key}={word}" for key, word in value.items())
    if isinstance(value, list):
        entries = (f"{one['name']}={one.get('value')}" if isinstance(one, dict) else str(one) for one in value)
        return ",".join(entries)
    return str(value)


HEADINGS = ("CONTAINER", "SETTING", "VALUE", "SOURCE")


def lines(found: list[Row], *, live: bool) -> Iterator[str]:
    """Yield the table; with ``live``, what the kernel holds and where it differs."""
    cells = [(*HEADINGS, *(("LIVE",) if live else ()), "")]
    for row in found:
        source = f"{row.source}: {row.note}" if row.note and row.source == DERIVED else row.source
        note = "" if row.source == DERIVED else row.note
        seen = (text_of(row.setting, row.live) + ("  DIFFERS" if row.differs else ""),) if live else ()
        if live and row.setting not in LIVE:
            seen = ("",)
        cells.append((row.container, row.setting, text_of(row.setting, row.value), source, *seen, note))
    widths = [max(len(line[column]) for line in cells) for column in range(len(cells[0]) - 1)]
    for line in cells:
        padded = (f"{cell:{width}}" for cell, width in zip(line, widths, strict=False))
        yield "  ".join([*padded, line[-1]]).rstrip()
