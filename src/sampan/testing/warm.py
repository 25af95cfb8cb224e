"""The warm process: imports the API once, keeps one snapshot a kind of cluster, and forks a process for every test.

    python -m sampan.testing.warm DIRECTORY DESCRIPTOR

Flow: a test process connects to ``DIRECTORY/warm.sock``, whose listening socket is the inherited descriptor, and sends one
JSON object a line; each gets one line back.

    {"start": {<ClusterSpec>}}   → {"id": 1, "port": 40123}     when the cluster is ready
    {"fork": 1}                  → {"id": 2, "port": 40124}     a cluster with the state that cluster 1 has now
    {"stop": 1}                  → {"id": 1}                    when its process is gone
    anything that fails          → {"error": "…"}

Each has a number of the asker's in ``order``, which its answer repeats: of two clusters the later may be ready first.

A cluster belongs to the connection that asked for it: when that ends, however it ends, its clusters are killed. When the
last connection ends the warm process removes its directory and ends too. A cluster's process watches its socket to us, so
that it does not outlive us either. Nothing here runs an event loop between two requests: what is forked is a quiet
process with modules, parsed types and the snapshot's bytes in memory that parent and children share.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import gc
import json
import os
import pickle
import selectors
import shutil
import signal
import socket
import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.testing.spec import ClusterSpec

if TYPE_CHECKING:
    from sampan.store import Image
    from sampan.testing.snapshots import Snapshots

SOCKET = "warm.sock"
READY, IMAGE = b"R", b"I"
ENDED = "the cluster that was to be forked has ended"
PR_SET_PDEATHSIG = 1


def lock_of(directory: Path) -> Path:
    """Return the file that is locked while a warm process is looked for, started or ended."""
    return directory.with_name(directory.name + ".lock")


@dataclass
class Peer:
    """A test process: its connection, what it sent so far, its clusters."""

    connection: socket.socket
    received: bytes = b""
    clusters: set[int] = field(default_factory=set)


@dataclass(frozen=True)
class Order:
    """What somebody waits for."""

    peer: Peer
    number: object

    def answer(self, answer: dict[str, object]) -> None:
        with contextlib.suppress(OSError):
            self.peer.connection.sendall(json.dumps({"order": self.number, **answer}).encode() + b"\n")


@dataclass
class Forked:
    """A cluster's process."""

    number: int
    pid: int
    port: int
    spec: ClusterSpec
    control: socket.socket
    """It says READY here once it serves, and IMAGE when it has written its state to a file, which IMAGE asks for."""
    waiting: deque[Callable[[bytes], None]] = field(default_factory=deque)
    """Who waits for its next word; an empty one says that it has ended."""


class WarmServer:
    """Answers test processes until the last has gone."""

    def __init__(self, directory: Path, listener: socket.socket, snapshots: Snapshots) -> None:
        self.directory = directory
        self.snapshots = snapshots
        self.selector = selectors.DefaultSelector()
        self.listener = listener
        self.peers: list[Peer] = []
        self.forked: dict[int, Forked] = {}
        self.count = 0
        self.watch(self.listener, self.arrived)

    def watch(self, source: socket.socket | int, react: Callable[[], None]) -> None:
        self.selector.register(source, selectors.EVENT_READ, react)

    def run(self) -> None:
        while True:
            for key, _ in self.selector.select():
                key.data()
            if not self.peers and self.ended():
                return

    def ended(self) -> bool:
        """Give up the socket, unless somebody came in the meantime."""
        with open(lock_of(self.directory), "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.listener.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                self.arrived()
                return False
            self.listener.close()
            shutil.rmtree(self.directory, ignore_errors=True)
            lock_of(self.directory).unlink(missing_ok=True)
            return True

    def arrived(self) -> None:
        connection, _ = self.listener.accept()
        peer = Peer(connection)
        self.peers.append(peer)
        self.watch(connection, lambda: self.heard(peer))

    def heard(self, peer: Peer) -> None:
        try:
            chunk = peer.connection.recv(1 << 20)
        except OSError:
            chunk = b""
        if not chunk:
            self.gone(peer)
            return
        *lines, peer.received = (peer.received + chunk).split(b"\n")
        for line in lines:
            asked = json.loads(line)
            order = Order(peer, asked["order"])
            try:
                self.obey(order, asked)
            except Exception as error:
                traceback.print_exc()
                order.answer({"error": f"{error}" or type(error).__name__})

    def obey(self, order: Order, asked: dict[str, object]) -> None:
        if "start" in asked:
            spec = asked["start"]
            assert isinstance(spec, dict)
            self.start(order, ClusterSpec.from_json(spec))
        elif "fork" in asked:
            original = self.forked.get(int(str(asked["fork"])))
            if original is None:
                order.answer({"error": ENDED})
            else:
                self.copy(order, original)
        else:
            number = asked["stop"]
            assert isinstance(number, int)
            order.peer.clusters.discard(number)
            self.kill(number)
            order.answer({"id": number})

    def gone(self, peer: Peer) -> None:
        self.selector.unregister(peer.connection)
        peer.connection.close()
        self.peers.remove(peer)
        while peer.clusters:  # who is told of a cluster's end takes it out too
            self.kill(peer.clusters.pop())

    # clusters

    def start(self, order: Order, spec: ClusterSpec) -> None:
        if spec not in self.snapshots.images:
            self.snapshots.make(spec)
            gc.collect()
            gc.freeze()  # the collector would touch, and so copy, every page that is shared
        self.fork(order, spec, self.snapshots.images[spec])

    def copy(self, order: Order, original: Forked) -> None:
        """Fork a cluster with the state of another, once that one has told it."""

        def told(word: bytes) -> None:
            if word != IMAGE:
                order.answer({"error": ENDED})
                return
            if order.peer not in self.peers:
                return  # the copy would be nobody's, and never end
            path = self.directory / str(original.number) / "image"
            try:
                image: Image = pickle.loads(path.read_bytes())
                path.unlink()
                self.fork(order, original.spec, image)
            except Exception as error:  # no descriptor is left, or no process
                traceback.print_exc()
                order.answer({"error": f"{error}" or type(error).__name__})

        try:
            original.control.sendall(IMAGE)
        except OSError:  # it has been killed
            order.answer({"error": ENDED})
        else:
            original.waiting.append(told)

    def fork(self, order: Order, spec: ClusterSpec, image: Image) -> None:
        self.count += 1
        number = self.count
        home = self.directory / str(number)
        home.mkdir()
        listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        port = int(listener.getsockname()[1])
        ours, theirs = socket.socketpair()
        pid = os.fork()
        if pid == 0:
            ours.close()
            self.become(spec, image, listener, theirs, home)
        theirs.close()
        listener.close()
        forked = self.forked[number] = Forked(number, pid, port, spec, ours)
        order.peer.clusters.add(number)
        forked.waiting.append(lambda word: self.is_ready(order, forked, word))
        self.watch(ours, lambda: self.said(forked))

    def become(
        self, spec: ClusterSpec, image: Image, listener: socket.socket, control: socket.socket, home: Path
    ) -> None:
        """The child: nothing of the parent's conversation, then the cluster. No return."""
        try:
            gc.enable()
            die_with_parent()
            for peer in self.peers:
                peer.connection.close()
            for other in self.forked.values():
                other.control.close()
            self.listener.close()
            self.selector.close()
            redirect(home / "api.log")
            self.snapshots.serve(spec, image, listener, control, home / "image")
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)

    def said(self, forked: Forked) -> None:
        """Hand what a cluster's process says to who waits for it."""
        if forked.number not in self.forked:
            return  # what was read just before has ended it
        try:
            words = forked.control.recv(64)
        except OSError:  # it was killed before it read what we sent
            words = b""
        if not words:
            self.selector.unregister(forked.control)
            self.mourn(forked)
        for word in words:
            if forked.waiting:
                forked.waiting.popleft()(bytes([word]))

    def mourn(self, forked: Forked) -> None:
        """Tell all who wait for a word of a cluster that there will be none."""
        while forked.waiting:
            forked.waiting.popleft()(b"")

    def is_ready(self, order: Order, forked: Forked, word: bytes) -> None:
        if word:
            order.answer({"id": forked.number, "port": forked.port})
            return
        try:
            log = (self.directory / str(forked.number) / "api.log").read_text(errors="replace").strip()
        except OSError as error:
            log = str(error)
        order.peer.clusters.discard(forked.number)
        self.kill(forked.number)
        order.answer({"error": f"the cluster ended before it was ready:\n{log[-4000:]}"})

    def kill(self, number: int) -> None:
        """End a cluster's process and what it kept. SIGKILL: there is nothing that it would have to bring to an end."""
        forked = self.forked.pop(number, None)
        if forked is None:
            return
        with contextlib.suppress(KeyError):  # it said its last word before
            self.selector.unregister(forked.control)
        forked.control.close()
        self.mourn(forked)
        with contextlib.suppress(ProcessLookupError):
            os.kill(forked.pid, signal.SIGKILL)
        os.waitpid(forked.pid, 0)
        shutil.rmtree(self.directory / str(number), ignore_errors=True)


def die_with_parent() -> None:
    """Have the kernel end this process with its parent, where it can (Linux); elsewhere the pipe does. prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def redirect(log: Path) -> None:
    """Standard output and error go to the cluster's log."""
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for standard in (1, 2):
        os.dup2(descriptor, standard)
    os.close(descriptor)
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def make_keys(directory: Path) -> int:
    """Make the keys in a child, while this process imports the API; return the child's pid."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        from sampan.testing.keys import make

        make(directory / "pki")
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def main() -> int:
    """Serve in the directory of the command line until nobody asks any more."""
    directory, listener = Path(sys.argv[1]), socket.socket(fileno=int(sys.argv[2]))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # ^C is for the tests; we end when they have
    keys = make_keys(directory)
    gc.disable()  # nothing that is imported is ever garbage; a cluster's process collects again
    from sampan.testing.snapshots import Snapshots

    snapshots = Snapshots(directory / "pki")
    if os.waitstatus_to_exitcode(os.waitpid(keys, 0)[1]):
        return 1
    WarmServer(directory, listener, snapshots).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
