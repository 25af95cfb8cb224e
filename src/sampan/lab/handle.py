"""``Lab``: a laboratory in a program's hand, for tests and scripts. It lives in a keeper that ends with this process.

with Lab("examples/labs/classic.yaml") as lab:
    assert lab.exec("a", "cat", "/etc/hostname").out == "a\\n"
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

from sampan.lab import calls
from sampan.lab.capture import Recording
from sampan.lab.errors import LabError
from sampan.lab.planning import plan
from sampan.lab.reading import parse, read
from sampan.network.netns import entered

EXEC_SECONDS = 60.0
DOWN_SECONDS = 30.0
ROOT = str(Path(__file__).parents[2])
KEEPER = f"import sys; sys.path.insert(0, {ROOT!r}); from sampan.lab.keeper import main; sys.exit(main())"
"""Found where this process found it, whatever lies in the folder it runs in."""


class Done(NamedTuple):
    """A program that ended."""

    code: int
    out: str
    err: str


class ProgramFailed(LabError):
    """A program in a node ended with another exit code than 0."""

    def __init__(self, node: str, command: tuple[str, ...], done: Done) -> None:
        said = (done.err or done.out).strip()
        super().__init__(f"{node}: {' '.join(command)}: exit code {done.code}{f': {said}' if said else ''}")
        self.done = done


class Program:
    """A program that runs in a node."""

    def __init__(self, lab: str, line: calls.Line, pid: int) -> None:
        self._lab = lab
        self._line = line
        self.pid = pid
        """Its number in the laboratory."""
        self.code: int | None = None

    def wait(self, seconds: float | None = None) -> int:
        """Return its exit code. Raises ``TimeoutError``."""
        if self.code is None:
            ready, _, _ = select.select([self._line.socket], [], [], seconds)
            if not ready:
                raise TimeoutError(f"the program {self.pid} of laboratory {self._lab} runs on after {seconds} s")
            answer, _ = calls.answer(self._line, self._lab)
            self.code = int(answer["code"])
            self._line.close()
        return self.code

    def kill(self) -> None:
        """End it with everything it started."""
        self._line.close()
        self.code = self.code if self.code is not None else 128 + signal.SIGKILL

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()


class Lab:
    """A laboratory: a file's, or declared by the same words (``Lab(nodes=[…], subnets=[…])``).

    It is up inside the ``with`` block; ``up`` and ``down`` do the same. Raises ``TopologyError`` when it is declared wrongly,
    ``LabError`` when it cannot be made. Several live side by side; a name of its own is given where none is said."""

    def __init__(
        self,
        source: str | Path | Mapping[str, Any] | None = None,
        /,
        *,
        check: bool = True,
        cwd: str | Path | None = None,
        **topology: Any,
    ) -> None:
        if source is not None and topology:
            raise TypeError("a laboratory is declared by a file or by words, not by both")
        self._given = topology_message(topology if source is None else source)
        self.topology = read(self._given["topology"], self._given["name"], self._given["source"])
        self.plan = plan(self.topology)
        named = "name" in topology or (isinstance(source, Mapping) and "name" in source)
        self.name = self.topology.name if named else f"{self.topology.name[:40]}-{uuid.uuid4().hex[:8]}"
        self.pid = 0
        self.checked = 0
        """How many pairs answered as planned before it was ready."""
        self._check = check
        self._cwd = str(cwd or Path.cwd())
        self._lifeline = -1

    def up(self) -> Lab:
        """Start it; return it when it is checked and its services listen. Raises ``LabError``."""
        ours, theirs = socket.socketpair()
        ended, self._lifeline = os.pipe()
        given = {"topology": self._given, "name": self.name, "check": self._check, "cwd": self._cwd}
        command = [sys.executable, "-P", "-c", KEEPER, str(theirs.fileno()), str(ended)]
        try:
            # the starter ends as soon as the keeper runs
            starter = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(theirs.fileno(), ended))
            theirs.close()
            os.close(ended)
            starter.communicate(json.dumps(given).encode())
            with contextlib.closing(calls.Line(ours)) as line:
                try:
                    message, _ = line.receive()
                except EOFError:
                    raise LabError(f"the keeper of laboratory {self.name!r} ended before it was ready") from None
                calls.refused(message)
        except BaseException:
            self._let_go()
            raise
        self.pid, self.checked = message["pid"], message["checked"]
        return self

    def down(self) -> None:
        """End it, and wait until its keeper is gone. Again is no error."""
        if self._lifeline < 0:
            return
        with contextlib.suppress(OSError):
            keeper = os.pidfd_open(self.pid)
            try:
                self._let_go()
                select.select([keeper], [], [], DOWN_SECONDS)
            finally:
                os.close(keeper)
        self._let_go()

    def _let_go(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def __enter__(self) -> Lab:
        return self.up()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.down()

    def _ask(self, message: dict[str, Any]) -> dict[str, Any]:
        return calls.call(self.name, message)[0]

    # programs

    def exec(
        self,
        node: str,
        *command: str,
        check: bool = True,
        input: str = "",
        timeout: float = EXEC_SECONDS,
        env: Mapping[str, str] | None = None,
    ) -> Done:
        """Run a program in a node and return what it printed. Raises ``ProgramFailed`` when it fails and ``check`` is true,
        ``TimeoutError`` when it takes longer; it is ended then."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            given.write(input.encode())
            given.seek(0)
            with self._start(node, command, (given.fileno(), out.fileno(), err.fileno()), env) as program:
                code = program.wait(timeout)
            texts = []
            for file in (out, err):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        done = Done(code, texts[0], texts[1])
        if check and code != 0:
            raise ProgramFailed(node, command, done)
        return done

    def start(
        self, node: str, *command: str, stdout: int = -1, stderr: int = -1, env: Mapping[str, str] | None = None
    ) -> Program:
        """Start a program in a node that runs on beside the test. It ends with ``kill``, or with the laboratory."""
        with open(os.devnull, "r+b") as null:
            stdio = (null.fileno(), *(given if given >= 0 else null.fileno() for given in (stdout, stderr)))
            return self._start(node, command, stdio, env)

    def _start(
        self, node: str, command: tuple[str, ...], stdio: tuple[int, ...], env: Mapping[str, str] | None
    ) -> Program:
        message = {
            "ask": "run",
            "node": node,
            "command": list(command),
            "env": {**os.environ, **(env or {})},
            "cwd": str(Path.cwd()),
        }
        line = calls.open_call(self.name, message, stdio)
        try:
            answer, _ = calls.answer(line, self.name)
        except BaseException:
            line.close()
            raise
        return Program(self.name, line, answer["pid"])

    def logs(self, node: str) -> str:
        """Return what the services of a node wrote."""
        return str(self._ask({"ask": "logs", "node": node})["text"])

    # sockets and namespaces

    def socket(self, node: str, family: int = socket.AF_INET, kind: int = socket.SOCK_STREAM) -> socket.socket:
        """Return a socket that lives in a node, for this process to use."""
        message = {"ask": "socket", "node": node, "family": int(family), "type": int(kind), "protocol": 0}
        _, descriptors = calls.call(self.name, message)
        return socket.socket(fileno=descriptors[0])

    @contextlib.contextmanager
    def netns(self, node: str) -> Iterator[int]:
        """Give the descriptor of a node's network namespace for a block."""
        _, descriptors = calls.call(self.name, {"ask": "enter", "node": node})
        try:
            yield descriptors[2]
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    @contextlib.contextmanager
    def entered(self, node: str) -> Iterator[None]:
        """Have this thread in a node's network for a block, which must not await. Needs root."""
        with self.netns(node) as descriptor, entered(descriptor):
            yield

    def address(self, node: str, version: int = 4) -> str:
        """Return the first address of a node. Raises ``LabError``."""
        for address in self._ask({"ask": "addresses", "node": node})["addresses"]:
            if (":" in address) == (version == 6):
                return str(address)
        raise LabError(f"node {node!r} has no address of IPv{version}")

    # looking

    def status(self) -> dict[str, Any]:
        """Return nodes with addresses, processes and services that ended; links; faults."""
        return self._ask({"ask": "status"})

    def reaches(self, source: str, target: str, count: int = 1, seconds: float = 1.0) -> bool:
        """Whether every address of a node answers another one's echoes, at least one of ``count``."""
        message = {"ask": "ping", "source": source, "target": target, "count": count, "seconds": seconds}
        targets = self._ask(message)["targets"]
        return bool(targets) and all(any(one is not None for one in found["answers"]) for found in targets)

    def check(self) -> None:
        """Hold all pairs against the plan. Raises ``LabError`` with those that differ."""
        answer = self._ask({"ask": "check"})
        if not answer["well"]:
            raise LabError("not as planned:\n  " + "\n  ".join(answer["lines"]))

    def graph(self, form: str = "text") -> str:
        """Return a picture: ``text`` or ``svg``."""
        return str(self._ask({"ask": "graph", "form": form})["text"])

    def capture(self, *links: str, to: str | Path) -> Recording:
        """Write what passes links to a pcapng file, for a ``with`` block. ``link@end`` names the end that listens."""
        return Recording(self.name, links, to)

    # changes and faults

    def apply(self, source: str | Path | Mapping[str, Any], *, check: bool = True) -> dict[str, list[str]]:
        """Change it by difference while it runs; return what was ``added``, ``removed`` and ``changed``, and the
        ``faults`` in force, with which it was not checked."""
        given = topology_message(source)
        answer = self._ask({"ask": "apply", "check": check, **given})
        topology = read(given["topology"], given["name"], given["source"])
        self.topology = dataclasses.replace(topology, name=self.topology.name)
        self.plan = plan(self.topology, self.plan)
        return answer

    def restart(self, node: str) -> None:
        """A node goes down and comes up; its links stay the ones they are."""
        self._ask({"ask": "restart", "node": node})

    def _fault(self, kind: str, choose: int | None = None, /, **given: Any) -> str:
        return str(self._ask({"ask": "fault", "kind": kind, "given": given, "seed": choose})["fault"])

    def cut(self, link: str, *, seed: int | None = None) -> str:
        """Pull a cable; ``any`` chooses one by the seed. Returns the fault in words, as all of these do."""
        return self._fault("cut", seed, link=link)

    def flap(self, link: str, *, down: float = 0.2, up: float = 0.8, times: int = 5, seed: int = 0) -> str:
        """Pull a cable and plug it in again, several times; each time lasts as the seed has it, around what is asked."""
        message = {"ask": "flap", "link": link, "down": down, "up": up, "times": times, "seed": seed}
        return str(self._ask(message)["fault"])

    def one_way(self, link: str, sender: str) -> str:
        """Lose what one end sends."""
        return self._fault("one-way", link=link, sender=sender)

    def loss(self, link: str, percent: float, *, sender: str = "", seed: int | None = None) -> str:
        """Lose some frames; the same ones every time with a seed."""
        return self._fault("loss", seed, link=link, percent=percent, sender=sender, seed=seed)

    def rate(self, link: str, bits: int, *, sender: str = "") -> str:
        """Let no more through than so many bits a second."""
        return self._fault("rate", link=link, bits=bits, sender=sender)

    def delay(self, link: str, seconds: float, *, jitter: float = 0, sender: str = "") -> str:
        """Let everything come later. Raises ``LabError`` where the kernel has no netem."""
        return self._fault("delay", link=link, seconds=seconds, jitter_seconds=jitter, sender=sender)

    def pause(self, node: str, *, seed: int | None = None) -> str:
        """Have a node hang: it hears and answers nothing, and its programs stand still."""
        return self._fault("pause", seed, node=node)

    def partition(self, *groups: list[str] | tuple[str, ...]) -> str:
        """Let groups of nodes hear nothing of each other."""
        return self._fault("partition", groups=[list(group) for group in groups])

    def heal(self, name: str = "") -> int:
        """Take away the faults of a link or node, or all; return how many there were."""
        return int(self._ask({"ask": "heal", "name": name})["healed"])


def topology_message(source: str | Path | Mapping[str, Any]) -> dict[str, Any]:
    """Return what a keeper is told of a topology: plain data, and where it is from. Raises ``LabError``."""
    if isinstance(source, Mapping):
        return {"topology": dict(source), "name": "lab", "source": ""}
    return {"topology": parse(Path(source)), "name": Path(source).stem, "source": str(Path(source).resolve())}
