"""Client certificates: CN is the user, O the groups. Read from the DER once; that it is in time is looked at each request.

The TLS layer verifies the chain but not the time, so that an expired certificate is answered with 401 as by
kube-apiserver, also on a connection that was opened before. Source: Kubernetes' "X509 client certificates".
"""

from __future__ import annotations

import hashlib
import time

from sampan.api.authn.known import cache, weight, with_everyone
from sampan.api.der import subject, validity
from sampan.api.errors import unauthorized
from sampan.api.remembered import Remembered
from sampan.api.request import User


class Certificates:
    def __init__(self) -> None:
        self._known: Remembered[bytes, tuple[float, float, User]] = cache()

    def authenticate(self, der: bytes) -> User:
        """Return the user of a certificate that the client CA has signed. Raises 401."""
        digest = hashlib.sha256(der).digest()
        known = self._known.get(digest)
        if known is None:
            name, groups = subject(der)
            begin, end = validity(der)
            if not name:
                raise unauthorized()
            known = begin, end, User(name, with_everyone(groups))
            self._known.put(digest, known, weight(known[2]))
        if not known[0] <= time.time() <= known[1]:
            raise unauthorized()
        return known[2]
