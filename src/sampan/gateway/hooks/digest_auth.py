"""Digest authentication (RFC 7616, MD5, ``qop=auth``) against lines as htdigest keeps them:
``user:realm:MD5(user:realm:password)``.

A nonce is the time it was given, signed; it is good for five minutes, and a count of its uses never comes twice.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import time
from typing import Any

from sampan.gateway.hooks.authenticated import dress
from sampan.gateway.plugins.host import Function
from sampan.gateway.plugins.request import Request

NONCE_SECONDS = 300
MOST_NONCES = 10_000
PAIR = re.compile(r'(\w+)=(?:"((?:[^"\\]|\\.)*)"|([^,\s]+))')


def md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


class Nonces:
    """The nonces of one process, and how often each was used."""

    def __init__(self) -> None:
        self._secret = os.urandom(32)
        self._counts: dict[str, int] = {}

    def new(self, now: float) -> str:
        stamp = f"{int(now):x}"
        return stamp + self._signed(stamp)

    def _signed(self, stamp: str) -> str:
        return hmac.new(self._secret, stamp.encode(), hashlib.sha256).hexdigest()[:32]

    def is_ours(self, nonce: str) -> bool:
        return hmac.compare_digest(self._signed(nonce[:-32]), nonce[-32:])

    def is_fresh(self, nonce: str, now: float) -> bool:
        return now - int(nonce[:-32], 16) <= NONCE_SECONDS

    def count(self, nonce: str, cnonce: str, number: int) -> bool:
        """Whether a count was not there before."""
        key = f"{nonce}:{cnonce}"
        if number <= self._counts.get(key, 0):
            return False
        while len(self._counts) >= MOST_NONCES:
            del self._counts[next(iter(self._counts))]
        self._counts[key] = number
        return True


def make(settings: dict[str, Any]) -> Function:
    """``settings``: ``users`` (``user:realm`` → hash), ``realm``, ``headerField``, ``removeHeader``."""
    users, realm, nonces = settings["users"], settings["realm"], Nonces()

    def request(request: Request) -> Any:
        user, stale = authenticated(request, users, realm, nonces)
        if not user:
            challenge = f'Digest realm="{realm}", nonce="{nonces.new(time.time())}", qop="auth", algorithm=MD5'
            challenge += ", stale=true" if stale else ""
            return request.respond(401, "401 Unauthorized\n", {"www-authenticate": challenge})
        dress(request, user, settings)
        return None

    return request


def authenticated(request: Request, users: dict[str, str], realm: str, nonces: Nonces) -> tuple[str, bool]:
    """Return the user (``""`` where there is none), and whether only the nonce was too old."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "digest":
        return "", False
    said = {found[1]: found[2] if found[2] is not None else found[3] for found in PAIR.finditer(text)}
    kept = users.get(f"{said.get('username', '')}:{realm}")
    nonce, count = said.get("nonce", ""), said.get("nc", "")
    wanted = ("uri", "cnonce", "response", "nonce")
    if kept is None or said.get("qop") != "auth" or not all(said.get(name) for name in wanted):
        return "", False
    if len(nonce) <= 32 or not nonces.is_ours(nonce) or not re.fullmatch(r"[0-9a-fA-F]{8}", count):
        return "", False
    if said["uri"] != request.path:
        return "", False
    second = md5(f"{request.method}:{said['uri']}")
    expected = md5(f"{kept}:{nonce}:{count}:{said['cnonce']}:auth:{second}")
    if not hmac.compare_digest(expected, said["response"].lower()):
        return "", False
    if not nonces.is_fresh(nonce, time.time()):
        return "", True
    return (said["username"], False) if nonces.count(nonce, said["cnonce"], int(count, 16)) else ("", True)
