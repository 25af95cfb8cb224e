"""A registry of images, as far as it takes to read one: manifests and blobs, verified by their digests.

Source: the OCI distribution specification 1.1 (pull), the token protocol of Docker's registry.
"""

from __future__ import annotations

import base64
import hashlib
import json
import platform
import re
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from sampan.gateway.plugins.manifest import PluginError

MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}
INDEXES = ("application/vnd.oci.image.index.v1+json", "application/vnd.docker.distribution.manifest.list.v2+json")
MANIFESTS = ("application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.distribution.manifest.v2+json")
LARGEST_BLOB_BYTES = 256 * 2**20
LARGEST_MANIFEST_BYTES = 4 * 2**20
PART = "part-"
"""What the names of files begin with that are on their way."""
CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


class Registry:
    """One repository. Raises ``PluginError`` for what the registry refuses, or what is not what it is called."""

    def __init__(self, session: Any, base: str, repository: str, user: str, password: str) -> None:
        self._session, self._base, self._repository = session, base, repository
        self._user, self._password = user, password
        self._authorization = ""

    async def manifest(self, reference: str) -> tuple[str, dict[str, Any]]:
        """Return the digest and the manifest of an image, that of this machine's kind where there are several."""
        content = await self._get(f"manifests/{reference}", LARGEST_MANIFEST_BYTES, ", ".join((*INDEXES, *MANIFESTS)))
        digest = checked(content, reference if reference.startswith("sha256:") else "")
        document = json.loads(content)
        if "manifests" not in document:
            return digest, document
        ours = MACHINES.get(platform.machine(), platform.machine())
        fitting = [one for one in document["manifests"] if (one.get("platform") or {}).get("architecture") == ours]
        if not (fitting or document["manifests"]):
            raise PluginError(f"{reference} is an index of nothing")
        return await self.manifest((fitting or document["manifests"])[0]["digest"])

    async def blob(self, digest: str, file: Path) -> None:
        """Write a blob to a file as it comes. The file is there when all of it has been, and is what was asked for."""
        found = hashlib.sha256()
        with whole(file) as out:
            async for piece in self._pieces(f"blobs/{digest}", LARGEST_BLOB_BYTES):
                found.update(piece)
                out.write(piece)
            agree(digest, found)

    async def _get(self, path: str, most: int, accept: str = "*/*") -> bytes:
        return b"".join([piece async for piece in self._pieces(path, most, accept)])

    async def _pieces(self, path: str, most: int, accept: str = "*/*") -> AsyncIterator[bytes]:
        url = f"{self._base}/v2/{self._repository}/{path}"
        for _ in range(2):
            headers = {"accept": accept, **({"authorization": self._authorization} if self._authorization else {})}
            async with self._session.get(url, headers=headers) as answer:
                if answer.status == 401 and not self._authorization:
                    await self._authorize(answer.headers.get("www-authenticate", ""))
                    continue
                if answer.status != 200:
                    raise PluginError(f"the registry answers {answer.status} {answer.reason} for {path}")
                size = 0
                async for piece in answer.content.iter_chunked(1 << 16):
                    size += len(piece)
                    if size > most:
                        raise PluginError(f"{path} has more than {most // 2**20} MiB")
                    yield piece
                return
        raise PluginError("the registry asks for other credentials")

    async def _authorize(self, challenge: str) -> None:
        pair = base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        basic = f"Basic {pair}" if self._user else ""
        if challenge.lower().startswith("basic"):
            if not basic:
                raise PluginError("the registry asks for credentials: spec.image.secretRef")
            self._authorization = basic
            return
        said = dict(CHALLENGE.findall(challenge))
        if not challenge.lower().startswith("bearer") or "realm" not in said:
            raise PluginError(f"the registry asks for credentials in a way that is not known: {challenge}")
        asked = {name: said[name] for name in ("service", "scope") if name in said}
        headers = {"authorization": basic} if basic else {}
        async with self._session.get(said["realm"], params=asked, headers=headers) as answer:
            if answer.status != 200:
                raise PluginError(f"the registry's token service answers {answer.status} {answer.reason}")
            token = await answer.json(content_type=None)
        self._authorization = f"Bearer {token.get('token') or token.get('access_token')}"


@contextmanager
def whole(file: Path) -> Iterator[BinaryIO]:
    """Yield what becomes the file, if nothing fails: else there is none."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=PART, dir=file.parent)  # another plugin may fetch the same now
    try:
        with open(descriptor, "wb") as out:
            yield out
        Path(name).rename(file)
    finally:
        Path(name).unlink(missing_ok=True)


def checked(content: bytes, digest: str) -> str:
    """Return the digest of a content. Raises ``PluginError`` where another was asked for."""
    return agree(digest, hashlib.sha256(content))


def agree(digest: str, content: hashlib._Hash) -> str:
    """Return the digest of what was hashed. Raises ``PluginError`` where another was asked for; "" asks for none."""
    found = f"sha256:{content.hexdigest()}"
    if digest and digest != found:
        raise PluginError(f"what the registry gave for {digest} is {found}")
    return found
