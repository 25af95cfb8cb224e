"""One part as a process: forked from the supervisor, with a log of its own, told to end by SIGTERM.

It dies with the supervisor, also when that is killed: two API servers on one store must never be. Pods do not: they are
children of their shims.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
from collections.abc import Callable

from sampan.api.memory import settle
from sampan.cluster.parts import Part

TYPE_CHECKING = False  # see ``supervisor``
if TYPE_CHECKING:
    from typing import NoReturn

LOG_BYTES = 4 << 20
"""A part's log is begun anew at its start when it has grown beyond this; the old one is kept as ``.1``."""
LOG_TAIL_BYTES = 16 << 10
PR_SET_PDEATHSIG = 1
IMPORTS = ("asyncio", "logging", "uvloop")
"""What every part of ours needs."""
HANDLED = (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT)
"""What the supervisor handles, and a part does not as it does."""
SETTLED_SECONDS = 1.0
"""How long after a part serves what it has made so far counts as what stays."""


def start(part: Part, log: str, words: int, gate: int, close_inherited: Callable[[], None]) -> int:
    """Fork the part and return its pid. It begins its work at the end of the pipe ``gate``, writes ``R`` to the pipe
    ``words`` when it serves, and ``E`` with its error when it ends by one. What it prints goes to the file ``log``."""
    supervisor = os.getpid()
    # told to end before it has let go of the supervisor's handlers, it would not
    signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
    pid = os.fork()
    if pid:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        return pid
    try:
        let_go_of_signals()
        die_with(supervisor)
        close_inherited()
        live(part, log, words, gate)
    finally:
        os._exit(70)


def let_go_of_signals() -> None:
    """Have signals end this process, as they end any."""
    for number in HANDLED:
        signal.signal(number, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)


def live(part: Part, log: str, words: int, gate: int) -> NoReturn:
    """Be the part, in a process that is no more than that; the arguments are those of ``start``."""
    code = 70
    try:
        _redirect(log)
        if part.argv:
            os.read(gate, 1)
            os.write(words, b"R\n")
            os.execvp(part.argv[0], part.argv)
        code = _run(part, words, gate)
    except BaseException:
        import logging

        logging.getLogger("sampan").exception("%s ended", part.name)
    finally:
        os._exit(code)


def leave_terminal() -> None:
    """Hold on to no folder, and read from nowhere."""
    os.chdir("/")
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    if null:  # where nothing was there to read from, this is it
        os.close(null)


def die_with(supervisor: int) -> None:
    """Have the kernel kill this process when its parent ends; kept over exec. Source: prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:  # it ended before it could be asked for
        os._exit(0)


def _redirect(log_path: str) -> None:
    from pathlib import Path

    path = Path(log_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and path.stat().st_size > LOG_BYTES:
        path.replace(path.with_suffix(".log.1"))
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    os.close(log)
    # what supervised processes print must be seen when they die
    sys.stdout = sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)


def _run(part: Part, words: int, gate: int) -> int:
    """Run a coroutine until it ends or SIGTERM cancels it; return the exit code."""
    import asyncio
    import logging

    import uvloop

    gc.disable()  # nothing that is imported is ever garbage
    logging.basicConfig(
        level=os.environ.get("SAMPAN_LOG", "INFO"), format="%(asctime)s %(levelname)s %(name)s: %(message)s", force=True
    )
    serve = part.serve
    assert serve is not None

    def ready() -> None:
        os.write(words, b"R\n")
        asyncio.get_running_loop().call_later(SETTLED_SECONDS, settle)

    async def main() -> None:
        task = asyncio.ensure_future(serve(ready))
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
        await task

    try:
        for module in part.imports:
            importlib.import_module(module)
        gc.freeze()
        gc.enable()
        os.read(gate, 1)
        uvloop.run(main())
    except (asyncio.CancelledError, KeyboardInterrupt):
        return 0
    except BaseException as error:
        os.write(words, f"E{said(error)[:2000]}\n".encode())  # first: the disk of the log may be full
        logging.getLogger("sampan").error("%s ended: %s", part.name, said(error), exc_info=error)
        return 1
    return 0


def said(error: BaseException) -> str:
    """Return the innermost message of an error, through exception groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    own = type(error).__module__.startswith("sampan.")  # these say all in their message
    return " ".join((str(error) if own else f"{type(error).__name__}: {error}").split())


def last_error(path: str) -> str:
    """Return the last line of a part's log that reports an error, or ``""``."""
    try:
        with open(path, "rb") as log:
            log.seek(0, os.SEEK_END)
            log.seek(max(0, log.tell() - LOG_TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        if " ERROR " in line or "level=error" in line or "level=fatal" in line or line.startswith("containerd:"):
            return line[:300]
    return ""
