"""Questions to addresses of a cluster from the test's own machine."""

from __future__ import annotations

import socket
import struct
import urllib.request


def http(ip: str, port: int) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"http://[{ip}]:{port}/" if ":" in ip else f"http://{ip}:{port}/", timeout=30) as answer:
        return str(answer.read().decode())


def answers(ip: str, port: int) -> bool:
    try:
        socket.create_connection((ip, port), 2).close()
    except OSError:
        return False
    return True


QUERY = struct.pack("!HHHHHH", 7, 0x100, 1, 0, 0, 0) + b"\x0akubernetes\x07default\x03svc\x07cluster\x05local\0\0\1\0\1"


def dns_by_udp(ip: str) -> bool:
    """Whether a DNS server answers datagrams; one that is refused does not."""
    with socket.socket(socket.AF_INET6 if ":" in ip else socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(2)
        client.connect((ip, 53))
        try:
            client.send(QUERY)
            return client.recv(512)[:2] == QUERY[:2]
        except OSError:
            return False


def dns_by_tcp(ip: str) -> bool:
    try:
        with socket.create_connection((ip, 53), 2) as client:
            client.sendall(len(QUERY).to_bytes(2, "big") + QUERY)
            return client.recv(512)[2:4] == QUERY[:2]
    except OSError:
        return False
