"""CNI calls as the shim sends them, addresses, and LoadBalancer decisions; without a kernel."""

from __future__ import annotations

import asyncio
import json
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.network import cluster_link
from sampan.network.addresses import AddressPool, NoFreeAddress
from sampan.network.cni import Plugin
from sampan.network.cni_attachment import link_name
from sampan.network.cni_call import CniError, parse_call
from sampan.network.cni_shim import conflist, install
from sampan.network.nft import NftError


@given(st.binary(max_size=400))
def test_no_bytes_crash_a_call(data: bytes) -> None:
    try:
        parse_call(data)
    except CniError as error:
        assert error.code


def answer(data: bytes) -> tuple[int, dict[str, Any]]:
    plugin = Plugin([IPv4Network("10.99.0.0/24")])
    code, _, text = asyncio.run(plugin.handle(data)).partition(b"\n")
    return int(code), json.loads(text)


def test_errors_are_cni_errors() -> None:
    assert answer(b"CNI_COMMAND=ADD\n\nnot json")[1]["code"] == 6
    assert answer(b"\n\n{}")[1]["code"] == 4
    assert answer(b'CNI_COMMAND=DANCE\n\n{"cniVersion": "1.0.0"}')[1]["code"] == 4
    code, error = answer(b'CNI_COMMAND=ADD\n\n{"cniVersion": "1.0.0"}')
    assert (code, error["msg"]) == (1, "required environment variable CNI_IFNAME is not set")


def test_a_runtime_always_gets_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nftables refused to forget a pod's ports the connection was closed without a word."""
    plugin = Plugin([IPv4Network("10.99.0.0/24")])
    call = b'CNI_COMMAND=DEL\nCNI_CONTAINERID=a\nCNI_IFNAME=eth0\n\n{"cniVersion": "1.0.0"}'
    for problem, said in ((NftError("no memory"), "hostPort: no memory"), (KeyError("x"), "KeyError: 'x'")):

        def refuse(addresses: object, problem: Exception = problem) -> None:
            raise problem

        monkeypatch.setattr(plugin.host_ports, "remove", refuse)
        code, _, text = asyncio.run(plugin.handle(call)).partition(b"\n")
        assert (int(code), json.loads(text)["code"], json.loads(text)["msg"]) == (1, 5, said)
    plugin.executor.shutdown()


def test_names_of_links_fit() -> None:
    assert len(link_name("a" * 64, "eth0")) <= 15
    assert link_name("a", "eth0") != link_name("a", "eth1")


def test_the_shim_is_written_once(tmp_path: Path) -> None:
    install(tmp_path, tmp_path / "cni.sock")
    written = (tmp_path / "bin" / "sampan").stat()
    assert written.st_mode & 0o111
    install(tmp_path, tmp_path / "cni.sock")
    assert (tmp_path / "bin" / "sampan").stat().st_ino == written.st_ino
    [plugin] = json.loads(conflist())["plugins"]
    assert plugin["type"] == "sampan" and plugin["capabilities"]["portMappings"]


def test_addresses_go_round_and_run_out() -> None:
    pool = AddressPool(IPv4Network("10.0.0.0/29"), [IPv4Address("10.0.0.1")])
    first = pool.allocate("a")
    pool.release("a")
    assert pool.allocate("b") != first
    for number in range(4):
        pool.allocate(f"more{number}")
    with pytest.raises(NoFreeAddress):
        pool.allocate("one too many")
    pool.release("b")
    assert pool.allocate("now")
    assert not pool.take(IPv4Address("10.0.0.1"), "x") and not pool.take(IPv4Address("10.9.9.9"), "x")


def test_a_dropping_firewall_is_seen() -> None:
    dropping = (
        "table ip filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n"
    )
    assert cluster_link.drops_forwarded(dropping)
    assert not cluster_link.drops_forwarded(dropping.replace("policy drop", "policy accept"))
    assert not cluster_link.drops_forwarded(dropping.replace("ip filter", "ip other"))
