"""Who is subject to which policy and who is whose peer, kept up to date by differences, and told to the ledger.

``set_policy``, ``set_pod``, ``set_namespace``, ``attach`` and ``detach`` note what changed; ``flush`` returns the nft
transaction. A changed pod costs one look at each selector, a changed policy one look at each pod it may be about.
An address is one pod's: whom the CNI plugin gave it to, else who was last to have it in its status.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sampan.network.families import Address
from sampan.network.nft_ledger import NOTHING, Change, Element, Ledger, Needs
from sampan.network.policy_model import PodFacts, PodSet, Policy, Tier, Way
from sampan.network.policy_rules import BASE, TABLE, Stack, policy_chains, port_set, sets_of, stack_chains


@dataclass(slots=True)
class Record:
    """A pod, the owners of the policies that select it, the names of the peer sets it is in, and its stacks."""

    facts: PodFacts
    policies: set[str] = field(default_factory=set)
    sets: set[str] = field(default_factory=set)
    stacks: tuple[Stack, ...] = ()


class PolicyState:
    """``node``: the node whose pods are subject to policies here; empty for every pod."""

    def __init__(self, node: str = "") -> None:
        self.node = node
        self.ledger = Ledger("inet", TABLE, BASE)
        self.pods: dict[str, Record] = {}
        self.namespaces: dict[str, Mapping[str, str]] = {}
        self.policies: dict[str, Policy] = {}
        self.attached: dict[str, tuple[str, tuple[Address, ...]]] = {}
        """``pod -> (uid, addresses)`` as the CNI plugin says."""
        self.holders: dict[Address, dict[str, None]] = {}
        self.tightened = False
        """Whether something changed that may forbid what was allowed, since the last look."""
        self._by_namespace: dict[str, dict[str, Record]] = {}
        # what is of one namespace's pods by that namespace, the rest by ""
        self._policies_of: dict[str, dict[str, Policy]] = {}
        self._peers_of: dict[str, dict[str, PodSet]] = {}
        self._peer_uses: Counter[str] = Counter()
        self._named_ports: Counter[tuple[str, str]] = Counter()
        self._stacks: Counter[Stack] = Counter()
        self._orphans: set[str] = set()
        self._dirty_pods: set[str] = set()
        self._dirty_policies: set[str] = set()

    # what is told

    def set_pod(self, key: str, facts: PodFacts | None) -> None:
        record = self.pods.get(key)
        if facts is None:
            self._forget(key)
            return
        self._orphans.discard(key)
        if record is None:
            record = self.pods[key] = Record(facts)
            self._by_namespace.setdefault(facts.namespace, {})[key] = record
            self._match(record, new=True)
            fresh = facts.addresses
        elif record.facts == facts:
            return
        else:
            before, record.facts = record.facts, facts
            if before.labels != facts.labels:
                self._match(record)
            self._leave(key, [address for address in before.addresses if address not in facts.addresses])
            fresh = tuple(address for address in facts.addresses if address not in before.addresses)
        for address in fresh:
            self._claim(key, address)
        self._dirty_pods.add(key)

    def _forget(self, key: str) -> None:
        record = self.pods.get(key)
        if record is None:
            return
        if key in self.attached and not record.facts.ended:
            # gone from the API by force, and maybe running still: it stays subject to its policies until it has no link
            self._orphans.add(key)
            return
        del self.pods[key]
        self._leave(key, record.facts.addresses)
        del self._by_namespace[record.facts.namespace][key]
        self._dirty_pods.add(key)
        self._count_stacks(record, ())

    def set_namespace(self, name: str, labels: Mapping[str, str] | None) -> None:
        if self.namespaces.get(name) == labels:
            return
        if labels is None:
            self.namespaces.pop(name, None)
        else:
            self.namespaces[name] = labels
        for record in self._by_namespace.get(name, {}).values():
            self._match(record)

    def set_policy(self, owner: str, policy: Policy | None) -> None:
        old = self.policies.get(owner)
        if old == policy:
            return
        self.tightened = True
        self._dirty_policies.add(owner)
        if old is not None:
            del self.policies[owner], self._policies_of[old.subject.namespace][owner]
        if policy is not None:
            self.policies[owner] = policy
            self._policies_of.setdefault(policy.subject.namespace, {})[owner] = policy
        self._count_peers(old, policy)
        for record in self._subjects(old, policy):
            held = owner in record.policies
            now = policy is not None and policy.subject.holds(record.facts, self.namespaces)
            if held or now:
                self._dirty_pods.add(record.facts.key)
            (record.policies.add if now else record.policies.discard)(owner)

    def attach(self, key: str, uid: str, addresses: tuple[Address, ...]) -> None:
        """Note that the CNI plugin has given a pod its addresses."""
        self.detach(key)
        self.attached[key] = uid, addresses
        for address in addresses:
            self._claim(key, address)
        self._dirty_pods.add(key)

    def detach(self, key: str) -> None:
        """Note that the pod has given its addresses back."""
        known = self.attached.pop(key, None)
        if known is None:
            return
        self._leave(key, known[1])
        self._dirty_pods.add(key)
        if key in self._orphans:
            self._orphans.discard(key)
            self._forget(key)

    # what follows

    def addresses(self, key: str) -> tuple[Address, ...]:
        """Return the addresses that are a pod's and no other's."""
        record = self.pods.get(key)
        known = self.attached.get(key)
        if record is None or record.facts.ended:
            return ()
        listed = known[1] if known and known[0] in ("", record.facts.uid) else record.facts.addresses
        return tuple(address for address in listed if self.holder(address) == key)

    def holder(self, address: Address) -> str:
        """Return the pod whose address this is, or ``""``."""
        claims = self.holders.get(address, {})
        for key in claims:
            if address in self.attached.get(key, ("", ()))[1]:
                return key
        return next(reversed(claims), "")

    def flush(self) -> Change:
        """Return what follows from all that was told since the last."""
        for key in self._dirty_pods:
            self.ledger.take(f"pod:{key}", self._pod_needs(key))
        for owner in self._dirty_policies:
            policy = self.policies.get(owner)
            self.ledger.take(owner, NOTHING if policy is None else Needs({}, policy_chains(policy), sets_of(policy)))
        for stack in [found for found, uses in self._stacks.items() if not uses]:
            del self._stacks[stack]
            self.ledger.take(stack.owner, NOTHING)
        for stack in self._stacks:
            named = (*stack.admin, *stack.network, *stack.baseline)
            if stack.owner not in self.ledger.owners or not self._dirty_policies.isdisjoint(named):
                self.ledger.take(stack.owner, Needs(chains=stack_chains(stack, self.policies)))
        self._dirty_pods.clear()
        self._dirty_policies.clear()
        return self.ledger.changes()

    def _pod_needs(self, key: str) -> Needs:
        record = self.pods.get(key)
        if record is None:
            return NOTHING
        addresses = self.addresses(key)
        ours = not self.node or record.facts.node == self.node or key in self.attached
        stacks = tuple(stack for way in Way if (stack := self.stack(record, way))) if addresses and ours else ()
        self._count_stacks(record, stacks)
        elements: dict[Element, str] = {}
        for address in addresses:
            family = address.version
            for name in record.sets:
                elements[f"{name}-{family}", str(address)] = ""
            for named, numbers in record.facts.ports.items():
                if named in self._named_ports:
                    for number in numbers:
                        elements[port_set(*named, family), f"{address} . {number}"] = ""
            for stack in stacks:
                elements[f"{stack.way}-{family}", str(address)] = f"goto {stack.entry}"
                elements[f"itself-{family}", f"{address} . {address}"] = ""
        return Needs(elements)

    def stack(self, record: Record, way: Way) -> Stack:
        """Return what a pod is subject to one way."""
        tiers: dict[Tier, list[Policy]] = {tier: [] for tier in Tier}
        for owner in record.policies:
            policy = self.policies[owner]
            if way in policy.ways:
                tiers[policy.tier].append(policy)
        admin, network, baseline = (
            tuple(policy.owner for policy in sorted(tiers[tier], key=lambda policy: policy.order)) for tier in Tier
        )
        return Stack(way, admin, network, () if network else baseline)

    def _count_stacks(self, record: Record, stacks: tuple[Stack, ...]) -> None:
        self._stacks.update(stacks)
        self._stacks.subtract(record.stacks)
        record.stacks = stacks

    def _match(self, record: Record, *, new: bool = False) -> None:
        """Look at every selector again for one pod. One that is new has no connections yet."""
        facts = record.facts
        places = ("", facts.namespace)
        policies = {
            owner
            for place in places
            for owner, policy in self._policies_of.get(place, {}).items()
            if policy.subject.holds(facts, self.namespaces)
        }
        sets = {
            name
            for place in places
            for name, peers in self._peers_of.get(place, {}).items()
            if peers.holds(facts, self.namespaces)
        }
        # who joins the peers of a rule may be denied by it, who leaves them no longer allowed
        if record.policies ^ policies or (record.sets ^ sets and not new):
            self.tightened = True
        record.policies, record.sets = policies, sets
        self._dirty_pods.add(facts.key)

    def _subjects(self, *policies: Policy | None) -> Iterable[Record]:
        spaces = {policy.subject.namespace for policy in policies if policy}
        return [record for space in ([""] if "" in spaces else spaces) for record in self._within(space)]

    def _count_peers(self, old: Policy | None, new: Policy | None) -> None:
        before, after = _peer_sets(old), _peer_sets(new)
        for name in after.keys() - before.keys():
            self._peer_uses[name] += 1
            if self._peer_uses[name] == 1:
                self._peers_of.setdefault(after[name].namespace, {})[name] = after[name]
                self._join(name, after[name])
        for name in before.keys() - after.keys():
            self._peer_uses[name] -= 1
            if not self._peer_uses[name]:
                del self._peer_uses[name], self._peers_of[before[name].namespace][name]
                for record in self._within(before[name].namespace):
                    if name in record.sets:
                        record.sets.discard(name)
                        self._dirty_pods.add(record.facts.key)
        ports = _port_names(new)
        fresh = ports - self._named_ports.keys()
        self._named_ports.update(ports)
        self._named_ports.subtract(_port_names(old))
        gone = {port for port, uses in self._named_ports.items() if not uses}
        for port in gone:
            del self._named_ports[port]
        if fresh or gone:
            self._dirty_pods.update(key for key, held in self.pods.items() if held.facts.ports.keys() & (fresh | gone))

    def _join(self, name: str, peers: PodSet) -> None:
        for record in self._within(peers.namespace):
            if peers.holds(record.facts, self.namespaces):
                record.sets.add(name)
                self._dirty_pods.add(record.facts.key)

    def _within(self, namespace: str) -> Iterable[Record]:
        """Return the pods of a namespace; of ``""`` all."""
        return list((self._by_namespace.get(namespace, {}) if namespace else self.pods).values())

    def _claim(self, key: str, address: Address) -> None:
        claims = self.holders.setdefault(address, {})
        self._dirty_pods.update(claims)
        claims.pop(key, None)  # the last to come stands last
        claims[key] = None

    def _leave(self, key: str, addresses: Iterable[Address]) -> None:
        kept = self.attached.get(key, ("", ()))[1]
        if key in self.pods:
            kept += self.pods[key].facts.addresses
        for address in addresses:
            claims = self.holders.get(address)
            if claims is None or address in kept:
                continue
            claims.pop(key, None)
            self._dirty_pods.update(claims)
            if not claims:
                del self.holders[address]


def _peer_sets(policy: Policy | None) -> dict[str, PodSet]:
    rules = [rule for listed in policy.ways.values() for rule in listed] if policy else []
    return {peer.name: peer for rule in rules for peer in rule.peers or () if isinstance(peer, PodSet)}


def _port_names(policy: Policy | None) -> set[tuple[str, str]]:
    rules = [rule for listed in policy.ways.values() for rule in listed] if policy else []
    return {(port.protocol, port.name) for rule in rules for port in rule.ports or () if port.name}
