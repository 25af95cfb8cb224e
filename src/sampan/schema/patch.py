"""Patches that clients send: JSON patch (RFC 6902), JSON merge patch (RFC 7386), strategic merge patch.

Each takes an object and the decoded body and returns a new object that shares nothing with them, so that defaulting and
admission may change it in place. ``PatchError`` says which answer the client gets: 400 for a patch that makes no
sense, 413 for one that is too large, 422 for one that does not apply to this object.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from sampan.schema.decode import too_deep
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.schema.types import Type

MAX_OPERATIONS = 10_000
COPY_LIMIT_BYTES = 3 * 1024 * 1024
"""What all ``copy`` operations of a patch may add; the API server's own limit of a request's size."""

GO_MAP = "map[string]interface {}"
REJECTED = "the server rejected our request due to an error in our request"


class PatchError(Exception):
    """A patch that is refused: ``code`` is the HTTP status, ``message`` the text, ``why`` what Kubernetes does not say."""

    def __init__(self, code: int, message: str, why: str = "") -> None:
        super().__init__(f"{message}: {why}" if why else message)
        self.code = code
        self.message = message
        self.why = why


def _unapplicable(why: str) -> PatchError:
    return PatchError(422, REJECTED, why)


def undecodable(value: Any, go_type: str) -> PatchError:
    return PatchError(
        400, f"error decoding patch: json: cannot unmarshal {_kind(value)} into Go value of type {go_type}"
    )


# --- RFC 7386 ---------------------------------------------------------------------------------------------------------


def merge_patch(obj: Object, patch: Any) -> Object:
    """Return ``obj`` with a JSON merge patch applied: null removes, objects merge, everything else replaces."""
    if patch is None:
        raise PatchError(400, "Invalid JSON Patch")
    if not isinstance(patch, dict):
        raise undecodable(patch, GO_MAP)
    return _fresh(_merge(obj, patch))


def _merge(target: Any, patch: dict[str, Any]) -> dict[str, Any]:
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, dict):
            merged[key] = _merge(merged.get(key), value)
        else:
            merged[key] = value
    return merged


def _fresh(obj: Object) -> Object:
    copy: Object = orjson.loads(orjson.dumps(obj))
    return copy


def _kind(value: Any) -> str:
    return {dict: "object", list: "array", str: "string", bool: "bool", type(None): "null"}.get(type(value), "number")


# --- RFC 6902 ---------------------------------------------------------------------------------------------------------


def json_patch(obj: Object, operations: Any) -> Object:
    """Return ``obj`` with the operations applied in order; all or none. Raises ``PatchError``."""
    if operations is None:
        operations = []
    if not isinstance(operations, list):
        raise undecodable(operations, "[]handlers.jsonPatchOp")
    if len(operations) > MAX_OPERATIONS:
        limit = f"The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {len(operations)}"
        raise PatchError(413, f"Request entity too large: {limit}")
    patch = _JSONPatch(orjson.loads(orjson.dumps(obj)))
    for operation in operations:
        patch.apply(operation)
    if too_deep(patch.root):
        raise _unapplicable("the patched object exceeds the max depth")
    if not isinstance(patch.root, dict):
        raise _unapplicable("the patched document is no object")
    return patch.root


def _clone(value: Any) -> Any:
    return orjson.loads(orjson.dumps(value)) if isinstance(value, (dict, list)) else value


def _pointer(text: Any) -> list[str]:
    """Return the tokens of a JSON pointer (RFC 6901)."""
    if not isinstance(text, str) or (text and not text.startswith("/")):
        raise _unapplicable(f"invalid JSON pointer {text!r}")
    return [token.replace("~1", "/").replace("~0", "~") for token in text.split("/")[1:]]


class _JSONPatch:
    """A document that operations are applied to in place."""

    def __init__(self, root: Any) -> None:
        self.root = root
        self.copied_bytes = 0

    def apply(self, operation: Any) -> None:
        if not isinstance(operation, dict):
            raise undecodable(operation, "handlers.jsonPatchOp")
        name = operation.get("op")
        if name not in ("add", "remove", "replace", "test", "move", "copy"):
            raise _unapplicable(f"Unexpected kind: {name}")
        if "path" not in operation:
            raise _unapplicable(f"{name} operation: missing path")
        path = _pointer(operation["path"])
        if name in ("move", "copy"):
            if "from" not in operation:
                raise _unapplicable(f"{name} operation: missing from")
            self.transfer(name, _pointer(operation["from"]), path, operation)
            return
        value = operation.get("value")
        if name == "remove":
            self.remove(path, operation["path"])
        elif name == "test":
            self.test(path, value, operation["path"])
        elif "value" not in operation:
            raise _unapplicable(f"{name} operation: missing value")
        elif name == "add":
            self.add(path, _clone(value), operation["path"])
        else:
            self.replace(path, _clone(value), operation["path"])

    def get(self, path: list[str], text: str, verb: str) -> Any:
        value = self.root
        for token in path:
            if isinstance(value, dict) and token in value:
                value = value[token]
            elif isinstance(value, list):
                value = value[_index(token, len(value), text, verb)]
            else:
                raise _unapplicable(f"{verb} operation does not apply: doc is missing path: {text}: missing value")
        return value

    def add(self, path: list[str], value: Any, text: str, verb: str = "add") -> None:
        if not path:
            raise _unapplicable(f"{verb} operation does not apply: doc is missing path: the whole document")
        parent = self.get(path[:-1], text, verb)
        if isinstance(parent, dict):
            parent[path[-1]] = value
        elif isinstance(parent, list):
            parent.insert(len(parent) if path[-1] == "-" else _index(path[-1], len(parent) + 1, text, verb), value)
        else:
            raise _unapplicable(f"{verb} operation does not apply: doc is missing path: {text}: missing value")

    def replace(self, path: list[str], value: Any, text: str) -> None:
        if not path:
            raise _unapplicable("replace operation does not apply: doc is missing path: the whole document")
        parent = self.get(path[:-1], text, "replace")
        if isinstance(parent, dict):
            parent[path[-1]] = value  # the API server's library adds what is missing
        elif isinstance(parent, list):
            parent[_index(path[-1], len(parent), text, "replace")] = value
        else:
            raise _unapplicable(f"replace operation does not apply: doc is missing key: {text}: missing value")

    def remove(self, path: list[str], text: str, verb: str = "remove") -> Any:
        if not path:
            raise _unapplicable(f"{verb} operation does not apply: doc is missing path: the whole document")
        parent = self.get(path[:-1], text, verb)
        if isinstance(parent, dict) and path[-1] in parent:
            return parent.pop(path[-1])
        if isinstance(parent, list):
            return parent.pop(_index(path[-1], len(parent), text, verb))
        raise _unapplicable(f"{verb} operation does not apply: doc is missing path: {text}: missing value")

    def test(self, path: list[str], value: Any, text: str) -> None:
        try:
            found = self.get(path, text, "test")
        except PatchError:
            if value is None:
                return  # as the API server's library: null is equal to what is not there
            raise
        if not equal(found, value):
            raise _unapplicable(f"testing path {text} failed: test failed")

    def transfer(self, name: str, source: list[str], path: list[str], operation: dict[str, Any]) -> None:
        if name == "copy":
            value = self.get(source, operation["from"], name)
            content = orjson.dumps(value)
            self.copied_bytes += len(content)
            if self.copied_bytes > COPY_LIMIT_BYTES:
                size = f"the accumulated size increase of copy is {self.copied_bytes}"
                raise PatchError(413, f"Unable to complete the copy, {size}, exceeding the limit {COPY_LIMIT_BYTES}")
            self.add(path, orjson.loads(content), operation["path"], name)
            if too_deep(self.root):
                raise _unapplicable("the patched object exceeds the max depth")
            return
        if path[: len(source)] == source and len(path) > len(source):
            raise _unapplicable("move operation does not apply: a value cannot move into itself")
        self.add(path, self.remove(source, operation["from"], name), operation["path"], name)


def _index(token: str, size: int, text: str, verb: str) -> int:
    """Return a list index of a pointer token below ``size``; negative ones count from the end, as in the API server's
    library."""
    digits = token.removeprefix("-")
    if not digits.isascii() or not digits.isdigit() or len(digits) > 9 or (digits[0] == "0" and token != "0"):
        raise _unapplicable(f"{verb} operation does not apply: invalid array index {token!r} in path: {text}")
    index = int(token)
    if not -size <= index < size:
        raise _unapplicable(f"{verb} operation does not apply: index {token} out of bounds in path: {text}")
    return index + size if index < 0 else index


def equal(a: Any, b: Any) -> bool:
    """Whether two JSON values are equal (``1`` and ``true`` are not, ``1`` and ``1.0`` are)."""
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(equal(item, b[key]) for key, item in a.items())
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(equal, a, b))
    return isinstance(a, bool) is isinstance(b, bool) and bool(a == b)


def strategic_merge_patch(obj: Object, patch: Any, type: Type) -> Object:
    """Return ``obj`` with a strategic merge patch applied, by the merge keys of ``type``. Raises ``PatchError``."""
    if not isinstance(patch, dict):
        raise undecodable(patch, GO_MAP)
    from sampan.schema.strategic import merge

    return _fresh(merge(obj, patch, type))
