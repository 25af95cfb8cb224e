"""What secrets look like, one entry each. Patterns are RE2; ``group`` is what is replaced, ``check`` tells real from alike.

Sources: the token formats that GitHub, GitLab, AWS, Google, Slack, Stripe, npm and PyPI publish; RFC 7519 (JWT), RFC 7468
(PEM), RFC 6750 and 7617 (Bearer, Basic), ISO/IEC 7812 (numbers of cards, and Luhn's digit).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable
from typing import NamedTuple


class Secret(NamedTuple):
    pattern: bytes
    group: int = 0
    check: Callable[[bytes], bool] | None = None
    default: bool = True
    """Whether it is looked for where nobody says which."""


WORDS = (
    rb"pass(?:word|wd|phrase)?|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|secret[_-]?key|client[_-]?secret|"
    rb"credentials?"
)
ENDINGS = rb"[a-z0-9](?:Pass(?:word|wd|phrase)|Pwd|Secret|Token|(?:Api|Access|Private|Secret)Key|Credentials?)"
"""Of names such as ``accessToken``."""
PLACEHOLDERS = frozenset(
    (b"null", b"none", b"nil", b"true", b"false", b"undefined", b"required", b"redacted", b"empty")
)


def no_placeholder(value: bytes) -> bool:
    return value.lower() not in PLACEHOLDERS and not value.startswith(b"[redacted") and bool(value.strip(b"*xX.<>[]"))


def luhn(number: bytes) -> bool:
    """Whether a number is one of a card: its length and first digits are of a network, and its last digit is right."""
    digits = [byte - 48 for byte in number if 48 <= byte <= 57]
    text = "".join(map(str, digits))
    if not any(len(text) in lengths and low <= int(text[: len(str(low))]) <= high for low, high, lengths in NETWORKS):
        return False
    doubled = (digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


NETWORKS = (
    (4, 4, (13, 16, 19)), (51, 55, (16,)), (2221, 2720, (16,)), (34, 34, (15,)), (37, 37, (15,)), (6011, 6011, (16, 19)),
    (644, 659, (16, 19)), (300, 305, (14,)), (36, 36, (14,)), (38, 39, (14,)), (3528, 3589, (16,)),
    (62, 62, (16, 17, 18, 19)),
)  # fmt: skip
"""First digits from and to, and lengths: Visa, Mastercard (two), American Express (two), Discover (two), Diners (three), JCB,
UnionPay."""


def basic(value: bytes) -> bool:
    """Whether it is ``user:password`` in base64."""
    try:
        return b":" in base64.b64decode(value.replace(b"\\/", b"/"), validate=True)
    except (binascii.Error, ValueError):
        return False


def has_digit(value: bytes) -> bool:
    return any(48 <= byte <= 57 for byte in value)


SECRETS: dict[str, Secret] = {
    "private_key": Secret(
        rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|\z)"
    ),
    "jwt": Secret(rb"\beyJ[A-Za-z0-9_-]{6,}\.eyJ[A-Za-z0-9_-]{6,}(?:\.[A-Za-z0-9_-]*)*"),
    "aws_key": Secret(rb"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b"),
    "github_token": Secret(rb"\b(?:gh[pousr]_[A-Za-z0-9]{36,255}|github_pat_[A-Za-z0-9_]{22,255})\b"),
    "gitlab_token": Secret(rb"\bgl(?:pat|ptt|dt|rt|cbt|ft|soat|imt|agent|oas)-[A-Za-z0-9_.-]{20,}"),
    "slack_token": Secret(rb"\bxox[abeoprs](?:-[A-Za-z0-9]+){2,}|\bxapp-\d-[A-Za-z0-9-]{10,}"),
    "slack_webhook": Secret(rb"\bhooks\.slack\.com\\?/(?:services|workflows)\\?/((?:[A-Za-z0-9/]|\\/)+)", 1),
    "stripe_key": Secret(rb"\b(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}\b"),
    "google_key": Secret(rb"\bAIza[A-Za-z0-9_-]{35}"),
    "package_token": Secret(rb"\b(?:npm_[A-Za-z0-9]{36}|pypi-AgE[A-Za-z0-9_-]{50,})"),
    "url_password": Secret(
        rb"\b[A-Za-z][A-Za-z0-9+.-]{1,30}:\\?/\\?/[^\s/:@\"'<>]*:([^\s/\"'<>]+)@", 1, no_placeholder
    ),
    "bearer": Secret(rb"(?i:\bbearer)\s+((?:[A-Za-z0-9._~+/-]|\\/){16,}=*)", 1, has_digit),
    "basic": Secret(rb"(?i:\bbasic)\s+((?:[A-Za-z0-9+/]|\\/){4,}={0,2})", 1, basic),
    "assignment": Secret(
        rb"(?:(?i:(?:\b|_)(?:[a-z0-9_.-]{0,40}[_.-])?(?:" + WORDS + rb"))|" + ENDINGS + rb")\\?[\"']?\s{0,3}[=:]\s{0,3}"
        rb"(?:\\\"((?:[^\"\\]|\\\\(?:\\.|[^\"\\])|\\[^\"\\])+)\\\"|\"((?:[^\"\\]|\\.)+)\"|'((?:[^'\\]|\\.)+)'|'([^']+)'|"
        rb"((?:[^\s\"',;&(){}\[\]\\<>]|\\/){3,}))",
        -1,
        no_placeholder,
    ),
    "credit_card": Secret(rb"\b[2-6]\d{3}(?:[ -]?\d){8,14}\d\b", 0, luhn),
    "email": Secret(rb"\b[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}\b", default=False),
    "ipv4": Secret(rb"\b(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)\b", default=False),
}
"""``group`` -1: whichever group has matched. In JSON ``/`` may be escaped, and an object in a text has its quotes escaped."""
SECRET_NAMES = WORDS + rb"|authorization|cookie|set-cookie|x-api-key"
NAMED = rb"(?i:^(?:.*[_.-])?(?:" + SECRET_NAMES + rb")$)|" + ENDINGS + rb"$"
"""Names of attributes whose values are secret, whatever they look like."""
KEY = rb"(?:(?i:[\"_.-](?:" + SECRET_NAMES + rb"))|" + ENDINGS + rb")\" ?:"
"""Such a name in the text of an object without escapes, however deep."""
