"""Passwords as htpasswd keeps them: bcrypt, Apache's MD5 (``$apr1$``), the classic ``$1$``, and ``{SHA}``.

Source: Apache httpd, misc/password_encryptions; the MD5 scheme's published description.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Iterable

ALPHABET = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
ROUNDS = 1000
ORDER = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
"""Which bytes of the digest make four letters together."""
MOST_REMEMBERED = 1000


def users_of(lines: Iterable[str]) -> dict[str, str]:
    """Return user → what is kept of the password. Raises ``ValueError`` for a line that is none, without its text."""
    users = {}
    for number, line in enumerate(lines):
        name, separator, kept = line.strip().partition(":")
        if not line.strip():
            continue
        if not separator or not name or not kept.startswith(("$2", "$apr1$", "$1$", "{SHA}")):
            raise ValueError(f"line {number + 1} is no user with a password in bcrypt, MD5 or SHA")
        users[name] = kept
    return users


def fits(password: str, kept: str) -> bool:
    """Whether a password is the one that is kept."""
    raw = password.encode()
    if kept.startswith("{SHA}"):
        return same(kept[5:], base64.b64encode(hashlib.sha1(raw).digest()).decode())
    if kept.startswith(("$apr1$", "$1$")):
        _, scheme, salt, _ = kept.split("$", 3)
        return same(kept, md5_crypt(raw, salt, f"${scheme}$"))
    import bcrypt

    try:
        return bcrypt.checkpw(raw[:72], kept.replace("$2y$", "$2b$", 1).encode())
    except ValueError:
        return False


def same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())


def md5_crypt(password: bytes, salt: str, magic: str) -> str:
    """Return a password as the MD5 scheme of crypt keeps it."""
    spice = salt.encode()[:8]
    inner = hashlib.md5(password + spice + password).digest()
    state = password + magic.encode() + spice + (inner * (len(password) // 16 + 1))[: len(password)]
    length = len(password)
    while length:
        state += b"\0" if length & 1 else password[:1]
        length >>= 1
    digest = hashlib.md5(state).digest()
    for turn in range(ROUNDS):
        text = password if turn & 1 else digest
        text += spice if turn % 3 else b""
        text += password if turn % 7 else b""
        text += digest if turn & 1 else password
        digest = hashlib.md5(text).digest()
    letters = "".join(four(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in ORDER)
    return f"{magic}{spice.decode()}${letters}{four(digest[11], 2)}"


def four(number: int, letters: int) -> str:
    return "".join(ALPHABET[number >> 6 * place & 63] for place in range(letters))


class Checked:
    """Passwords that were found good, so that a slow hash is not made for each request."""

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users
        self._good: dict[str, bytes] = {}

    def accepts(self, user: str, password: str) -> bool:
        digest = hashlib.blake2b(password.encode(), key=user.encode()[:64]).digest()
        if hmac.compare_digest(self._good.get(user, b""), digest):
            return True
        kept = self._users.get(user)
        if kept is None or not fits(password, kept):
            return False
        if len(self._good) < MOST_REMEMBERED:
            self._good[user] = digest
        return True
