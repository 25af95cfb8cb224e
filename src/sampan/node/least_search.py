"""Looking for the tightest context: everything at once first, then each step alone, then what works together.

Most workloads take all steps, and one copy proves it. For others each step is tried alone, several at a time; of capabilities
each one alone. What worked alone is put together and must work together; where it does not, steps are added one by one. The
last copy that worked is the proof: it ran with exactly what is proposed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from sampan.node.trials import Outcome, Trials
from sampan.schema.objects import Object
from sampan.security.least import (
    CAPABILITIES,
    STEPS,
    Evidences,
    Finding,
    Step,
    effective_steps,
    held,
    needed,
    only_capabilities,
    tightened,
    without,
)

NOT_PRIVILEGED, NOT_ROOT = STEPS[0], STEPS[-1]


class Proposal(NamedTuple):
    spec: Object
    """With which a copy has worked."""
    findings: list[Finding]
    proof: Outcome


class NoComparison(Exception):
    """The unchanged copy does not work, so nothing can be told of others; the message says why."""


async def search(trials: Trials, spec: Object, seen: Evidences, tell: Callable[[str], None]) -> Proposal:
    """Return the tightest spec that works. Raises ``NoComparison``."""
    control = await trials.unchanged()
    tell(f"an unchanged copy {'is ready after' if control.works else 'fails:'} {words(control)}")
    if not control.works:
        raise NoComparison(control.why)
    steps = effective_steps(spec, seen)
    if not steps:
        return Proposal(spec, [], control)
    whole = tightened(spec, steps, seen)
    proof = await trials.run(whole)
    tell(f"all {len(steps)} steps at once: {words(proof)}")
    if proof.works:
        return Proposal(whole, [Finding(step.name, True) for step in steps], proof)
    return await Search(trials, spec, seen, tell).one_by_one(steps)


def words(outcome: Outcome) -> str:
    return f"{outcome.seconds:.1f} s" if outcome.works else outcome.why


class Search:
    def __init__(self, trials: Trials, spec: Object, seen: Evidences, tell: Callable[[str], None]) -> None:
        self._trials, self._spec, self._seen, self._tell = trials, spec, seen, tell
        self._findings: dict[str, Finding] = {}

    async def one_by_one(self, steps: Sequence[Step]) -> Proposal:
        steps = await self._without_privilege(list(steps))
        base = [NOT_PRIVILEGED] if self._found(NOT_PRIVILEGED) else []
        alone = [step for step in steps if step not in base]
        outcomes = await self._confirmed([self._with([*base, step]) for step in alone])
        for step, outcome in zip(alone, outcomes, strict=True):
            self._note(step.name, outcome)
        good = [*base, *(step for step in alone if self._found(step))]
        if CAPABILITIES in alone and not self._found(CAPABILITIES):
            good += await self._fewer_capabilities(base, good)
        return await self._together(good)

    async def _without_privilege(self, steps: list[Step]) -> list[Step]:
        """Return the steps that make sense: while a container is privileged, most of the others mean nothing."""
        if NOT_PRIVILEGED not in steps:
            return steps
        outcome = await self._trials.run(self._with([NOT_PRIVILEGED]))
        self._note(NOT_PRIVILEGED.name, outcome)
        if outcome.works:
            return steps
        return [step for step in steps if step.name in ("read-only root filesystem", "not root")]

    async def _fewer_capabilities(self, base: list[Step], good: list[Step]) -> list[Step]:
        """Return a step that leaves those capabilities that are needed; none where another user needs none."""
        if NOT_ROOT in good:
            outcome = await self._trials.run(self._with([*base, NOT_ROOT, CAPABILITIES]))
            if outcome.works:
                self._note(CAPABILITIES.name, outcome)
                return [CAPABILITIES]
        start = self._with(base)
        pairs = [(name, capability) for name, some in held(start).items() for capability in some]
        outcomes = await self._confirmed([without(start, *pair) for pair in pairs])
        kept = needed({pair: outcome.works for pair, outcome in zip(pairs, outcomes, strict=True)})
        step = Step(
            "only capabilities " + (", ".join(sorted({one for some in kept.values() for one in some})) or "none"),
            lambda spec, seen: only_capabilities(spec, kept),
        )
        outcome = await self._trials.run(self._with([*base, step]))
        self._note(step.name, outcome)
        return [step] if outcome.works else []

    async def _confirmed(self, specs: Sequence[Object]) -> list[Outcome]:
        """Run a copy for each spec, and once more for each that failed: a busy machine is no reason to keep a right."""
        outcomes = await self._trials.all(specs)
        doubtful = [number for number, outcome in enumerate(outcomes) if not outcome.works]
        again = await self._trials.all([specs[number] for number in doubtful])
        for number, outcome in zip(doubtful, again, strict=True):
            outcomes[number] = outcome
        return outcomes

    async def _together(self, good: list[Step]) -> Proposal:
        """Return what works together, the last working copy as its proof."""
        spec = self._with(good)
        proof = await self._trials.run(spec)
        self._tell(f"together: {words(proof)}")
        if proof.works:
            return Proposal(spec, list(self._findings.values()), proof)
        taken: list[Step] = []
        proof = await self._trials.run(self._spec)
        for step in good:
            outcome = await self._trials.run(self._with([*taken, step]))
            if outcome.works:
                taken, proof = [*taken, step], outcome
            else:
                self._note(step.name, outcome._replace(why=f"not together with the others: {outcome.why}"))
        return Proposal(self._with(taken), list(self._findings.values()), proof)

    def _with(self, steps: Sequence[Step]) -> Object:
        return tightened(self._spec, steps, self._seen)

    def _found(self, step: Step) -> bool:
        found = self._findings.get(step.name)
        return found is not None and found.works

    def _note(self, name: str, outcome: Outcome) -> None:
        self._findings[name] = Finding(name, outcome.works, outcome.why)
        self._tell(f"{name}: {words(outcome)}")
