"""``sampan lab`` from a shell: every verb, mistakes, ``kill -9`` at any point, and all of it without root."""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from sampan.lab import LabError, calls
from sampan.lab.address import running

from .eventually import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root")
LABS = Path(__file__).parents[2] / "examples/labs"
SOURCE = Path(__file__).parents[2] / "src"
NOBODY = 65534


ADDED = "added    node c\nadded    link r-c\nchanged  node r\n"


def sampan(*words: str, check: bool = True, text: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sampan.cli.main", "lab", *words]
    done = subprocess.run(command, capture_output=True, text=True, input=text, timeout=120)
    assert not check or done.returncode == 0, done.stderr
    return done


@pytest.fixture
def name() -> Iterator[str]:
    """The name of a laboratory of the test's own, which is down afterwards."""
    chosen = f"lab-{uuid.uuid4().hex[:8]}"
    yield chosen
    if chosen in running():
        sampan("down", chosen)


def keeper(name: str) -> int:
    return int(calls.call(name, {"ask": "identity"})[0]["pid"])


def ended(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


OTHERS = ("smp", "sampan", "veth", "cni", "podman", "docker", "netns-")
"""What names of links and namespaces begin with that are others'."""


def traces() -> dict[str, set[str]]:
    """What could be left of a laboratory on the machine: neither a cluster's nor a container engine's."""
    mounts = {line for line in Path("/proc/self/mountinfo").read_text().splitlines() if "sampan-lab" in line}
    return {
        "links": {path.name for path in Path("/sys/class/net").iterdir() if not path.name.startswith(OTHERS)},
        "named namespaces": {
            line
            for line in subprocess.run(["ip", "netns"], capture_output=True, text=True).stdout.splitlines()
            if not line.startswith(OTHERS)
        },
        "tables": {
            t
            for t in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout.splitlines()
            if "sampan-lab" in t
        },
        "mounts": mounts,
    }


def test_the_classic_from_up_to_down(name: str, tmp_path: Path) -> None:
    said = sampan("up", "--name", name, str(LABS / "classic.yaml")).stdout
    assert f"laboratory {name} is up: 3 nodes, 2 links, all pairs as planned" in said
    assert name in sampan("ls").stdout
    assert "runs already" in sampan("up", "--name", name, str(LABS / "classic.yaml"), check=False).stderr
    here = ("--name", name)
    assert sampan("exec", *here, "a", "--", "cat", "/etc/hostname").stdout == "a\n"
    assert sampan("exec", *here, "a", "sh", "-c", "exit 7", check=False).returncode == 7
    assert "b" in sampan("exec", *here, "a", "cat", text="b").stdout
    assert "all as planned" in sampan("ping", *here).stdout
    assert "by a → r → b" in sampan("ping", *here, "a", "b", "-c", "1").stdout
    assert "10.1.0.0/24" in sampan("graph", *here).stdout
    sampan("graph", *here, "--svg", str(tmp_path / "x.svg"))
    assert (tmp_path / "x.svg").read_text().startswith("<svg")
    assert "Serving HTTP" in sampan("logs", *here, "b").stdout
    assert [node["name"] for node in json.loads(sampan("show", *here, "-o", "json").stdout)["nodes"]] == ["a", "r", "b"]
    assert sampan("fault", "cut", "a-r", *here).stdout == "cut a-r\n"
    assert sampan("ping", *here, "a", "b", "-c", "1", check=False).returncode == 1
    assert "a does not reach b" in sampan("ping", *here, check=False).stderr
    assert sampan("heal", *here).stdout == "1 fault healed\n"
    sampan("restart", *here, "r")
    assert "all as planned" in sampan("ping", *here).stdout
    changed = yaml.safe_load((LABS / "classic.yaml").read_text())
    changed["nodes"].append({"name": "c"})
    changed["links"].append({"ends": ["r", "c"]})
    (tmp_path / "more.yaml").write_text(yaml.safe_dump(changed))
    assert sampan("apply", *here, str(tmp_path / "more.yaml")).stdout == ADDED
    assert sampan("down", name).stdout == f"laboratory {name} is gone\n"
    assert name not in sampan("ls").stdout
    assert "no laboratory" in sampan("down", name, check=False).stderr


def test_a_terminal_is_the_programs_own(name: str) -> None:
    sampan("up", "--name", name, str(LABS / "classic.yaml"))
    if not shutil.which("script"):
        pytest.skip("script(1) is not installed")
    inner = f"{sys.executable} -m sampan.cli.main lab exec --name {name} a -- sh -c 'tty >/dev/null && hostname'"
    done = subprocess.run(
        ["script", "-qec", inner, "/dev/null"], capture_output=True, text=True, stdin=subprocess.DEVNULL
    )
    assert (done.returncode, done.stdout.strip()) == (0, "a")


def test_captures_end_with_their_reader(name: str, tmp_path: Path) -> None:
    sampan("up", "--name", name, str(LABS / "classic.yaml"))
    command = [sys.executable, "-m", "sampan.cli.main", "lab", "capture", "--name", name, "a-r", "r-b", "-w"]
    process = subprocess.Popen([*command, str(tmp_path / "x.pcapng")], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    assert process.stderr.readline() == "capturing a-r at r, r-b at b\n"
    sampan("ping", "--name", name, "a", "b", "-c", "2")
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    counts = [int(line.split(": ")[1].split()[0]) for line in said.splitlines()]
    assert all(count >= 4 for count in counts), said


@pytest.mark.parametrize(
    ("topology", "told"),
    [
        ("nodes: [{name: a, interfaces: [x]}]", "nodes[0].interfaces[0].subnet: there is no subnet 'x'; there is none"),
        ("nodes: [", "must be YAML"),
        ("nodes: [{name: a, run: [no-such-program], files: {/no/such/x: y}}]", "the file /no/such/x cannot be made"),
        (
            "nodes: [{name: a, run: [{command: 'true', listens: 80}]}]",
            "node a: 'true' ended before it listened on port 80",
        ),
    ],
)
def test_a_mistake_leaves_nothing_behind(name: str, tmp_path: Path, topology: str, told: str) -> None:
    (tmp_path / "x.yaml").write_text(topology)
    before = traces()
    done = sampan("up", "--name", name, str(tmp_path / "x.yaml"), check=False)
    assert done.returncode == 1
    assert told in done.stderr
    assert name not in running()
    eventually("nothing is left", lambda: traces() == before)


def test_what_the_kernel_has_not_is_told(name: str, tmp_path: Path) -> None:
    from sampan.lab import features

    wanted = {"vlan": "subnets[1].vlan", "netem": "links[0].delay"}
    (tmp_path / "x.yaml").write_text(
        "{subnets: [lan, {name: v, vlan: 7, over: lan}],"
        " nodes: [{name: a, interfaces: [lan, v]}, {name: b, interfaces: [lan, v]}],"
        " links: [{ends: [a, b], delay: 1ms}]}"
    )
    lacking = {path for feature, path in wanted.items() if not features.has(feature)}
    done = sampan("up", "--name", name, str(tmp_path / "x.yaml"), check=False)
    assert (done.returncode == 1) is bool(lacking)
    for path in lacking:
        assert f"sampan: {path}: this kernel has no" in done.stderr


def test_nothing_remains_after_kill_9(name: str) -> None:
    before = traces()
    sampan("up", "--name", name, str(LABS / "classic.yaml"))
    sampan("fault", "loss", "--name", name, "a-r", "10%")
    pid = keeper(name)
    children = children_of(pid)
    assert children, "the server of b"
    os.kill(pid, signal.SIGKILL)
    eventually("the keeper ended", lambda: ended(pid))
    eventually("its programs went with it", lambda: all(ended(child) for child in children))
    assert name not in sampan("ls").stdout
    eventually("nothing is left", lambda: traces() == before)
    sampan("up", "--name", name, str(LABS / "classic.yaml"))


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.mark.parametrize("seed", range(6))
def test_kill_9_at_any_point_of_up(name: str, seed: int) -> None:
    before = traces()
    command = [sys.executable, "-m", "sampan.cli.main", "lab", "up", "--name", name, str(LABS / "classic.yaml")]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(random.Random(seed).uniform(0.05, 0.6))  # the point is the chance
    descendants = [process.pid]
    for pid in descendants:
        try:
            descendants += children_of(pid)
        except OSError:
            continue
    for pid in descendants:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    process.wait()
    with contextlib.suppress(LabError):  # if it was up already, held by nobody's child
        os.kill(keeper(name), signal.SIGKILL)
    eventually("it is gone", lambda: name not in running())
    eventually("nothing is left", lambda: traces() == before)


AS_NOBODY = """
import os, sys
os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
from sampan.lab import Lab
with Lab("classic.yaml") as lab:
    assert lab.exec("a", "cat", "/etc/hostname").out == "a\\n"
    script = "import urllib.request as u; print(u.urlopen('http://b', timeout=5).status)"
    assert lab.exec("a", sys.executable, "-c", script).out == "200\\n"
    lab.loss("a-r", 100)
    assert not lab.reaches("a", "b", seconds=0.2)
    lab.heal()
    lab.cut("r-b")
    assert not lab.reaches("a", "b", seconds=0.2)
    lab.heal()
    lab.restart("r")
    lab.check()
    with lab.capture("a-r", to=os.environ["CAPTURE"]) as capture:
        assert lab.reaches("a", "b", count=3)
    assert capture.seen[0].packets >= 2
    lab.exec("a", "touch", "/etc/of-a")
print("well")
"""


def test_all_of_it_without_root() -> None:
    python = next((path for path in ("/usr/bin/python3", sys.executable) if can_be_run_by_nobody(path)), None)
    if python is None:
        pytest.skip("no Python that another user may run")
    folder = Path(f"/tmp/sampan-lab-{uuid.uuid4().hex[:8]}")
    try:
        folder.mkdir(mode=0o755)
        shutil.copytree(SOURCE / "sampan/lab", folder / "sampan/lab")
        shutil.copytree(SOURCE / "sampan/network", folder / "sampan/network")
        (folder / "sampan/__init__.py").write_text("")
        shutil.copytree(Path(yaml.__file__).parent, folder / "yaml")
        shutil.copy(LABS / "classic.yaml", folder)
        os.chown(folder, NOBODY, NOBODY)
        env = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(folder),
            "CAPTURE": str(folder / "x.pcapng"),
            "HOME": str(folder),
        }
        done = subprocess.run(
            [python, "-c", AS_NOBODY.format(nobody=NOBODY)],
            capture_output=True,
            text=True,
            cwd=folder,
            env=env,
            timeout=120,
        )
        if "namespaces are refused" in done.stderr:
            pytest.skip("this machine allows users no namespaces of their own")
        assert done.stdout == "well\n", done.stderr
    finally:
        shutil.rmtree(folder)


def can_be_run_by_nobody(path: str) -> bool:
    command = [path, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    try:
        return subprocess.run(command, user=NOBODY, group=NOBODY, extra_groups=[], env={}, cwd="/").returncode == 0
    except OSError:
        return False
