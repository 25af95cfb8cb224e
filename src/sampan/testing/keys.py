"""The keys of all test clusters of one run: one CA, the API's pair, an admin, the ServiceAccount key. Made once, shared.

Tests of one run share the CA, so that a client's TLS context may be kept; what tells clusters apart is their port.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sampan.cluster import pki

if TYPE_CHECKING:
    from sampan.cluster.pki import Pair

CONTEXT = "sampan-test"
NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
ADDRESSES = ("127.0.0.1", "::1", "10.96.0.1")


def make(directory: Path) -> None:
    """Write ``ca``, ``apiserver``, ``apiserver-kubelet-client`` and ``admin`` pairs and ``sa.key``, ``sa.pub``."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = pki.issue(CONTEXT, None)
    pairs: dict[str, Pair] = {
        "ca": authority,
        "apiserver": pki.issue("kube-apiserver", authority, names=NAMES, addresses=ADDRESSES, server=True),
        "apiserver-kubelet-client": pki.issue(
            "kube-apiserver-kubelet-client", authority, organizations=("system:masters",)
        ),
        "admin": pki.issue("kubernetes-admin", authority, organizations=("system:masters",)),
    }
    for name, pair in pairs.items():
        pki.write_pair(directory / name, pair)
    accounts = ec.generate_private_key(ec.SECP256R1())
    pki.write_secret(directory / "sa.key", pki.key_pem(accounts))
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    (directory / "sa.pub").write_bytes(accounts.public_key().public_bytes(serialization.Encoding.PEM, form))
