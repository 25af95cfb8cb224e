"""Feature gates (``--feature-gates``): which there are in a version of Kubernetes, which are on, and which we can turn.

The table (``feature_gates.txt``, made by ``scripts/feature_gates.py``) says of every gate of the API server which stage and
default it has from which version on. A gate that does something here is in ``HONOURED`` and may be set; another one may
only be set to what it is anyway: nothing is switched that does not switch. Source: k8s.io/component-base featuregate.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from sampan.api.flags import FlagError
from sampan.api.version import minor

HONOURED = frozenset(
    {
        "APIResponseCompression",
        "AllowInsecureKubeletCertificateSigningRequests",
        "AnonymousAuthConfigurableEndpoints",
        "AuthorizeWithSelectors",
        "CBORServingAndStorage",
        "ComponentFlagz",
        "ComponentStatusz",
        "CompositePodGroup",
        "EvictionRequestAPI",
        "ExcludeAdmissionWebhookVirtualResources",
        "GenericWorkload",
        "HPAScaleToZero",
        "MutatingAdmissionPolicy",
        "PodLogsQuerySplitStreams",
        "RemoteRequestHeaderUID",
        "ServiceAccountNodeAudienceRestriction",
        "StorageVersionHash",
        "StructuredAuthenticationConfiguration",
        "StructuredAuthorizationConfiguration",
        "ValidatingAdmissionPolicy",
        "WatchList",
    }
)
OTHERS = """
AllowInsecureKubeletCertificateSigningRequests 31:DEPRECATED:0
ComponentFlagz 32:ALPHA:0 36:BETA:1
ComponentStatusz 32:ALPHA:0 36:BETA:1
CompositePodGroup 37:ALPHA:0
EvictionRequestAPI 37:ALPHA:0
GenericWorkload 35:ALPHA:0 37:BETA:0
HPAScaleToZero 16:ALPHA:0 37:BETA:1
PodLogsQuerySplitStreams 32:ALPHA:0
ServiceAccountNodeAudienceRestriction 32:BETA:0 33:BETA:1
"""
"""Gates of kube-apiserver itself and of component-base that are honoured."""

ON_HERE = {"CBORServingAndStorage": 25}
"""Gates that are on unless turned off, whatever Kubernetes' default is: the first minor version they are known in here."""

STABLE = "GA"


class Gate(NamedTuple):
    """A gate as one version has it."""

    name: str
    stage: str
    on: bool
    locked: bool = False


@lru_cache(maxsize=1)
def table() -> tuple[tuple[str, tuple[tuple[int, str], ...]], ...]:
    """Return each gate with its stages: from which minor version on, and what."""
    text = Path(__file__).with_name("feature_gates.txt").read_text() + OTHERS
    made = []
    for line in text.split("\n"):
        name, *stages = line.split(" ")
        if stages:
            made.append((name, tuple((int(word.partition(":")[0]), word.partition(":")[2]) for word in stages)))
    return tuple(sorted(made))


def known(version: int) -> dict[str, Gate]:
    """Return the gates of a minor version, by name."""
    found = {}
    for name, stages in table():
        word = next((word for since, word in reversed(stages) if since <= version), "-")
        if word != "-":
            stage, on, *locked = word.split(":")
            found[name] = Gate(name, stage, on == "1", bool(locked))
    for name, since in ON_HERE.items():
        if version >= since:
            found[name] = found.get(name, Gate(name, "ALPHA", True))._replace(on=True)
    return found


class FeatureGates:
    """The gates of one API. Raises ``FlagError`` for what was given and cannot be."""

    def __init__(self, version: str, given: Iterable[str] = ()) -> None:
        self._version = version
        self._given = tuple(given)
        self._gates: dict[str, Gate] | None = None
        if self._given:
            self._gates = self._read()

    def enabled(self, name: str) -> bool:
        """Whether a gate is on; one that a version does not know (yet, or any more) is not."""
        gate = self._all().get(name)
        return gate is not None and gate.on

    def past(self, name: str) -> bool:
        """Whether a gate is on, or was and has gone since: the feature is a part of every server now."""
        if name in self._all():
            return self.enabled(name)
        stages = dict(table()).get(name, ())
        first = stages[0][0] if stages else 99
        return first <= minor(self._version)

    def __iter__(self) -> Iterator[Gate]:
        return iter(self._all().values())

    def _all(self) -> dict[str, Gate]:
        if self._gates is None:
            self._gates = known(minor(self._version))
        return self._gates

    def _read(self) -> dict[str, Gate]:
        gates = known(minor(self._version))
        for pair in self._given:
            name, equals, value = (part.strip() for part in pair.partition("="))
            if not equals:
                raise FlagError(f"missing bool value for {name}")
            if value.lower() not in ("true", "false", "1", "0", "t", "f"):
                why = f'strconv.ParseBool: parsing "{value}": invalid syntax'
                raise FlagError(f"invalid value of {name}: {value}, err: {why}")
            wanted = value.lower() in ("true", "1", "t")
            gates[name] = self._set(gates.get(name), name, wanted)
        return gates

    def _set(self, gate: Gate | None, name: str, wanted: bool) -> Gate:
        word = str(wanted).lower()
        if gate is None:
            raise FlagError(f"unrecognized feature gate: {name}")
        if gate.locked and gate.on is not wanted:
            locked = str(gate.on).lower()
            raise FlagError(f"cannot set feature gate {name} to {word}, feature is locked to {locked}")
        if gate.on is not wanted and name not in HONOURED:
            raise FlagError(f"cannot set feature gate {name} to {word}: there is nothing here that it switches")
        return gate._replace(on=wanted)
