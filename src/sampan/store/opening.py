"""Which store a URL names: ``etcd://…`` and ``etcds://…``, a file of SQLite, or memory where there is none."""

from __future__ import annotations

from pathlib import Path

from sampan.store.database import Durability
from sampan.store.encryption import Encryption
from sampan.store.protocol import Store
from sampan.store.retention import Limits
from sampan.store.sqlite import SqliteStore


async def open_store(
    url: str = "",
    path: Path | None = None,
    *,
    durability: Durability = "disk",
    limits: Limits | None = None,
    encryption: Encryption | None = None,
) -> Store:
    """Return the store of a URL, or of a file where there is no URL. Raises ``StoreError``."""
    if not url:
        return SqliteStore(path, durability=durability, limits=limits, encryption=encryption)
    from sampan.store.etcd import EtcdStore  # gRPC only where it is used

    return await EtcdStore.open(url, limits, encryption)
