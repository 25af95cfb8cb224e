"""A running cluster of a test, whatever it runs on: where it is, who we are there, and how it ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from sampan.testing.keys import CONTEXT
from sampan.testing.pool import pool
from sampan.testing.spec import ClusterError, ClusterSpec

UP_SECONDS = 120


@dataclass(frozen=True)
class Running:
    """A cluster that serves."""

    spec: ClusterSpec
    url: str
    kubeconfig: Path
    """Of a member of ``system:masters``; its folder is the cluster's own and goes with it."""
    log: Path
    """What the API and the controllers logged."""
    stop: Callable[[], None]
    fork: Callable[[], Running]
    """Another cluster with the state this one has now."""
    load_image: Callable[[Path], None]
    """Make the images of an archive known to the nodes of real pods."""

    def environment(self) -> dict[str, str]:
        """Return the environment in which programs find this cluster, and nothing of the user's own settings."""
        home = str(self.kubeconfig.parent)
        return {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": home, "KUBECTL_KYAML": "false"}


def start(spec: ClusterSpec) -> Running:
    """Return a new cluster when it serves. Raises ``ClusterError``."""
    return up(spec) if spec.pods == "real" else fork(spec)


def fork(spec: ClusterSpec) -> Running:
    """Return a cluster forked from the warm process."""
    return reached(spec, *pool().start(spec))


def reached(spec: ClusterSpec, number: int, port: int) -> Running:
    """Return how a forked cluster is reached and ended."""
    warm = pool()
    home = warm.directory / str(number)
    url = f"https://127.0.0.1:{port}"
    kubeconfig = home / "kubeconfig"
    kubeconfig.write_text(kubeconfig_text(url, warm.pki_dir))
    return Running(
        spec,
        url,
        kubeconfig,
        home / "api.log",
        stop=lambda: warm.stop(number),
        fork=lambda: reached(spec, *warm.fork(number)),
        load_image=lambda archive: None,  # simulated nodes have every image
    )


def kubeconfig_text(url: str, pki_dir: Path) -> str:
    """Return the admin's kubeconfig; the keys are files, as they are the same for every cluster of the run."""
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {CONTEXT}
  cluster:
    server: {url}
    certificate-authority: {pki_dir}/ca.crt
users:
- name: {CONTEXT}
  user:
    client-certificate: {pki_dir}/admin.crt
    client-key: {pki_dir}/admin.key
contexts:
- name: {CONTEXT}
  context:
    cluster: {CONTEXT}
    user: {CONTEXT}
    namespace: default
current-context: {CONTEXT}
"""


def up(spec: ClusterSpec) -> Running:
    """Return a cluster with real containers, taken up by the command line as a user would."""
    name = f"test-{uuid.uuid4().hex[:8]}"
    home = Path(tempfile.mkdtemp(prefix=f"sampan-{name}-"))
    kubeconfig = home / "kubeconfig"
    sampan = [sys.executable, "-m", "sampan.cli.main"]
    common = ["--name", name, "--kubeconfig", str(kubeconfig)]
    asked = [f"--pods={spec.pods}", f"--kubernetes-version={spec.kubernetes_version}"]

    def stop() -> None:
        subprocess.run([*sampan, "down", *common], capture_output=True, timeout=UP_SECONDS, check=False)
        shutil.rmtree(home, ignore_errors=True)

    try:
        done = subprocess.run([*sampan, "up", *asked, *common], capture_output=True, text=True, timeout=UP_SECONDS)
    except BaseException:  # ^C, or the time is over: its supervisor is no child of ours and would go on
        stop()
        raise
    if done.returncode:
        stop()
        raise ClusterError(f"sampan up failed:\n{done.stdout}{done.stderr}")
    from sampan.client.kubeconfig import load
    from sampan.cluster.settings import Settings

    def unsupported() -> Running:
        raise ClusterError("a cluster with real pods cannot be forked: its containers are not in the API")

    def load_image(archive: Path) -> None:
        loaded = subprocess.run(
            [*sampan, "image", "load", "--name", name, str(archive)], capture_output=True, text=True
        )
        if loaded.returncode:
            raise ClusterError(f"{archive}: {loaded.stderr.strip()}")

    log = Settings.load(name).log_dir / "api.log"
    return Running(spec, load(kubeconfig).server, kubeconfig, log, stop, unsupported, load_image)
