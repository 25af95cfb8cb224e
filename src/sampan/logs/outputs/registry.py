"""Outputs by their types: of a configuration's ``outputs:``, or of addresses such as ``json:FILE`` and ``loki+https://…``.

A type is a module here with ``make(name, options)``; only those that are asked for are imported. What goes over a network
stands behind a spool (``spool.limit``, 1 GiB; 0 is none).
"""

from __future__ import annotations

import hashlib
import importlib
import logging
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit, urlunsplit

from sampan.logs.outputs.aside import Aside
from sampan.logs.outputs.options import OptionError, Options
from sampan.logs.outputs.output import Output
from sampan.logs.outputs.spool import Spooled

logger = logging.getLogger("sampan.logs")

LOCAL = {"json": "files", "text": "files", "sqlite": "index"}
"""Types of files: nothing can be between us and them."""
REMOTE = {
    "http": "http",
    "otlp": "otlp",
    "elasticsearch": "elasticsearch",
    "opensearch": "elasticsearch",
    "loki": "loki",
    "kafka": "kafka",
    "syslog": "syslog",
}
SPOOL_BYTES = 1 << 30
LEAST_SPOOL_BYTES = 1 << 20
SENT_BYTES = 1 << 20
"""Of what waits in a spool, about so much goes in a request, where the output has no ``batch_bytes``."""
AUTHORITY = re.compile(r"//[^/?#]*@")
QUERY_SECRET = re.compile(r"([?&](?:password|bearer_token|api_key|headers(?:\.[^=&]*)?)=)[^&]*")
USUAL = {"http": "http", "https": "http"}
"""Schemes that are no types, and what they are of."""


def output_of(values: Any, field: str, state: Path) -> Output:
    """Return one output of a configuration. Raises ``OptionError``."""
    options = Options(values, field)
    refuse_credentials(options)
    kind = options.one_of("type", (*LOCAL, *REMOTE), "") if "type" in options else options.needed("type")
    name = options.needed("name")
    module = importlib.import_module(f"sampan.logs.outputs.{LOCAL.get(kind) or REMOTE[kind]}")
    output: Output = module.make(name, options)
    if kind in REMOTE:
        output = behind_spool(output, options, state)
    options.done()
    return output


def refuse_credentials(options: Options) -> None:
    """Raise ``OptionError`` for an address with a user in it: addresses are logged, and stand in the metrics."""
    given = options.peek("url")
    for url in given if isinstance(given, list) else (given,):
        if isinstance(url, str) and AUTHORITY.search(url):
            raise OptionError(
                options.place("url"), "who we are has no place in it: user, password, password_file, password_env have"
            )


def without_secrets(address: str) -> str:
    """Return an address as it may be shown."""
    return QUERY_SECRET.sub(r"\1…", AUTHORITY.sub("//…@", address))


def behind_spool(output: Output, options: Options, state: Path) -> Output:
    spool = options.inner("spool")
    limit = spool.size("limit", SPOOL_BYTES, least=0)
    folder = Path(spool.text("folder") or state / "spool" / folder_name(output.name))
    if not limit:
        return output
    if limit < LEAST_SPOOL_BYTES:
        raise OptionError(spool.place("limit"), f"0 (no spool) or at least 1Mi is wanted, not {limit}")
    return Spooled(output, folder, limit, options.size("batch_bytes", SENT_BYTES), aside_of(output.name, state))


def aside_of(name: str, state: Path) -> Aside:
    """Return where records go that an output fails at."""
    return Aside(state / "aside" / f"{folder_name(name)}.json")


def folder_name(name: str) -> str:
    """Return a file name for an output: readable, and another one for another output."""
    return f"{re.sub('[^A-Za-z0-9.-]+', '-', name)[:60]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def outputs_of(addresses: Iterable[str], configured: Any, state: Path) -> list[Output]:
    """Return all outputs: of ``--output``, and of a configuration's ``outputs:``. Raises ``OptionError``."""
    if configured is not None and not isinstance(configured, list):
        raise OptionError("outputs", "a list is wanted")
    outputs = [output_named(address, state) for address in addresses]
    outputs += [output_of(values, f"outputs[{number}]", state) for number, values in enumerate(configured or ())]
    names: set[str] = set()
    for output in outputs:
        if output.name in names:
            raise OptionError("outputs", f"two are called {output.name!r}")
        names.add(output.name)
    say_what_is_left(outputs, state)
    return outputs


def say_what_is_left(outputs: Iterable[Output], state: Path) -> None:
    """Warn of spools below the state that are of no output: what waits in them is sent to nobody."""
    used = {output.folder for output in outputs if isinstance(output, Spooled)}
    for folder in sorted((state / "spool").glob("*")):
        waiting = sum(path.stat().st_size for path in folder.glob("*.spool"))
        if folder not in used and waiting:
            logger.warning(
                "%s: %d bytes are of an output that there is no more; remove them, or name it again", folder, waiting
            )


def output_named(address: str, state: Path) -> Output:
    """Return the output of an address. Raises ``OptionError``."""
    return output_of(values_of(address), without_secrets(address), state)


def values_of(address: str) -> dict[str, str]:
    """Return an address as the options of a configuration. Raises ``OptionError``."""
    kind, _, rest = address.partition(":")
    kind, plus, scheme = kind.partition("+")
    if not rest or kind not in (*LOCAL, *REMOTE, *USUAL) or (kind in LOCAL and plus):
        kinds = ", ".join((*LOCAL, *REMOTE))
        raise OptionError(repr(without_secrets(address)), f"this is no output: KIND:ADDRESS is, with one of {kinds}")
    if kind in LOCAL:
        name = "stdout" if rest == "-" else f"{'sqlite' if kind == 'sqlite' else 'file'}:{Path(rest).absolute()}"
        return {"type": kind, "name": name, "path": rest}
    if kind in USUAL:
        return {"type": USUAL[kind], **of_url(urlsplit(f"{kind}:{rest}"), keep_query=True)}
    if not rest.startswith("//"):
        raise OptionError(repr(without_secrets(address)), f"{kind}+SCHEME://HOST… is wanted")
    found = of_url(urlsplit(f"{scheme or kind}:{rest}"), keep_query=False)
    return {"type": kind, **found, "name": f"{kind}+{found['name']}" if plus else found["name"]}


def of_url(parts: Any, *, keep_query: bool) -> dict[str, str]:
    """Return ``url``, ``user`` and ``password`` of an address, and its query as options where it is none of the server's."""
    user, _, host = parts.netloc.rpartition("@")
    bare = urlunsplit((parts.scheme, host, parts.path, parts.query if keep_query else "", ""))
    found = {} if keep_query else dict(parse_qsl(parts.query, keep_blank_values=True))
    found |= {"url": bare, "name": found.get("name", bare)}
    if user:
        name, _, password = user.partition(":")
        found |= {"user": unquote(name), **({"password": unquote(password)} if password else {})}
    return found
