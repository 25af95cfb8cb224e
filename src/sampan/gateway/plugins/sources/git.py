"""Plugins from a Git directory: a URL, a ref, a path. By ``git`` itself, into a bare repository of one commit.

Source: git-fetch(1), git-archive(1); which refs a server gives is its own affair (uploadpack.allowReachableSHA1InWant).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import shutil
import signal
import tarfile
from pathlib import Path
from typing import IO

from sampan.gateway.plugins.manifest import PluginError
from sampan.gateway.plugins.sources.seam import Asked, Fetched
from sampan.schema.objects import Object

SECONDS = 60.0
LARGEST_BYTES = 64 * 2**20
PROTOCOLS = "https:http:ssh:git:file"


class Git(Asked):
    def __init__(self, spec: Object, cache: Path, secret: Object | str | None) -> None:
        super().__init__(spec, cache, secret)
        self._url, self._wanted = str(spec["url"]), str(spec.get("ref") or "HEAD")
        self._path = str(spec.get("path") or "").strip("/")
        name = hashlib.sha256(f"{self._url}\0{self._wanted}".encode()).hexdigest()[:16]
        self._folder = self.cache / f"git-{name}"

    async def cached(self) -> Fetched | None:
        try:
            return await self._files(await self._commit())
        except PluginError:
            return None

    async def fetch(self) -> Fetched:
        if self.no_secret:
            raise PluginError(f"spec.git.{self.no_secret}")
        if not (self._folder / "HEAD").exists():
            self.cache.mkdir(parents=True, exist_ok=True)
            await self._git("init", "--quiet", "--bare", str(self._folder))
        command = ("-C", str(self._folder), "fetch", "--quiet", "--no-tags", "--force")
        try:
            await self._git(*command, "--depth=1", "--", self._url, f"{self._wanted}:refs/sampan/plugin")
        except PluginError as error:
            raise PluginError(f"spec.git: {self._url} {self._wanted}: {error}") from None
        return await self._files(await self._commit())

    async def _commit(self) -> str:
        if not self._folder.is_dir():
            raise PluginError("it was not fetched yet")
        found = await self._git(
            "-C", str(self._folder), "rev-parse", "--verify", "--quiet", "refs/sampan/plugin^{commit}"
        )
        return found.decode().strip()

    async def _files(self, commit: str) -> Fetched:
        tree = f"{commit}:{self._path}" if self._path else commit
        reading, writing = os.pipe()
        unpacking = asyncio.ensure_future(asyncio.to_thread(unpacked, reading))
        unpacking.add_done_callback(
            lambda done: done.cancelled() or done.exception()
        )  # git's failure may be the one to tell
        try:
            with os.fdopen(writing, "wb") as archive:
                await self._git("-C", str(self._folder), "archive", "--format=tar", tree, output=archive)
        except PluginError as error:
            if isinstance((await asyncio.gather(unpacking, return_exceptions=True))[0], TooLarge):
                raise self._at(commit, TooLarge()) from None  # git has ended as nobody read on
            raise self._at(commit, error) from None
        try:
            return Fetched(await unpacking, commit)
        except TooLarge as error:
            raise self._at(commit, error) from None

    def _at(self, commit: str, problem: PluginError) -> PluginError:
        return PluginError(f"spec.git.path: {self._path or '/'} in {commit[:12]}: {problem}")

    async def _git(self, *words: str, output: IO[bytes] | None = None) -> bytes:
        """Return what git says, unless it goes to a file. Raises ``PluginError`` with its last words."""
        program = shutil.which("git")
        if program is None:
            raise PluginError("git is not installed on the gateway's machine")
        process = await asyncio.create_subprocess_exec(
            program,
            *words,
            env=self._environment(),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output or asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            start_new_session=True,  # who talks to the server is a process of its own, and is to end with it
        )
        try:
            async with asyncio.timeout(SECONDS):
                said, errors = await process.communicate()
        except TimeoutError:
            raise PluginError(f"git {words[2]} does not end within {SECONDS:.0f} s") from None
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            lines = [line for line in errors.decode(errors="replace").splitlines() if line.strip()]
            raise PluginError(lines[0].removeprefix("fatal: ") if lines else f"git ended with {process.returncode}")
        return said or b""

    def _environment(self) -> dict[str, str]:
        said = {
            **os.environ,
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_ASKPASS": "true",
            "GIT_ALLOW_PROTOCOL": PROTOCOLS,
            "GIT_SSH_COMMAND": "ssh -oBatchMode=yes",
            "LC_ALL": "C",
        }
        data = (self.secret or {}).get("data") or {}
        if data:
            user, password = (base64.b64decode(data.get(name) or "") for name in ("username", "password"))
            token = base64.b64encode(user + b":" + password).decode()
            said |= {
                "GIT_CONFIG_COUNT": "1",
                "GIT_CONFIG_KEY_0": f"http.{self._url}.extraHeader",
                "GIT_CONFIG_VALUE_0": f"Authorization: Basic {token}",
            }
        return said


class TooLarge(PluginError):
    def __init__(self) -> None:
        super().__init__(f"it has more than {LARGEST_BYTES // 2**20} MiB of files")


def unpacked(archive: int) -> dict[str, bytes]:
    """Return the files of a tar archive that comes through a pipe, without hidden ones and links; the pipe is closed. No more
    of it is held than the files. Raises ``PluginError``."""
    files: dict[str, bytes] = {}
    size = 0
    with open(archive, "rb") as pipe:
        with tarfile.open(fileobj=pipe, mode="r|") as tar:
            for entry in tar:
                parts = entry.name.split("/")
                if not entry.isfile() or any(part.startswith(".") or part == "__pycache__" for part in parts):
                    continue
                size += entry.size
                if size > LARGEST_BYTES:
                    raise TooLarge
                content = tar.extractfile(entry)
                files[entry.name] = content.read() if content is not None else b""
        while pipe.read(1 << 16):  # what an archive is filled up with: git is to end well
            pass
    return dict(sorted(files.items()))
