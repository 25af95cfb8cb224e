"""Revisions of keys: what is stored, since when, and what changed.

In: transactions on keys (``/registry/pods/default/web``) with the bytes of objects. Out: records, pages of records
at a revision, and streams of events. Two engines keep the one protocol of ``protocol.py``, which is where to begin:
``sqlite.py`` (embedded, a log of revisions with group commit) and ``etcd.py`` (shared by several API servers). Both answer
reads from ``history.py``: the newest state and the recent past, in memory.
"""

from sampan.store.image import Image
from sampan.store.pages import Slice, Values
from sampan.store.protocol import (
    Compacted,
    Concern,
    Conflict,
    Event,
    FutureRevision,
    NoSpace,
    Page,
    Put,
    Record,
    Store,
    StoreError,
    TooLarge,
    Unavailable,
    Unknown,
    Watch,
    restamped,
    with_resource_version,
    without_resource_version,
)

__all__ = [
    "Compacted",
    "Concern",
    "Conflict",
    "Event",
    "FutureRevision",
    "Image",
    "NoSpace",
    "Page",
    "Put",
    "Record",
    "Slice",
    "Store",
    "StoreError",
    "TooLarge",
    "Unavailable",
    "Unknown",
    "Values",
    "Watch",
    "restamped",
    "with_resource_version",
    "without_resource_version",
]
