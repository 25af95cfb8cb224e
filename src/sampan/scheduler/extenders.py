"""Extenders: web services that are asked about nodes that the plugins let through, and may score them and bind pods.

What flows: a pod and nodes go out as JSON (``ExtenderArgs``), those that will do, or points, come back. An extender may be
asked about pods with resources of its own only. Before room is made for a pod, one may take nodes off the list, or name other
victims. Answers are read as Go does, whatever the case of their fields. Source: k8s.io/kube-scheduler extender/v1,
pkg/scheduler/extender.go.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import orjson

from sampan.client.resources import NODES, PODS
from sampan.scheduler.extender_settings import ExtenderSpec
from sampan.scheduler.framework import (
    ADD,
    ALLOCATABLE,
    CONDITIONS,
    DELETE,
    HIGHEST_SCORE,
    NODE_ANNOTATIONS,
    NODE_LABELS,
    POD_LABELS,
    SCALED_DOWN,
    TAINTS,
    Interest,
    Status,
    failure,
    interest,
    unresolvable,
    unschedulable,
)
from sampan.scheduler.node_info import NodeInfo
from sampan.scheduler.pod_info import PodInfo
from sampan.scheduler.victims import Candidate, importance
from sampan.schema.objects import Object

if TYPE_CHECKING:
    import ssl

    import aiohttp

HIGHEST_EXTENDER_SCORE = 10
REFUSED = "the extender did not say why"
WAKES = (
    interest(NODES, ADD, ALLOCATABLE, NODE_LABELS, TAINTS, CONDITIONS, NODE_ANNOTATIONS),
    interest(PODS, ADD, DELETE, POD_LABELS, SCALED_DOWN),
)
"""Nobody knows what an extender looks at: whoever it refused is tried again when anything happens."""


class ExtenderError(Exception):
    """An extender could not be asked, or has failed."""


class Extender:
    def __init__(self, spec: ExtenderSpec) -> None:
        self.spec = spec
        self.name = f"extender {spec.url_prefix}"
        self._session: aiohttp.ClientSession | None = None
        self._tls: ssl.SSLContext | None = None

    def concerns(self, pod: PodInfo) -> bool:
        """Whether it has to do with a pod."""
        managed = self.spec.managed_resources
        return not managed or not managed.isdisjoint(name for name, count in pod.requests.items() if count)

    async def filter(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> tuple[list[NodeInfo], dict[str, Status]]:
        """Return the nodes that will do, and why the others will not. Raises ``ExtenderError``."""
        answer = await self._post(self.spec.filter_verb, self._args(pod, nodes))
        if error := answer.get("error"):
            raise ExtenderError(str(error))
        kept = self._names(answer)
        never, not_now = answer.get("failedandunresolvablenodes") or {}, answer.get("failednodes") or {}
        refused: dict[str, Status] = {}
        for node in nodes:
            if node.name in never:
                refused[node.name] = unresolvable(never[node.name])._replace(plugin=self.name)
            elif node.name not in kept:
                refused[node.name] = unschedulable(not_now.get(node.name) or REFUSED)._replace(plugin=self.name)
        return [node for node in nodes if node.name not in refused], refused

    async def prioritize(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, int]:
        """Return its points by node, weighed, as the plugins' are counted. Raises ``ExtenderError``."""
        answer = await self._post(self.spec.prioritize_verb, self._args(pod, nodes))
        share = self.spec.weight * HIGHEST_SCORE // HIGHEST_EXTENDER_SCORE
        try:
            return {one["host"]: int(one["score"]) * share for one in map(folded, answer or ())}
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ExtenderError(f"the answer is no list of hosts with scores: {error!r}") from None

    async def preempt(
        self, pod: PodInfo, candidates: Sequence[Candidate], nodes: Mapping[str, NodeInfo]
    ) -> list[Candidate]:
        """Return the nodes where room may be made, and who is to go from each. Raises ``ExtenderError``."""
        answer = await self._post(self.spec.preempt_verb, self._preemption(pod, candidates))
        try:
            named = answer.get("nodenametometavictims") or {}
            return [self._candidate(node, folded(told or {}), nodes) for node, told in named.items()]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ExtenderError(f"the answer is no table of victims by node: {error!r}") from None

    def _preemption(self, pod: PodInfo, candidates: Sequence[Candidate]) -> Object:
        def victims(one: Candidate) -> Object:
            pods = [{"UID": who.uid} if self.spec.has_node_cache else who.object for who in one.victims]
            return {"Pods": pods, "NumPDBViolations": one.violations}

        by_node = {one.node: victims(one) for one in candidates}
        names = ("NodeNameToMetaVictims", "NodeNameToVictims")
        given, other = names if self.spec.has_node_cache else reversed(names)
        return {"Pod": pod.object, given: by_node, other: None}

    def _candidate(self, node: str, told: dict[str, Any], nodes: Mapping[str, NodeInfo]) -> Candidate:
        if node not in nodes:
            raise ExtenderError(f'nodeinfo not found for node name "{node}"')
        there = {one.uid: one for one in nodes[node].pods.values()}
        uids = [str(folded(one)["uid"]) for one in told.get("pods") or ()]
        if strange := next((uid for uid in uids if uid not in there), ""):
            message = f"extender: {self.spec.url_prefix} claims to preempt pod (UID: {strange}) on node: {node}"
            raise ExtenderError(f"{message}, but the pod is not found on that node")
        victims = tuple(sorted((there[uid] for uid in uids), key=importance))
        return Candidate(node, victims, int(told.get("numpdbviolations") or 0))

    async def bind(self, pod: PodInfo, node: str) -> Status | None:
        """Have the extender bind a pod."""
        args = {"PodName": pod.name, "PodNamespace": pod.namespace, "PodUID": pod.uid, "Node": node}
        try:
            answer = await self._post(self.spec.bind_verb, args)
        except ExtenderError as error:
            return failure(f"binding by the {self.name}: {error}")
        return failure(str(answer["error"])) if answer.get("error") else None

    def _args(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> Any:
        if self.spec.has_node_cache:
            return {"Pod": pod.object, "Nodes": None, "NodeNames": [node.name for node in nodes]}
        return {
            "Pod": pod.object,
            "Nodes": {"metadata": {}, "items": [node.object for node in nodes]},
            "NodeNames": None,
        }

    def _names(self, answer: Any) -> set[str]:
        try:
            if self.spec.has_node_cache and answer.get("nodenames") is not None:
                return set(answer["nodenames"])
            return {one["metadata"]["name"] for one in (answer.get("nodes") or {}).get("items") or ()}
        except (KeyError, TypeError, AttributeError) as error:
            raise ExtenderError(f"the answer is no list of nodes: {error!r}") from None

    # http

    async def _post(self, verb: str, body: Any) -> Any:
        """Return the answer, the names of its fields in small letters. Raises ``ExtenderError``."""
        import aiohttp

        url = f"{self.spec.url_prefix}/{verb.lstrip('/')}"
        try:
            async with asyncio.timeout(self.spec.timeout_seconds):
                async with self._http().post(url, data=orjson.dumps(body), allow_redirects=False) as answer:
                    content = await answer.read()
        except TimeoutError:
            raise ExtenderError(f'Post "{url}": context deadline exceeded') from None
        except (aiohttp.ClientError, OSError) as error:
            raise ExtenderError(f'Post "{url}": {error}') from None
        if answer.status != 200:
            raise ExtenderError(f"failed {verb} with extender at URL {self.spec.url_prefix}, code {answer.status}")
        try:
            found = orjson.loads(content)
        except ValueError as error:
            raise ExtenderError(f'Post "{url}": the answer is no JSON: {error}') from None
        return folded(found) if isinstance(found, dict) else found

    def _http(self) -> aiohttp.ClientSession:
        if self._session is None:
            import aiohttp

            headers = {"content-type": "application/json", "user-agent": "kube-scheduler"}
            connector = aiohttp.TCPConnector(ssl=self._trust(), limit=0, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(connector=connector, headers=headers)
        return self._session

    def _trust(self) -> Any:
        from sampan.scheduler.extender_tls import context_of

        return context_of(self.spec) if self.spec.url_prefix.startswith("https://") else True

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


def folded(found: Any) -> dict[str, Any]:
    return {name.lower(): value for name, value in found.items()}


class Extenders:
    """All extenders of a configuration, asked one after another."""

    def __init__(self, specs: Sequence[ExtenderSpec]) -> None:
        self.all = [Extender(spec) for spec in specs]

    def interests(self) -> dict[str, Sequence[Interest]]:
        return {one.name: WAKES for one in self.all if one.spec.filter_verb}

    def are_asked_about(self, pod: PodInfo) -> bool:
        """Whether any of them filters or scores nodes for a pod, or says who makes room for it."""
        return any(
            one.concerns(pod) and (one.spec.filter_verb or one.spec.prioritize_verb or one.spec.preempt_verb)
            for one in self.all
        )

    def binder(self, pod: PodInfo) -> Extender | None:
        """Return the one that binds a pod instead of the profile's plugins."""
        return next((one for one in self.all if one.spec.bind_verb and one.concerns(pod)), None)

    async def filter(
        self, pod: PodInfo, nodes: Sequence[NodeInfo]
    ) -> tuple[list[NodeInfo], dict[str, Status]] | Status:
        """Return the nodes that all of them let through, and why the others will not do; or an error."""
        kept, refused = list(nodes), dict[str, Status]()
        for one in self.all:
            if not kept or not one.spec.filter_verb or not one.concerns(pod):
                continue
            try:
                kept, why = await one.filter(pod, kept)
            except ExtenderError as error:
                if one.spec.is_ignorable:
                    continue
                return failure(f"running the {one.name}: {error}")
            refused |= why
        return kept, refused

    async def preempt(
        self, pod: PodInfo, candidates: Sequence[Candidate], nodes: Mapping[str, NodeInfo]
    ) -> list[Candidate] | Status:
        """Return the candidates that all of them leave, with the victims that they name; or an error."""
        left = list(candidates)
        for one in self.all:
            if not left or not one.spec.preempt_verb or not one.concerns(pod):
                continue
            try:
                named = await one.preempt(pod, left, nodes)
                bare = [candidate.node for candidate in named if not candidate.victims]
                if bare and not one.spec.is_ignorable:
                    raise ExtenderError(f'expected at least one victim pod on node "{bare[0]}"')
            except ExtenderError as error:
                if one.spec.is_ignorable:
                    continue
                return failure(f"preemption: the {one.name}: {error}")
            left = [candidate for candidate in named if candidate.victims]
        return left

    async def points(self, pod: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, int]:
        """Return the points of all of them together; one that fails gives none, as kube-scheduler has it."""
        total: dict[str, int] = {}
        asked = [one for one in self.all if one.spec.prioritize_verb and one.concerns(pod)]
        for answer in await asyncio.gather(*(one.prioritize(pod, nodes) for one in asked), return_exceptions=True):
            if isinstance(answer, ExtenderError):
                continue
            if isinstance(answer, BaseException):
                raise answer
            for node, points in answer.items():
                total[node] = total.get(node, 0) + points
        return total

    async def close(self) -> None:
        for one in self.all:
            await one.close()
