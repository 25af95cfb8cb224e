"""Tokens signed by ES256 are read by PyJWT and PyJWT's are read; what was tampered with, and wild text, is refused."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from sampan.api.authn import jws
from sampan.api.tokens import BadToken, Tokens

KEY, OTHER = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
CLAIMS: dict[str, Any] = {"iss": "us", "exp": 9_999_999_999, "aud": ["a", "b"], "kubernetes.io": {"namespace": "ü"}}
TOKEN = jws.signed(CLAIMS, KEY, "the key")


def test_another_library_reads_it() -> None:
    assert jwt.get_unverified_header(TOKEN) == {"alg": "ES256", "kid": "the key"}
    assert jwt.decode(TOKEN, KEY.public_key(), algorithms=["ES256"], audience="a") == CLAIMS


def test_what_another_library_has_signed_is_read() -> None:
    assert jws.verified(jwt.encode(CLAIMS, KEY, algorithm="ES256"), KEY.public_key()) == CLAIMS


@pytest.mark.parametrize(
    "token",
    [
        "",
        "a.b",
        "a.b.c.d",
        TOKEN + "=",
        TOKEN[:-2],
        TOKEN.rpartition(".")[0] + ".",
        jws.signed(CLAIMS, OTHER, "the key"),
        jwt.encode(CLAIMS, None, algorithm="none"),
        jwt.encode(CLAIMS, "the public key as a secret, which everybody knows", algorithm="HS256"),
        jwt.encode(CLAIMS, KEY, algorithm="ES256", headers={"crit": ["b64"], "b64": True}),
        jwt.api_jws.PyJWS().encode(b"[]", KEY, algorithm="ES256"),
        jwt.api_jws.PyJWS().encode(b"{", KEY, algorithm="ES256"),
    ],
)
def test_what_is_refused(token: str) -> None:
    with pytest.raises(jws.BadSignature):
        jws.verified(token, KEY.public_key())


@given(st.integers(0, len(TOKEN) - 3), st.sampled_from("AQgw_-.=\n é"))
def test_no_changed_token_is_taken(at: int, letter: str) -> None:
    changed = TOKEN[:at] + letter + TOKEN[at + 1 :]
    if changed != TOKEN:
        with pytest.raises(jws.BadSignature):
            jws.verified(changed, KEY.public_key())


@given(st.text())
def test_wild_text(text: str) -> None:
    with pytest.raises(jws.BadSignature):
        jws.verified(text, KEY.public_key())


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"exp": 1}, "expired"),
        ({"exp": None}, "how long"),
        ({"exp": "9999999999"}, "how long"),
        ({"exp": True}, "how long"),
        ({"nbf": time.time() + 1000}, "not good yet"),
        ({"iat": time.time() + 1000}, "not good yet"),
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
