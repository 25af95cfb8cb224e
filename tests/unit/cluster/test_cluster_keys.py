"""The PKI: certificates verify against the CA, name whom they should, and are made once."""

from __future__ import annotations

import datetime
import ssl
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sampan.cluster import pki
from sampan.cluster import settings as settings_module
from sampan.cluster.settings import Settings


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setattr(settings_module, "state_root", lambda: tmp_path)
    made = Settings("keys", 1, "real", "1.37", 6443)
    pki.ensure(made)
    return made


def certificate(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_the_serving_certificate_has_every_name_of_the_api(settings: Settings) -> None:
    found = certificate(settings.pki_dir / "apiserver.crt")
    names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "kubernetes.default.svc.cluster.local" in names.get_values_for_type(x509.DNSName)
    addresses = {str(address) for address in names.get_values_for_type(x509.IPAddress)}
    assert {"127.0.0.1", str(settings.node_ip), str(settings.kubernetes_service_ip)} <= addresses
    usage = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.SERVER_AUTH]
    found.verify_directly_issued_by(certificate(settings.pki_dir / "ca.crt"))


def test_clients_are_who_kubernetes_says(settings: Settings) -> None:
    subject = certificate(settings.pki_dir / "apiserver-kubelet-client.crt").subject
    assert subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)[0].value == "system:masters"
    node = settings.kubeconfig("node").read_text()
    assert f"https://{settings.node_ip}:6443" in node
    assert "https://127.0.0.1:6443" in settings.kubeconfig("admin").read_text()


def test_private_files_are_private_and_a_second_time_changes_nothing(settings: Settings) -> None:
    before = {path: path.read_bytes() for path in settings.pki_dir.iterdir()}
    assert all(path.stat().st_mode & 0o077 == 0 for path in before if path.suffix == ".key")
    pki.ensure(settings)
    assert before == {path: path.read_bytes() for path in settings.pki_dir.iterdir()}


def test_openssl_accepts_the_pair(settings: Settings) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(settings.pki_dir / "apiserver.crt", settings.pki_dir / "apiserver.key")
    context.load_verify_locations(settings.pki_dir / "ca.crt")


def test_what_ends_soon_is_renewed_by_the_same_authority(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = Settings("old", 1, "real", "1.37", 6443)
    monkeypatch.setattr(pki, "LIFETIME", datetime.timedelta(days=20))
    pki.make(old)
    pki.make_front_proxy(old)
    monkeypatch.undo()
    monkeypatch.setattr(settings_module, "state_root", lambda: tmp_path)
    before = {path: path.read_bytes() for path in [*old.pki_dir.iterdir(), old.kubeconfig("admin")]}
    pki.ensure(old)
    kept = {path.name for path, content in before.items() if path.read_bytes() == content}
    assert kept == {"ca.crt", "ca.key", "sa.key", "sa.pub"}
    authority = certificate(old.pki_dir / "ca.crt")
    certificate(old.pki_dir / "apiserver.crt").verify_directly_issued_by(authority)
    front = certificate(old.pki_dir / "front-proxy-ca.crt")
    certificate(old.pki_dir / "front-proxy-client.crt").verify_directly_issued_by(front)
    ends = certificate(old.pki_dir / "kubelet.crt").not_valid_after_utc
    assert ends > datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=3000)
    again = {path: path.read_bytes() for path in old.pki_dir.iterdir()}
    pki.ensure(old)
    assert again == {path: path.read_bytes() for path in old.pki_dir.iterdir()}
