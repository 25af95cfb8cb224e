"""Files of variables that containers of a pod leave for those that start later (``fileKeyRef``).

A line is ``NAME='value'``: spaces around the name and after the closing quote do not count, what is in quotes is kept as it
is, newlines too; blank lines and lines that begin with ``#`` are passed over. Values without quotes (as the first version
had them) end at a ``#`` or at the end of the line. Pure. Source: KEP-3721.
"""

from __future__ import annotations


class EnvFileFault(ValueError):
    """A file that is not in this form; the message says what and where."""


def parse(text: str) -> dict[str, str]:
    """Return the variables of a file; the first of a name counts. Raises ``EnvFileFault``."""
    found: dict[str, str] = {}
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        line = lines[number].strip()
        number += 1
        if not line or line.startswith("#"):
            continue
        name, equals, value = lines[number - 1].partition("=")
        if not equals or not name.strip():
            raise EnvFileFault(f"line {number} is no NAME='value'")
        value = value.lstrip(" \t")
        if value.startswith("'"):
            begun, value = number, value[1:]
            while "'" not in value:
                if number == len(lines):
                    raise EnvFileFault(f"the quote of line {begun} is not closed")
                value += "\n" + lines[number]
                number += 1
            value, _, rest = value.partition("'")
            if rest.strip():
                raise EnvFileFault(f"line {number} has more after its closing quote")
        else:
            value = value.partition("#")[0].strip()
        found.setdefault(name.strip(), value)
    return found
