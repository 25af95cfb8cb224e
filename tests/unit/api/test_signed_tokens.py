"""Tokens signed by ES256 are read by PyJWT and PyJWT's are read; what was tampered with, and wild text, is refused."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.authn import jws
from sampan.api.authn.libcrypto import BadKey, PrivateKey, PublicKey, der_of, library, numbers_of
from sampan.api.authn.token_keys import (
    CryptographyPrivateKey,
    CryptographyPublicKey,
    SigningKey,
    VerifyingKey,
    reachable,
    verifying_key,
)
from sampan.api.tokens import BadToken, Tokens

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())


def pems(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    return private, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


PRIVATE, PUBLIC = pems(KEY)
SIGNING = {"OpenSSL": PrivateKey(PRIVATE), "cryptography": CryptographyPrivateKey(PRIVATE)}
VERIFYING = {"OpenSSL": PublicKey(PUBLIC), "cryptography": CryptographyPublicKey(PUBLIC)}
either_signs = pytest.mark.parametrize("key", SIGNING.values(), ids=SIGNING)
either_verifies = pytest.mark.parametrize("key", VERIFYING.values(), ids=VERIFYING)
CLAIMS: dict[str, Any] = {"iss": "us", "exp": 9_999_999_999, "aud": ["a", "b"], "kubernetes.io": {"namespace": "ü"}}
TOKEN = jws.signed(CLAIMS, SIGNING["OpenSSL"], "the key")


@either_signs
def test_another_library_reads_it(key: SigningKey) -> None:
    token = jws.signed(CLAIMS, key, "the key")
    assert jwt.get_unverified_header(token) == {"alg": "ES256", "kid": "the key"}
    assert jwt.decode(token, KEY.public_key(), algorithms=["ES256"], audience="a") == CLAIMS


@either_verifies
def test_what_another_library_has_signed_is_read(key: VerifyingKey) -> None:
    assert jws.verified(jwt.encode(CLAIMS, KEY, algorithm="ES256"), key) == CLAIMS


@pytest.mark.parametrize("signing", SIGNING.values(), ids=SIGNING)
@either_verifies
@given(data=st.binary())
def test_each_verifies_what_each_has_signed(signing: SigningKey, key: VerifyingKey, data: bytes) -> None:
    assert key.verifies(signing.sign(data), data)
    assert not key.verifies(signing.sign(data), data + b"x")


@given(st.binary(min_size=64, max_size=64))
def test_numbers_of_every_length_are_encoded_and_read(signature: bytes) -> None:
    assert der_of(signature) == encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )
    assert numbers_of(der_of(signature)) == signature


@pytest.mark.parametrize("curve", [ec.SECP384R1(), ec.SECP521R1(), ec.SECP256K1()])
def test_keys_of_other_curves_are_refused(curve: ec.EllipticCurve) -> None:
    with pytest.raises(BadKey, match="not of P-256"):
        verifying_key(pems(ec.generate_private_key(curve))[1])


@pytest.mark.parametrize("pem", [b"", b"x", b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", PRIVATE])
def test_files_without_a_public_key_are_refused(pem: bytes) -> None:
    with pytest.raises(BadKey):
        verifying_key(pem)


@pytest.mark.parametrize("pem", [b"", b"x", PUBLIC, PRIVATE[:-40]])
@pytest.mark.parametrize("read", [PrivateKey, CryptographyPrivateKey])
def test_files_without_a_private_key_are_refused_and_leave_no_error_behind(pem: bytes, read: type) -> None:
    with pytest.raises(BadKey):
        read(pem)
    ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname="x")
    assert library().ERR_peek_error() == 0


def test_where_the_interpreter_has_its_openssl_inside(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library.cache_clear()
    monkeypatch.delattr("_ssl.__file__")
    try:
        assert not reachable()
        ours = Tokens(pki, "us")
        assert isinstance(ours._private_key(), CryptographyPrivateKey)
        token = jws.signed(CLAIMS, ours._private_key(), "k")
    finally:
        library.cache_clear()
        monkeypatch.undo()
    assert jws.verified(token, Tokens(pki, "us")._public_key()) == CLAIMS


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c.d",
        TOKEN + "=",
        TOKEN[:-2],
        TOKEN.rpartition(".")[0] + ".",
        jws.signed(CLAIMS, PrivateKey(pems(OTHER)[0]), "the key"),
        jwt.encode(CLAIMS, None, algorithm="none"),
        jwt.encode(CLAIMS, "the public key as a secret, which everybody knows", algorithm="HS256"),
        jwt.encode(CLAIMS, KEY, algorithm="ES256", headers={"crit": ["b64"], "b64": True}),
        jwt.api_jws.PyJWS().encode(b"[]", KEY, algorithm="ES256"),
        jwt.api_jws.PyJWS().encode(b"{", KEY, algorithm="ES256"),
    ],
)
@either_verifies
def test_what_is_refused(key: VerifyingKey, token: str) -> None:
    with pytest.raises(jws.BadSignature):
        jws.verified(token, key)


@given(st.integers(0, len(TOKEN) - 3), st.sampled_from("AQgw_-.=\n é"))
def test_no_changed_token_is_taken(at: int, letter: str) -> None:
    changed = TOKEN[:at] + letter + TOKEN[at + 1 :]
    if changed != TOKEN:
        with pytest.raises(jws.BadSignature):
            jws.verified(changed, VERIFYING["OpenSSL"])


@given(st.text())
def test_wild_text(text: str) -> None:
    with pytest.raises(jws.BadSignature):
        jws.verified(text, VERIFYING["OpenSSL"])


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "how long"),
        ({"exp": "9999999999"}, "how long"),
        ({"exp": True}, "how long"),
        ({"nbf": time.time() + 1_000_000}, "not good yet"),
        ({"iat": time.time() + 1_000_000}, "not good yet"),
        ({"iss": "them"}, "issuer"),
        ({"kubernetes.io": "x"}, "kubernetes.io"),
    ],
)
def test_claims_that_are_refused(pki: Path, changed: dict[str, Any], why: str) -> None:
    tokens = Tokens(pki, "us")
    good = {**CLAIMS, "iat": int(time.time()), "nbf": int(time.time())}
    assert tokens.verify(jws.signed(good, tokens._private_key(), "k"))["aud"] == ["a", "b"]
    with pytest.raises(BadToken, match=why):
        tokens.verify(jws.signed({**good, **changed}, tokens._private_key(), "k"))
