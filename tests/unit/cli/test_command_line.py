"""The command line without a cluster: usage, words that are wrong, errors as one line and a hint."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sampan.cli import main, up


def sampan(*words: str, home: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    variables = {**os.environ, "HOME": str(home), "XDG_STATE_HOME": str(home), **environment}
    return subprocess.run(
        [sys.executable, "-m", "sampan.cli.main", *words], capture_output=True, text=True, env=variables
    )


def test_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.main([]) == 0
    said = capsys.readouterr().out
    assert all(f"  {verb}" in said for verb in main.VERBS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dance",), "no such command: dance"),
        (("status", "--name", "no-such-cluster"), "there is no cluster 'no-such-cluster'"),
        (("down", "--name", "no-such-cluster"), "there is no cluster 'no-such-cluster'"),
        (("kubectl", "--name", "no-such-cluster", "get", "pods"), "there is no cluster 'no-such-cluster'"),
        (("up", "--name", "Not_A_Label"), "'Not_A_Label' cannot be a cluster's name"),
        (("up", "--name", "x", "--pods=none", "--kubernetes-version", "1.99"), "1.99"),
        (("up", "--name", "x", "--pods=none", "--api-port", "70000"), "70000 is not a port"),
        (("up", "--pods=imagined"), "invalid choice: 'imagined'"),
        (("lab", "ping", "a", "b", "-c", "65537"), "must be a whole number from 1 to 65536, is '65537'"),
        (("lab", "ping", "a", "b", "-c", "0"), "must be a whole number from 1 to 65536, is '0'"),
        (("lab", "capture", "a-b", "-w", "-", "-c=-1"), "must be a whole number from 1, is '-1'"),
        (("net", "trace", "--from", "a", "--to", "b", "--timeout", "nan"), "must be a number above 0, is 'nan'"),
        (("net", "trace", "--from", "a", "--to", "b", "--timeout=-1"), "must be a number above 0, is '-1'"),
        (("dns", "why", ""), "NAME is empty"),
    ],
)
def test_wrong_words_are_one_line_and_an_exit_code(words: tuple[str, ...], said: str, tmp_path: Path) -> None:
    done = sampan(*words, home=tmp_path)
    assert done.returncode != 0
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_without_root_real_pods_are_refused_with_the_way_out(monkeypatch: pytest.MonkeyPatch) -> None:
    from sampan.cluster.lifecycle import ClusterError

    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    parser = argparse.ArgumentParser()
    up.arguments(parser)
    options = parser.parse_args(["--name", "x"])
    with pytest.raises(ClusterError, match="real pods need root") as caught:
        up.check(options)
    assert "--pods=simulated" in caught.value.hint


def test_ipv6_is_for_real_pods_on_a_machine_that_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from sampan.cluster.lifecycle import ClusterError
    from sampan.network import cluster_link

    parser = argparse.ArgumentParser()
    up.arguments(parser)
    with pytest.raises(ClusterError, match="--pods=simulated has IPv4 only"):
        up.check(parser.parse_args(["--pods", "simulated", "--ip-family", "dual"]))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(cluster_link, "ipv6_works", lambda: False)
    with pytest.raises(ClusterError, match="has no IPv6") as caught:
        up.check(parser.parse_args(["--ip-family", "ipv6"]))
    assert "disable_ipv6=0" in caught.value.hint


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from sampan.cluster.lifecycle import ClusterError

    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(up, "which", lambda program: None if program == "nft" else Path("/usr/bin") / program)
    parser = argparse.ArgumentParser()
    up.arguments(parser)
    options = parser.parse_args(["--name", "x"])
    with pytest.raises(ClusterError, match="lacks nftables") as caught:
        up.check(options)
    assert caught.value.hint == "apt-get install -y nftables"


def test_the_settings_of_an_api_are_checked_before_anything_is_made(tmp_path: Path) -> None:
    from sampan.cli.up import read_flags
    from sampan.cluster.lifecycle import ClusterError

    file = tmp_path / "api.yaml"
    (tmp_path / "policy.yaml").write_text("kind: Policy")
    file.write_text("audit-policy-file: policy.yaml\naudit-log-path: audit.log\nanonymous-auth: false\n")
    assert read_flags(file) == {
        "audit-policy-file": str(tmp_path / "policy.yaml"),
        "audit-log-path": str(tmp_path / "audit.log"),
        "anonymous-auth": False,
    }
    for text, why in (
        ("no-such-flag: 1", "unknown flag: --no-such-flag"),
        ("request-timeout: soon", "request-timeout"),
        ("oidc-ca-file: none.pem", "is no file"),
        ("[]", "holds no names"),
        ("a: [", "api.yaml"),
    ):
        file.write_text(text)
        with pytest.raises(ClusterError, match=why):
            read_flags(file)


def test_gates_of_the_command_line_go_before_those_of_the_file() -> None:
    from sampan.cli.up import with_gates
    from sampan.cluster.lifecycle import ClusterError

    given = {"anonymous-auth": False, "feature-gates": ["WatchList=false", "A=true"]}
    assert with_gates(given, "WatchList=true,B=false") == {
        "anonymous-auth": False,
        "feature-gates": ["A=true", "WatchList=true", "B=false"],
    }
    assert with_gates({}, "A=true") == {"feature-gates": ["A=true"]}
    for wrong in ("", "A", "A=yes", "=true", "A=true;B=true"):
        with pytest.raises(ClusterError, match="is not NAME=true"):
            with_gates({}, wrong)


@pytest.mark.parametrize("verb", ["save", "restore", "rm", "fork"])
def test_a_snapshot_is_named_without_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    """A path was answered with ``the server does not allow this method``, and ``rm ../x`` left the folder of snapshots."""
    root = tmp_path / "states"
    (root / ".snapshots").mkdir(parents=True)
    (root / "x.snapshot").touch()
    monkeypatch.setattr("sampan.cluster.settings.state_root", lambda: root)
    assert main.main(["snapshot", verb, "../x", *(["copy"] if verb == "fork" else [])]) == 1
    assert "'../x' cannot be a snapshot's name" in capsys.readouterr().err
    assert (root / "x.snapshot").exists()


def test_the_last_snapshot_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "sampan"
    monkeypatch.setattr("sampan.cluster.settings.state_root", lambda: root)
    folder = root / ".snapshots"
    folder.mkdir(parents=True)
    for name in ("one", "two"):
        (folder / f"{name}.snapshot").touch()
    assert main.main(["snapshot", "rm", "one"]) == 0 and folder.exists()
    assert main.main(["snapshot", "rm", "two"]) == 0 and not root.exists()
    assert main.main(["snapshot", "rm", "two"]) == 1
    folder.mkdir(parents=True)  # of one that could not be written, or whose writer was killed
    assert main.main(["snapshot", "rm", "three"]) == 1 and not root.exists()


def test_a_reader_that_has_read_enough_is_no_error() -> None:
    program = (
        "import sys; from sampan.cli.main import run_verb\n"
        "sys.exit(run_verb(lambda options: [print('x' * 999) for _ in range(9999)], None))"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as writer:
        assert writer.stdout is not None and writer.stderr is not None
        writer.stdout.readline()
        writer.stdout.close()
        assert writer.stderr.read() == b""
    assert writer.returncode == 141


def test_a_gate_that_no_cluster_can_have_makes_none(tmp_path: Path) -> None:
    """The cluster was made, its API ended at once, and it stayed with the gate among its settings."""
    done = sampan("up", "--name", "gates", "--pods=none", "--feature-gates", "Nope=true", home=tmp_path)
    assert done.returncode == 1 and "unrecognized feature gate: Nope" in done.stderr
    assert "gates" not in sampan("ls", home=tmp_path).stdout
