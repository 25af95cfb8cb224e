"""No secret goes out: each kind, in texts and in attributes, and what is alike stays."""

from __future__ import annotations

import base64

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sampan.logs.outputs.output import json_line
from sampan.logs.processing.redaction.secrets import SECRETS, luhn
from tests.unit.logs.processing.drafts import take

DEFAULT = {"processing": [{"redact": {}}]}
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
KEY = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIEow\nAbC=\n-----END RSA PRIVATE KEY-----"
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nMII\n-----END CERTIFICATE-----"
FAKE = {
    "private_key": KEY, "jwt": JWT, "aws_key": "AKIA" + "IOSFODNN7EXAMPLE", "github_token": "ghp_" + "a1B2" * 9,
    "gitlab_token": "glpat-" + "x1" * 10, "slack_token": "xoxb-" + "123-456-abc", "stripe_key": "sk_live_" + "a1" * 10,
    "google_key": "AIza" + "a1-_B" * 7, "package_token": "npm_" + "a1B2" * 9, "credit_card": "4111 1111 1111 1111",
}  # fmt: skip


@pytest.mark.parametrize("name", FAKE)
def test_each_kind_of_secret(name: str) -> None:
    taken = take(DEFAULT, f"before {FAKE[name]} after")
    assert taken.texts == [f"before [redacted:{name}] after"]
    assert taken.pipeline.steps[0].tally == {name: 1}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgres://shop:p@ss@db:5432/x?y", "postgres://shop:[redacted:url_password]@db:5432/x?y"),
        ("redis://:hunter2@cache", "redis://:[redacted:url_password]@cache"),
        ("https://example.org:8080/a@b", "https://example.org:8080/a@b"),
        ("Authorization: Bearer abcdef0123456789xyz", "Authorization: Bearer [redacted:bearer]"),
        ("Authorization: Basic " + base64.b64encode(b"bob:pw").decode(), "Authorization: Basic [redacted:basic]"),
        ("basic authentication failed, bearer of news", "basic authentication failed, bearer of news"),
        ("password=hunter2, user=bob", "password=[redacted:assignment], user=bob"),
        ('{"db_password": "a \\"b\\" c","n":1}', '{"db_password": "[redacted:assignment]","n":1}'),
        (r'payload "{\"api_key\":\"abc123\"}"', r'payload "{\"api_key\":\"[redacted:assignment]\"}"'),
        ("X-Api-Key: 's p a c e'", "X-Api-Key: '[redacted:assignment]'"),
        ("password=null token: none secret=**** ", "password=null token: none secret=**** "),
        ("tokens: 17, tokenizer=fast, passwords were changed", "tokens: 17, tokenizer=fast, passwords were changed"),
        ("card 4111111111111111 and 4111111111111112", "card [redacted:credit_card] and 4111111111111112"),
        ("ts 1796032805123456789 id 20261130100000000", "ts 1796032805123456789 id 20261130100000000"),
        ("mail bob@example.org from 10.0.0.1", "mail bob@example.org from 10.0.0.1"),
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/services/[redacted:slack_webhook]"),
        (r'{"u":"https:\/\/bob:hunter2@h\/x"}', r'{"u":"https:\/\/bob:[redacted:url_password]@h\/x"}'),
        (r'"q":"password=hun\/ter2&x"', '"q":"password=[redacted:assignment]&x"'),
        (r'"{\"password\":\"hun\\\"ter2\"}"', r'"{\"password\":\"[redacted:assignment]\"}"'),
        (r'"Basic dXNlcjpwYXNzd29yZD8\/"', '"Basic [redacted:basic]"'),
        (r"password='it\'s hunter2' x", "password='[redacted:assignment]' x"),
        ('{"accessToken":"abcdefgh","maxTokens":1000}', '{"accessToken":"[redacted:assignment]","maxTokens":1000}'),
        ("dbPassword=hunter2 SECRET_KEY=abc", "dbPassword=[redacted:assignment] SECRET_KEY=[redacted:assignment]"),
        ("-----BEGIN PRIVATE KEY-----\ncut off", "[redacted:private_key]"),
        (CERTIFICATE, CERTIFICATE),
    ],
)  # fmt: skip
def test_what_is_a_secret_and_what_is_not(text: str, expected: str) -> None:
    assert take(DEFAULT, text).texts == [expected]


def test_attributes_by_their_names_and_by_what_they_are() -> None:
    values = {
        "msg": "x", "user": {"password": "a", "name": "bob", "cards": ["4111111111111111", 4111111111111111]},
        "Authorization": "Basic x", "tokens": 7, "secret_set": True, "url": "http://u:p1@h/",
    }  # fmt: skip
    taken = take({"processing": [{"parse": "json"}, {"redact": {}}]}, orjson.dumps(values))
    assert taken.fields[0].attributes == {
        "user": {"password": "[redacted:attribute]", "name": "bob", "cards": ["[redacted:credit_card]"] * 2},
        "Authorization": "[redacted:attribute]", "tokens": 7, "secret_set": True,
        "url": "http://u:[redacted:url_password]@h/",
    }  # fmt: skip
    assert taken.pipeline.steps[1].tally == {"attribute": 2, "credit_card": 2, "url_password": 1}


def test_names_of_attributes_and_what_stands_for_a_level_or_an_event() -> None:
    values = {"level": "password=hunter2", "msg": "x", "e": "token=abc1", "accessToken": "a", FAKE["aws_key"]: {"n": 1}}
    steps = [{"parse": "json"}, {"map": {"move": {"e": "event"}}}, {"redact": {}}]
    [fields] = take({"processing": steps}, orjson.dumps(values)).fields
    assert fields.severity_text == "password=[redacted:assignment]"
    assert fields.event_name == "token=[redacted:assignment]"
    assert fields.attributes == {"accessToken": "[redacted:attribute]", "[redacted:aws_key]": {"n": 1}}


def test_own_patterns_may_have_groups_of_one_name() -> None:
    redact = {"patterns": {"a": r"(?P<secret>a\d)(?P<x>1)?", "b": r"(?P<x>b)(?P<secret>\d)"}}
    assert take({"processing": [{"redact": redact}]}, "a1 b2").texts == ["[redacted:a] b[redacted:b]"]


def test_a_key_that_was_not_joined_is_replaced_line_by_line() -> None:
    lines = [
        "INFO key: -----BEGIN PRIVATE KEY-----",
        "MIIabc+/DEF=",
        "",
        "QUJD",
        "-----END PRIVATE KEY----- ok",
        "QUJD",
        "INFO x",
    ]
    assert take(DEFAULT, *lines).texts == [
        "INFO key: [redacted:private_key]", "[redacted:private_key]", "", "[redacted:private_key]",
        "[redacted:private_key] ok", "QUJD", "INFO x",
    ]  # fmt: skip
    cut = ["-----BEGIN RSA PRIVATE KEY-----\nMIIabc", "QUJD\nREVG\nINFO and so on", "QUJD"]
    assert take(DEFAULT, *cut).texts == ["[redacted:private_key]", "[redacted:private_key]\nINFO and so on", "QUJD"]


def test_own_patterns_and_a_choice() -> None:
    redact = {
        "secrets": ["email", "jwt"], "patterns": {"customer": r"C-\d{4}", "pin": r"pin is (?P<secret>\d+)"},
        "replacement": "<NAME>",
    }  # fmt: skip
    text = f"bob@example.org C-1234 pin is 99, {JWT} password=kept"
    assert take({"processing": [{"redact": redact}]}, text).texts == [
        "<email> <customer> pin is <pin>, <jwt> password=kept"
    ]
    assert take({"processing": [{"redact": {"without": ["jwt"]}}]}, JWT).texts == [JWT]


@given(
    st.lists(st.sampled_from(sorted(FAKE)), min_size=1, max_size=4),
    st.lists(st.text("ab ,;\n", max_size=5), min_size=5, max_size=5),
)
def test_no_secret_is_anywhere_in_what_goes_out(names: list[str], between: list[str]) -> None:
    text = "".join(f"{gap} {FAKE[name]} " for gap, name in zip(between, names, strict=False)) + between[-1]
    config = {"processing": [{"parse": "auto"}, {"redact": {}}]}
    for record in (text, orjson.dumps({"msg": text, "again": {"it": [text]}})):
        [delivery] = take(config, record).found
        out = json_line(delivery).decode()
        assert not any(FAKE[name] in out or orjson.dumps(FAKE[name]).decode()[1:-1] in out for name in names)
        assert FAKE["jwt"] not in repr([getattr(delivery[3], slot) for slot in type(delivery[3]).__slots__])


@given(st.binary(max_size=300))
def test_any_bytes(text: bytes) -> None:
    [delivery] = take(DEFAULT, text).found
    assert delivery[1].text == text or b"[redacted:" in delivery[1].text


@given(st.integers(0, 10**14 - 1))
def test_one_last_digit_in_ten_is_luhns(number: int) -> None:
    found = [digit for digit in range(10) if luhn(f"4{number:014}{digit}".encode())]
    assert len(found) == 1


def test_every_pattern_is_linear_over_what_is_nearly_one() -> None:
    nearly = (
        "password=" * 3000
        + "eyJ" * 3000
        + "4" * 3000
        + "-----BEGIN A PRIVATE KEY----" * 300
        + "a@" * 3000
        + "x://" * 3000
    )
    assert len(take({"processing": [{"redact": {"secrets": list(SECRETS)}}]}, nearly).found) == 1
