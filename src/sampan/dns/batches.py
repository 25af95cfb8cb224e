"""UDP by the handful: recvmmsg and sendmmsg, so that a query costs a fraction of a system call each way.

The kernel writes up to ``MOST`` datagrams, where they came from and (on an address that stands for all) to which of ours they
went into buffers of ours; the answers are put into others and go back in the order in which they came, with the same
addresses. Source: recvmmsg(2), sendmmsg(2), cmsg(3), ip(7), ipv6(7).
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import socket
import sys
import time
from array import array
from collections.abc import Callable
from ipaddress import IPv4Address, IPv6Address

from sampan.dns.asking import Pending
from sampan.dns.entries import Ip
from sampan.dns.responder import Responder

MOST = 64
SLOT = 4096
"""The longest datagram taken or sent: our answers end there (``wire.LONGEST_UDP_SIZE``)."""
NAME_SIZE = 28
CONTROL_SIZE = 64
RECEIVE_BUFFER = 8 << 20
"""Bytes: a burst of ten thousand queries waits there and is not lost."""
BIND_ATTEMPTS = 20
SO_RCVBUFFORCE = 33
IP_PKTINFO = 8
IPV6_RECVPKTINFO = 49
IPV6_FREEBIND = 78


class iovec(ctypes.Structure):
    _fields_ = (("iov_base", ctypes.c_void_p), ("iov_len", ctypes.c_size_t))


class msghdr(ctypes.Structure):
    _fields_ = (
        ("msg_name", ctypes.c_void_p),
        ("msg_namelen", ctypes.c_uint32),
        ("msg_iov", ctypes.c_void_p),
        ("msg_iovlen", ctypes.c_size_t),
        ("msg_control", ctypes.c_void_p),
        ("msg_controllen", ctypes.c_size_t),
        ("msg_flags", ctypes.c_int),
    )


class mmsghdr(ctypes.Structure):
    _fields_ = (("msg_hdr", msghdr), ("msg_len", ctypes.c_uint32))


class Buffers:
    """Room for a handful of datagrams. Fields of all headers at once are seen through strided views."""

    def __init__(self, *, control: bool) -> None:
        self.data = bytearray(MOST * SLOT)
        self.names = bytearray(MOST * NAME_SIZE)
        self.controls = bytearray(MOST * CONTROL_SIZE)
        self._vectors = (iovec * MOST)()
        self.headers = (mmsghdr * MOST)()
        starts = [ctypes.addressof(ctypes.c_char.from_buffer(one)) for one in (self.data, self.names, self.controls)]
        for at in range(MOST):
            self._vectors[at] = iovec(starts[0] + at * SLOT, SLOT)
            header = self.headers[at].msg_hdr
            header.msg_name = starts[1] + at * NAME_SIZE
            header.msg_iov = ctypes.addressof(self._vectors[at])
            header.msg_iovlen = 1
            if control:
                header.msg_control = starts[2] + at * CONTROL_SIZE
        self.address = ctypes.addressof(self.headers)
        words = memoryview(self.headers).cast("B").cast("I")
        step = ctypes.sizeof(mmsghdr) // 4
        self.lengths = words[mmsghdr.msg_len.offset // 4 :: step]
        self.name_lengths = words[msghdr.msg_namelen.offset // 4 :: step]
        longs = memoryview(self.headers).cast("B").cast("Q")
        self.control_lengths = longs[msghdr.msg_controllen.offset // 8 :: step // 2]
        self.sizes = memoryview(self._vectors).cast("B").cast("Q")[1::2]


class Datagrams:
    """Reads a UDP socket of the loop and answers what comes. ``later(pending, send)`` takes over what waits for others:
    ``send`` sends its answer."""

    def __init__(
        self,
        sock: socket.socket,
        responder: Callable[[], Responder],
        later: Callable[[Pending, Callable[[bytes], None]], None],
    ) -> None:
        self._socket = sock
        self._responder = responder
        self._later = later
        libc = ctypes.CDLL(None, use_errno=True)
        self._receive, self._send = libc.recvmmsg, libc.sendmmsg
        self._family = sock.family
        host = sock.getsockname()[0]
        self._any = host in ("0.0.0.0", "::")
        if self._any and self._family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, IP_PKTINFO, 1)
        elif self._any:
            sock.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVPKTINFO, 1)
        self._in, self._out = Buffers(control=self._any), Buffers(control=self._any)
        self._fresh_names = array("I", [NAME_SIZE] * MOST)
        self._fresh_controls = array("Q", [CONTROL_SIZE if self._any else 0] * MOST)

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._read)

    def stop(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)

    def _read(self) -> None:
        """Take one handful and answer it; the loop calls again while there are more."""
        taken = self._in
        taken.name_lengths[:] = memoryview(self._fresh_names)
        taken.control_lengths[:] = memoryview(self._fresh_controls)
        count = self._receive(self._socket.fileno(), ctypes.c_void_p(taken.address), MOST, socket.MSG_DONTWAIT, None)
        if count <= 0:
            return
        began = time.perf_counter()
        responder, data, out = self._responder(), taken.data, self._out.data
        quick, lengths = responder.quick, taken.lengths[:count].tolist()
        answered: list[int] = []
        sizes: list[int] = []
        quickly = start = 0
        for at in range(count):
            query = bytes(data[start : start + lengths[at]])
            start += SLOT
            answer = quick(query)
            if answer is None:
                answer = self._slowly(responder, query, at)
                if answer is None:
                    continue
            else:
                quickly += 1
            place = len(sizes) * SLOT
            out[place : place + len(answer)] = answer
            answered.append(at)
            sizes.append(len(answer))
        if quickly:
            responder.metrics.batch(quickly, (time.perf_counter() - began) * quickly / count)
        if sizes:
            self._answer(answered, sizes, whole=len(sizes) == count)

    def _slowly(self, responder: Responder, query: bytes, at: int) -> bytes | None:
        name = bytes(self._in.names[at * NAME_SIZE : (at + 1) * NAME_SIZE])
        answer = responder.slowly(query, source_of(name))
        if isinstance(answer, Pending):
            control = bytes(self._in.controls[at * CONTROL_SIZE :][: self._in.control_lengths[at]])
            self._later(answer, lambda made: self._send_one(made, name, control))
            return None
        return answer if answer is None or len(answer) <= SLOT else None

    def _answer(self, answered: list[int], sizes: list[int], *, whole: bool) -> None:
        """Send the answers that were put in place, to where their queries came from."""
        taken, sent, count = self._in, self._out, len(sizes)
        sent.sizes[:count] = memoryview(array("Q", sizes))
        if whole:
            sent.names[: count * NAME_SIZE] = taken.names[: count * NAME_SIZE]
            sent.name_lengths[:count] = taken.name_lengths[:count]
        else:
            for to, at in enumerate(answered):
                sent.names[to * NAME_SIZE : (to + 1) * NAME_SIZE] = taken.names[at * NAME_SIZE : (at + 1) * NAME_SIZE]
                sent.name_lengths[to] = taken.name_lengths[at]
        if self._any:
            for to, at in enumerate(answered):
                sent.controls[to * CONTROL_SIZE : (to + 1) * CONTROL_SIZE] = taken.controls[
                    at * CONTROL_SIZE : (at + 1) * CONTROL_SIZE
                ]
                sent.control_lengths[to] = taken.control_lengths[at]
        done = 0
        while done < count:
            address = ctypes.c_void_p(sent.address + done * ctypes.sizeof(mmsghdr))
            went = self._send(self._socket.fileno(), address, count - done, socket.MSG_DONTWAIT)
            if went < 0 and ctypes.get_errno() == errno.EINTR:
                continue
            # one that cannot be sent (nobody is there any more, the buffer is full) is lost, as datagrams are
            done += max(went, 1)

    def _send_one(self, answer: bytes, name: bytes, control: bytes) -> None:
        if len(answer) <= SLOT and self._socket.fileno() >= 0:
            self._out.data[: len(answer)] = answer
            self._out.names[:NAME_SIZE] = name
            self._out.name_lengths[0] = 16 if self._family == socket.AF_INET else NAME_SIZE
            self._out.sizes[0] = len(answer)
            self._out.controls[: len(control)] = control
            self._out.control_lengths[0] = len(control)
            self._send(self._socket.fileno(), ctypes.c_void_p(self._out.address), 1, socket.MSG_DONTWAIT)


def source_of(name: bytes) -> Ip:
    """Return the address in a ``sockaddr``; one of IPv4 that came by IPv6 is one of IPv4."""
    if int.from_bytes(name[:2], sys.byteorder) == socket.AF_INET:
        return IPv4Address(name[4:8])
    address = IPv6Address(name[8:24])
    return address.ipv4_mapped or address


def bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    """Return bound sockets for UDP and TCP, on one port; 0: one that is free for both. ``::`` takes IPv4 too. Raises
    ``OSError``."""
    for _ in range(BIND_ATTEMPTS if not port else 1):
        try:
            return _bind(host, port)
        except OSError as error:
            problem = error
            if error.errno != errno.EADDRINUSE:
                break
    raise problem


def _bind(host: str, port: int) -> tuple[socket.socket, socket.socket]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    datagrams = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    streams = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        try:
            datagrams.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER)
        except OSError:  # not root: as much as one may have
            datagrams.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        streams.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for made in (datagrams, streams):
            if family == socket.AF_INET6:  # a fresh address of ours may still be looked for on the link
                made.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
            if host == "::":
                made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            made.bind((host, port))
            port = made.getsockname()[1]
        streams.listen(256)
    except OSError:
        datagrams.close()
        streams.close()
        raise
    return datagrams, streams
