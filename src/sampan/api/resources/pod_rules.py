"""What the validation of pods needs to know beside the pod: the Kubernetes version's rules, and what the spec declares.

Source: kubernetes pkg/api/pod (GetValidationOptionsFromPodSpecAndMeta) and the feature gates on by default in a version.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

LATEST_MINOR = 37


class Rules(NamedTuple):
    """What a Kubernetes version lets a PodSpec say; the newest version's by default."""

    relaxed_env: bool = True
    """Any printable name of a variable (KEP-4369)."""
    relaxed_search: bool = True
    """``_`` and ``.`` in DNS search paths (KEP-4427)."""
    sleep_zero: bool = True
    """A ``sleep`` of no seconds (KEP-4818)."""
    env_files: bool = True
    """``fileKeyRef`` (KEP-5307)."""
    container_restarts: bool = True
    """``restartPolicy`` and its rules on every container (KEP-5307)."""
    ordered_tolerations: bool = True
    """Whether tolerations with Gt and Lt are known (KEP-5471); in no version are they on unless asked for."""
    sidecar_resize: bool = True
    """``resizePolicy`` of sidecars."""
    init_resize: bool = True
    """``resizePolicy`` of init containers that end."""


LATEST = Rules()


def rules_of(minor: int) -> Rules:
    """Return the rules of Kubernetes 1.``minor``."""
    return Rules(
        relaxed_env=minor >= 32,
        relaxed_search=minor >= 33,
        sleep_zero=minor >= 33,
        env_files=minor >= 35,
        container_restarts=minor >= 35,
        ordered_tolerations=minor >= 35,
        sidecar_resize=minor >= 33,
        init_resize=minor >= LATEST_MINOR,
    )


class Scope(NamedTuple):
    """What a container of a spec may refer to."""

    volumes: Mapping[str, Any]
    """Volumes that passed validation, by name; claims of a StatefulSet's templates count as ones."""
    claims: Collection[str]
    """Names of the pod's resource claims."""
    restart_policy: str
    grace_seconds: int | None
    host_users: bool
    rules: Rules
