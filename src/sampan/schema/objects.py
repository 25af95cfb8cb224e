"""The words for API objects that every room shares.

An API object is a plain ``dict`` as it came from JSON. The bytes served for it are its canonical JSON: keys
``apiVersion``, ``kind``, ``metadata`` first and in that order, so that ``store`` can splice ``resourceVersion``
into the stored bytes without parsing them.
"""

from typing import Any, TypeAlias

Object: TypeAlias = dict[str, Any]


def split_api_version(api_version: str) -> tuple[str, str]:
    """Return ``(group, version)`` of an ``apiVersion``; the core group is ``""``."""
    group, slash, version = api_version.rpartition("/")
    return (group, version) if slash else ("", api_version)


def api_version_of(group: str, version: str) -> str:
    """Return the ``apiVersion`` of a group and version (``v1``, ``apps/v1``)."""
    return f"{group}/{version}" if group else version
