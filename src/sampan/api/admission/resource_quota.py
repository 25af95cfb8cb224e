"""ResourceQuota: nothing is created that a namespace's quotas have no room for, however many ask at once.

Those who write into one namespace at the same time are judged one after the other and charged together: a batch reads the
quotas, gives out what there is, and writes ``status.used`` once, on condition that nobody else did; else it judges again. So
the count holds with several API servers on one store, too. What was charged for a write that then failed is given back. The
controller (``controllers/resource_quota.py``) sets ``status.hard``, counts anew and takes off what is deleted.

In a namespace without quotas a write costs one look into a dict. Source: k8s.io/apiserver pkg/admission/plugin/resourcequota.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.api.errors import StatusError, forbidden
from sampan.api.quotas.amounts import Amounts, added, exceeded, lowered, only, raised, read, shown, text
from sampan.api.quotas.coverage import covers, in_scope, selectors_of, unsaid
from sampan.api.quotas.usage import usage
from sampan.api.request import Admission
from sampan.api.resource import Resource
from sampan.api.resources.reading import items, mapping
from sampan.schema.canonical import dumps
from sampan.schema.objects import Object
from sampan.store import Conflict, Event, Put, Record
from sampan.store.layout import prefix_of

if TYPE_CHECKING:
    from sampan.api.admission.chain import Setup
    from sampan.api.app import Api

PREFIX = prefix_of("resourcequotas")
ON_UPDATE = {("", "services"), ("", "persistentvolumeclaims"), ("resource.k8s.io", "resourceclaims"), ("", "pods")}
"""What may come to use more by an update."""

UNCOUNTED = ("events", "bindings")
ATTEMPTS = 100


class Ask(NamedTuple):
    """One write that waits for its verdict: None, or the refusal. ``granted``: the quotas' keys → what was charged."""

    admission: Admission
    answer: asyncio.Future[dict[str, Amounts]]


class ResourceQuota:
    def __init__(self, api: Api, configuration: Mapping[str, Any] | None = None) -> None:
        self.api = api
        self.limited = items(configuration, "limitedResources")
        self._keys: dict[str, set[str]] = {}
        """Namespace → the keys of its quotas."""
        self._asking: dict[str, list[Ask]] = {}
        self._charged: dict[int, dict[str, Amounts]] = {}
        api.following.add(PREFIX, self.load, self.follow)

    @classmethod
    def made(cls, setup: Setup) -> ResourceQuota:
        return cls(setup.api, setup.configuration)

    async def load(self) -> None:
        """Learn which namespaces have quotas."""
        keys: dict[str, set[str]] = {}
        for record in (await self.api.store.page(PREFIX)).records:
            keys.setdefault(record.key.split("/")[3], set()).add(record.key)
        self._keys = keys

    async def follow(self, events: Sequence[Event]) -> None:
        for event in events:
            key = event.record.key
            namespace = key.split("/")[3]
            if not event.deleted:
                self._keys.setdefault(namespace, set()).add(key)
            elif namespace in self._keys:
                self._keys[namespace].discard(key)
                if not self._keys[namespace]:
                    del self._keys[namespace]

    def handles(self, resource: Resource, subresource: str, operation: str) -> bool:
        if not resource.namespaced or resource.plural in UNCOUNTED:
            return False
        if operation == "UPDATE":
            here = (resource.group, resource.plural)
            return here in ON_UPDATE and subresource == ("resize" if here == ("", "pods") else "")
        return operation == "CREATE" and not subresource

    async def validate(self, admission: Admission) -> None:
        if admission.object is None or (admission.namespace not in self._keys and not self.limited):
            return
        granted = await self._ask(admission)
        if granted:
            self._charged[id(admission)] = granted

    async def commit(self, admission: Admission) -> None:
        self._charged.pop(id(admission), None)

    async def release(self, admission: Admission) -> None:
        """Give back what a write that failed was charged."""
        for key, charge in self._charged.pop(id(admission), {}).items():
            await self._give_back(key, charge)

    # one at a time

    async def _ask(self, admission: Admission) -> dict[str, Amounts]:
        """Return what was charged. Raises 403."""
        waiting = self._asking.get(admission.namespace)
        answer: asyncio.Future[dict[str, Amounts]] = asyncio.get_running_loop().create_future()
        if waiting is not None:
            waiting.append(Ask(admission, answer))
        else:
            self._asking[admission.namespace] = [Ask(admission, answer)]
            self.api.spawn(f"quota {admission.namespace}", self._judge(admission.namespace))
        return await answer

    async def _judge(self, namespace: str) -> None:
        """Judge those who wait, batch after batch, until nobody does."""
        while asked := self._asking[namespace]:
            self._asking[namespace] = []
            asked = [ask for ask in asked if not ask.answer.done()]
            try:
                await self._batch(namespace, asked)
            except Exception as error:  # a store that refuses is the answer of all that wait
                for ask in asked:
                    if not ask.answer.done():
                        ask.answer.set_exception(error)
        del self._asking[namespace]

    async def _batch(self, namespace: str, asked: Sequence[Ask]) -> None:
        for _ in range(ATTEMPTS):
            quotas = self._quotas(namespace)
            used = {key: read(mapping(quota, "status", "used")) for key, quota in quotas.items()}
            verdicts = [self._verdict(ask.admission, quotas, used) for ask in asked]
            try:
                await self._write(quotas, used)
            except Conflict:
                await self.api.store.fresh()
                continue
            for ask, verdict in zip(asked, verdicts, strict=True):
                if ask.answer.done():  # who asked is gone: nobody will say how the write ended
                    for key, charge in verdict.items() if isinstance(verdict, dict) else ():
                        await self._give_back(key, charge)
                elif isinstance(verdict, StatusError):
                    ask.answer.set_exception(verdict)
                else:
                    ask.answer.set_result(verdict)
            return
        raise StatusError(409, "Conflict", f"the quotas of namespace {namespace} are changing too fast")

    def _quotas(self, namespace: str) -> dict[str, Object]:
        records = (self.api.store.get(key) for key in sorted(self._keys.get(namespace, ())))
        return {record.key: self.api.parsed(record) for record in records if record is not None}

    async def _write(self, quotas: Mapping[str, Object], used: Mapping[str, Amounts]) -> None:
        puts = []
        for key, quota in quotas.items():
            if read(mapping(quota, "status", "used")) != used[key]:
                record = self.api.store.get(key)
                if record is None or record.revision != int(quota["metadata"]["resourceVersion"]):
                    raise Conflict(key, record)
                puts.append(put(self.api.whole(record), key, used[key]))
        if puts:
            await self.api.store.commit(puts)

    async def _give_back(self, key: str, charge: Amounts) -> None:
        for _ in range(ATTEMPTS):
            record: Record | None = self.api.store.get(key)
            if record is None:
                return
            quota = self.api.parsed(record)
            used = read(mapping(quota, "status", "used"))
            left = {**used, **lowered(only(used, charge.keys()), charge)}
            try:
                await self.api.store.commit([put(self.api.whole(record), key, left)])
                return
            except Conflict:
                await self.api.store.fresh()

    # one write

    def _verdict(
        self, admission: Admission, quotas: Mapping[str, Object], used: dict[str, dict[str, Any]]
    ) -> dict[str, Amounts] | StatusError:
        """Return what to charge which quota, and add it to ``used``; or why the write is refused."""
        resource, obj = admission.resource, admission.object
        assert obj is not None
        here = (resource.group, resource.plural)
        matched: dict[str, list[str]] = {}
        for key, quota in quotas.items():
            names = covers(quota, *here, obj)
            if not names:
                continue
            name = quota["metadata"]["name"]
            problem = unsaid(*here, names, obj)
            if problem:
                return self._refused(admission, f"failed quota: {name}: {problem}")
            if not set(names) <= mapping(quota, "status", "used").keys():
                listed = ",".join(sorted(names))
                return self._refused(admission, f"status unknown for quota: {name}, resources: {listed}")
            matched[key] = names
        needed = usage(*here, obj)
        negative = sorted(name for name, amount in needed.items() if amount.nano < 0)
        if negative:
            return self._refused(admission, f"quota usage is negative for resource(s): {','.join(negative)}")
        before = usage(*here, admission.old) if admission.old is not None else {}
        delta = raised(needed, before)
        uncovered = self._uncovered(admission, delta, quotas, matched)
        if delta and uncovered:
            return self._refused(admission, uncovered)
        return self._charge(admission, delta, quotas, matched, used)

    def _charge(
        self,
        admission: Admission,
        delta: Amounts,
        quotas: Mapping[str, Object],
        matched: Mapping[str, list[str]],
        used: dict[str, dict[str, Any]],
    ) -> dict[str, Amounts] | StatusError:
        granted: dict[str, Amounts] = {}
        for key in matched:
            hard = read(mapping(quotas[key], "status", "hard"))
            asked = only(delta, hard.keys())
            after = added(used[key], asked)
            over = exceeded(only(after, asked.keys()), hard)
            if over:
                name = quotas[key]["metadata"]["name"]
                parts = (("requested", asked), ("used", used[key]), ("limited", hard))
                said = ", ".join(f"{word}: {shown(only(amounts, over))}" for word, amounts in parts)
                return self._refused(admission, f"exceeded quota: {name}, {said}")
            if asked:
                granted[key] = asked
        if not admission.dry_run:
            for key, charge in granted.items():
                used[key] = added(used[key], charge)
            return granted
        return {}

    def _uncovered(
        self,
        admission: Admission,
        delta: Amounts,
        quotas: Mapping[str, Object],
        matched: Mapping[str, list[str]],
    ) -> str:
        """Return why a write is refused that uses what may only be used where a quota bounds it."""
        if not self.limited or admission.object is None:
            return ""
        here = (admission.resource.group, admission.resource.plural)
        rules = [r for r in self.limited if (r.get("apiGroup") or "", r.get("resource")) == here]
        wanted = {name for rule in rules for part in items(rule, "matchContains") for name in delta if part in name}
        missing = sorted(wanted - {name for names in matched.values() for name in names})
        if missing:
            return f"insufficient quota to consume: {','.join(missing)}"
        covered = {
            selector.get("scopeName")
            for quota in quotas.values()
            for selector in selectors_of(quota)
            if in_scope(selector, *here, admission.object)
        }
        scopes = [
            scope
            for rule in rules
            for scope in items(rule, "matchScopes")
            if in_scope(scope, *here, admission.object) and scope.get("scopeName") not in covered
        ]
        if scopes:
            said = " ".join(scope_text(scope) for scope in scopes)
            return f"insufficient quota to match these scopes: [{said}]"
        return ""

    def _refused(self, admission: Admission, why: str) -> StatusError:
        return forbidden(admission.resource, admission.name, why)


def scope_text(scope: Object) -> str:
    values = " ".join(str(value) for value in items(scope, "values"))
    return f"{{{scope.get('scopeName')} {scope.get('operator')} [{values}]}}"


def put(quota: Object, key: str, used: Amounts) -> Put:
    """Return the write of a quota's new count."""
    revision = int(quota["metadata"]["resourceVersion"])
    metadata = {name: value for name, value in quota["metadata"].items() if name != "resourceVersion"}
    changed = {**quota, "metadata": metadata, "status": {**mapping(quota, "status"), "used": text(used)}}
    return Put(key, dumps(changed), expected=revision)
