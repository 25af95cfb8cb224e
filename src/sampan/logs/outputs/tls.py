"""TLS to a server: an own CA, a client's certificate, another name than the address, or (said out loud) no check at all."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Callable

from sampan.logs.outputs.options import OptionError, Options

logger = logging.getLogger("sampan.logs")


Contexts = Callable[[], ssl.SSLContext]
"""What makes a context for a connection: of the files as they are then, for certificates are renewed."""


def contexts_of(options: Options) -> Contexts:
    """Return what makes contexts as the options of ``tls:`` describe them. Raises ``OptionError``.

    ``ca``, ``certificate``, ``key``: files of PEM. ``insecure_skip_verify``: whoever answers is believed.
    """
    ca, certificate, key = (options.text(name) for name in ("ca", "certificate", "key"))
    trusting = options.flag("insecure_skip_verify")
    if key and not certificate:
        raise OptionError(options.place("certificate"), "a key is of no use without it")
    if trusting:
        logger.warning("%s.insecure_skip_verify: whoever answers gets the logs", options.field)

    def make() -> ssl.SSLContext:
        try:
            context = ssl.create_default_context(cafile=ca or None)
        except (OSError, ssl.SSLError) as error:
            raise OptionError(options.place("ca"), f"{ca} is no file of certificates: {error}") from error
        try:
            if certificate:
                context.load_cert_chain(certificate, key or None)
        except (OSError, ssl.SSLError) as error:
            raise OptionError(options.place("certificate"), f"{certificate} with its key: {error}") from error
        if trusting:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    return Renewing(make)


class Renewing:
    """Makes a context anew each time; where a file cannot be read just then, the one before does."""

    def __init__(self, make: Contexts) -> None:
        """Raises ``OptionError``."""
        self._make, self._last = make, make()

    def __call__(self) -> ssl.SSLContext:
        try:
            self._last = self._make()
        except OptionError as error:
            logger.warning("the certificates are kept as they were: %s", error)
        return self._last
