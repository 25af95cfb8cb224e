"""A pod is given a certificate by a signer of the cluster's own: the test is the signer."""

from __future__ import annotations

import base64
import datetime
import json

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from .eventually import eventually
from .space import Space, pod

SIGNER = "example.com/tests"


def sign(request: dict[str, object], authority: ec.EllipticCurvePrivateKey) -> dict[str, object]:
    """Return the status of a PodCertificateRequest that is issued for a day."""
    spec = request["spec"]
    assert isinstance(spec, dict)
    asked = x509.load_der_x509_csr(base64.b64decode(spec["stubPKCS10Request"]))
    assert asked.is_signature_valid
    begin = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    end = begin + datetime.timedelta(seconds=spec["maxExpirationSeconds"])
    refresh = begin + (end - begin) * 2 / 3
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{spec['podName']}.{spec['serviceAccountName']}")])
    builder = x509.CertificateBuilder().subject_name(subject).issuer_name(subject).public_key(asked.public_key())
    builder = builder.not_valid_before(begin).not_valid_after(end).serial_number(x509.random_serial_number())
    chain = builder.sign(authority, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()
    condition = {"type": "Issued", "status": "True", "reason": "Signed", "message": "by a test"}
    stamp = "%Y-%m-%dT%H:%M:%SZ"
    return {
        "conditions": [{**condition, "lastTransitionTime": begin.strftime(stamp)}],
        "certificateChain": chain,
        "notBefore": begin.strftime(stamp),
        "beginRefreshAt": refresh.strftime(stamp),
        "notAfter": end.strftime(stamp),
    }


def test_a_pod_waits_for_its_certificate_and_has_it_in_memory(space: Space) -> None:
    wanted = {"signerName": SIGNER, "keyType": "ECDSAP256", "credentialBundlePath": "bundle.pem"}
    volumes = [{"name": "identity", "projected": {"sources": [{"podCertificate": wanted}]}}]
    mounts = [{"name": "identity", "mountPath": "/identity"}]
    spec = {"volumes": volumes}
    space.apply(pod("known", "grep ' /identity ' /proc/mounts; sleep 1000", spec, volumeMounts=mounts))

    def requests() -> list[dict[str, object]]:
        return list(json.loads(space("get", "podcertificaterequests", "-o", "json"))["items"])

    eventually("its node asks for it", lambda: len(requests()) == 1)
    (request,) = requests()
    name, spec_asked = request["metadata"]["name"], request["spec"]  # type: ignore[index]
    found = space.pod("known")
    assert spec_asked["podUID"] == found["metadata"]["uid"] and spec_asked["signerName"] == SIGNER  # type: ignore[index]
    eventually("why it waits is told", lambda: f"{name} is not issued yet" in space("describe", "pod", "known"))
    status = sign(request, ec.generate_private_key(ec.SECP256R1()))
    space(
        "patch",
        "podcertificaterequest",
        name,
        "--subresource",
        "status",
        "--type",
        "merge",
        "-p",
        json.dumps({"status": status}),
    )
    space.ready("known")
    bundle = space("exec", "known", "--", "cat", "/identity/bundle.pem").encode()
    key = serialization.load_pem_private_key(bundle, None)
    certificate = x509.load_pem_x509_certificate(bundle[bundle.index(b"-----BEGIN CERTIFICATE") :])
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    assert key.public_key().public_bytes(*form) == certificate.public_key().public_bytes(*form)
    assert "known.default" in certificate.subject.rfc4514_string()
    eventually("it is in memory", lambda: space("logs", "known").startswith("tmpfs"))
    assert len(requests()) == 1
