"""What a simulated container answers to ``exec``: a few words of a shell, and what the pod's author declared.

The annotation ``sim.sampan.dev/exec`` maps command lines to answers, as JSON:
``{"cat /etc/ready": {"stdout": "yes\\n", "exitCode": 0}}``. Beyond it ``true``, ``false``, ``echo``, ``cat``, ``env``,
``printenv``, ``hostname``, ``pwd``, ``sleep``, ``exit`` and ``sh -c`` are known, and ``sh`` reads commands line by line.
Every other program is not found (127), as in an empty image.
"""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from sampan.schema.objects import Object
from sampan.simulation.kinds import GROUP

ANNOTATION = f"{GROUP}/exec"
SHELLS = ("sh", "bash", "ash", "/bin/sh", "/bin/bash", "/bin/ash")
STDOUT, STDERR = 1, 2
Write = Callable[[int, bytes], Awaitable[None]]
"""``(channel, data)``."""


class Command:
    """One exec in a container. ``stdin`` yields what the client sends."""

    def __init__(self, pod: Object, container: str, write: Write, stdin: AsyncIterator[bytes]) -> None:
        self.pod = pod
        sections = ("containers", "initContainers", "ephemeralContainers")
        everyone = [entry for section in sections for entry in pod["spec"].get(section) or ()]
        self.container = next(entry for entry in everyone if entry["name"] == container)
        self.write = write
        self.stdin = stdin
        self.declared = declared(pod)

    async def run(self, words: list[str]) -> int:
        """Run a command; return its exit code."""
        answer = self.declared.get(shlex.join(words)) or self.declared.get(" ".join(words))
        if answer is not None:
            return await self._declared(answer)
        program, arguments = words[0], words[1:]
        if program in SHELLS:
            return await self._shell(arguments)
        known = getattr(self, f"_run_{program.rpartition('/')[2]}", None)
        if known is None:
            await self._say(STDERR, f"{program}: not found in this simulated container")
            return 127
        return int(await known(arguments))

    async def _say(self, channel: int, line: str) -> None:
        await self.write(channel, line.encode() + b"\n")

    async def _declared(self, answer: dict[str, Any]) -> int:
        for channel, name in ((STDOUT, "stdout"), (STDERR, "stderr")):
            if answer.get(name):
                await self.write(channel, str(answer[name]).encode())
        return int(answer.get("exitCode", 0))

    async def _shell(self, arguments: list[str]) -> int:
        if arguments[:1] == ["-c"] and len(arguments) > 1:
            return await self._line(arguments[1])
        code = 0
        rest = b""
        async for data in self.stdin:
            *lines, rest = (rest + data.replace(b"\r", b"\n")).split(b"\n")
            for line in lines:
                words = line.decode(errors="replace").strip()
                if words.partition(" ")[0] == "exit":
                    return int(words.partition(" ")[2] or code)
                code = await self._line(words)
        return code

    async def _line(self, line: str) -> int:
        """Run commands joined by ``;`` and ``&&``."""
        code = 0
        for part in line.split(";"):
            for command in part.split("&&"):
                try:
                    words = shlex.split(command)
                except ValueError as error:
                    await self._say(STDERR, f"sh: {error}")
                    return 2
                code = await self.run(words) if words else code
                if code:
                    break
        return code

    async def _run_true(self, _: list[str]) -> int:
        return 0

    async def _run_false(self, _: list[str]) -> int:
        return 1

    async def _run_exit(self, arguments: list[str]) -> int:
        return int(arguments[0]) if arguments and arguments[0].isdecimal() else 0

    async def _run_echo(self, arguments: list[str]) -> int:
        await self._say(STDOUT, " ".join(arguments))
        return 0

    async def _run_cat(self, arguments: list[str]) -> int:
        if arguments:
            await self._say(STDERR, f"cat: can't open '{arguments[0]}': No such file or directory")
            return 1
        async for data in self.stdin:
            await self.write(STDOUT, data)
        return 0

    async def _run_env(self, _: list[str]) -> int:
        for name, value in self._environment().items():
            await self._say(STDOUT, f"{name}={value}")
        return 0

    async def _run_printenv(self, arguments: list[str]) -> int:
        if not arguments:
            return await self._run_env(arguments)
        value = self._environment().get(arguments[0])
        if value is None:
            return 1
        await self._say(STDOUT, value)
        return 0

    async def _run_hostname(self, _: list[str]) -> int:
        await self._say(STDOUT, self._environment()["HOSTNAME"])
        return 0

    async def _run_pwd(self, _: list[str]) -> int:
        await self._say(STDOUT, self.container.get("workingDir") or "/")
        return 0

    async def _run_sleep(self, arguments: list[str]) -> int:
        try:
            await asyncio.sleep(float(arguments[0].rstrip("s")))
        except (IndexError, ValueError):
            await self._say(STDERR, "sleep: a number is wanted")
            return 1
        return 0

    def _environment(self) -> dict[str, str]:
        given = {entry["name"]: entry["value"] for entry in self.container.get("env") or () if "value" in entry}
        name = self.pod["spec"].get("hostname") or self.pod["metadata"]["name"]
        return {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOSTNAME": name, **given}


def declared(pod: Object) -> dict[str, dict[str, Any]]:
    """Return the answers of the pod's annotation; what is no JSON object declares nothing."""
    try:
        found = json.loads((pod["metadata"].get("annotations") or {}).get(ANNOTATION, "{}"))
    except ValueError:
        return {}
    return {str(k): v for k, v in found.items() if isinstance(v, dict)} if isinstance(found, dict) else {}
