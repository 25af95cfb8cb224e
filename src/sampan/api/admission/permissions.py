"""Plugins that ask whether the user may do one more thing: the one way to do so."""

from __future__ import annotations

from sampan.api.request import Admission, Attributes


async def may(admission: Admission, verb: str, group: str, resource: str, name: str, **more: str) -> tuple[bool, str]:
    """Return whether the user of a write may do something else, and why, or why not. ``more``: version, subresource,
    namespace."""
    at = Attributes(
        admission.user,
        verb,
        "",
        group,
        more.get("version", "*"),
        resource,
        more.get("subresource", ""),
        more.get("namespace", ""),
        name,
    )
    authorizer = admission.api.authorizer
    if authorizer.pending(at):
        await authorizer.prepare(at)
    return authorizer.authorize(at)


async def may_for_signer(admission: Admission, verb: str, signer: str) -> bool:
    """Whether the user may ``approve``, ``sign`` or ``attest`` for a signer, or for all of its domain."""
    for name in (signer, f"{signer.partition('/')[0]}/*"):
        allowed, _ = await may(admission, verb, "certificates.k8s.io", "signers", name)
        if allowed:
            return True
    return False
