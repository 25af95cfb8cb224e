"""Credentials of registries: which fit an image, in which order, and who may use an image that is there."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any, cast

import pytest

from sampan.node import cri_pb2 as cri
from sampan.node.image_credentials import PullRecords, credentials_for, fits
from sampan.node.image_puller import ImagePuller
from sampan.node.images import ImageError
from sampan.node.runtime import Runtime, RuntimeFailure


def secret(**registries: str) -> dict[str, Any]:
    """``name=user`` with the password ``pw``; dots and slashes of the name as ``_`` and ``__``."""
    auths = {
        name.replace("__", "/").replace("_", "."): {"auth": base64.b64encode(f"{user}:pw".encode()).decode()}
        for name, user in registries.items()
    }
    return {"data": {".dockerconfigjson": base64.b64encode(json.dumps({"auths": auths}).encode()).decode()}}


@pytest.mark.parametrize(
    ("key", "reference", "well"),
    [
        ("registry.test", "registry.test/shop:1", True),
        ("registry.test", "registry.test:5000/shop:1", False),
        ("registry.test:5000", "registry.test:5000/shop:1", True),
        ("registry.test/team", "registry.test/team/shop:1", True),
        ("registry.test/team", "registry.test/other/shop:1", False),
        ("*.test", "registry.test/shop:1", True),
        ("*.test", "a.registry.test/shop:1", False),
        ("index.docker.io", "docker.io/library/web:1", True),
    ],
)
def test_which_keys_fit(key: str, reference: str, well: bool) -> None:
    assert fits(key, reference) is well


def test_the_longest_key_goes_first() -> None:
    secrets = [secret(registry_test="all"), secret(registry_test__team="team", other_test="no")]
    found = credentials_for("registry.test/team/shop:1", secrets)
    assert [auth.username for auth in found] == ["team", "all"]
    old = {
        "data": {
            ".dockercfg": base64.b64encode(
                b'{"https://registry.test/v1/": {"username": "u", "password": "p"}}'
            ).decode()
        }
    }
    assert (
        credentials_for("registry.test/x:1", [old, {"data": {}}, {"data": {".dockercfg": "bm9uZQ=="}}])[0].password
        == "p"
    )


class Registry:
    """A runtime whose registry knows one user."""

    def __init__(self, user: str = "") -> None:
        self.user, self.present, self.pulls, self.most, self.now = user, False, [], 0, 0  # type: ignore[var-annotated]

    async def image_status(self, reference: str) -> cri.Image | None:
        return cri.Image(id="sha256:1") if self.present else None

    async def pull_image(self, reference: str, auth: cri.AuthConfig | None, sandbox: object) -> str:
        self.pulls.append(auth.username if auth else "")
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        if self.user and (auth is None or auth.username != self.user):
            raise RuntimeFailure("authorization failed: no basic auth credentials")
        self.present = True
        return reference


async def ensure(
    puller: ImagePuller, pod: str, *secrets: Any, policy: str = "IfNotPresent", image: str = "r.test/a:1"
) -> None:
    sandbox = cri.PodSandboxConfig(metadata=cri.PodSandboxMetadata(uid=pod))
    await puller.ensure(
        {"name": "c", "image": image, "imagePullPolicy": policy}, sandbox, list(secrets), lambda *_: None
    )


async def test_every_credential_is_tried_and_none_is_lent(tmp_path: Path) -> None:
    registry = Registry("right")
    puller = ImagePuller(cast("Runtime", registry), records=tmp_path / "pulls.json")
    with pytest.raises(ImageError, match="no basic auth credentials"):
        await ensure(puller, "without")
    await ensure(puller, "with", secret(r_test="right"), secret(r_test__a="wrong"))
    assert registry.pulls == ["", "wrong", "right"]
    with pytest.raises(ImageError) as error:
        await ensure(puller, "without", policy="Never")
    assert error.value.reason == "ErrImageNeverPull"
    again = ImagePuller(cast("Runtime", registry), records=tmp_path / "pulls.json")
    with pytest.raises(ImageError) as error:
        await ensure(again, "without", policy="Always")
    assert error.value.reason == "ErrImagePull", "an image that was pulled is no fallback"
    await ensure(again, "other", secret(r_test="right"), policy="Never")


def test_images_that_came_without_a_pull_are_free(tmp_path: Path) -> None:
    records = PullRecords(tmp_path / "r")
    assert records.may_use("sha256:1", [])
    records.add("sha256:1", cri.AuthConfig(username="u", password="p"))
    assert not records.may_use("sha256:1", []) and b"u" not in (tmp_path / "r").read_bytes().replace(b"sha256", b"")[:3]
    records.add("sha256:1", None)
    assert PullRecords(tmp_path / "r").may_use("sha256:1", [])
    records.forget("sha256:1")
    assert not PullRecords(tmp_path / "r").was_pulled("sha256:1")


@pytest.mark.parametrize(("limit", "most"), [(0, 4), (1, 1), (2, 2)])
async def test_so_many_pulls_at_once(limit: int, most: int) -> None:
    registry = Registry()
    puller = ImagePuller(cast("Runtime", registry), limit)
    await asyncio.gather(*(ensure(puller, "p", policy="Always", image=f"r.test/{n}:1") for n in range(4)))
    assert registry.most == most and len(registry.pulls) == 4


async def test_nothing_is_kept_of_pulls_that_ended() -> None:
    """There was a lock for every image ever pulled."""
    puller = ImagePuller(cast("Runtime", Registry()))
    await asyncio.gather(*(ensure(puller, "p", image=f"r.test/{n % 2}:1") for n in range(4)))
    assert not puller._pulls
