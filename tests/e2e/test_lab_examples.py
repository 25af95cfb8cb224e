"""The ready laboratories of ``examples/labs``, and the commands by hand of ``docs/lab-classic.md`` beside the first."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from sampan.lab import Lab
from sampan.lab.planning import plan
from sampan.lab.reading import read

from .eventually import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root")
ROOT = Path(__file__).parents[2]
LABS = ROOT / "examples/labs"
FETCH = "import sys, urllib.request as u; print(u.urlopen(sys.argv[1], timeout=5).read().decode(), end='')"
Factory = Callable[..., Lab]


def fetched(lab: Lab, node: str, url: str, **options: bool) -> str:
    return lab.exec(node, sys.executable, "-c", FETCH, url, **options).out


def test_every_example_is_known_here() -> None:
    assert {path.stem for path in LABS.glob("*.yaml")} == {"classic", "office", "leaf-spine"}


def test_the_office_reaches_the_internet_and_is_not_reached(lab_factory: Factory) -> None:
    lab = lab_factory(LABS / "office.yaml")
    for host in ("web", f"[{lab.address('web', 6)}]"):
        assert fetched(lab, "alice", f"http://{host}/") == "hello from the internet\n"
    theirs = (lab.address("gateway", 6), "fd00:80::1 ")
    eventually("it sees the gateway only", lambda: any(one in lab.logs("web") for one in theirs))
    assert lab.exec("web", sys.executable, "-c", FETCH, "http://printer:631/", check=False).code != 0
    assert "Directory listing" in fetched(lab, "bob", "http://printer:631/")
    lab.cut("trunk")
    assert not lab.reaches("alice", "bob", seconds=0.2)
    assert lab.reaches("bob", "printer")
    lab.heal()
    assert lab.reaches("alice", "bob", count=3)


def test_leaves_and_spines_find_a_way_round_what_is_taken_away(lab_factory: Factory) -> None:
    lab = lab_factory(LABS / "leaf-spine.yaml")
    lab.cut("leaf1-spine1")
    assert not lab.reaches("rack1a", "rack3a", seconds=0.2), "routes are static"
    topology = yaml.safe_load((LABS / "leaf-spine.yaml").read_text())
    topology["links"].remove({"ends": ["leaf1", "spine1"]})
    assert lab.apply(topology)["removed"] == ["link leaf1-spine1"]
    assert lab.reaches("rack1a", "rack3a")
    assert (
        "spine2" in lab._ask({"ask": "ping", "source": "rack1a", "target": "rack3a", "count": 1})["targets"][0]["path"]
    )


def test_the_files_of_the_documentation_are_right() -> None:
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/lab.md").read_text(), re.S)
    assert blocks
    for block in blocks:
        plan(read(yaml.safe_load(block)))


def test_commands_by_hand_make_what_the_laboratory_makes(lab_factory: Factory) -> None:
    """They run in a network and mount namespace of their own, so that names of namespaces do not reach the machine."""
    steps = re.findall(r"```sh\n(.*?)```", (ROOT / "docs/lab-classic.md").read_text(), re.S)
    assert len(steps) == 8
    if not shutil.which("ping"):
        steps = [step for step in steps if " ping " not in step]
    looks = [f"echo == {node} {what}; ip -n {node} {what}" for node in "arb" for what in ("route", "-br -4 addr")]
    away = steps.pop()
    script = [
        "set -e",
        "mount -t tmpfs none /run",
        *steps,
        *looks,
        "ip netns exec r cat /proc/sys/net/ipv4/ip_forward",
        away,
    ]
    done = subprocess.run(
        ["unshare", "--net", "--mount", "sh"], input="\n".join(script), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    by_hand = done.stdout[done.stdout.index("== a route") :]
    lab = lab_factory(LABS / "classic.yaml")
    made = "".join(
        f"== {node} {what}\n" + lab.exec(node, "ip", *what.split()).out
        for node in "arb"
        for what in ("route", "-br -4 addr")
    )
    assert comparable(made + "1\n") == comparable(by_hand)


def comparable(text: str) -> list[str]:
    """Without who made a route, and which number the other end of a link has."""
    return [re.sub(r" proto static|@\S+", "", line).strip() for line in text.splitlines()]
