"""The stand-ins for envtest's binaries: the flags they take, where state lives, what they refuse."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sampan.client.http import HttpClient
from sampan.client.kubeconfig import Connection
from sampan.client.resources import CONFIG_MAPS
from sampan.testing import envtest
from sampan.testing.keys import make
from sampan.testing.kube_apiserver import UsageError, read

CONFIG_MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept"}}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    return envtest.assets("1.30", tmp_path / "bin")


@pytest.fixture
def flags(tmp_path: Path) -> list[str]:
    """Flags as controller-runtime passes them."""
    certs = tmp_path / "certs"
    make(certs)
    return [
        "--allow-privileged=true",
        "--authorization-mode=RBAC",
        "--bind-address=127.0.0.1",
        f"--cert-dir={certs}",
        f"--client-ca-file={certs}/ca.crt",
        "--disable-admission-plugins=ServiceAccount",
        f"--secure-port={free_port()}",
        "--service-account-issuer=https://127.0.0.1/",
        f"--service-account-key-file={certs}/sa.pub",
        f"--service-account-signing-key-file={certs}/sa.key",
        "--service-cluster-ip-range=10.0.0.0/24",
    ]


@pytest.fixture
def etcd(programs: Path, tmp_path: Path) -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    words = [f"--data-dir={tmp_path / 'etcd'}", f"--listen-client-urls={url}", f"--advertise-client-urls={url}"]
    process = subprocess.Popen(
        [programs / "etcd", *words, "--listen-peer-urls=http://127.0.0.1:0", "--unsafe-no-fsync"]
    )
    try:
        wait_for_port(int(url.rpartition(":")[2]), process)
        yield url
    finally:
        process.terminate()
        assert process.wait(60) == 0


def wait_for_port(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
    raise AssertionError(f"it ended with {process.returncode}")


def connection(flags: list[str]) -> Connection:
    given = dict(flag.lstrip("-").split("=", 1) for flag in flags)
    certs = Path(given["cert-dir"])
    return Connection(
        f"https://127.0.0.1:{given['secure-port']}",
        ca=(certs / "ca.crt").read_bytes(),
        certificate=(certs / "admin.crt").read_bytes(),
        key=(certs / "admin.key").read_bytes(),
    )


async def keep_an_object(flags: list[str], *, create: bool) -> None:
    client = HttpClient(connection(flags))
    try:
        status, version = await client.raw("GET", "/version")
        assert status == 200 and json.loads(version)["minor"] == "30"
        if create:
            await client.create(CONFIG_MAPS, CONFIG_MAP, "default")
        assert (await client.get(CONFIG_MAPS, "kept", "default"))["metadata"]["name"] == "kept"
    finally:
        await client.close()


def test_state_outlives_the_api_server_in_etcds_directory(programs: Path, flags: list[str], etcd: str) -> None:
    with urllib.request.urlopen(f"{etcd}/health") as answer:
        assert json.load(answer)["health"] == "true"
    port = int(connection(flags).server.rpartition(":")[2])
    for create in (True, False):
        process = subprocess.Popen([programs / "kube-apiserver", *flags, f"--etcd-servers={etcd}"])
        try:
            wait_for_port(port, process)
            asyncio.run(keep_an_object(flags, create=create))
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0


def test_help_names_the_flags_that_are_understood(programs: Path) -> None:
    said = subprocess.run([programs / "kube-apiserver", "--help"], capture_output=True, text=True)
    assert said.returncode == 0 and "  --secure-port" in said.stdout and "insecure-port" not in said.stdout
    said = subprocess.run([programs / "etcd", "--help"], capture_output=True, text=True)
    assert said.returncode == 0 and "  --unsafe-no-fsync" in said.stdout


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ("--insecure-port=0", "unknown flag: --insecure-port"),
        ("--authorization-mode=AlwaysAllow", "--authorization-mode=AlwaysAllow: only RBAC"),
        ("--client-ca-file=/nowhere", "ca: /nowhere: No such file"),
        ("--anonymous-auth=perhaps", 'invalid argument "perhaps" for "--anonymous-auth" flag'),
    ],
)
def test_what_is_not_understood_is_refused(flags: list[str], changed: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read("1.37", [*flags, changed])


def test_the_command_line_prints_the_variables(tmp_path: Path) -> None:
    sampan = [sys.executable, "-m", "sampan.cli.main", "envtest", "--dir", str(tmp_path)]
    said = subprocess.run(sampan, capture_output=True, text=True)
    assert f"export KUBEBUILDER_ASSETS={tmp_path}" in said.stdout.splitlines()
    ran = subprocess.run(
        [*sampan, "--", "sh", "-c", "$KUBEBUILDER_ASSETS/kubectl version --client"], capture_output=True
    )
    assert ran.returncode == 0 and b"Client Version" in ran.stdout
    wrong = subprocess.run([*sampan, "--kubernetes-version", "1.19"], capture_output=True, text=True)
    assert wrong.returncode == 1 and "1.19" in wrong.stderr
