"""Files of images, read from the content store: layers over layers, whiteouts, indexes, what cannot be read."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sampan.node.image_content import BLOBS, ImageContent
from sampan.node.oci_image import ImageFile, layer
from sampan.security.image_user import ImageUser

PASSWD = "etc/passwd"


class Store:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / BLOBS / "sha256"
        self.blobs.mkdir(parents=True)

    def put(self, content: bytes) -> str:
        name = hashlib.sha256(content).hexdigest()
        (self.blobs / name).write_bytes(content)
        return f"sha256:{name}"

    def image(self, *layers: Mapping[str, bytes], user: str = "", packed: bool = False) -> ImageContent:
        made = []
        for files in layers:
            content = layer({name: ImageFile(text) for name, text in files.items()})
            content = gzip.compress(content) if packed else content
            made.append({"digest": self.put(content), "size": len(content), "mediaType": "tar"})
        config = self.put(json.dumps({"config": {"User": user}}).encode())
        manifest: dict[str, Any] = {"config": {"digest": config}, "layers": made}
        return ImageContent(self.root, self.put(json.dumps(manifest).encode()))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@pytest.mark.parametrize("packed", [False, True])
def test_the_uppermost_layer_counts(store: Store, packed: bool) -> None:
    image = store.image(
        {PASSWD: b"old", "etc/group": b"g"}, {PASSWD: b"new"}, {"bin/x": b""}, user="web", packed=packed
    )
    assert image.files((PASSWD, "etc/group", "none")) == {PASSWD: b"new", "etc/group": b"g", "none": None}
    assert image.user() == ImageUser("web", "new", "g")


@pytest.mark.parametrize("hiding", ["etc/.wh.passwd", "etc/.wh..wh..opq", ".wh.etc"])
def test_what_a_layer_hides_is_gone(store: Store, hiding: str) -> None:
    assert store.image({PASSWD: b"old"}, {hiding: b""}).files([PASSWD]) == {PASSWD: None}


def test_an_opaque_folder_keeps_its_own_files(store: Store) -> None:
    assert store.image({PASSWD: b"old"}, {"etc/.wh..wh..opq": b"", PASSWD: b"new"}).files([PASSWD]) == {PASSWD: b"new"}


def test_the_manifest_of_this_machine_is_taken(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    mine = store.image({PASSWD: b"arm"})
    platforms = [{"os": "linux", "architecture": name} for name in ("amd64", "arm64")]
    listed = [{"digest": "sha256:none", "platform": platforms[0]}, {"digest": mine.index, "platform": platforms[1]}]
    index = ImageContent(store.root, store.put(json.dumps({"manifests": listed}).encode()))
    assert index.manifest_digest == mine.index and index.files([PASSWD]) == {PASSWD: b"arm"}
    with pytest.raises(OSError, match="nothing for"):
        ImageContent(store.root, store.put(json.dumps({"manifests": listed[:1]}).encode()))


def test_layers_that_cannot_be_read_leave_the_user_unknown(store: Store) -> None:
    image = store.image({PASSWD: b"x"}, user="web")
    (store.blobs / image.layers[0].digest.partition(":")[2]).write_bytes(b"\x28\xb5\x2f\xfd no tar that Python knows")
    assert image.user() == ImageUser("web")
