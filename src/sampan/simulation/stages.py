"""Stage objects, compiled: which objects they are about, after how long, and what they do then.

The smallest example: pods labelled ``app: web`` take two seconds to start, one in ten of them never does::

    kind: Stage
    metadata: {name: slow}
    spec:
      selector: {matchLabels: {app: web}}
      when: [{path: .status.phase, operator: In, values: [Pending]}]
      delay: 2s
      then: {phase: Running}
    ---
    kind: Stage
    metadata: {name: lost}
    spec:
      selector: {matchLabels: {app: web}}
      when: [{path: .status.phase, operator: In, values: [Pending]}]
      percent: 10
      priority: 1
      then: {waiting: {reason: ImagePullBackOff, message: no such image}}

A stage applies as long as its ``when`` holds and it still changes something, to objects that are being deleted only when it
asks for ``.metadata.deletionTimestamp``. Which objects belong to ``percent`` follows from
their uid, and so does the jitter: a run with the same objects is the same run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sampan.api.flags import duration
from sampan.schema.jsonpath import JSONPathError, compile_path
from sampan.schema.objects import Object
from sampan.schema.selectors import LabelSelector, SelectorError, label_selector

Test = Callable[[Object], bool]


class StageError(ValueError):
    """A Stage that cannot be understood; the message says why."""


@dataclass(frozen=True)
class Stage:
    """One Stage. ``resource`` is ``(apiVersion, kind)``."""

    name: str
    resource: tuple[str, str]
    priority: int
    percent: int
    delay_seconds: float
    jitter_seconds: float
    namespaces: frozenset[str]
    selector: LabelSelector
    when: tuple[Test, ...]
    then: Object
    about_deletion: bool
    """Whether its ``when`` looks at the deletionTimestamp: the others let go of an object that is being deleted."""

    def matches(self, obj: Object) -> bool:
        metadata = obj["metadata"]
        if "deletionTimestamp" in metadata and not self.about_deletion:
            return False
        if self.namespaces and metadata.get("namespace") not in self.namespaces:
            return False
        if not self.selector.matches(metadata.get("labels") or {}):
            return False
        if not all(test(obj) for test in self.when):
            return False
        return self.percent >= 100 or share(obj, self.name) * 100 < self.percent

    def delay(self, obj: Object) -> float:
        """Return the seconds from when the stage began to match until it applies."""
        return self.delay_seconds + self.jitter_seconds * share(obj, self.name + "/jitter")


def share(obj: Object, salt: str) -> float:
    """Return a number in [0, 1) that is always the same for an object and a salt."""
    digest = hashlib.blake2b(f"{obj['metadata'].get('uid')}/{salt}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") / (1 << 32)


def compiled(obj: Object) -> Stage:
    """Return the stage of a Stage object. Raises ``StageError``."""
    spec = obj["spec"]
    resource = spec.get("resource") or {}
    try:
        return Stage(
            name=obj["metadata"]["name"],
            resource=(resource.get("apiVersion", "v1"), resource.get("kind", "Pod")),
            priority=spec.get("priority", 0),
            percent=spec.get("percent", 100),
            delay_seconds=duration(spec.get("delay", "0")),
            jitter_seconds=duration(spec.get("jitter", "0")),
            namespaces=frozenset(spec.get("namespaces") or ()),
            selector=label_selector(spec.get("selector") or {}),
            when=tuple(requirement(entry) for entry in spec.get("when") or ()),
            then=spec["then"],
            about_deletion=any("deletionTimestamp" in entry["path"] for entry in spec.get("when") or ()),
        )
    except (SelectorError, JSONPathError, ValueError, KeyError) as error:
        raise StageError(f"stage {obj['metadata']['name']}: {error}") from error


def requirement(entry: Object) -> Test:
    """Return the test of one entry of ``when``."""
    find = compile_path(entry["path"])
    operator, values = entry["operator"], [str(value) for value in entry.get("values") or ()]
    if operator in ("Exists", "DoesNotExist"):
        if values:
            raise StageError(f"{entry['path']}: {operator} takes no values")
        return lambda obj: bool(find(obj)) == (operator == "Exists")
    if operator in ("In", "NotIn"):
        return lambda obj: any(text(found) in values for found in find(obj)) == (operator == "In")
    if len(values) != 1:
        raise StageError(f"{entry['path']}: {operator} takes one value")
    bound = float(values[0])

    def compares(obj: Object) -> bool:
        numbers = [float(found) for found in find(obj) if isinstance(found, (int, float))]
        return any(number > bound if operator == "Gt" else number < bound for number in numbers)

    return compares


def text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
