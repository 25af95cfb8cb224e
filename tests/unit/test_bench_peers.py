"""A peer is measured only where nobody else answers in its place."""

from __future__ import annotations

import socket

import pytest

from bench.peers.etcd_apiserver import PeerMissing, running


@pytest.mark.parametrize("taken", [0, 1, 2])
def test_a_port_that_somebody_has_is_no_peer(taken: int) -> None:
    with socket.socket() as first, socket.socket() as second, socket.socket() as third:
        ports = []
        for each in (first, second, third):
            each.bind(("127.0.0.1", 0))
            ports.append(each.getsockname()[1])
        (first, second, third)[taken].listen()
        port, etcd_port = ports[0], ports[1] if taken < 2 else ports[2] - 1
        with pytest.raises(PeerMissing, match=f"port {ports[taken]} is in use"), running(port, etcd_port):
            raise AssertionError("somebody else would have been measured")
