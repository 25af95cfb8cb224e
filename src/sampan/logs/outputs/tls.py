"""TLS to a server: an own CA, a client's certificate, another name than the address, or (said out loud) no check at all."""

from __future__ import annotations

import logging
import ssl

from sampan.logs.outputs.options import OptionError, Options

logger = logging.getLogger("sampan.logs")


def context_of(options: Options) -> ssl.SSLContext:
    """Return the context that the options of ``tls:`` describe. Raises ``OptionError``.

    ``ca``, ``certificate``, ``key``: files of PEM. ``insecure_skip_verify``: whoever answers is believed.
    """
    ca, certificate, key = (options.text(name) for name in ("ca", "certificate", "key"))
    context = ssl.create_default_context()
    try:
        if ca:
            context = ssl.create_default_context(cafile=ca)
    except (OSError, ssl.SSLError) as error:
        raise OptionError(options.place("ca"), f"{ca} is no file of certificates: {error}") from error
    if key and not certificate:
        raise OptionError(options.place("certificate"), "a key is of no use without it")
    try:
        if certificate:
            context.load_cert_chain(certificate, key or None)
    except (OSError, ssl.SSLError) as error:
        raise OptionError(options.place("certificate"), f"{certificate} with its key: {error}") from error
    if options.flag("insecure_skip_verify"):
        logger.warning("%s.insecure_skip_verify: whoever answers gets the logs", options.field)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
