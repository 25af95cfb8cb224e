"""What a test's cluster is to be, as it travels from the test to the warm process and keys the snapshots there."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any, Literal

PodsMode = Literal["simulated", "none", "real"]


class ClusterError(Exception):
    """A cluster for a test that could not be made; the message says why."""


@dataclass(frozen=True)
class ClusterSpec:
    """One cluster. Equal specs are forked from one snapshot."""

    kubernetes_version: str = "1.37"
    pods: PodsMode = "simulated"
    controllers: bool = True
    """Whether the built-in controllers and the scheduler run. Simulated pods need them."""
    nodes: int = 1
    """How many simulated nodes there are."""
    manifests: tuple[str, ...] = ()
    """Objects as JSON, applied once into the snapshot."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, given: dict[str, Any]) -> ClusterSpec:
        return cls(**{**given, "manifests": tuple(given["manifests"])})

    def objects(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.manifests]
