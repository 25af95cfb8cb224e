"""The front proxy: who presents a certificate of the request-header CA says in headers for whom it asks.

Aggregated API servers trust kube-apiserver this way, and an authenticating proxy is put before kube-apiserver this way.
Source: Kubernetes' "Authenticating Proxy" (``--requestheader-*``).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from sampan.api.asgi import all_of
from sampan.api.authn.known import with_everyone
from sampan.api.der import subject, validity
from sampan.api.flags import Flags
from sampan.api.request import User


class RequestHeader:
    def __init__(self, flags: Flags, *, uid: bool = True) -> None:
        self._allowed = flags.requestheader_allowed_names
        self._names = lower(flags.requestheader_username_headers)
        self._uids = lower(flags.requestheader_uid_headers) if uid else ()
        self._groups = lower(flags.requestheader_group_headers)
        self._prefixes = lower(flags.requestheader_extra_headers_prefix)

    def authenticate(self, headers: Mapping[str, str], der: bytes) -> User | None:
        """Return the user whom the proxy names; None where it names none, or may not."""
        begin, end = validity(der)
        if not begin <= time.time() <= end:
            return None
        if self._allowed and subject(der)[0] not in self._allowed:
            return None
        name = first(headers, self._names)
        if not name:
            return None
        groups = [value for header in self._groups for value in all_of(headers, header)]
        return User(name, with_everyone(groups), first(headers, self._uids), dict(self._extra(headers)))

    def _extra(self, headers: Mapping[str, str]) -> Iterator[tuple[str, tuple[str, ...]]]:
        for prefix in self._prefixes:
            for header in headers:
                if header.startswith(prefix):
                    yield unquote(header[len(prefix) :]), tuple(all_of(headers, header))


def lower(names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name.lower() for name in names)


def first(headers: Mapping[str, str], names: tuple[str, ...]) -> str:
    return next((all_of(headers, name)[0] for name in names if headers.get(name)), "")
