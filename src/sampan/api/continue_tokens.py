"""Continue tokens: where the next page of a list begins, and of which revision it is.

A token is base64 of ``{"v": "meta.k8s.io/v1", "rv": …, "start": …}`` as Kubernetes writes it; clients only hand it back.
``rv`` -1 stands for an inconsistent rest: what is there now. Source: apiserver pkg/storage/continue.go.
"""

from __future__ import annotations

import base64
import binascii
import posixpath

import orjson

from sampan.api.errors import StatusError, bad_request

VERSION = "meta.k8s.io/v1"


def encode_token(revision: int, key: str, prefix: str) -> str:
    """Return the token of what follows ``key`` in the list of ``prefix`` at ``revision``."""
    token = orjson.dumps({"v": VERSION, "rv": revision, "start": key[len(prefix) :]})
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def decode_token(token: str, prefix: str) -> tuple[int, str]:
    """Return the revision (0: newest) and the last key of a continue token. Raises 400."""
    try:
        raw = orjson.loads(base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True))
    except (ValueError, binascii.Error) as error:
        raise _invalid(f": {error}") from None
    version = raw.get("v", "") if isinstance(raw, dict) else ""
    if version != VERSION:
        raise _invalid(f": server does not recognize this encoded version {version}")
    revision, start = raw.get("rv"), raw.get("start")
    if type(revision) is not int or revision == 0:
        raise _invalid(f": incorrect encoded start resourceVersion (version {VERSION})")
    if not isinstance(start, str) or not start:
        raise _invalid(f": encoded start key empty (version {VERSION})")
    key = start if start.startswith("/") else f"/{start}"
    if posixpath.normpath(key) != key:
        raise _invalid(f": {start}")
    return max(revision, 0), prefix + key[1:]


def _invalid(why: str) -> StatusError:
    return bad_request(f"invalid continue token: continue key is not valid{why}")
