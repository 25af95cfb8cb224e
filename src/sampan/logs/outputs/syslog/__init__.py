"""Syslog as RFC 5424 has it: ``url`` is ``udp://host:514``, ``tcp://host:514`` (octet counting) or ``tls://host:6514``.

``message.py`` is what is written, ``transport.py`` how it is sent, and what delivery means where nothing acknowledges.
"""

from __future__ import annotations

import errno
import socket
from urllib.parse import urlsplit

from sampan.logs.log_record import Batch
from sampan.logs.outputs import tls
from sampan.logs.outputs.batches import ids_of
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.outputs.output import Output, Undelivered
from sampan.logs.outputs.sending import TAKEN, Halve, Sender, Verdict
from sampan.logs.outputs.syslog.message import ENTERPRISE, FACILITIES, Messages
from sampan.logs.outputs.syslog.transport import Connection, Datagrams, Transport

BATCH_BYTES = 256 << 10
MESSAGE_BYTES = 8192
"""What rsyslog takes if nobody says otherwise."""
DATAGRAM_BYTES = 65507
"""What a datagram of IPv4 holds."""


class Syslog(Sender):
    def __init__(self, name: str, transport: Transport, messages: Messages, batch_bytes: int = BATCH_BYTES) -> None:
        self.name, self._transport, self._messages, self._batch_bytes = name, transport, messages, batch_bytes

    async def _send(self, part: Batch) -> Verdict:
        ids = ids_of(part) or ("",) * len(part)
        messages = [
            message for delivery, one in zip(part, ids, strict=True) for message in self._messages.of(delivery, one)
        ]
        try:
            await self._transport.send(messages)
        except OSError as error:
            if error.errno == errno.EMSGSIZE:  # no datagram holds what a record has beside its text
                raise Halve(f"{self.name}: {error}", too_large=True) from error
            raise Undelivered(f"{self.name}: {error or type(error).__name__}") from error
        return TAKEN

    async def close(self) -> None:
        await self._transport.close()


def make(name: str, options: Options) -> Output:
    """Raises ``OptionError``."""
    parts = urlsplit(options.needed("url"))
    if parts.scheme not in ("udp", "tcp", "tls") or not parts.hostname:
        raise OptionError(
            options.place("url"), f"udp://HOST, tcp://HOST or tls://HOST is wanted, not {parts.geturl()!r}"
        )
    facility = FACILITIES.index(options.one_of("facility", FACILITIES, "user"))
    most = options.size("message_bytes", MESSAGE_BYTES, least=480)
    if parts.scheme == "udp" and most > DATAGRAM_BYTES:
        raise OptionError(options.place("message_bytes"), f"a datagram has {DATAGRAM_BYTES} bytes at most")
    enterprise = options.text("enterprise_number", ENTERPRISE)
    hostname = options.text("hostname", socket.gethostname())
    messages = Messages(facility, hostname, enterprise, most, bom=options.flag("bom", True))
    tls_options, timeout = options.inner("tls"), options.seconds("timeout", 30.0)
    transport: Transport
    if parts.scheme == "udp":
        transport = Datagrams(parts.hostname, parts.port or 514)
    else:
        contexts = tls.contexts_of(tls_options) if parts.scheme == "tls" else None
        transport = Connection(parts.hostname, parts.port or (6514 if contexts else 514), contexts, timeout)
    return Syslog(name, transport, messages, options.size("batch_bytes", BATCH_BYTES))
