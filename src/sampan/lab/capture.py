"""Captures: packet sockets at links, written to one pcapng file as frames come.

The keeper opens the sockets, whoever captures reads them: a capture costs the laboratory nothing and ends with its reader.
At the end that listens a frame is seen before faults lose it, so a capture at the far end shows what was sent.
Source: packet(7), socket(7) (SO_TIMESTAMPNS), linux/if_packet.h.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from sampan.lab import calls, pcapng

SO_TIMESTAMPNS, SO_RCVBUFFORCE = 35, 33
SOL_PACKET, PACKET_STATISTICS = 263, 6
PACKET_OUTGOING = 4
BUFFER_BYTES = 16 << 20
SNAP_LENGTH = 262_144
AT_ONCE = 256
"""Frames taken from a link before the next one has its turn."""


class Seen(NamedTuple):
    """What a capture saw of one link."""

    link: str
    end: str
    packets: int
    dropped: int
    """Frames that came faster than they could be kept."""


class Capture:
    """Writes what passes links of a laboratory to a file until it is stopped; ``seen`` then tells how much that was.

    ``opened`` opens the file: it is called when the links are known, so that a mistake costs nobody an older capture."""

    def __init__(self, lab: str, links: Sequence[str], opened: Callable[[], BinaryIO], uid: int | None = None) -> None:
        answer, descriptors = calls.call(lab, {"ask": "capture", "links": list(links)}, uid=uid)
        self.ends = answer["ends"]
        self.sockets = [socket.socket(fileno=descriptor) for descriptor in descriptors]
        self.output = output = opened()
        self.counts = [0] * len(self.sockets)
        self.seen: list[Seen] = []
        self._ended, self._end = os.pipe()
        for one in self.sockets:
            one.setblocking(False)
            one.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            with contextlib.suppress(OSError):  # refused without root; the kernel's own size then
                one.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        output.write(pcapng.section(f"sampan lab, laboratory {lab}"))
        for end in self.ends:
            description = f"link {end['link']} at {end['end']}/{end['interface']}"
            output.write(pcapng.interface(end["link"], description, end["mac"], SNAP_LENGTH))
        output.flush()

    def run(self, seconds: float | None = None, packets: int | None = None) -> None:
        """Write until a time has passed, so many packets were seen, or ``stop`` is called."""
        deadline = None if seconds is None else time.monotonic() + seconds
        poll = select.poll()
        poll.register(self._ended, select.POLLIN)
        by_descriptor = {one.fileno(): number for number, one in enumerate(self.sockets)}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.POLLIN)
        try:
            while packets is None or sum(self.counts) < packets:
                left = None if deadline is None else max(deadline - time.monotonic(), 0) * 1000
                ready = [descriptor for descriptor, _ in poll.poll(left)]
                for descriptor in ready:
                    if descriptor in by_descriptor:
                        room = AT_ONCE if packets is None else packets - sum(self.counts)
                        self._take(by_descriptor[descriptor], min(AT_ONCE, room))
                if not ready or self._ended in ready:
                    break
                self.output.flush()
        finally:
            self._finish()

    def _take(self, number: int, most: int) -> None:
        written = []
        for _ in range(most):
            try:
                data, ancillary, _, sender = self.sockets[number].recvmsg(SNAP_LENGTH, 64)
            except OSError:
                break
            stamp = ancillary[0][2] if ancillary else b""
            seconds, nanoseconds = struct.unpack("=qq", stamp) if len(stamp) == 16 else (time.time_ns() // 10**9, 0)
            outbound = sender[2] == PACKET_OUTGOING
            written.append(pcapng.packet(number, seconds * 10**9 + nanoseconds, data, len(data), outbound=outbound))
        self.counts[number] += len(written)
        self.output.write(b"".join(written))

    def _finish(self) -> None:
        for number, one in enumerate(self.sockets):
            self._take(number, AT_ONCE)
            received, dropped = struct.unpack("=II", one.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
            self.output.write(pcapng.statistics(number, time.time_ns(), received, dropped))
            end = self.ends[number]
            self.seen.append(Seen(end["link"], end["end"], self.counts[number], dropped))
            one.close()
        self.output.flush()
        os.close(self._ended)
        os.close(self._end)

    def stop(self) -> None:
        """End ``run`` from another thread or a signal handler."""
        os.write(self._end, b"\0")


class Recording:
    """A capture in a thread of its own: from ``Lab.capture(...)``, for a ``with`` block."""

    def __init__(self, lab: str, links: Sequence[str], path: str | Path, uid: int | None = None) -> None:
        self.path = Path(path)
        self._capture = Capture(lab, links, lambda: self.path.open("wb"), uid)
        self._thread = threading.Thread(target=self._capture.run, name=f"capture {lab}", daemon=True)
        self._thread.start()

    @property
    def seen(self) -> list[Seen]:
        """What was seen, once it is over."""
        return self._capture.seen

    def stop(self) -> None:
        """Write what is still there and close the file."""
        if self._thread.is_alive():
            self._capture.stop()
            self._thread.join()
        self._capture.output.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()
