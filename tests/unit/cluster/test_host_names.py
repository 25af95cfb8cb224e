"""The block of a cluster's names in /etc/hosts comes and goes, and nothing else of the file changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.cluster import host_names

OWN = "127.0.0.1\tlocalhost\n# mine\n10.0.0.1 printer\n"


@pytest.mark.parametrize("before", [OWN, "", "127.0.0.1 localhost"])
def test_a_block_comes_and_goes(tmp_path: Path, before: str) -> None:
    file = tmp_path / "hosts"
    file.write_text(before)
    host_names.put("one", [("web.example", "10.1.0.1")], file)
    host_names.put("two", [("db.example", "10.2.0.1")], file)
    host_names.put("one", [("web.example", "10.1.0.2")], file)
    text = file.read_text()
    assert "10.1.0.2\tweb.example" in text and "10.1.0.1" not in text and "10.2.0.1\tdb.example" in text
    for name in ("one", "two", "nobody"):
        host_names.remove(name, file)
    assert file.read_text().rstrip("\n") == before.rstrip("\n")


def test_a_block_without_an_end_is_left_alone(tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("# names of the sampan cluster one\n10.0.0.1 somebody's\n")
    host_names.remove("one", file)
    assert "somebody's" in file.read_text()
    host_names.remove("one", tmp_path / "none")
