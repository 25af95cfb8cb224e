"""``up`` and ``down`` of a cluster, without a word printed: what is done, in which order, and how each step can fail.

``up`` decides the settings (kept from an earlier ``up``), opens the API's socket in the host's namespace, forks the
supervisor into the cluster's namespaces, pins these and links them with the host, then follows the supervisor's progress
until everything asked for is ready. ``down`` undoes all of it; every step of ``down`` may find its work done already.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from sampan.cluster import cgroups, host_names, kubeconfig, namespaces, pki, supervisor_process
from sampan.cluster.settings import (
    DEFAULT_KUBERNETES_VERSION,
    IPFamily,
    PodsMode,
    Settings,
    run_root,
    snapshots_root,
    state_root,
)

CLUSTERS_AT_MOST = 16
SOCKET_PATH_BYTES = 107
LEAVING_SECONDS = 20
"""How long the supervisor may take to end beside what the pods may take."""
DEATHS_AT_MOST = 3
"""A part that dies so often before it was ready once is not going to be."""
Step = Callable[[str, str], None]
"""``(step, text)``, called as each step of ``up`` is done."""


class ClusterError(Exception):
    """A cluster that could not be brought up or down; ``hint`` says what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def names() -> list[str]:
    """Return the clusters of this machine and user, sorted."""
    return sorted(path.parent.name for path in state_root().glob("*/cluster.json"))


def load(name: str) -> Settings:
    """Return the settings of a cluster. Raises ``ClusterError`` where there is none."""
    try:
        return Settings.load(name)
    except FileNotFoundError:
        known = ", ".join(names()) or "none"
        raise ClusterError(
            f"there is no cluster {name!r}", f"clusters here: {known}; `sampan up --name {name}`"
        ) from None
    except (ValueError, TypeError) as error:
        path = state_root() / name / "cluster.json"
        raise ClusterError(f"{path} cannot be read: {error}", "`sampan down` removes the cluster") from error


def recover(name: str) -> Settings:
    """Return the settings of a cluster, from its kubeconfigs when its own file is spoilt: enough to take it down.

    Raises ``ClusterError`` where there is no such cluster, or nothing left to tell by."""
    try:
        return load(name)
    except ClusterError as spoilt:
        folder = state_root() / name / "kubeconfig"
        try:
            servers = [(folder / f"{user}.kubeconfig").read_text() for user in ("admin", "node")]
        except OSError:
            raise spoilt from None
        ports, nodes = (re.findall(r"server: https://([0-9.]+|\[[0-9a-f:]+\]):(\d+)", text) for text in servers)
        if not ports or not nodes:
            raise spoilt from None
        return _recovered(name, nodes[0][0], int(ports[0][1]))


def _recovered(name: str, node: str, port: int) -> Settings:
    """Return what the address of a node tells. A cluster of IPv4 may have been one of both: more is taken down then, not
    less."""
    if node.startswith("["):
        return Settings(name, int(node.split(":")[2], 16) - 0xF0, "real", "", port, ip_family="ipv6")
    inside = node.split(".")
    if inside[0] != "10":
        return Settings(name, 0, "simulated", "", port)
    return Settings(name, int(inside[1]) - 240, "real", "", port, ip_family="dual")


def ask(settings: Settings, command: str) -> dict[str, Any] | None:
    """Return the supervisor's answer to a command; None when no supervisor runs."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5.0)
        try:
            connection.connect(str(settings.supervisor_socket))
            connection.sendall(json.dumps({"command": command}).encode())
            answer = b""
            while not answer.endswith(b"\n"):
                chunk = connection.recv(65536)
                if not chunk:
                    return None
                answer += chunk
        except OSError:
            return None
    found: dict[str, Any] = json.loads(answer)
    return found


# up


def choose(
    name: str,
    pods: PodsMode,
    version: str | None,
    api_port: int | None,
    api_flags: dict[str, Any] | None = None,
    store_url: str | None = None,
    kubelet_config: dict[str, Any] | None = None,
    cri_endpoint: str | None = None,
    scheduler_config: str | None = None,
    ip_family: IPFamily | None = None,
    gateway: str | None = None,
) -> Settings:
    """Return the settings of an existing cluster, or new ones with an index and ranges of its own, saved.
    What is None stays as it was.

    Raises ``ClusterError`` when an existing cluster was made differently, or no index is free."""
    with _machine_lock():
        if name in names():
            settings = load(name)
            if settings.pods != pods or version not in (None, settings.kubernetes_version):
                made = f"--pods={settings.pods} --kubernetes-version={settings.kubernetes_version}"
                raise ClusterError(f"cluster {name!r} exists with {made}", f"`sampan down --name {name}` first")
            if store_url not in (None, settings.store_url):
                kept = settings.store_url or settings.store_path
                raise ClusterError(f"cluster {name!r} keeps its state in {kept}", f"`sampan down --name {name}` first")
            if ip_family not in (None, settings.ip_family):
                made = f"--ip-family={settings.ip_family}"
                raise ClusterError(f"cluster {name!r} exists with {made}", f"`sampan down --name {name}` first")
            if api_port not in (None, settings.api_port) and ask(settings, "status") is None:
                settings = replace(settings, api_port=api_port)
                api_socket(settings).close()
                pki.move(settings)
                settings.save()
            if api_flags not in (None, settings.api_flags):
                settings = _changed(settings, "other settings of its API", "--api-config", api_flags=api_flags)
            if kubelet_config not in (None, settings.kubelet_config):
                given = {"kubelet_config": kubelet_config}
                settings = _changed(settings, "other settings of its kubelet", "--kubelet-config", **given)
            if cri_endpoint not in (None, settings.cri_endpoint):
                settings = _changed(settings, "another container runtime", "--cri-endpoint", cri_endpoint=cri_endpoint)
            if scheduler_config not in (None, settings.scheduler_config):
                changed = {"scheduler_config": scheduler_config}
                settings = _changed(settings, "other settings of its scheduler", "--scheduler-config", **changed)
            if gateway not in (None, settings.gateway):
                settings = _changed(settings, "another gateway", "--gateway", gateway=gateway)
            return settings
        index = _free_index(pods, ip_family or "ipv4")
        port = api_port or _free_port()
        settings = Settings(
            name,
            index,
            pods,
            version or DEFAULT_KUBERNETES_VERSION,
            port,
            api_flags=api_flags or {},
            kubelet_config=kubelet_config or {},
            cri_endpoint=cri_endpoint or "",
            store_url=store_url or "",
            scheduler_config=scheduler_config or "",
            ip_family=ip_family or "ipv4",
            gateway=gateway or "sampan",
        )
        check_sockets(settings)
        api_socket(settings).close()
        settings.save()
        return settings


def check_sockets(settings: Settings) -> None:
    """Raise ``ClusterError`` where a socket's path would be longer than the kernel takes (unix(7))."""
    longest = max(settings.sockets, key=lambda path: len(os.fsencode(path)))
    if (size := len(os.fsencode(longest))) > SOCKET_PATH_BYTES:
        raise ClusterError(
            f"the path of a socket has at most {SOCKET_PATH_BYTES} bytes, and {longest} has {size}",
            "a shorter --name, or XDG_RUNTIME_DIR set to a shorter folder",
        )


def _changed(settings: Settings, what: str, option: str, **changes: Any) -> Settings:
    """Return the settings with other values, saved. Raises ``ClusterError`` while the cluster is up."""
    if ask(settings, "status") is not None:
        raise ClusterError(
            f"cluster {settings.name!r} runs with {what}",
            f"`sampan down --name {settings.name}` first, or leave {option} out",
        )
    settings = replace(settings, **changes)
    settings.save()
    return settings


def _free_index(pods: PodsMode, ip_family: IPFamily) -> int:
    from sampan.network.cluster_link import clashing_route

    taken = {index_of(name) for name in names()}
    for index in range(CLUSTERS_AT_MOST):
        ranges = Settings("", index, pods, "", 0, ip_family=ip_family).cluster_cidrs
        if index not in taken and (pods != "real" or not any(map(clashing_route, ranges))):
            return index
    raise ClusterError(
        f"no address range is free for another cluster ({len(taken)} are up)", "`sampan ls`, `sampan down`"
    )


def index_of(name: str) -> int:
    """Return a cluster's index, also of one that a newer version made, with settings that this one does not know."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
        return int(json.loads((state_root() / name / "cluster.json").read_text())["index"])
    return recover(name).index


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _machine_lock() -> Iterator[None]:
    """One ``up`` at a time decides on ranges."""
    root = state_root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = open(root / "lock", "w")  # noqa: SIM115  # closed by the with below
    except OSError as error:
        raise ClusterError(
            f"cannot write {root}: {error.strerror}", "check its owner and that the disk is not full"
        ) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def one_at_a_time(settings: Settings) -> Iterator[None]:
    """Hold the cluster's lock: two commands that change it take turns. The lock is this process's, not its forks'."""
    settings.state_dir.mkdir(parents=True, exist_ok=True)
    with open(settings.state_dir / "lock", "w") as lock:
        fcntl.lockf(lock, fcntl.LOCK_EX)
        yield


def api_socket(settings: Settings) -> socket.socket:
    """Return the API's socket on the host's 127.0.0.1, bound. Raises ``ClusterError`` when the port is taken."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", settings.api_port))
    except OSError as error:
        listener.close()
        raise ClusterError(
            f"port {settings.api_port} of 127.0.0.1 cannot be used for the API: {error.strerror}",
            "end the program that has it (`ss -ltnp`), or give another one with --api-port",
        ) from error
    return listener


def up(settings: Settings, step: Step, wait_seconds: float) -> None:
    """Bring the cluster up and return when its parts are ready. Raises ``ClusterError`` with the first real cause."""
    if settings.pods == "real":
        # what a killed supervisor may have left; the shims keep the pods, which are adopted
        cgroups.kill(f"{settings.cgroup}/system", spared="containerd-shim", outside=f"{settings.cgroup}/kubepods")
    listener = api_socket(settings)
    if run_root().parent.name.startswith("sampan-"):  # under /tmp, where others may write too
        run_root().parent.mkdir(mode=0o700, exist_ok=True)
        if run_root().parent.stat().st_uid != os.geteuid():
            raise ClusterError(
                f"{run_root().parent} belongs to somebody else", "set XDG_RUNTIME_DIR to a folder of yours"
            )
    settings.run_dir.mkdir(parents=True, exist_ok=True)
    settings.log_dir.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(OSError):
        for log in settings.log_dir.glob("*.log"):
            log.unlink()
    real = settings.pods == "real"
    if real:
        namespaces.prepare_pins(settings)
    supervisor = supervisor_process.take()
    given = {"settings": asdict(settings), "socket": str(settings.supervisor_socket), "log_dir": str(settings.log_dir)}
    with supervisor.connection as connection:
        supervisor.order(given, listener)
        listener.close()
        pki.ensure(settings)  # while the parts import what they need
        if not real:
            _say_prepared(connection)
        _follow(settings, connection, step, wait_seconds)


def _follow(settings: Settings, connection: socket.socket, step: Step, wait_seconds: float) -> None:
    """Read the supervisor's progress until everything is ready."""
    import select

    wanted = {"api"}
    if settings.pods == "real":
        wanted |= {"node", "dns"} | ({"gateway"} if settings.gateway == "sampan" else set())
    deadline = time.monotonic() + wait_seconds
    rest = b""
    trouble = ""
    deaths: dict[str, int] = {}
    while wanted:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([connection], [], [], left)[0]:
            waiting = ", ".join(sorted(wanted))
            raise ClusterError(
                f"not ready after {wait_seconds:.0f} s: {waiting}. {trouble}".strip(), _look_at(settings)
            )
        try:
            chunk = connection.recv(65536)
        except ConnectionResetError:  # it ended before it had read what we said
            chunk = b""
        if not chunk:
            raise ClusterError(trouble or "the supervisor ended", _look_at(settings))
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            name, text = json.loads(line)
            if name == "failed":
                raise ClusterError(text, _look_at(settings))
            if name == "error":
                trouble = text
                part = text.split()[0]
                deaths[part] = deaths.get(part, 0) + 1
                if part in wanted and deaths[part] >= DEATHS_AT_MOST:
                    ask(settings, "down")
                    raise ClusterError(f"{part} cannot run: {cause(text)}", _look_at(settings))
                if deaths[part] < DEATHS_AT_MOST:
                    continue
            if name == "namespaces":
                _pin_and_link(settings, int(text.removeprefix("new ")) if text != "kept" else 0)
                text = text.split()[0]
                _say_prepared(connection)
            wanted.discard(name)
            step(name, text)


def _say_prepared(connection: socket.socket) -> None:
    """Tell the supervisor that keys and links are there."""
    with contextlib.suppress(BrokenPipeError):  # its last words say why it has ended
        connection.sendall(b"1")


def cause(report: str) -> str:
    """Return the error's own words from a report of the supervisor: ``api died (TIME HOW: WORDS); starting …``."""
    words = report.partition(" died (")[2].partition("); starting")[0]
    return words.partition(": ")[2] or words


def _pin_and_link(settings: Settings, new_pid: int) -> None:
    """Pin the namespaces of the supervisor when they are new, and link them with the host."""
    from sampan.network import cluster_link

    if new_pid:
        namespaces.unpin_files(settings)
        namespaces.pin(settings, new_pid)
    try:
        cluster_link.connect(link_config(settings))
    except cluster_link.LinkError as error:
        raise ClusterError(str(error), "`sampan doctor` shows what this machine lacks") from error


def link_config(settings: Settings) -> Any:
    from sampan.network.cluster_link import LinkConfig

    return LinkConfig(
        name=settings.name,
        index=settings.index,
        netns_path=settings.netns_path,
        state_dir=settings.state_dir,
        cluster_cidrs=settings.cluster_cidrs,
        host_ips=settings.host_ips,
        node_ips=settings.node_ips,
    )


def _look_at(settings: Settings) -> str:
    return f"look at `sampan status --name {settings.name}` and {settings.log_dir}"


# down


def down(settings: Settings, kubeconfig_file: Path) -> None:
    """Take the cluster down and leave nothing of it. Raises ``ClusterError`` naming what resists."""
    with one_at_a_time(settings):
        _take_down(settings, kubeconfig_file)


def leave_seconds(settings: Settings) -> int:
    """Return how long the pods of a cluster may take to end when it goes down."""
    from sampan.cluster import parts

    return parts.leave_seconds(settings) if settings.pods == "real" else 0


def _take_down(settings: Settings, kubeconfig_file: Path) -> None:
    answer = ask(settings, "down")
    if answer is not None and (seconds := leave_seconds(settings)):
        with contextlib.suppress(ClusterError):  # what does not end by itself is killed below
            _wait_for_end(settings, seconds + LEAVING_SECONDS)
    if settings.cri_endpoint and settings.containerd_socket.exists():
        _leave_runtime(settings)
    if settings.pods == "real":
        from sampan.network import cluster_link
        from sampan.node.volumes.loop_devices import detach_below

        try:
            cgroups.kill(settings.cgroup)
        except TimeoutError as error:
            raise ClusterError(str(error), "they wait for the kernel; try again in a moment") from error
        try:
            cluster_link.disconnect(link_config(settings))
        except cluster_link.LinkError as error:
            raise ClusterError(str(error)) from error
        namespaces.unpin(settings)
        detach_below(settings.state_dir)
        cgroups.remove(settings.cgroup)
    elif answer is not None:
        _wait_for_end(settings)
    kubeconfig.remove(kubeconfig_file, f"sampan-{settings.name}")
    if os.geteuid() == 0:
        host_names.remove(settings.name)
    import shutil

    # this first: while it is there, ``host_forwarding`` must find the note that the cluster leaves
    (settings.state_dir / "cluster.json").unlink(missing_ok=True)
    for folder in (settings.run_dir, settings.state_dir):
        shutil.rmtree(folder, ignore_errors=True)
        if folder.exists():
            raise ClusterError(f"{folder} cannot be removed", "something of it is still mounted or held open")
    with contextlib.suppress(OSError):
        snapshots_root().rmdir()  # it holds none
    if not names():
        (state_root() / "lock").unlink(missing_ok=True)
        ours = (run_root().parent,) if run_root().parent.name.startswith("sampan-") else ()
        for root in (run_root(), state_root(), *ours):
            with contextlib.suppress(OSError):
                root.rmdir()


def _leave_runtime(settings: Settings) -> None:
    """Remove the cluster's pods from a runtime that outlives it. Raises ``ClusterError``."""
    import asyncio

    from sampan.node.leaving import remove_pods
    from sampan.node.runtime import RuntimeFailure

    try:
        asyncio.run(remove_pods(settings.containerd_socket, settings.node_name))
    except RuntimeFailure as error:
        raise ClusterError(f"the cluster's pods cannot be removed: {error}", "start the runtime, then again") from error


def _wait_for_end(settings: Settings, seconds: float = 10) -> None:
    """Return when the supervisor has ended: its socket goes last."""
    deadline = time.monotonic() + seconds
    while settings.supervisor_socket.exists():
        if time.monotonic() > deadline:
            raise ClusterError(f"the supervisor of {settings.name!r} does not end", _look_at(settings))
        time.sleep(0.01)  # another session's process: there is nothing to wait on
