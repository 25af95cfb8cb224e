"""The cluster's keys: one CA, serving and client certificates, the ServiceAccount key, and our agents' kubeconfigs.

Everything is EC P-256 and made once, at the first ``up``; existing files are kept until they end soon. Private keys are
readable by their owner only. ``cryptography`` is imported when keys are made, not before.
"""

from __future__ import annotations

import base64
import datetime
import ipaddress
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api.der import certificates_of, validity
from sampan.cluster.settings import Address, Settings

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

LIFETIME = datetime.timedelta(days=3650)
BACKDATED = datetime.timedelta(days=1)
"""How long before it is made a certificate is good: a clock that was ahead and is set right locks nobody out."""
RENEWED_BEFORE = datetime.timedelta(days=30)
"""How long before its end ``up`` renews a certificate."""
AGENTS = {"dns": "system:sampan-dns", "gateway": "system:sampan-gateway", "network": "system:sampan-network"}


@dataclass(frozen=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    def certificate_pem(self) -> bytes:
        from cryptography.hazmat.primitives.serialization import Encoding

        return self.certificate.public_bytes(Encoding.PEM)

    def key_pem(self) -> bytes:
        return key_pem(self.key)


def key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def issue(
    common_name: str,
    issuer: Pair | None,
    *,
    organizations: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
    addresses: tuple[str, ...] = (),
    server: bool = False,
) -> Pair:
    """Return a new pair signed by ``issuer`` (None: a CA signed by itself)."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    key = ec.generate_private_key(ec.SECP256R1())
    organization = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, name) for name in organizations]
    subject = x509.Name([*organization, x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    now = datetime.datetime.now(datetime.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, issuer is None, issuer is None, False, False),
            critical=True,
        )
    )
    signer = issuer.key if issuer else key
    builder = builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
    )
    if issuer is not None:
        usage = ExtendedKeyUsageOID.SERVER_AUTH if server else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
    if names or addresses:
        alternatives: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        alternatives += [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    return Pair(builder.sign(signer, hashes.SHA256()), key)


def ensure(settings: Settings) -> None:
    """Make what is missing of the cluster's keys and kubeconfigs, and renew what ends soon. A complete PKI costs a look at
    each certificate."""
    if not settings.kubeconfig("gateway").exists():
        make(settings)
    if not (settings.pki_dir / "front-proxy-client.key").exists() or ends_soon(settings.pki_dir / "front-proxy-ca.crt"):
        make_front_proxy(settings)
    renew(settings)


def make_front_proxy(settings: Settings) -> None:
    """Make the API's identity towards aggregated API servers: an authority of its own, and a client certificate of it."""
    authority = issue(f"sampan-{settings.name}-front-proxy", None)
    write_pair(settings.pki_dir / "front-proxy-ca", authority)
    write_pair(settings.pki_dir / "front-proxy-client", issue("front-proxy-client", authority))


def servants(settings: Settings) -> dict[str, Callable[[Pair], Pair]]:
    """Return how each pair of the control plane is issued, by the stem of its files."""
    node, addresses = settings.node_name, (*map(str, settings.node_ips), "127.0.0.1", "::1")
    return {
        "apiserver": lambda authority: api_server_pair(settings, authority),
        "apiserver-kubelet-client": lambda authority: issue(
            "kube-apiserver-kubelet-client", authority, organizations=("system:masters",)
        ),
        "kubelet": lambda authority: issue(
            f"system:node:{node}", authority, names=(node,), addresses=addresses, server=True
        ),
    }


def users(settings: Settings) -> dict[str, tuple[str, tuple[str, ...]]]:
    """Return who has a kubeconfig: name and groups."""
    known: dict[str, tuple[str, tuple[str, ...]]] = {
        "admin": ("kubernetes-admin", ("system:masters",)),
        "node": (f"system:node:{settings.node_name}", ("system:nodes",)),
    }
    return known | {agent: (name, ()) for agent, name in AGENTS.items()}


def make(settings: Settings) -> None:
    """Make the keys and kubeconfigs of a new cluster."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    settings.pki_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    authority = issue(f"sampan-{settings.name}", None)
    write_pair(settings.pki_dir / "ca", authority)
    for stem, made in servants(settings).items():
        write_pair(settings.pki_dir / stem, made(authority))
    accounts = ec.generate_private_key(ec.SECP256R1())
    write_secret(settings.pki_dir / "sa.key", key_pem(accounts))
    public = accounts.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    (settings.pki_dir / "sa.pub").write_bytes(public)
    for user in users(settings):
        write_user(settings, user, authority)


def write_user(settings: Settings, user: str, authority: Pair) -> None:
    """Issue a user's certificate and write his kubeconfig."""
    name, groups = users(settings)[user]
    pair = issue(name, authority, organizations=groups)
    # inside the cluster's namespace the node's address answers, outside of it 127.0.0.1 does
    host = "127.0.0.1" if user == "admin" or settings.pods != "real" else url_host(settings.node_ip)
    text = kubeconfig_text(settings.name, f"https://{host}:{settings.api_port}", authority, pair)
    write_secret(settings.kubeconfig(user), text.encode())


def renew(settings: Settings) -> None:
    """Issue anew what ends soon; a running API serves a new certificate to its next connection."""
    pairs = [stem for stem in servants(settings) if ends_soon(settings.pki_dir / f"{stem}.crt")]
    names = [user for user in users(settings) if user_ends_soon(settings.kubeconfig(user))]
    if pairs or names:
        authority = read_pair(settings.pki_dir / "ca")
        for stem in pairs:
            write_pair(settings.pki_dir / stem, servants(settings)[stem](authority))
        for user in names:
            write_user(settings, user, authority)
    if ends_soon(settings.pki_dir / "front-proxy-client.crt"):
        front = read_pair(settings.pki_dir / "front-proxy-ca")
        write_pair(settings.pki_dir / "front-proxy-client", issue("front-proxy-client", front))


def read_pair(stem: Path) -> Pair:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    key = load_pem_private_key(stem.with_suffix(".key").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return Pair(x509.load_pem_x509_certificate(stem.with_suffix(".crt").read_bytes()), key)


def ends_soon(certificate: Path) -> bool:
    return pem_ends_soon(certificate.read_bytes())


def user_ends_soon(kubeconfig: Path) -> bool:
    found = re.search(r"client-certificate-data: ([A-Za-z0-9+/=]+)", kubeconfig.read_text())
    return found is not None and pem_ends_soon(base64.b64decode(found[1]))


def pem_ends_soon(pem: bytes) -> bool:
    """Whether a certificate has less than ``RENEWED_BEFORE`` left. Without ``cryptography``: each ``up`` looks."""
    return validity(certificates_of(pem)[0])[1] - time.time() < RENEWED_BEFORE.total_seconds()


def move(settings: Settings) -> None:
    """Write the API's port of ``settings`` into the kubeconfigs there are."""
    for file in settings.kubeconfig("admin").parent.glob("*.kubeconfig"):
        text = re.sub(
            r"(server: https://(?:[0-9.]+|\[[0-9a-f:]+\]):)\d+", rf"\g<1>{settings.api_port}", file.read_text()
        )
        write_secret(file, text.encode())


def api_server_pair(settings: Settings, authority: Pair) -> Pair:
    """Return the API's serving pair, for every name and address it is reached by."""
    service = "kubernetes.default.svc"
    names = ("localhost", "kubernetes", "kubernetes.default", service, f"{service}.{settings.cluster_domain}")
    addresses = ("127.0.0.1", "::1", *map(str, settings.node_ips), str(settings.kubernetes_service_ip))
    return issue("kube-apiserver", authority, names=names, addresses=addresses, server=True)


def url_host(address: Address) -> str:
    return f"[{address}]" if address.version == 6 else str(address)


def kubeconfig_text(name: str, server: str, authority: Pair, client: Pair) -> str:
    """Return a kubeconfig with one context ``sampan-<name>`` and everything inline."""

    def inline(pem: bytes) -> str:
        return base64.b64encode(pem).decode()

    context = f"sampan-{name}"
    return f"""apiVersion: v1
kind: Config
clusters:
- name: {context}
  cluster:
    server: {server}
    certificate-authority-data: {inline(authority.certificate_pem())}
users:
- name: {context}
  user:
    client-certificate-data: {inline(client.certificate_pem())}
    client-key-data: {inline(client.key_pem())}
contexts:
- name: {context}
  context:
    cluster: {context}
    user: {context}
current-context: {context}
"""


def write_pair(stem: Path, pair: Pair) -> None:
    stem.with_suffix(".crt").write_bytes(pair.certificate_pem())
    write_secret(stem.with_suffix(".key"), pair.key_pem())


def write_secret(path: Path, content: bytes) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    temporary.replace(path)
