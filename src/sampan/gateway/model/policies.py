"""Policies attached to backends: which of them counts, and what it says.

A TLS policy that is wrong still counts: its backend is then not reached at all, rather than without TLS. Of several for one
target the oldest counts; one that names the port goes before one that names the Service. Source: GEP-713 (conflicts),
GEP-1897 (BackendTLSPolicy), GEP-3388 (XBackendTrafficPolicy).
"""

from __future__ import annotations

from dataclasses import dataclass

from sampan.gateway.model.certificates import authorities
from sampan.gateway.model.indexes import TLS_POLICIES, TRAFFIC_POLICIES
from sampan.gateway.model.verdicts import Verdict
from sampan.gateway.model.world import World, age_key
from sampan.schema.objects import Object

ACCEPTED = Verdict("Accepted", "the policy is accepted")
RESOLVED = Verdict("ResolvedRefs", "all references are resolved")
SYSTEM = "system"


@dataclass(frozen=True)
class TlsPolicy:
    hostname: str
    authorities: str
    """SDS name of the bundle, ``SYSTEM`` for the machine's own, ``""`` when there is none that is well."""
    names: tuple[tuple[str, str], ...]
    """``(Hostname or URI, value)``: what the certificate must be for, when not for ``hostname``."""
    accepted: Verdict
    resolved: Verdict

    @property
    def serves(self) -> bool:
        return bool(self.authorities) and self.accepted.reason == "Accepted"


def judged(world: World, policy: Object) -> TlsPolicy:
    """Return what a BackendTLSPolicy says, and whether it may."""
    return validation_of(world, "BackendTLSPolicy", policy["metadata"]["namespace"], policy["spec"]["validation"])


def validation_of(world: World, kind: str, namespace: str, validation: Object) -> TlsPolicy:
    """Return what a ``BackendTLSPolicyValidation`` of an object of that kind says."""
    names = tuple(
        (entry["type"], entry.get("hostname") or entry.get("uri") or "")
        for entry in validation.get("subjectAltNames") or ()
    )
    accepted, resolved, bundle = ACCEPTED, RESOLVED, ""
    system = validation.get("wellKnownCACertificates")
    if system:
        bundle = SYSTEM if system == "System" else ""
        if not bundle:
            accepted = Verdict("Invalid", f"wellKnownCACertificates {system} is not known: only System is")
    else:
        references = validation.get("caCertificateRefs") or []
        bundle, problems = authorities(world, kind, namespace, references, "InvalidKind", "InvalidCACertificateRef")
        if problems:
            resolved = problems[0].verdict
        if not bundle:
            accepted = Verdict("NoValidCACertificate", "no reference leads to a certificate authority")
    return TlsPolicy(validation["hostname"], bundle, names, accepted, resolved)


def winner(world: World, target: str, section: str) -> Object | None:
    """Return the BackendTLSPolicy that counts for a target (``Service ns/name``) and port name."""
    kind, _, key = target.partition(" ")
    name = key.partition("/")[2]
    best: Object | None = None
    named = False
    for policy in sorted(world.find(TLS_POLICIES, target), key=age_key):
        for reference in policy["spec"].get("targetRefs") or ():
            if reference["kind"] != kind or reference["name"] != name:
                continue
            own = reference.get("sectionName") or ""
            if own and own == section and not named:
                best, named = policy, True
            elif not own and best is None:
                best = policy
    return best


def tls_policy(world: World, target: str, section: str) -> TlsPolicy | None:
    """Return the TLS policy of a target and port, None when it is plain."""
    policy = winner(world, target, section)
    return judged(world, policy) if policy is not None else None


def conflicted(world: World, policy: Object) -> bool:
    """Whether older policies take every target of this one."""
    namespace, uid = policy["metadata"]["namespace"], policy["metadata"].get("uid")
    for reference in policy["spec"].get("targetRefs") or ():
        same = [
            other
            for other in world.find(TLS_POLICIES, f"{reference['kind']} {namespace}/{reference['name']}")
            if any(_same(reference, entry) for entry in other["spec"].get("targetRefs") or ())
        ]
        if min(same, key=age_key)["metadata"].get("uid") == uid:
            return False
    return True


def _same(one: Object, other: Object) -> bool:
    return all((one.get(part) or "") == (other.get(part) or "") for part in ("kind", "name", "sectionName"))


def traffic_policy(world: World, target: str) -> Object | None:
    """Return the XBackendTrafficPolicy that counts for a target (``Service ns/name``)."""
    found = world.find(TRAFFIC_POLICIES, target)
    policy: Object | None = min(found, key=age_key) if found else None
    return policy
