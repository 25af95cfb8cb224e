"""A cluster made and removed by the commands a user types, under a name and with a kubeconfig of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import uuid
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any

from sampan.cluster.settings import Settings

from .eventually import eventually

SAMPAN = Path(sys.executable).parent / "sampan"
SHOP = Path(__file__).resolve().parents[2] / "examples" / "shop"


def unable() -> str:
    """Return why real pods cannot be tested here, or ``""``."""
    from sampan.cli.up import PROGRAMS, which

    if sys.platform != "linux" or os.geteuid() != 0:
        return "real pods need root on Linux"
    missing = [program for program in PROGRAMS if not which(program)]
    return f"this machine lacks {', '.join(missing)}" if missing else ""


@dataclass
class Cluster:
    name: str
    kubeconfig: Path

    @property
    def settings(self) -> Settings:
        return Settings.load(self.name)

    def sampan(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig)}
        done = subprocess.run(
            [str(SAMPAN), *words], capture_output=True, text=True, env=environment, stdin=subprocess.DEVNULL
        )
        assert not check or done.returncode == 0, f"sampan {' '.join(words)}: {done.stdout}\n{done.stderr}"
        return done

    def up(self, *words: str) -> str:
        return self.sampan("up", "--name", self.name, *words).stdout

    def down(self) -> None:
        self.sampan("down", "--name", self.name)

    def kubectl(self, *words: str, check: bool = True) -> str:
        return self.sampan("kubectl", "--name", self.name, *words, check=check).stdout

    def get(self, *words: str) -> dict[str, Any]:
        return dict(json.loads(self.kubectl("get", *words, "-o", "json")))

    def parts(self) -> dict[str, dict[str, Any]]:
        """Return the supervisor's rows by part, its own pid as ``supervisor``."""
        from sampan.cluster.lifecycle import ask

        status = ask(self.settings, "status")
        assert status is not None
        return {row["part"]: row for row in status["parts"]} | {"supervisor": {"pid": status["pid"]}}

    def is_stopped(self) -> bool:
        """Whether ``sampan ls`` says that this one is stopped, whatever others there are."""
        rows = [line.split() for line in self.sampan("ls").stdout.splitlines()]
        return [self.name, "stopped"] in [row[:2] for row in rows]

    def kill(self, part: str = "") -> None:
        """SIGKILL a part, or all of them and the supervisor, once it runs, and wait until they are gone: a part that is
        restarting has no process, for up to half a minute when it has died often."""

        def pids() -> list[int | None]:
            return [row["pid"] for name, row in self.parts().items() if part in ("", name)]

        eventually("all to be killed run", lambda: all(pids()), 60)
        # the supervisor first, else it begins anew what it sees die
        ends = [os.pidfd_open(pid) for pid in reversed(pids()) if pid]
        for end in ends:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(end, signal.SIGKILL)
        for end in ends:  # gone, and with it the ports that it had
            assert wait([end], 60)
            os.close(end)


def new_cluster(directory: Path) -> Cluster:
    return Cluster(f"t-{uuid.uuid4().hex[:6]}", directory / "kubeconfig")
