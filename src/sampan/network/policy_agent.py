"""Keeps the kernel's table equal to the policies: what changed within a tick of the loop becomes one transaction.

Flow: informers of NetworkPolicies (and of ClusterNetworkPolicies, where their definition is there), and, from the first
policy on, of Pods and Namespaces → ``policy_state.py`` → ``nft`` → what is connected and now forbidden is forgotten
(``policy_flows.py``). Where no policy is, no pod is watched. ``admit`` is what the CNI plugin waits for: a pod gets its link
when what policies say of it is in the kernel. A restarted agent leaves the table as it is until it knows everything.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from sampan.client.informer import Change, Informer, key_of
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import CUSTOM_RESOURCE_DEFINITIONS, NAMESPACES, NETWORK_POLICIES, PODS
from sampan.network import nft, policy_flows
from sampan.network.families import Address
from sampan.network.nft import NftError
from sampan.network.nft_elements import Elements
from sampan.network.nft_ledger import Change as TableChange
from sampan.network.nft_ledger import packed
from sampan.network.policy_model import Policy, Tier, cluster_network_policy, network_policy, pod_facts
from sampan.network.policy_rules import TABLE
from sampan.network.policy_state import PolicyState
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.network")

CLUSTER_GROUP, CLUSTER_PLURAL = "policy.networking.k8s.io", "clusternetworkpolicies"
ADMISSION_SECONDS = 8.0
"""How long a pod waits for its policies; then its runtime is told to try again."""
INLINE_ELEMENTS = 512
"""So many the kernel takes in less time than a thread takes to begin."""
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 30.0


class NotAdmitted(Exception):
    """What policies say of a pod is not in the kernel, and so the pod may not have its link yet."""


class PolicyAgent:
    """``node``: the node whose pods are subject to policies here; empty for every pod that is seen."""

    def __init__(self, client: Client, node: str = "", *, admission_seconds: float = ADMISSION_SECONDS) -> None:
        self.client = client
        self.admission_seconds = admission_seconds
        self.state = PolicyState(node)
        self.policies = Informer(client, NETWORK_POLICIES)
        self.definitions = Informer(
            client, CUSTOM_RESOURCE_DEFINITIONS, field_selector=f"metadata.name={CLUSTER_PLURAL}.{CLUSTER_GROUP}"
        )
        self.pods, self.namespaces = Informer(client, PODS), Informer(client, NAMESPACES)
        self._listed, self._followed = asyncio.Event(), asyncio.Event()
        """Whether the policies are known, and whether pods are and the first table is in the kernel."""
        self._wake, self._pulse = asyncio.Event(), asyncio.Event()
        self._waiting: list[asyncio.Future[None]] = []
        self._group: asyncio.TaskGroup | None = None
        self._elements: Elements | None = None
        self._tiered: asyncio.Task[None] | None = None
        self._tiered_informer: Informer | None = None

    # what the CNI plugin calls

    def attach(self, pod: str, uid: str, addresses: tuple[Address, ...]) -> None:
        """Note that a pod (``namespace/name``) has addresses: those of an earlier run, or new ones."""
        self.state.attach(pod, uid, addresses)
        self._wake.set()

    def detach(self, pod: str) -> None:
        self.state.detach(pod)
        self._wake.set()

    async def admit(self, pod: str, uid: str, addresses: tuple[Address, ...]) -> None:
        """Return when the kernel has what policies say of a pod with these addresses. Raises ``NotAdmitted``."""
        try:
            async with asyncio.timeout(self.admission_seconds):
                await self._listed.wait()
                self.attach(pod, uid, addresses)
                if not self.state.policies:
                    return
                await self._followed.wait()
                while not self._knows(pod, uid):
                    self._pulse.clear()
                    await self._pulse.wait()
                await self.applied()
        except TimeoutError:
            self.detach(pod)
            missing = "the API has not told its policies" if not self._followed.is_set() else "the API does not know it"
            raise NotAdmitted(f"pod {pod} waits for its policies: {missing}") from None

    async def listed(self) -> None:
        """Return when the policies are known and, where there are any, in the kernel."""
        await self._listed.wait()
        if self.state.policies:
            await self._followed.wait()

    async def applied(self) -> None:
        """Return when all that is known now is in the kernel."""
        applied = asyncio.get_running_loop().create_future()
        self._waiting.append(applied)
        self._wake.set()
        await applied

    def _knows(self, pod: str, uid: str) -> bool:
        record = self.state.pods.get(pod)
        known = record is not None and uid in ("", record.facts.uid)
        return known and pod.partition("/")[0] in self.state.namespaces

    # running

    async def run(self) -> None:
        """Apply until cancelled."""
        self.policies.add_handler(self._on_policy)
        self.definitions.add_handler(self._on_definition)
        self.pods.add_handler(self._on_pod)
        self.namespaces.add_handler(self._on_namespace)
        async with asyncio.TaskGroup() as group:
            self._group = group
            group.create_task(self.policies.run(), name="network-policies")
            group.create_task(self.definitions.run(), name="policy-definitions")
            await self.policies.synced()
            await self.definitions.synced()
            if self._tiered_informer is not None:
                await self._tiered_informer.synced()
            self._listed.set()
            await self._clear()
            while not self.state.policies:
                self._wake.clear()
                await self._wake.wait()
            group.create_task(self.namespaces.run(), name="namespaces")
            group.create_task(self.pods.run(), name="pods")
            await self.namespaces.synced()
            await self.pods.synced()
            await self._apply()

    async def _clear(self) -> None:
        """Remove what an earlier run has left, unless a policy comes: then it is made anew anyway."""
        pause = FIRST_PAUSE_SECONDS
        while not self.state.policies:
            try:
                await asyncio.to_thread(nft.run, f"table inet {TABLE}\ndelete table inet {TABLE}\n")
                return
            except NftError as error:
                logger.error("nftables refused to forget the policies' table: %s", error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _apply(self) -> None:
        whole, pause = True, FIRST_PAUSE_SECONDS
        while True:
            self._wake.clear()
            waiting, self._waiting = self._waiting, []
            change = self.state.flush()
            tightened, self.state.tightened = self.state.tightened, False
            try:
                if whole:
                    await asyncio.to_thread(nft.run, self.state.ledger.whole())
                elif change:
                    await self._change(change)
            except NftError as error:
                logger.error("nftables refused the policies' rules: %s", error)
                whole, self._waiting = True, waiting + self._waiting
                self.state.tightened = self.state.tightened or tightened
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                continue
            whole, pause = False, FIRST_PAUSE_SECONDS
            self._followed.set()
            for future in waiting:
                if not future.done():
                    future.set_result(None)
            if tightened:
                await policy_flows.forget_forbidden(self.state)
            if not self._waiting:
                await self._wake.wait()

    async def _change(self, change: TableChange) -> None:
        """Have the kernel take a change: one of pods alone is elements, which take it no time."""
        if not change.elements_only or len(change.elements) > INLINE_ELEMENTS:
            await asyncio.to_thread(nft.run, change.text())
            return
        if self._elements is None:
            self._elements = Elements(TABLE)
        removed = [("inet", name, packed(key)) for name, key in change.removed]
        added = {("inet", name, packed(key)): verdict or None for (name, key), verdict in change.added.items()}
        self._elements.change(removed, added)

    # what the API tells

    def _on_policy(self, change: Change, old: Object | None, new: Object) -> None:
        self._take(network_policy, f"{Tier.NETWORK_POLICY}:{key_of(new)}", change, new)

    def _on_tiered(self, change: Change, old: Object | None, new: Object) -> None:
        for tier in (Tier.ADMIN, Tier.BASELINE):
            there = change != "DELETED" and (new.get("spec") or {}).get("tier") == tier
            owner = f"{tier}:{key_of(new)}"
            if there or owner in self.state.policies:
                self._take(cluster_network_policy, owner, "MODIFIED" if there else "DELETED", new)

    def _take(self, parse: Callable[[Object], Policy], owner: str, change: Change, new: Object) -> None:
        try:
            policy = None if change == "DELETED" else parse(new)
        except (ValueError, KeyError, TypeError) as error:
            logger.error("%s is left as it was, for it cannot be read: %s", owner, error)
            return
        self.state.set_policy(owner, policy)
        self._wake.set()

    def _on_pod(self, change: Change, old: Object | None, new: Object) -> None:
        self.state.set_pod(key_of(new), None if change == "DELETED" else pod_facts(new))
        self._wake.set()
        self._pulse.set()

    def _on_namespace(self, change: Change, old: Object | None, new: Object) -> None:
        labels = None if change == "DELETED" else new["metadata"].get("labels") or {}
        self.state.set_namespace(key_of(new), labels)
        self._wake.set()
        self._pulse.set()

    def _on_definition(self, change: Change, old: Object | None, new: Object) -> None:
        """Follow ClusterNetworkPolicies while there are such."""
        versions = [found["name"] for found in new["spec"]["versions"] if found.get("served") and change != "DELETED"]
        version = next((name for name in ("v1beta1", "v1alpha2") if name in versions), "")
        accepted = any(
            found.get("type") == "Established" and found.get("status") == "True"
            for found in (new.get("status") or {}).get("conditions") or ()
        )
        known = self._tiered_informer.resource.version if self._tiered_informer else ""
        if (version if accepted else "") == known:
            return
        if self._tiered is not None:
            self._tiered.cancel()
            self._tiered = self._tiered_informer = None
            for owner in [
                owner for owner, policy in self.state.policies.items() if policy.tier is not Tier.NETWORK_POLICY
            ]:
                self.state.set_policy(owner, None)
            self._wake.set()
        if version and accepted and self._group is not None:
            resource = ResourceType(CLUSTER_GROUP, version, CLUSTER_PLURAL, "ClusterNetworkPolicy", namespaced=False)
            informer = self._tiered_informer = Informer(self.client, resource)
            informer.add_handler(self._on_tiered)
            self._tiered = self._group.create_task(informer.run(), name="cluster-network-policies")
