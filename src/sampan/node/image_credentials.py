"""Credentials for registries: which of a pod's imagePullSecrets are for an image, and who may use an image that is there.

The keys of a Docker configuration are registries with an optional path; parts of the host may be globs (``*.example.com``);
the longest key that fits goes first. What a pull was done with is recorded by a digest, so that a pod may use a private
image that another pod pulled only with credentials that have pulled it, too. Images that came without a pull are free for
all. Source: the images page of Kubernetes, KEP-2535.
"""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

import orjson

from sampan.node import cri_pb2 as cri
from sampan.node import json_file
from sampan.schema.objects import Object

DOCKER_HUB = ("index.docker.io", "registry-1.docker.io")


def credentials_for(reference: str, secrets: Iterable[Object]) -> list[cri.AuthConfig]:
    """Return what may open an image's registry, the most fitting first."""
    found: list[tuple[str, cri.AuthConfig]] = []
    for secret in secrets:
        for key, entry in entries_of(secret):
            if fits(key, reference) and (made := auth_of(entry)) is not None:
                found.append((key, made))
    found.sort(key=lambda pair: pair[0], reverse=True)
    result: list[cri.AuthConfig] = []
    for _, made in found:
        if made not in result:
            result.append(made)
    return result


def entries_of(secret: Object) -> list[tuple[str, Object]]:
    """Return the registries of a Secret; none of one that is no Docker configuration."""
    data = secret.get("data") or {}
    encoded = data.get(".dockerconfigjson") or data.get(".dockercfg")
    try:
        document = orjson.loads(base64.b64decode(encoded or ""))
    except (ValueError, binascii.Error):
        return []
    entries = document.get("auths", document) if isinstance(document, dict) else {}
    return [(plain(key), entry) for key, entry in entries.items() if isinstance(entry, dict)]


def plain(key: str) -> str:
    """Return a key without its scheme and the API's path (``https://index.docker.io/v1/``)."""
    key = key.removeprefix("https://").removeprefix("http://").rstrip("/")
    for path in ("/v1", "/v2"):
        key = key.removesuffix(path)
    return key


def auth_of(entry: Object) -> cri.AuthConfig | None:
    if entry.get("auth"):
        try:
            user, colon, password = base64.b64decode(entry["auth"]).decode().partition(":")
        except (ValueError, binascii.Error):
            return None
        return cri.AuthConfig(username=user, password=password) if colon else None
    if entry.get("username"):
        return cri.AuthConfig(username=entry["username"], password=entry.get("password", ""))
    return None


def fits(key: str, reference: str) -> bool:
    """Whether a key of a Docker configuration is for an image: host by host's parts, port, and path by its beginning."""
    ours, theirs = urllib.parse.urlsplit(f"//{reference}"), urllib.parse.urlsplit(f"//{key}")
    try:
        ports = ours.port, theirs.port
    except ValueError:
        return False
    hosts = (ours.hostname or "").split("."), (theirs.hostname or "").split(".")
    if ours.hostname == "docker.io" and theirs.hostname in DOCKER_HUB:
        return True
    if ports[0] != ports[1] or len(hosts[0]) != len(hosts[1]):
        return False
    same = all(fnmatch.fnmatchcase(own, pattern) for own, pattern in zip(*hosts, strict=True))
    return same and ours.path.startswith(theirs.path)


def digest_of(auth: cri.AuthConfig) -> str:
    return hashlib.sha256(f"{auth.username}\0{auth.password}".encode()).hexdigest()


class PullRecords:
    """With what each image was pulled, by its id: kept in a file, written before the image is used."""

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._records: dict[str, list[str]] = {}
        if file is not None and file.exists():
            try:
                self._records = orjson.loads(file.read_bytes())
            except ValueError:  # a record that is lost makes its image one that came without a pull
                self._records = {}

    def add(self, image_id: str, auth: cri.AuthConfig | None) -> None:
        """Record a pull that worked. ``auth`` None: the image is free for all."""
        known = self._records.setdefault(image_id, [])
        entry = "" if auth is None else digest_of(auth)
        if entry not in known:
            known.append(entry)
            self._save()

    def was_pulled(self, image_id: str) -> bool:
        return image_id in self._records

    def may_use(self, image_id: str, credentials: Iterable[cri.AuthConfig]) -> bool:
        known = self._records.get(image_id)
        return known is None or "" in known or any(digest_of(auth) in known for auth in credentials)

    def forget(self, image_id: str) -> None:
        if self._records.pop(image_id, None) is not None:
            self._save()

    def _save(self) -> None:
        if self._file is None:
            return
        json_file.write(self._file, self._records, mode=0o600)
