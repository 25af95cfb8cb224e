"""Objects that are wrong, before a real Envoy: each says what is wrong with it, by field, and everything else is served."""

from __future__ import annotations

import contextlib
import datetime
import http.client
import socket
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from .eventually import eventually
from .gateway_world import (
    GROUP,
    HOST,
    Alone,
    any_certificate,
    ask,
    certificate,
    free_port,
    gateway_object,
    on_host,
    route_object,
    secret,
    to,
)
from .raw_backend import RawBackend

NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)
Key = ec.EllipticCurvePrivateKey


def issued(
    name: str, by: tuple[x509.Name, Key] | None, key: Key, since: datetime.timedelta, until: datetime.timedelta
) -> bytes:
    """Return a certificate as PEM. ``by``: who signs, or itself."""
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    issuer, signer = by or (subject, key)
    builder = x509.CertificateBuilder(issuer, subject, key.public_key(), x509.random_serial_number())
    builder = builder.not_valid_before(NOW + since).not_valid_after(NOW + until)
    names = x509.SubjectAlternativeName([x509.DNSName(name)])
    return builder.add_extension(names, critical=False).sign(signer, hashes.SHA256()).public_bytes(Encoding.PEM)


def new_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


def pem(key: Key) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Front:
    """A gateway with a route that is well; the file ``objects`` has it, ``more`` what a test adds."""

    def __init__(self, alone: Alone) -> None:
        self.alone, self.port, self.tls, self.backend = alone, free_port(), free_port(), RawBackend()

    def write(self, *listeners: dict[str, Any]) -> None:
        well = {"name": "well", "port": self.tls, "protocol": "HTTPS", "hostname": HOST}
        well["tls"] = {"certificateRefs": [{"name": "well"}]}
        self.alone.write(
            gateway_object({"name": "http", "port": self.port, "protocol": "HTTP"}, well, *listeners),
            secret("default", "well", *certificate()),
            *on_host("default", "raw", "127.0.0.1", self.backend.port),
            route_object("HTTPRoute", "well", to("raw", matches=[{"path": {"value": "/well"}}])),
        )

    def https(self, name: str, *references: dict[str, str]) -> dict[str, Any]:
        tls = {"certificateRefs": list(references or [{"name": name}])}
        return {"name": name, "port": self.tls, "protocol": "HTTPS", "hostname": f"{name}.example", "tls": tls}

    def status(self, path: str = "/well") -> int:
        with contextlib.suppress(OSError, http.client.HTTPException):
            return ask(f"127.0.0.1:{self.port}", path).status
        return 0

    def shows(self, host: str) -> bool:
        """Whether a handshake for that host succeeds."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.tls), 10) as plain:
            any_certificate().wrap_socket(plain, server_hostname=host).close()
            return True
        return False


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    with Alone(tmp_path_factory.mktemp("bad")) as alone:
        made = Front(alone)
        made.write()
        eventually("the gateway answers", lambda: made.status() == 200)
        yield made
    made.backend.end()


def test_certificates_that_are_none_or_not_any_more(front: Front) -> None:
    key, other, authority = new_key(), new_key(), new_key()
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "root")])
    root = issued("root", None, authority, -DAY, DAY)
    leaf = issued("chain.example", (root_name, authority), key, -DAY, DAY)
    stranger = issued("stranger", None, other, -DAY, DAY)
    soon = datetime.datetime.now(datetime.UTC) - NOW + datetime.timedelta(seconds=8)
    cases = {
        "expired": (issued("expired.example", None, key, -2 * DAY, -DAY), "the certificate has expired at ", True),
        "future": (issued("future.example", None, key, DAY, 2 * DAY), "the certificate is not valid before ", True),
        "expires": (issued("expires.example", None, key, -DAY, soon), "the certificate has expired at ", True),
        "foreign": (
            issued("foreign.example", None, other, -DAY, DAY),
            "tls.key is not the key of the certificate",
            False,
        ),
        "reversed": (root + leaf, "the certificate of tls.key is the 2. in tls.crt: it must be the first", False),
        "broken": (leaf + stranger, "the 2. certificate in tls.crt has not issued the one before it", True),
        "nonsense": (b"no PEM", "tls.crt and tls.key are not a PEM certificate and key", False),
        "half": (leaf[:200], "tls.crt and tls.key are not a PEM certificate and key", False),
    }
    front.alone.write(
        *(secret("default", name, content, pem(key)) for name, (content, _, _) in cases.items()), file="more"
    )
    front.write(*(front.https(name) for name in (*cases, "missing")))
    for name, (_, text, served) in cases.items():
        told = f"listener {name}: ResolvedRefs: InvalidCertificateRef: Secret default/{name}: {text}"
        eventually(f"{name} is told: {told}", lambda told=told: front.alone.told(told))  # type: ignore[misc]
        eventually(
            f"{name} is served: {served}", lambda name=name, served=served: front.shows(f"{name}.example") is served
        )  # type: ignore[misc]
    missing = "listener missing: ResolvedRefs: InvalidCertificateRef: Secret default/missing does not exist"
    eventually("the one that is not there is told", lambda: front.alone.told(missing))
    assert front.shows(HOST) and front.status() == 200
    front.write()
    (front.alone.directory / "more.json").unlink()


def test_a_good_certificate_stays_when_a_broken_one_follows(front: Front) -> None:
    chain, key = certificate(1, "rotated.example")
    front.alone.write(secret("default", "rotated", chain, key), file="more")
    front.write(front.https("rotated"))
    eventually("it is shown", lambda: front.shows("rotated.example"))
    front.alone.write(secret("default", "rotated", b"broken", key), file="more")
    told = "listener rotated: ResolvedRefs: InvalidCertificateRef: Secret default/rotated: tls.crt and tls.key are not"
    eventually("it is told", lambda: front.alone.told(told))
    assert front.shows("rotated.example") and front.shows(HOST)
    (front.alone.directory / "more.json").unlink()
    eventually("a Secret that is gone is not shown", lambda: not front.shows("rotated.example"))
    front.alone.write(secret("default", "rotated", chain, key), file="more")
    eventually("it is shown again", lambda: front.shows("rotated.example"))
    front.write()
    (front.alone.directory / "more.json").unlink()


def middleware(name: str, **spec: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "gateway.sampan.dev/v1alpha1", "kind": "Middleware", "metadata": metadata, "spec": spec}


def through(name: str, kind: str = "Middleware") -> dict[str, Any]:
    reference = {"group": "gateway.sampan.dev", "kind": kind, "name": name}
    return to("raw", filters=[{"type": "ExtensionRef", "extensionRef": reference}])


def test_references_that_lead_nowhere_or_in_circles(front: Front) -> None:
    elsewhere = {"backendRefs": [{"name": "raw", "namespace": "other", "port": 80}]}
    mirror = {"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "nobody", "port": 80}}}
    routes = {
        "circle": through("a"),
        "self": through("self"),
        "nowhere": through("nobody"),
        "plugin": through("nobody", "Plugin"),
        "missing": to("nobody"),
        "port": {"backendRefs": [{"name": "raw", "port": 81}]},
        "kind": {"backendRefs": [{"group": "apps", "kind": "Deployment", "name": "raw", "port": 80}]},
        "granted": elsewhere,
        "mirror": to("raw", filters=[mirror]),
    }
    told = {
        "circle": "chain",
        "self": "chain",
        "nowhere": "nobody",
        "plugin": "nobody",
        "missing": "BackendNotFound: Service default/nobody does not exist",
        "port": "BackendNotFound: Service default/raw has no port 81",
        "kind": "InvalidKind",
        "granted": "RefNotPermitted: no ReferenceGrant of other permits the Service raw",
        "mirror": "BackendNotFound: Service default/nobody does not exist",
    }
    objects = [
        middleware("a", chain={"middlewares": [{"name": "b"}]}),
        middleware("b", chain={"middlewares": [{"name": "a"}]}),
        middleware("self", chain={"middlewares": [{"name": "self"}]}),
        *on_host("other", "raw", "127.0.0.1", front.backend.port),
    ]
    for name, rule in routes.items():
        objects.append(route_object("HTTPRoute", name, {"matches": [{"path": {"value": f"/{name}"}}], **rule}))
    front.alone.write(*objects, file="more")

    def lines(name: str) -> list[str]:
        return [line for line in front.alone.log.read_text().splitlines() if f"HTTPRoute default/{name}: " in line]

    for name, text in told.items():
        eventually(
            f"{name} is told: {text}",
            lambda name=name, text=text: any(text in line for line in lines(name)),  # type: ignore[misc]
        )
    for name in ("missing", "port", "kind", "granted"):
        eventually(f"{name} answers 500", lambda name=name: front.status(f"/{name}") == 500)  # type: ignore[misc]
    for name in ("circle", "self"):
        assert front.status(f"/{name}") in (404, 500)
    grant = {
        "apiVersion": "gateway.networking.k8s.io/v1beta1",
        "kind": "ReferenceGrant",
        "metadata": {"name": "yes", "namespace": "other"},
        "spec": {
            "from": [{"group": GROUP.partition("/")[0], "kind": "HTTPRoute", "namespace": "default"}],
            "to": [{"group": "", "kind": "Service"}],
        },
    }
    front.alone.write(grant, file="grant")
    eventually("a grant lets it through", lambda: front.status("/granted") == 200)
    (front.alone.directory / "grant.json").unlink()
    eventually("without it no longer", lambda: front.status("/granted") == 500)
    assert front.status() == 200
    (front.alone.directory / "more.json").unlink()


EXPRESSIONS = {
    "/a(b": "missing )",
    "/(?=a)": "invalid perl operator",
    "/(a{900}){900}": "invalid repetition size",
    "/(\\pL{1,200}){1,5}": "pattern too large",
    "/(.{0,100}){10}": "is too complex: ",
    "/" + "a" * 1000 + "(b|c)": "",
}


def test_expressions_that_explode_are_refused_by_field(front: Front) -> None:
    objects = []
    for number, expression in enumerate(EXPRESSIONS):
        path = {"path": {"type": "RegularExpression", "value": expression}}
        header = {"headers": [{"name": "x-a", "type": "RegularExpression", "value": expression.removeprefix("/")}]}
        objects.append(
            route_object("HTTPRoute", f"path-{number}", to("raw", matches=[{"path": {"value": "/p"}}, path]))
        )
        objects.append(route_object("HTTPRoute", f"header-{number}", to("raw", matches=[header])))
    front.alone.write(*objects, file="more")
    for number, text in enumerate(EXPRESSIONS.values()):
        for kind, at in (("path", "matches[1].path.value"), ("header", "matches[0].headers[x-a].value")):
            where = f"HTTPRoute default/{kind}-{number}: "

            def told(where: str = where, at: str = at, text: str = text) -> bool:
                lines = [line for line in front.alone.log.read_text().splitlines() if where in line]
                return any(f"Accepted: UnsupportedValue: rule 0: {at}: " in line and text in line for line in lines)

            if text:
                eventually(f"{where}{text}", told)
            else:
                eventually("what is only long is served", lambda: front.status("/" + "a" * 1000 + "b") == 200)
                assert not told()
    assert front.status() == 200
    (front.alone.directory / "more.json").unlink()


def test_what_only_envoy_refuses_stands_with_the_one_route_at_fault(front: Front) -> None:
    wrong = {
        "type": "ResponseHeaderModifier",
        "responseHeaderModifier": {"set": [{"name": "x-a", "value": "%NO_SUCH(X)%"}]},
    }
    well = {"type": "ResponseHeaderModifier", "responseHeaderModifier": {"set": [{"name": "x-a", "value": "b"}]}}
    names = [f"many-{number}" for number in range(12)]
    objects = []
    for name in names:
        rule = to("raw", matches=[{"path": {"value": f"/{name}"}}], filters=[wrong if name == "many-7" else well])
        objects.append(route_object("HTTPRoute", name, rule))
    front.alone.write(*objects, file="more")
    for name in names:
        if name != "many-7":
            eventually(f"{name} is served", lambda name=name: front.status(f"/{name}") == 200)  # type: ignore[misc]
    lines = [line for line in front.alone.log.read_text().splitlines() if "Envoy refused it" in line]
    assert all("HTTPRoute default/many-7: " in line for line in lines), lines
    assert front.status("/many-7") in (200, 404)
    (front.alone.directory / "more.json").unlink()
