"""The bytes of an object as they are stored and served."""

import orjson

from sampan.schema.objects import Object

HEAD = ("apiVersion", "kind", "metadata")


def dumps(obj: Object) -> bytes:
    """Return the canonical JSON of an object: ``apiVersion``, ``kind``, ``metadata`` first, then the rest in its own
    order. ``metadata.resourceVersion`` is left out, for the store splices it in (``store.protocol``); metadata must
    not be empty without it, which every object that has a name satisfies. The argument is not changed."""
    metadata = obj["metadata"]
    if "resourceVersion" in metadata:
        metadata = {key: value for key, value in metadata.items() if key != "resourceVersion"}
    head: Object = {"apiVersion": obj["apiVersion"], "kind": obj["kind"], "metadata": metadata}
    return orjson.dumps(head | {key: value for key, value in obj.items() if key not in HEAD})
