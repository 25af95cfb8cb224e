"""The search for the tightest context, on workloads that need some rights: those are kept, the others taken, with proof."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sampan.node.least_search import NoComparison, search
from sampan.node.trials import Outcome, failed, is_ready
from sampan.schema.objects import Object
from sampan.security.capabilities import RUNTIME_DEFAULT, granted
from sampan.security.checks import context


class Workload:
    """Trials of a program that needs some rights; it counts its copies."""

    def __init__(
        self,
        *,
        capabilities: Iterable[str] = (),
        root: bool = False,
        writes: bool = False,
        privileged: bool = False,
        flaky: int = 0,
    ) -> None:
        self.capabilities, self.root, self.writes, self.privileged = set(capabilities), root, writes, privileged
        self.flaky = flaky
        self.copies: list[Object] = []

    async def unchanged(self) -> Outcome:
        return Outcome(True, seconds=1.0)

    async def all(self, specs: Sequence[Object]) -> list[Outcome]:
        return [await self.run(spec) for spec in specs]

    async def run(self, spec: Object) -> Outcome:
        self.copies.append(spec)
        if self.flaky and len(self.copies) % self.flaky == 0:
            return Outcome(False, "too slow")
        own = context(spec["containers"][0])
        wanted = own.get("capabilities") or {}
        has = granted(wanted.get("add") or (), wanted.get("drop") or ())
        as_root = not context(spec).get("runAsNonRoot")
        if self.privileged and not own.get("privileged"):
            return Outcome(False, "not privileged")
        if self.root and not as_root:
            return Outcome(False, "not root")
        if self.writes and own.get("readOnlyRootFilesystem"):
            return Outcome(False, "read-only")
        if as_root and not own.get("privileged") and not self.capabilities <= has:
            return Outcome(False, "a capability is missing")
        return Outcome(True, seconds=1.0)


def found(workload: Workload, own: Any = None) -> Any:
    spec = {"containers": [{"name": "c", "securityContext": own or {}}]}
    return asyncio.run(search(workload, spec, {}, lambda text: None))  # type: ignore[arg-type]


def test_what_needs_nothing_is_proven_by_one_copy() -> None:
    workload = Workload()
    proposal = found(workload)
    assert len(workload.copies) == 1 and proposal.spec == workload.copies[0]
    assert all(finding.works for finding in proposal.findings)


def test_what_is_needed_is_kept() -> None:
    proposal = found(Workload(capabilities={"CHOWN", "KILL"}, root=True, writes=True))
    own = context(proposal.spec["containers"][0])
    assert own["capabilities"] == {"drop": ["ALL"], "add": ["CHOWN", "KILL"]}
    assert "readOnlyRootFilesystem" not in own and own["allowPrivilegeEscalation"] is False
    assert "runAsNonRoot" not in context(proposal.spec)
    said = {finding.step: finding.works for finding in proposal.findings}
    assert said["not root"] is False and said["only capabilities CHOWN, KILL"] is True


def test_another_user_needs_no_capabilities() -> None:
    proposal = found(Workload(capabilities={"CHOWN"}, writes=True))
    assert context(proposal.spec["containers"][0])["capabilities"] == {"drop": ["ALL"]}
    assert context(proposal.spec)["runAsNonRoot"] is True


def test_who_must_be_privileged_stays_so() -> None:
    proposal = found(Workload(privileged=True), {"privileged": True})
    own = context(proposal.spec["containers"][0])
    assert own["privileged"] is True and "capabilities" not in own and own["readOnlyRootFilesystem"] is True


def test_a_busy_machine_costs_no_rights() -> None:
    proposal = found(Workload(capabilities={"CHOWN"}, root=True, flaky=5))
    assert context(proposal.spec["containers"][0])["capabilities"]["add"] == ["CHOWN"]


def test_what_does_not_work_at_all_is_not_tried() -> None:
    class Broken(Workload):
        async def unchanged(self) -> Outcome:
            return Outcome(False, "it crashes")

    with pytest.raises(NoComparison, match="it crashes"):
        found(Broken())


@settings(max_examples=60, deadline=None)
@given(st.sets(st.sampled_from(sorted(RUNTIME_DEFAULT)), max_size=4), st.booleans(), st.booleans())
def test_the_proposal_works_and_is_the_least(capabilities: set[str], root: bool, writes: bool) -> None:
    workload = Workload(capabilities=capabilities, root=root, writes=writes)
    proposal = found(workload)
    assert asyncio.run(workload.run(proposal.spec)).works
    own = context(proposal.spec["containers"][0])
    assert set(own["capabilities"].get("add") or ()) == (capabilities if root else set())
    assert own.get("readOnlyRootFilesystem", False) is not writes
    assert bool(context(proposal.spec).get("runAsNonRoot")) is not root


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({}, ""),
        ({"phase": "Failed", "reason": "AppArmor"}, "AppArmor"),
        ({"containerStatuses": [{"name": "c", "state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        (
            {
                "containerStatuses": [
                    {"name": "c", "state": {"waiting": {"reason": "CreateContainerError", "message": "m"}}}
                ]
            },
            "c: CreateContainerError m",
        ),
        (
            {"containerStatuses": [{"name": "c", "restartCount": 1, "lastState": {"terminated": {"exitCode": 3}}}]},
            "c ended with 3",
        ),
    ],
)
def test_when_a_copy_has_failed(status: dict[str, Any], why: str) -> None:
    assert failed({"status": status}) == why


def test_when_a_copy_is_ready() -> None:
    assert is_ready({"status": {"phase": "Succeeded"}})
    assert is_ready({"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
    assert not is_ready({"status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}})
