"""``sampan dns``: what can be said without a cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from sampan.cli.dns.serve import listening
from sampan.cli.main import main
from sampan.cli.reaching import pod_key
from sampan.dns.corefile.configuration import DEFAULT


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["127.0.0.1"], (("127.0.0.1",), 53)),
        (["127.0.0.1:1053"], (("127.0.0.1",), 1053)),
        (["[::1]:1053", "10.0.0.1:1053"], (("::1", "10.0.0.1"), 1053)),
        (["::1"], (("::1",), 53)),
        ([":1053"], (("::",), 1053)),
    ],
)
def test_addresses_to_listen_on(texts: list[str], found: tuple[tuple[str, ...], int]) -> None:
    assert listening(texts) == found


@pytest.mark.parametrize(
    "texts", [["x"], ["127.0.0.1:x"], ["127.0.0.1:99999"], ["127.0.0.1:-1"], ["127.0.0.1:1", "127.0.0.2:2"]]
)
def test_addresses_that_are_none(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="--listen"):
        listening(texts)


def test_a_corefile_is_judged(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "Corefile"
    file.write_text(DEFAULT + "corp.example {\n forward . 10.0.0.1 tls://9.9.9.9\n rewrite name a b\n}\n")
    assert main(["dns", "check", str(file)]) == 0
    said = capsys.readouterr().out
    assert "kubernetes   cluster.local, pods verified, ttl 5, endpoint_pod_names, zonal" in said
    assert "forward      . to 10.0.0.1:53, tls://9.9.9.9:853 (random)" in said and "rewrite      1 rules" in said
    file.write_text(". {\n forward\n}\n")
    assert main(["dns", "check", str(file)]) == 1
    assert capsys.readouterr().err == "sampan: Corefile:2: forward: it takes FROM and at least one TO\n"
    assert main(["dns", "check", str(tmp_path / "none")]) == 1


def test_options_that_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dns", "--name", "x", "host"]) == 2
    assert "--name goes behind the verb" in capsys.readouterr().err
    assert main(["dns", "why", "a.example", "--type", "BOGUS"]) == 2
    assert "--type BOGUS: there are A, NS" in capsys.readouterr().err
    assert main(["dns", "why", "a..example"]) == 1
    assert "'a..example' is no name of DNS: not a label" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["web", "shop/web", "pod/web", "pod/shop/web"])
def test_pods_by_all_their_names(text: str) -> None:
    assert pod_key(text, "shop") == "shop/web"
