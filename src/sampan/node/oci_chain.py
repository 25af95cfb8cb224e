"""The chain that a container stands on, topic by topic: PodSpec, CRI request, OCI ``config.json``, kernel. Pure.

What a topic is called and where each layer has it, is one row of ``TOPICS``; a cell is a list of short lines. Sources:
core/v1, CRI v1 ContainerConfig (as the runtime gives it back), OCI runtime specification 1.0, proc(5), cgroups(7).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from sampan.node.process import Mounted
from sampan.schema.objects import Object
from sampan.security.capabilities import plain, shown
from sampan.security.checks import context
from sampan.security.context import setting
from sampan.security.table import Process, text_of

Lines = list[str]


class Link(NamedTuple):
    """All that is known of one container."""

    spec: Object
    container: Object
    cri: Object
    """ContainerConfig as JSON; ``{}`` where the runtime does not keep it (CRI-O)."""
    oci: Object
    """config.json of the bundle."""
    process: Process
    cgroups: Mapping[str, str]
    limits: Mapping[str, str]
    """Files of the cgroup that hold its limits, by name."""
    mounts: list[Mounted]
    command: str

    @property
    def cri_security(self) -> Object:
        found: Object = (self.cri.get("linux") or {}).get("security_context") or {}
        return found

    @property
    def oci_linux(self) -> Object:
        found: Object = self.oci.get("linux") or {}
        return found


class Topic(NamedTuple):
    name: str
    pod: Callable[[Link], Lines]
    cri: Callable[[Link], Lines]
    oci: Callable[[Link], Lines]
    kernel: Callable[[Link], Lines]


class Row(NamedTuple):
    topic: str
    pod: Lines
    cri: Lines
    oci: Lines
    kernel: Lines


def rows(link: Link) -> Iterator[Row]:
    """Yield a container's rows."""
    for topic in TOPICS:
        cri = topic.cri(link) if link.cri else ["not kept by the runtime"]
        yield Row(topic.name, topic.pod(link), cri, topic.oci(link), topic.kernel(link))


def named(value: Any, name: str) -> Lines:
    """Return ``name=value`` where there is one."""
    return [] if value is None or value == "" or value == [] else [f"{name}={text_of(name, value)}"]


# command


def words(holder: Object) -> Lines:
    return [line for name in ("command", "args") for line in named(" ".join(holder.get(name) or ()), name)]


def pod_command(link: Link) -> Lines:
    return words(link.container)


def cri_command(link: Link) -> Lines:
    return words(link.cri)


def oci_command(link: Link) -> Lines:
    return [" ".join(link.oci["process"]["args"])]


# identity


def pod_user(link: Link) -> Lines:
    names = ("runAsUser", "runAsGroup", "runAsNonRoot")
    of_pod = (("fsGroup", context(link.spec)), ("supplementalGroups", context(link.spec)))
    shared = [line for name in names for line in named(setting(link.spec, link.container, name), name)]
    return [*shared, *(line for name, holder in of_pod for line in named(holder.get(name), name))]


def cri_user(link: Link) -> Lines:
    own = link.cri_security
    user, group = (own.get(name, {}).get("value") for name in ("run_as_user", "run_as_group"))
    user = user if user is not None or own.get("run_as_username") else 0 if "run_as_user" in own else None
    return [
        *named(user, "run_as_user"),
        *named(own.get("run_as_username"), "run_as_username"),
        *named(group, "run_as_group"),
        *named(own.get("supplemental_groups"), "supplemental_groups"),
    ]


def oci_user(link: Link) -> Lines:
    user = link.oci["process"]["user"]
    return [f"uid={user['uid']} gid={user['gid']}", *named(user.get("additionalGids"), "additionalGids")]


def kernel_user(link: Link) -> Lines:
    process = link.process
    return [f"Uid={process.uid} Gid={process.gid}", *named(sorted(process.groups), "Groups")]


# capabilities and what else a process may


def pod_capabilities(link: Link) -> Lines:
    own = context(link.container)
    wanted = own.get("capabilities") or {}
    return [
        *named(own.get("privileged"), "privileged"),
        *named(wanted.get("drop"), "drop"),
        *named(wanted.get("add"), "add"),
        *named(own.get("allowPrivilegeEscalation"), "allowPrivilegeEscalation"),
    ]


def cri_capabilities(link: Link) -> Lines:
    own = link.cri_security
    wanted = own.get("capabilities") or {}
    return [
        *named(own.get("privileged"), "privileged"),
        *named(wanted.get("drop_capabilities"), "drop_capabilities"),
        *named(wanted.get("add_capabilities"), "add_capabilities"),
        *named(own.get("no_new_privs"), "no_new_privs"),
    ]


def oci_capabilities(link: Link) -> Lines:
    process = link.oci["process"]
    sets = process.get("capabilities") or {}
    lines = [f"{kind}: {shown({plain(name) for name in sets.get(kind) or ()})}" for kind in ("bounding", "effective")]
    return [*lines, *named(process.get("noNewPrivileges"), "noNewPrivileges")]


def kernel_capabilities(link: Link) -> Lines:
    process = link.process
    return [
        f"CapBnd: {shown(process.bounding)}",
        f"CapEff: {shown(process.effective)}",
        f"NoNewPrivs={int(process.no_new_privileges)}",
    ]


# seccomp, AppArmor


def pod_profiles(link: Link) -> Lines:
    names = ("seccompProfile", "appArmorProfile")
    return [line for name in names for line in named(setting(link.spec, link.container, name), name)]


PROFILE_TYPES = ("RuntimeDefault", "Unconfined", "Localhost")


def cri_profiles(link: Link) -> Lines:
    found = []
    for name in ("seccomp", "apparmor"):
        profile = link.cri_security.get(name)
        if profile is not None:
            where = profile.get("localhost_ref", "")
            found.append(f"{name}={PROFILE_TYPES[profile.get('profile_type', 0)]} {where}".rstrip())
    return found


def oci_profiles(link: Link) -> Lines:
    filter_, armor = link.oci_linux.get("seccomp"), link.oci["process"].get("apparmorProfile")
    lines = named(armor, "apparmorProfile")
    if filter_ is None:
        return ["no seccomp", *lines]
    calls = {name for rule in filter_.get("syscalls") or () for name in rule["names"]}
    return [f"defaultAction={filter_['defaultAction']}", f"{len(calls)} system calls named", *lines]


def kernel_profiles(link: Link) -> Lines:
    return [f"Seccomp={2 if link.process.seccomp else 0}", *named(link.process.app_armor, "AppArmor")]


# namespaces

KINDS = ("net", "pid", "ipc", "uts", "mnt", "user", "cgroup")
OCI_NAMES = {"net": "network", "mnt": "mount"}
MODES = ("POD", "CONTAINER", "NODE", "TARGET")


def pod_namespaces(link: Link) -> Lines:
    names = ("hostNetwork", "hostPID", "hostIPC", "hostUsers", "shareProcessNamespace")
    return [line for name in names for line in named(link.spec.get(name), name)]


def cri_namespaces(link: Link) -> Lines:
    options = link.cri_security.get("namespace_options") or {}
    return [f"{kind}={MODES[options.get(kind, 0)]}" for kind in ("network", "pid", "ipc")]


def oci_namespaces(link: Link) -> Lines:
    found = link.oci_linux.get("namespaces") or ()
    return [f"{one['type']}: {'of ' + one['path'] if one.get('path') else 'new'}" for one in found]


def kernel_namespaces(link: Link) -> Lines:
    process, lines = link.process, []
    given = {one["type"] for one in link.oci_linux.get("namespaces") or () if one.get("path")}
    for kind in KINDS:
        inode = process.namespaces.get(kind)
        if inode is None:
            continue
        whose = "its own"
        if inode == process.node_namespaces.get(kind):
            whose = "the node's"
        elif inode == process.sandbox_namespaces.get(kind):
            whose = "the sandbox's"
        elif not process.sandbox_namespaces and OCI_NAMES.get(kind, kind) in given:
            whose = "the sandbox's"  # which has no process of its own to compare with
        lines.append(f"{kind}:[{inode}] {whose}")
    return lines


# resources

NO_LIMIT = 1 << 62
"""What cgroup v1 shows for no limit is about as large as a number can be."""


def pod_resources(link: Link) -> Lines:
    wanted = link.container.get("resources") or {}
    return [f"{kind}: {text_of(kind, wanted[kind])}" for kind in ("requests", "limits") if wanted.get(kind)]


def cri_resources(link: Link) -> Lines:
    found = (link.cri.get("linux") or {}).get("resources") or {}
    return [f"{key}={value}" for key, value in found.items() if not isinstance(value, (dict, list))]


def oci_resources(link: Link) -> Lines:
    found = link.oci_linux.get("resources") or {}
    lines = [f"{kind}.{key}={value}" for kind in ("cpu", "memory") for key, value in (found.get(kind) or {}).items()]
    return [*lines, *named(link.oci["process"].get("oomScoreAdj"), "oomScoreAdj")]


def kernel_resources(link: Link) -> Lines:
    return [
        f"{name}={'max' if value.isdigit() and int(value) >= NO_LIMIT else value}"
        for name, value in link.limits.items()
    ]


def cri_cgroup(link: Link) -> Lines:
    return ["cgroup_parent of the sandbox"]


def kernel_cgroup(link: Link) -> Lines:
    asked, lines = link.oci_linux.get("cgroupsPath"), []
    for path in sorted(set(link.cgroups.values())):
        kinds = sorted(kind or "v2" for kind, at in link.cgroups.items() if at == path)
        lines.append(f"{'that path' if path == asked else path} in {', '.join(kinds)}")
    return lines


# files


def pod_root(link: Link) -> Lines:
    own = context(link.container)
    set_ = [line for name in ("readOnlyRootFilesystem", "procMount") for line in named(own.get(name), name)]
    return [f"image={link.container.get('image')}", *set_]


def cri_root(link: Link) -> Lines:
    own = link.cri_security
    lines = [f"image={link.cri['image']['image'][:19]}", *named(own.get("readonly_rootfs"), "readonly_rootfs")]
    return [
        *lines,
        f"{len(own.get('masked_paths') or ())} masked, {len(own.get('readonly_paths') or ())} read-only paths",
    ]


def oci_root(link: Link) -> Lines:
    linux = link.oci_linux
    lines = [f"root.path={link.oci['root']['path']}", *named(link.oci["root"].get("readonly"), "readonly")]
    return [
        *lines,
        f"{len(linux.get('maskedPaths') or ())} masked, {len(linux.get('readonlyPaths') or ())} read-only paths",
    ]


def kernel_root(link: Link) -> Lines:
    root = next(mount for mount in link.mounts if mount.target == "/")
    lower = next((word[9:] for word in root.options.split(",") if word.startswith("lowerdir=")), "")
    lines = [f"/ is {root.filesystem}, {'read-only' if root.read_only else 'writable'}"]
    return [*lines, *([f"{lower.count(':') + 1} layers below"] if lower else [])]


def pod_mounts(link: Link) -> Lines:
    return [f"{one['mountPath']} <- {one['name']}" for one in link.container.get("volumeMounts") or ()]


def cri_mounts(link: Link) -> Lines:
    return [f"{one['container_path']}{' ro' if one.get('readonly') else ''}" for one in link.cri.get("mounts") or ()]


def oci_mounts(link: Link) -> Lines:
    binds = [one for one in link.oci.get("mounts") or () if one.get("type") == "bind"]
    return [f"{one['destination']}{' ro' if 'ro' in one.get('options', ()) else ''}" for one in binds]


def kernel_mounts(link: Link) -> Lines:
    """Return what is mounted where the request wants it; in most images /var/run is a link to /run."""
    mounts, lines = {mount.target: mount for mount in link.mounts}, []
    for target in (one["destination"] for one in link.oci.get("mounts") or () if one.get("type") == "bind"):
        mount = mounts.get(target) or mounts.get(target.replace("/var/run/", "/run/", 1))
        lines.append(
            f"{mount.target} {mount.filesystem}{' ro' if mount.read_only else ''}" if mount else f"no {target}"
        )
    return lines


TOPICS = (
    Topic("command", pod_command, cri_command, oci_command, lambda link: [link.command]),
    Topic("user", pod_user, cri_user, oci_user, kernel_user),
    Topic("capabilities", pod_capabilities, cri_capabilities, oci_capabilities, kernel_capabilities),
    Topic("profiles", pod_profiles, cri_profiles, oci_profiles, kernel_profiles),
    Topic("namespaces", pod_namespaces, cri_namespaces, oci_namespaces, kernel_namespaces),
    Topic("resources", pod_resources, cri_resources, oci_resources, kernel_resources),
    Topic(
        "cgroup", lambda link: [], cri_cgroup, lambda link: [str(link.oci_linux.get("cgroupsPath", ""))], kernel_cgroup
    ),
    Topic("root", pod_root, cri_root, oci_root, kernel_root),
    Topic("mounts", pod_mounts, cri_mounts, oci_mounts, kernel_mounts),
)

HEADINGS = ("", "PodSpec", "CRI", "OCI config.json", "kernel")


def table(found: list[Row], width: int) -> Iterator[str]:
    """Yield the rows side by side, cells cut into lines of at most a column's width."""
    first = max(len(row.topic) for row in found) + 2
    column = max((width - first - 6) // 4, 24)
    yield line([HEADINGS[0], *HEADINGS[1:]], first, column)
    for row in found:
        cells = [[row.topic], *([piece for entry in cell for piece in pieces(entry, column)] for cell in row[1:])]
        for index in range(max(map(len, cells))):
            yield line([cell[index] if index < len(cell) else "" for cell in cells], first, column)


def line(cells: list[str], first: int, column: int) -> str:
    return "  ".join([f"{cells[0]:{first - 2}}", *(f"{cell:{column}}" for cell in cells[1:])]).rstrip()


def pieces(text: str, width: int) -> Lines:
    """Return a text as lines that are no longer than a width; those that follow are set in."""
    found = [text[:width]]
    rest = text[width:]
    while rest:
        found.append("  " + rest[: width - 2])
        rest = rest[width - 2 :]
    return found
