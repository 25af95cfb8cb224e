"""A laboratory in a test's hand: programs, sockets, captures, faults, restarts and changes, in real namespaces."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sampan.lab import Lab, LabError, ProgramFailed, TopologyError, address
from sampan.lab.capture import Recording

from .eventually import eventually

pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root")

SERVER = "python3 -m http.server 80"
TOPOLOGY: dict[str, Any] = {
    "subnets": [
        {"name": "left", "cidr": ["10.1.0.0/24", "fd00:1::/64"]},
        {"name": "right", "cidr": ["10.2.0.0/24", "fd00:2::/64"]},
    ],
    "nodes": [
        {"name": "a", "interfaces": ["left"], "env": {"COLOUR": "blue"}, "files": {"/etc/app/colour": "green\n"}},
        {"name": "r", "router": True, "interfaces": ["left", "right"]},
        {"name": "b", "interfaces": ["right"], "run": [{"command": SERVER, "listens": 80}]},
        {"name": "p"},
        {"name": "q"},
    ],
    "links": [{"ends": ["p", "q"]}],
}
HTTP = "import urllib.request as u; print(u.urlopen('http://b/', timeout=3).status)"


@pytest.fixture(scope="module")
def shared() -> Iterator[Lab]:
    with Lab(TOPOLOGY) as lab:
        yield lab


@pytest.fixture
def lab(shared: Lab) -> Iterator[Lab]:
    yield shared
    shared.heal()


def dropped(lab: Lab, place: str) -> bool:
    return "counter packets 0" not in lab.exec(place, "nft", "list", "ruleset").out


def test_programs_have_the_name_the_files_and_the_environment_of_their_node(lab: Lab) -> None:
    assert lab.exec("a", "sh", "-c", "hostname; echo $COLOUR; cat /etc/app/colour").out == "a\nblue\ngreen\n"
    assert "10.2.0.2 b" in lab.exec("a", "cat", "/etc/hosts").out
    assert lab.exec("a", "ls", "/sys/class/net").out.split() == ["eth0", "lo"]
    lab.exec("a", "touch", "/etc/of-a", "/run/of-a")
    assert lab.exec("b", "sh", "-c", "ls /etc/of-a /run/of-a", check=False).code == 2, "another node does not see it"
    assert not Path("/etc/of-a").exists(), "nor does the machine"
    assert not Path("/etc/app").exists()


def test_programs_end_as_they_end(lab: Lab) -> None:
    done = lab.exec("a", "sh", "-c", "cat; echo wrong >&2; exit 3", input="given", check=False)
    assert (done.code, done.out, done.err) == (3, "given", "wrong\n")
    with pytest.raises(ProgramFailed, match="a: sh -c exit 3: exit code 3"):
        lab.exec("a", "sh", "-c", "exit 3")
    assert lab.exec("a", "no-such-program", check=False).code == 127
    with pytest.raises(LabError, match="there is no node 'x'"):
        lab.exec("x", "true")
    with pytest.raises(TimeoutError):
        lab.exec("a", "sleep", "60", timeout=0.2)
    eventually("what was not waited for is ended", lambda: processes(lab, "a") == 0)


def processes(lab: Lab, node: str) -> int:
    return int(next(one["processes"] for one in lab.status()["nodes"] if one["name"] == node))


def test_services_answer_over_the_router_by_name(lab: Lab) -> None:
    assert lab.exec("a", sys.executable, "-c", HTTP).out == "200\n"
    eventually("it is logged", lambda: '"GET / HTTP/1.1" 200' in lab.logs("b"))


def test_sockets_of_this_process_live_in_nodes(lab: Lab) -> None:
    with lab.socket("b") as server, lab.socket("a") as client:
        server.bind((lab.address("b"), 0))
        server.listen()
        client.connect(server.getsockname())
        assert server.accept()[1][0] == lab.address("a") == "10.1.0.2"
    with lab.entered("a"):
        assert {name for _, name in socket.if_nameindex()} == {"lo", "eth0"}


@pytest.mark.parametrize(("link", "one", "other"), [("a-left", "a", "b"), ("p-q", "p", "q")])
def test_a_cut_takes_the_carrier_and_a_heal_brings_everything_back(lab: Lab, link: str, one: str, other: str) -> None:
    for node in (one, other):
        lab.exec(node, "ip", "route", "add", "198.51.100.0/24", "dev", "eth0")
    before = {
        node: lab.exec(node, "ip", "route").out + lab.exec(node, "ip", "-6", "route").out for node in (one, other)
    }
    lab.cut(link)
    assert "NO-CARRIER" in lab.exec(one, "ip", "link", "show", "eth0").out
    assert not lab.reaches(one, other, seconds=0.2)
    assert lab.heal(link) == 1
    assert lab.reaches(one, other, count=3)
    after = {node: lab.exec(node, "ip", "route").out + lab.exec(node, "ip", "-6", "route").out for node in (one, other)}
    assert {node: sorted(text.split("\n")) for node, text in after.items()} == {
        node: sorted(text.split("\n")) for node, text in before.items()
    }
    for node in (one, other):
        lab.exec(node, "ip", "route", "del", "198.51.100.0/24")


def test_one_way_loses_one_direction_and_keeps_the_carrier(lab: Lab, tmp_path: Path) -> None:
    lab.one_way("a-left", "a")
    with lab.capture("a-left@a", to=tmp_path / "x.pcapng") as capture:
        assert lab.reaches("r", "a", seconds=0.2) is False
    assert "LOWER_UP" in lab.exec("a", "ip", "link", "show", "eth0").out
    assert capture.seen[0].packets > 0, "the other direction arrives"
    lab.heal()
    lab.one_way("a-left", "left")
    with lab.capture("a-left@left", to=tmp_path / "y.pcapng"):
        assert lab.reaches("a", "r", seconds=0.2) is False


def test_a_seed_loses_the_same_frames_every_time(lab: Lab) -> None:
    def answered() -> list[bool]:
        lab.loss("b-right", 40, seed=7)
        message = {"ask": "ping", "source": "r", "target": "b", "count": 20, "seconds": 0.1}
        found = lab._ask(message)["targets"]
        lab.heal()
        return [one is not None for one in found[0]["answers"]]

    lab.reaches("r", "b")  # so that no neighbour is looked for
    first = answered()
    assert 0 < sum(first) < 20
    seen = [first]

    def again() -> bool:
        """Whether it goes as it once went: an answer may be late on a busy machine, and count as lost."""
        seen.append(answered())
        return seen[-1] in seen[:-1]

    eventually("the same are lost", again)


def test_a_rate_is_held(lab: Lab) -> None:
    lab.rate("b-right", 2_000_000, sender="b")
    script = "import socket as s; l=s.create_server(('',5000)); c,_=l.accept(); c.sendall(b'x'*250_000); c.close()"
    load = (
        "import socket,time; b=time.monotonic(); s=socket.create_connection(('b',5000),30); n=0\n"
        "while d:=s.recv(65536): n+=len(d)\n"
        "print(n*8/(time.monotonic()-b))"
    )
    with lab.start("b", sys.executable, "-c", script):
        eventually("the server listens", lambda: ":5000" in lab.exec("b", "ss", "-ltn").out)
        bits = float(lab.exec("a", sys.executable, "-c", load).out)
    assert bits < 2_600_000, "more than the rate and its bucket"


def test_a_paused_node_hears_nothing_and_goes_on_where_it_was(lab: Lab) -> None:
    count = "import time\nn=0\nwhile True:\n n+=1; print(n, flush=True); time.sleep(0.01)"
    with lab.start("b", sys.executable, "-c", count):
        lab.pause("b")
        # the first process is the keeper
        states = "cat /proc/[0-9]*/stat | grep -v ^1' ' | grep python | cut -d' ' -f3"
        eventually("all have stopped", lambda: set(lab.exec("a", "sh", "-c", states).out.split()) == {"T"})
        assert not lab.reaches("a", "b", seconds=0.2)
        assert lab.reaches("a", "r")
        lab.heal("b")
        assert lab.exec("a", sys.executable, "-c", HTTP).out == "200\n"


def test_a_partition_separates_groups_and_nobody_else(lab: Lab) -> None:
    lab.partition(["a"], ["b"])
    assert not lab.reaches("a", "b", seconds=0.2)
    assert not lab.reaches("b", "a", seconds=0.2)
    assert lab.reaches("a", "r")
    assert lab.reaches("r", "b")
    lab.partition(["a", "b"], ["r"])
    assert not lab.reaches("a", "r", seconds=0.2)
    with pytest.raises(LabError, match="'a' is in two groups"):
        lab.partition(["a"], ["a", "b"])


def test_a_link_flaps_and_is_well_afterwards(lab: Lab, tmp_path: Path) -> None:
    log = tmp_path / "events"
    with log.open("w") as output, lab.start("a", "ip", "monitor", "link", stdout=output.fileno()):
        eventually("somebody looks", lambda: processes(lab, "a") == 1 and listens(lab, "a"))
        lab.flap("a-left", down=0.05, up=0.05, times=3, seed=1)
        eventually("the link has flapped", lambda: not lab.status()["faults"])
        eventually("it went and came back", lambda: "NO-CARRIER" in log.read_text())
    assert lab.reaches("a", "b", count=3)


def listens(lab: Lab, node: str) -> bool:
    """Whether somebody has asked the kernel of a node to be told of links (protocol 0, group 1)."""
    rows = [line.split() for line in lab.exec(node, "cat", "/proc/net/netlink").out.splitlines()[1:]]
    return any(row[1] == "0" and int(row[3], 16) & 1 for row in rows)


def test_any_link_is_chosen_by_the_seed(lab: Lab) -> None:
    first = lab.cut("any", seed=3)
    lab.heal()
    assert lab.cut("any", seed=3) == first


def test_faults_of_what_there_is_not_are_refused(lab: Lab) -> None:
    with pytest.raises(LabError, match="there is no link 'x'"):
        lab.cut("x")
    with pytest.raises(LabError, match="has the ends left and a, not 'b'"):
        lab.one_way("a-left", "b")
    with pytest.raises(LabError, match="there is no node 'x'"):
        lab.pause("x")
    with pytest.raises(LabError, match=r"a rate is at most 1e\+06gbit"):
        lab.rate("a-left", 10**18)
    assert lab.rate("a-left", 10) == "rate a-left 10bit"
    assert lab.rate("a-left", 10**15) == "rate a-left 1e+06gbit", "the kernel takes it"
    lab.heal()
    from sampan.lab import features

    if not features.has("netem"):
        with pytest.raises(LabError, match="CONFIG_NET_SCH_NETEM"):
            lab.delay("a-left", 0.02)
    assert lab.status()["faults"] == []


def test_a_restarted_node_keeps_its_links_and_loses_what_was_made_by_hand(lab: Lab) -> None:
    port = "ip -o link show master left"
    before = lab.exec("left", "sh", "-c", f"{port} | cut -d: -f1,2").out
    lab.exec("a", "ip", "route", "add", "198.51.100.0/24", "via", "10.1.0.1")
    lab.loss("a-left", 1)
    with lab.start("a", "sleep", "60") as sleeping:
        lab.restart("a")
        assert sleeping.wait(60) == 128 + 9
    assert lab.exec("left", "sh", "-c", f"{port} | cut -d: -f1,2").out == before, "the peers are the links they were"
    assert "198.51.100" not in lab.exec("a", "ip", "route").out
    assert lab.status()["faults"] == ["loss a-left 1%"]
    lab.heal()
    lab.check()
    lab.restart("b")
    assert lab.exec("a", sys.executable, "-c", HTTP).out == "200\n", "its service is there again"


def test_several_links_are_captured_into_one_file_that_tcpdump_reads(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "both.pcapng"
    with lab.capture("a-left", "b-right", to=path) as capture:
        assert isinstance(capture, Recording)
        assert lab.exec("a", sys.executable, "-c", HTTP).out == "200\n"
    assert {(one.link, one.dropped) for one in capture.seen} == {("a-left", 0), ("b-right", 0)}
    if not shutil.which("tcpdump"):
        pytest.skip("tcpdump is not installed")
    done = subprocess.run(["tcpdump", "-nr", path, "tcp", "port", "80"], capture_output=True, text=True, check=True)
    seen = done.stdout.splitlines()
    assert sum("Flags [S]," in line and "10.1.0.2" in line and "> 10.2.0.2.80" in line for line in seen) == 2, (
        done.stdout
    )


def test_a_capture_of_what_there_is_not_costs_no_older_one(lab: Lab, tmp_path: Path) -> None:
    file = tmp_path / "x.pcapng"
    file.write_bytes(b"an older capture")
    for links in ("x", "a-left@b"):
        with pytest.raises(LabError):
            lab.capture(links, to=file)
    assert file.read_bytes() == b"an older capture"


def test_a_change_leaves_alone_what_stays(lab_factory: Callable[..., Lab]) -> None:
    lab = lab_factory(TOPOLOGY)
    with lab.start("a", "sleep", "60") as sleeping:
        changed = {**TOPOLOGY, "nodes": [one for one in TOPOLOGY["nodes"] if one["name"] != "b"], "links": []}
        changed["nodes"] = [*changed["nodes"], {"name": "c", "interfaces": ["left", "right"]}]
        listing = lab.exec("left", "ip", "-o", "link").out
        answer = lab.apply(changed)
        assert answer["added"] == ["node c", "link c-left", "link c-right"]
        assert answer["removed"] == ["node b", "link b-right", "link p-q"]
        assert lab.reaches("a", "c")
        assert "10.2.0.2 b" not in lab.exec("a", "cat", "/etc/hosts").out
        kept = [line for line in listing.splitlines() if "a.eth0" in line]
        assert kept == [line for line in lab.exec("left", "ip", "-o", "link").out.splitlines() if "a.eth0" in line]
        assert sleeping.code is None
        assert processes(lab, "a") == 1, "its programs run on"
    lab.exec("a", "touch", "/etc/by-hand")
    changed["nodes"][0] = {**changed["nodes"][0], "files": {"/etc/app/other": "x"}}
    assert lab.apply(changed)["changed"] == ["node a"]
    assert lab.exec("a", "ls", "/etc/app").out == "other\n", "its files begin anew"
    assert lab.exec("a", "ls", "/etc/by-hand", check=False).code == 2
    with pytest.raises(TopologyError, match=r"nodes\[0\].colour: unknown field"):
        lab.apply({"nodes": [{"name": "a", "colour": 1}]})
    lab.check()
    assert lab.apply(changed) == {"added": [], "removed": [], "changed": [], "faults": []}


def test_a_change_that_a_check_does_not_like_is_told_and_made(lab_factory: Callable[..., Lab]) -> None:
    topology: dict[str, Any] = {"subnets": ["lan"], "nodes": [{"name": name, "interfaces": ["lan"]} for name in "ab"]}
    lab = lab_factory(topology)
    rules = "table inet t {\n chain c {\n type filter hook input priority 0\n icmp type echo-request drop\n }\n}\n"
    lab.exec("b", "nft", "-f", "-", input=rules)
    more = {"name": "c", "interfaces": ["lan"], "run": [{"command": SERVER, "listens": 80}]}
    with pytest.raises(LabError, match="a does not reach b"):
        lab.apply({**topology, "nodes": [*topology["nodes"], more]})
    assert processes(lab, "c") == 1


def test_a_change_that_the_kernel_refuses_leaves_programs_and_faults(lab_factory: Callable[..., Lab]) -> None:
    """It was taken back without the services of the nodes that were to change."""
    lan = {"name": "lan", "cidr": ["10.1.0.0/24", "fd00:1::/64"]}
    b: dict[str, Any] = {"name": "b", "interfaces": ["lan"], "run": [{"command": SERVER, "listens": 80}]}
    topology: dict[str, Any] = {"subnets": [lan], "nodes": [{"name": "a", "interfaces": ["lan"]}, b]}
    lab = lab_factory(topology)
    lab.cut("b-lan")
    refused = {"name": "c", "interfaces": [{"subnet": "lan", "mtu": 1000}]}  # IPv6 wants 1280
    nodes = [topology["nodes"][0], {**b, "env": {"COLOUR": "red"}}, refused]
    with pytest.raises(LabError, match="interface c/eth0: the kernel refuses"):
        lab.apply({**topology, "nodes": nodes})
    assert processes(lab, "b") == 1
    assert not lab.reaches("a", "b", seconds=0.1)
    lab.heal()
    lab.check()


def test_nobody_works_for_who_is_gone(lab: Lab) -> None:
    """A ping of a node that does not answer went on for hours after its asker, a program that nobody heard of for ever."""
    lab.pause("b")
    ask = {"ask": "ping", "source": "a", "target": "b", "count": 60000}
    with address.connect(lab.name) as connection:
        connection.sendall(json.dumps(ask).encode() + b"\n")
        eventually("the keeper asks", lambda: keepers_forks(lab))
    eventually("and asks no more", lambda: not keepers_forks(lab))


def keepers_forks(lab: Lab) -> list[str]:
    children = Path(f"/proc/{lab.pid}/task/{lab.pid}/children").read_text().split()
    own = Path(f"/proc/{lab.pid}/cmdline").read_bytes()
    return [child for child in children if Path(f"/proc/{child}/cmdline").read_bytes() == own]


def test_a_flap_that_ends_early_leaves_no_cut(lab_factory: Callable[..., Lab]) -> None:
    topology: dict[str, Any] = {"nodes": [{"name": "a"}, {"name": "b"}], "links": [{"ends": ["a", "b"]}]}
    lab = lab_factory(topology)
    lab.flap("a-b", down=60, up=60)
    eventually("it is down", lambda: "cut a-b" in lab.status()["faults"])
    assert lab.apply(topology)["faults"] == []
    lab.flap("a-b", down=60, up=60)
    eventually("it is down again", lambda: "cut a-b" in lab.status()["faults"])
    assert lab.heal() == 1


def test_nonsense_is_refused_and_the_laboratory_goes_on(lab: Lab) -> None:
    asked = (b"{}", b"", b"[1]", b"nonsense", b'{"ask": "fault"}', b'{"ask": "run", "node": "a"}', b"\xff")
    for nonsense in (one + b"\n" for one in asked):
        with address.connect(lab.name) as connection:
            connection.sendall(nonsense)
            assert b'"error": ' in connection.recv(4096), nonsense
    with address.connect(lab.name) as connection:
        connection.sendall(b"{")
    lab.check()


def test_faults_of_links_that_stay_stay(lab_factory: Callable[..., Lab]) -> None:
    """A link that is cut does not come back for a moment; one that is made anew is whole."""
    ends = [["a", "b"], ["b", "c"], ["c", "d"]]
    topology: dict[str, Any] = {"nodes": [{"name": name} for name in "abcd"], "links": [{"ends": two} for two in ends]}
    lab = lab_factory(topology)
    for link in ("a-b", "b-c", "c-d"):
        lab.cut(link)
    lab.loss("a-b", 100)
    lab.loss("b-c", 100)
    with lab.start("a", "ip", "monitor", "link") as looking:
        changed = {**topology, "links": [{"ends": ["a", "b"]}, {"ends": ["b", "c:other"]}]}
        assert lab.apply(changed)["faults"] == ["cut a-b", "cut b-c", "loss a-b 100%", "loss b-c 100%"]
        assert looking.code is None
    assert "NO-CARRIER" in lab.exec("a", "ip", "link", "show", "eth0").out
    assert "NO-CARRIER" in lab.exec("b", "ip", "link", "show", "eth1").out, "the fault is on the new cable of that name"
    lab.heal()
    lab.check()
