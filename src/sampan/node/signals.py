"""Signals that containers are stopped with, in CRI's numbers and in the kernel's. Source: CRI v1 ``Signal``, core/v1
Lifecycle.stopSignal."""

from __future__ import annotations

import signal
from typing import cast

from sampan.node import cri_pb2 as cri
from sampan.schema.objects import Object


def stop_signal_of(container: Object) -> str:
    """Return the signal that a container asks to be stopped with (``SIGUSR1``), ``""`` where it does not."""
    return str((container.get("lifecycle") or {}).get("stopSignal") or "")


def for_cri(name: str) -> cri.Signal:
    """Return CRI's number of a signal; that of the runtime's default for ``""``."""
    if not name:
        return cri.SIGNAL_RUNTIME_DEFAULT
    wanted = f"SIGNAL_{name.replace('+', 'PLUS').replace('-', 'MINUS')}"
    return cast("cri.Signal", cri.Signal.Value(wanted))


def for_kernel(name: str) -> int:
    """Return the kernel's number of a signal (``SIGRTMIN+3``, ``SIGUSR1``)."""
    for base, sign in (("SIGRTMIN", "+"), ("SIGRTMAX", "-")):
        if name.startswith(base + sign):
            offset = int(name.removeprefix(base + sign))
            return int(signal.Signals[base]) + (offset if sign == "+" else -offset)
    return int(signal.Signals[name])
