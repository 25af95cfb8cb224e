"""What containerd runs for each CNI call: a few lines of Python that hand the call to the agent and print its answer.

``install`` writes them as the executables ``sampan`` and ``loopback`` and the ``conflist`` beside them. They import no
more than the interpreter has built in (13 ms a call): the call goes over the agent's Unix socket as ``name=value`` lines,
an empty line and the network's configuration; the answer is the exit code, a newline and what to print.
Source: CNI specification 1.0.0, sections 1 (configuration) and 2 (protocol).
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

NETWORK = "sampan"
BIN_DIR, CONF_DIR = "bin", "net.d"
VERSION = "1.0.0"

SHIM = """#!{python} -ISs
import posix, sys, _socket
def main():
    call = [name + b"=" + value for name, value in posix.environ.items() if name.startswith(b"CNI_")]
    call.append(b"PLUGIN=" + sys.argv[0].rpartition("/")[2].encode())
    try:
        agent = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        agent.connect({socket!r})
        agent.sendall(b"\\n".join(call) + b"\\n\\n" + sys.stdin.buffer.read())
        agent.shutdown(_socket.SHUT_WR)
        answer = b""
        while part := agent.recv(65536):
            answer += part
        if not answer:
            raise OSError("the agent ended while it answered")
    except OSError as error:
        said = str(error).replace('"', "'")
        answer = b"1\\n" + ('{{"cniVersion": "1.0.0", "code": 11, "msg": "the network agent of the node is not there'
            ' (yet)", "details": "' + said + '"}}').encode()
    code, _, text = answer.partition(b"\\n")
    sys.stdout.buffer.write(text)
    sys.stdout.buffer.flush()
    posix._exit(int(code))
main()
"""


def conflist() -> str:
    """Return the network configuration list that containerd reads."""
    capabilities = {"portMappings": True, "bandwidth": True, "ips": True, "mac": True}
    plugin = {"type": "sampan", "capabilities": capabilities}
    return json.dumps({"cniVersion": VERSION, "name": NETWORK, "plugins": [plugin]}, indent=2) + "\n"


def install(directory: Path, socket: Path) -> None:
    """Write ``bin/sampan``, ``bin/loopback`` and ``net.d/10-sampan.conflist`` below a directory."""
    for name in ("sampan", "loopback"):
        text = SHIM.format(python=os.path.realpath(sys.executable), socket=str(socket))
        _write(directory / BIN_DIR / name, text, 0o755)
    _write(directory / CONF_DIR / "10-sampan.conflist", conflist(), 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.read_text() == text:
        return
    temporary = path.with_name(f".{path.name}")
    temporary.write_text(text)
    temporary.chmod(mode)
    temporary.replace(path)
