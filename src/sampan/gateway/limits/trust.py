"""By what replicas know each other: one certificate and key, in a Secret that the first of them makes. Who has it is one."""

from __future__ import annotations

import base64
import datetime
import ssl
import tempfile
from pathlib import Path

from sampan.client.errors import ApiError
from sampan.client.protocol import Client
from sampan.client.resources import SECRETS
from sampan.gateway.model.certificates import field

SECRET = "sampan-gateway-limits"
NAME = "limits.gateway.sampan.dev"
YEARS = 10


async def shared_pair(client: Client, namespace: str) -> tuple[bytes, bytes]:
    """Return certificate and key, as PEM; the Secret is made where it is not there. Raises ``ApiError``."""
    try:
        found = await client.get(SECRETS, SECRET, namespace)
    except ApiError as error:
        if not error.is_not_found:
            raise
        made = new_pair()
        data = {name: base64.b64encode(text).decode() for name, text in zip(("tls.crt", "tls.key"), made, strict=True)}
        secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": namespace}}
        try:
            found = await client.create(SECRETS, {**secret, "type": "kubernetes.io/tls", "data": data})
        except ApiError as conflict:  # another replica was first
            if not conflict.already_exists:
                raise
            found = await client.get(SECRETS, SECRET, namespace)
    return field(found, "tls.crt"), field(found, "tls.key")


def new_pair() -> tuple[bytes, bytes]:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, NAME)])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(now - day).not_valid_after(now + YEARS * 365 * day)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    builder = builder.add_extension(identifier, critical=False)
    certificate = builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
    return certificate, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def server_context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """Return the TLS of who answers: those alone who show the same certificate are listened to."""
    context = of_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), certificate, key)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def client_context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    return of_pair(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate, key)


def of_pair(context: ssl.SSLContext, certificate: bytes, key: bytes) -> ssl.SSLContext:
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols(["h2"])
    context.load_verify_locations(cadata=certificate.decode())
    with tempfile.TemporaryDirectory() as folder:  # ssl reads keys from files alone
        file = Path(folder) / "pair.pem"
        file.touch(mode=0o600)
        file.write_bytes(certificate + key)
        context.load_cert_chain(file)
    return context
