"""nft, the program: tables, chains and sets as text, each text one transaction."""

from __future__ import annotations

import subprocess


class NftError(Exception):
    """A transaction was refused; nothing of it is in the kernel. The message is nft's own, or the kernel's."""


def run(text: str) -> None:
    """Have the kernel take a transaction. Blocks. Raises ``NftError``."""
    _call(["nft", "-f", "-"], text)


def listed(*words: str) -> str:
    """Return what ``nft list …`` prints, without elements; empty where there is no such thing. Blocks."""
    try:
        return _call(["nft", "--terse", "list", *words])
    except NftError as error:
        if "No such file or directory" in str(error):
            return ""
        raise


def _call(command: list[str], text: str = "") -> str:
    try:
        done = subprocess.run(command, input=text, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise NftError("nft is not installed (apt-get install nftables)") from error
    if done.returncode:
        raise NftError(done.stderr.strip()[:2000])
    return done.stdout
