"""Record what a generic Kubernetes API server says to definitions and custom resources: the golden file of
``tests/unit/api/test_definition_answers.py``.

    python scripts/definition_answers.py            # needs etcd and Go; writes tests/unit/api/definition_answers.json

Each case is a list of requests to one definition of a group of its own (``GROUP`` in the table below).
"""

from __future__ import annotations

import copy
import json
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from bench.peers.etcd_apiserver import running  # noqa: E402

OUT = ROOT / "tests/unit/api/definition_answers.json"
CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
MERGE = "application/merge-patch+json"
SETTLE_SECONDS = 20
Step = dict[str, Any]


def definition(*versions: Any, **spec: Any) -> Any:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.GROUP"},
        "spec": {
            "group": "GROUP",
            "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget"},
            "versions": list(versions),
            **spec,
        },
    }


def version(name: str = "v1", schema: Any = None, *, storage: bool = True, **more: Any) -> Any:
    made = {"name": name, "served": True, "storage": storage, **more}
    if schema is not False:
        made["schema"] = {"openAPIV3Schema": schema or {"type": "object"}}
    return made


def root(**properties: Any) -> Any:
    return {"type": "object", "properties": properties}


def spec_of(**properties: Any) -> Any:
    return root(spec={"type": "object", "properties": properties})


def widget(name: str = "w", api: str = "v1", **fields: Any) -> Any:
    return {"apiVersion": f"GROUP/{api}", "kind": "Widget", "metadata": {"name": name}, **fields}


def post(body: Any, path: str = CRDS) -> Step:
    return {"method": "POST", "path": path, "body": body}


def put(body: Any, path: str = f"{CRDS}/widgets.GROUP") -> Step:
    """An update; the runner fills in the present resourceVersion."""
    return {"method": "PUT", "path": path, "body": body}


def get(path: str = f"{CRDS}/widgets.GROUP") -> Step:
    return {"method": "GET", "path": path}


def patch(body: Any, path: str = f"{CRDS}/widgets.GROUP") -> Step:
    return {"method": "PATCH", "path": path, "body": body, "media": MERGE}


def delete(path: str = f"{CRDS}/widgets.GROUP") -> Step:
    return {"method": "DELETE", "path": path}


def objects(api: str = "v1") -> str:
    return f"/apis/GROUP/{api}/namespaces/default/widgets"


STRING, INTEGER = {"type": "string"}, {"type": "integer"}
OPEN = {"x-kubernetes-preserve-unknown-fields": True}
CASES: dict[str, list[Step]] = {}


def case(name: str, *steps: Step) -> None:
    CASES[name] = list(steps)


def refused(name: str, *versions: Any, **spec: Any) -> None:
    case(name, post(definition(*versions, **spec)))


def bad_schema(name: str, schema: Any) -> None:
    refused(f"schema: {name}", version(schema=schema))


# definitions that are accepted
case("a definition gets names, conversion, conditions", post(definition(version())), get())
case(
    "everything a version may have",
    post(
        definition(
            version(
                schema=root(
                    spec={"type": "object", "properties": {"replicas": INTEGER, "color": STRING}},
                    status={"type": "object", "properties": {"replicas": INTEGER, "selector": STRING}},
                ),
                subresources={
                    "status": {},
                    "scale": {
                        "specReplicasPath": ".spec.replicas",
                        "statusReplicasPath": ".status.replicas",
                        "labelSelectorPath": ".status.selector",
                    },
                },
                additionalPrinterColumns=[
                    {"name": "Color", "type": "string", "jsonPath": ".spec.color", "priority": 1}
                ],
                selectableFields=[{"jsonPath": ".spec.color"}],
                deprecated=True,
                deprecationWarning="soon gone",
            ),
            names={
                "plural": "widgets",
                "kind": "Widget",
                "singular": "widget",
                "listKind": "WidgetList",
                "shortNames": ["wd"],
                "categories": ["all"],
            },
        )
    ),
    get(),
    post(widget(spec={"replicas": 2, "color": "red"}, status={"replicas": 1}), objects()),
    get(f"{objects()}/w/status"),
    get(f"{objects()}/w/scale"),
    patch({"spec": {"replicas": 5}}, f"{objects()}/w/scale"),
    patch({"status": {"replicas": 5, "selector": "a=b"}, "spec": {"color": "blue"}}, f"{objects()}/w/status"),
    get(f"{objects()}/w"),
    get(f"{objects()}?fieldSelector=spec.color%3Dred"),
    get(f"{objects()}?fieldSelector=spec.size%3D1"),
)

# names, group, scope
refused("no versions")
refused("two storage versions", version(), version("v2"))
refused("no storage version", version(storage=False))
refused("a version twice", version(), version(storage=False))
refused("a version that is no label", version("V1"))
refused(
    "names that are none",
    version(),
    names={"plural": "Widgets", "kind": "9Widget", "shortNames": ["W"], "categories": ["A"]},
)
refused("kind and listKind the same", version(), names={"plural": "widgets", "kind": "Widget", "listKind": "Widget"})
refused("no kind", version(), names={"plural": "widgets"})
refused("a scope that is none", version(), scope="Galaxy")
refused("no scope", version(), scope="")
refused("a version without schema", version(schema=False))
case("a name that does not fit", post({**definition(version()), "metadata": {"name": "other.GROUP"}}))
case("a group that is no domain", post({**definition(version(), group="short"), "metadata": {"name": "widgets.short"}}))
case(
    "a group of Kubernetes", post({**definition(version(), group="x.k8s.io"), "metadata": {"name": "widgets.x.k8s.io"}})
)
for word, value in (
    ("approved", "https://github.com/kubernetes/kubernetes/pull/1"),
    ("odd", "yes"),
    ("not", "unapproved, test"),
):
    given = definition(version(), group=f"{word}.k8s.io")
    given["metadata"] = {"name": f"widgets.{word}.k8s.io", "annotations": {"api-approved.kubernetes.io": value}}
    case(f"a group of Kubernetes, {word}", post(given), get(f"{CRDS}/widgets.{word}.k8s.io"))
refused("preserveUnknownFields", version(), preserveUnknownFields=True)

# parts of a version
refused(
    "columns that are none",
    version(additionalPrinterColumns=[{"name": "", "type": "text", "jsonPath": "spec", "format": "x"}]),
)
refused("a column without path", version(additionalPrinterColumns=[{"name": "A", "type": "string", "jsonPath": ""}]))
refused("a scale without paths", version(subresources={"scale": {"specReplicasPath": "", "statusReplicasPath": ""}}))
refused(
    "a scale elsewhere",
    version(
        subresources={
            "scale": {
                "specReplicasPath": ".status.a",
                "statusReplicasPath": "status",
                "labelSelectorPath": ".metadata.x",
            }
        }
    ),
)
refused("a warning without deprecation", version(deprecationWarning="x"))
refused("an empty warning", version(deprecated=True, deprecationWarning=""))
refused("a long warning", version(deprecated=True, deprecationWarning="x" * 257))
for path in (".spec.size", ".spec.none", ".metadata.name", "spec.size", ".spec.list", "", ".spec.map.key"):
    fields = spec_of(
        size=INTEGER, list={"type": "array", "items": STRING}, map={"type": "object", "additionalProperties": STRING}
    )
    refused(f"selectable field {path!r}", version(schema=fields, selectableFields=[{"jsonPath": path}]))
refused(
    "a selectable field twice",
    version(schema=spec_of(a=STRING), selectableFields=[{"jsonPath": ".spec.a"}, {"jsonPath": ".spec.a"}]),
)
refused(
    "nine selectable fields",
    version(
        schema=spec_of(**{f"f{i}": STRING for i in range(9)}),
        selectableFields=[{"jsonPath": f".spec.f{i}"} for i in range(9)],
    ),
)
refused("versions that differ say where", version(schema=root(a={})), version("v2", root(b={}), storage=False))

# conversion
refused("a strategy that is none", version(), conversion={"strategy": "Magic"})
refused("a webhook without configuration", version(), conversion={"strategy": "Webhook"})
refused(
    "a webhook with neither url nor service",
    version(),
    conversion={"strategy": "Webhook", "webhook": {"clientConfig": {}, "conversionReviewVersions": ["v1"]}},
)
refused(
    "a webhook that is not called",
    version(),
    conversion={
        "strategy": "None",
        "webhook": {"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1"]},
    },
)
refused(
    "a webhook of plain http",
    version(),
    conversion={
        "strategy": "Webhook",
        "webhook": {"clientConfig": {"url": "http://x?y#z"}, "conversionReviewVersions": ["v9"]},
    },
)
refused(
    "a service without name",
    version(),
    conversion={
        "strategy": "Webhook",
        "webhook": {
            "clientConfig": {"service": {"name": "", "namespace": "", "path": "a//b", "port": 99999}},
            "conversionReviewVersions": [],
        },
    },
)

# schemas
bad_schema("no type at the root", {"properties": {"spec": {"type": "object"}}})
bad_schema("a root that is no object", {"type": "string"})
bad_schema("no type of a field", root(spec={}))
bad_schema("no type of items", spec_of(a={"type": "array", "items": {}}))
bad_schema("no items", spec_of(a={"type": "array"}))
bad_schema("a type that is none", spec_of(a={"type": "text"}))
bad_schema("null", spec_of(a={"type": "null"}))
bad_schema(
    "additionalProperties and properties",
    spec_of(a={"type": "object", "properties": {"b": STRING}, "additionalProperties": STRING}),
)
bad_schema("additionalProperties at the root", {"type": "object", "additionalProperties": STRING})
bad_schema("additionalProperties false", spec_of(a={"type": "object", "additionalProperties": False}))
bad_schema("uniqueItems", spec_of(a={"type": "array", "items": STRING, "uniqueItems": True}))
bad_schema("nullable at the root", {"type": "object", "nullable": True})
bad_schema("unknown pattern", spec_of(a={"type": "string", "pattern": "("}))
bad_schema("$ref", spec_of(a={"$ref": "#/definitions/x"}))
bad_schema("definitions", {"type": "object", "definitions": {"x": STRING}})
bad_schema("preserve false", spec_of(a={"type": "object", "x-kubernetes-preserve-unknown-fields": False}))
bad_schema("map type of a string", spec_of(a={"type": "string", "x-kubernetes-map-type": "atomic"}))
bad_schema("map type that is none", spec_of(a={"type": "object", "x-kubernetes-map-type": "odd"}))
bad_schema("list type of an object", spec_of(a={"type": "object", "x-kubernetes-list-type": "set"}))
bad_schema("list type that is none", spec_of(a={"type": "array", "items": STRING, "x-kubernetes-list-type": "odd"}))
bad_schema("map without keys", spec_of(a={"type": "array", "items": root(n=STRING), "x-kubernetes-list-type": "map"}))
bad_schema(
    "map with a key that is no property",
    spec_of(
        a={
            "type": "array",
            "items": root(n=STRING),
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["m"],
        }
    ),
)
bad_schema(
    "map with a key that is not required",
    spec_of(
        a={
            "type": "array",
            "items": root(n=STRING),
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["n"],
        }
    ),
)
bad_schema(
    "map with a key twice that is an object",
    spec_of(
        a={
            "type": "array",
            "items": {**root(n={"type": "object"}), "required": ["n"]},
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["n", "n"],
        }
    ),
)
bad_schema(
    "map of strings",
    spec_of(a={"type": "array", "items": STRING, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["n"]}),
)
bad_schema(
    "keys without map", spec_of(a={"type": "array", "items": root(n=STRING), "x-kubernetes-list-map-keys": ["n"]})
)
bad_schema(
    "set of nullable",
    spec_of(a={"type": "array", "items": {"type": "string", "nullable": True}, "x-kubernetes-list-type": "set"}),
)
bad_schema("set of objects", spec_of(a={"type": "array", "items": root(n=STRING), "x-kubernetes-list-type": "set"}))
bad_schema(
    "set of lists",
    spec_of(
        a={
            "type": "array",
            "items": {"type": "array", "items": STRING, "x-kubernetes-list-type": "set"},
            "x-kubernetes-list-type": "set",
        }
    ),
)
bad_schema("embedded string", spec_of(a={"type": "string", "x-kubernetes-embedded-resource": True}))
bad_schema("embedded without fields", spec_of(a={"type": "object", "x-kubernetes-embedded-resource": True}))
bad_schema(
    "embedded int-or-string", spec_of(a={"x-kubernetes-int-or-string": True, "x-kubernetes-embedded-resource": True})
)
bad_schema("int-or-string with a type", spec_of(a={"type": "string", "x-kubernetes-int-or-string": True}))
bad_schema("int-or-string with its anyOf", spec_of(a={"x-kubernetes-int-or-string": True, "anyOf": [INTEGER, STRING]}))
bad_schema("a type inside anyOf", spec_of(a={"type": "object", "anyOf": [{"type": "object"}]}))
bad_schema("a field only inside anyOf", spec_of(a={"type": "object", "anyOf": [{"properties": {"b": {"minimum": 1}}}]}))
bad_schema("a default inside allOf", spec_of(a={"type": "string", "allOf": [{"default": "x", "description": "y"}]}))
bad_schema(
    "metadata with more than names", root(metadata={"type": "object", "properties": {"labels": {"type": "object"}}})
)
bad_schema(
    "metadata with name", root(metadata={"type": "object", "properties": {"name": {"type": "string", "maxLength": 3}}})
)
bad_schema("metadata that is a string", root(metadata=STRING))
bad_schema("kind that is a number", root(kind=INTEGER))
bad_schema("default of another type", spec_of(a={"type": "integer", "default": "x"}))
bad_schema("default with unknown fields", spec_of(a={**root(b=STRING), "default": {"c": 1}}))
bad_schema(
    "default in metadata", root(metadata={"type": "object", "properties": {"name": {"type": "string", "default": "x"}}})
)
bad_schema("default of an enum", spec_of(a={"type": "string", "enum": ["a"], "default": "b"}))
refused(
    "more than a status subresource allows at the root",
    version(
        schema={"type": "object", "anyOf": [{"required": ["spec"]}], "properties": {"spec": {"type": "object"}}},
        subresources={"status": {}},
    ),
)
bad_schema("an unknown format", spec_of(a={"type": "string", "format": "odd"}))

# objects
KITCHEN = spec_of(
    text={"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^a"},
    number={"type": "integer", "minimum": 1, "maximum": 9, "multipleOf": 2},
    ratio={"type": "number", "exclusiveMinimum": True, "minimum": 0},
    flag={"type": "boolean"},
    choice={"type": "string", "enum": ["x", "y"]},
    many={"type": "array", "items": STRING, "minItems": 1, "maxItems": 2},
    set={"type": "array", "items": STRING, "x-kubernetes-list-type": "set"},
    map={
        "type": "array",
        "items": {**root(n=STRING, v=INTEGER), "required": ["n"]},
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["n"],
    },
    either={"x-kubernetes-int-or-string": True},
    nullable={"type": "string", "nullable": True},
    filled={"type": "string", "default": "f"},
    deep={"type": "object", "properties": {"filled": {"type": "integer", "default": 7}}, "default": {}},
    open={"type": "object", **OPEN},
    table={"type": "object", "additionalProperties": INTEGER, "maxProperties": 2},
    template={"type": "object", "x-kubernetes-embedded-resource": True, **OPEN},
    date={"type": "string", "format": "date-time"},
    exclusive={
        "type": "object",
        "properties": {"a": STRING, "b": STRING},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
    },
)
GOOD = {
    "text": "ab", "number": 4, "ratio": 0.5, "flag": True, "choice": "x", "many": ["a"], "set": ["a", "b"],
    "map": [{"n": "a"}, {"n": "b", "v": 1}], "either": "5%", "nullable": None, "open": {"x": {"y": None}}, "table": {"a": 1},
    "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x", "odd": 1}, "spec": {"any": 1}},
    "date": "2026-01-01T00:00:00Z", "exclusive": {"a": "1"},
}  # fmt: skip
BAD: dict[str, Any] = {
    "text short": {"text": "a"}, "text long": {"text": "abcde"}, "text pattern": {"text": "bb"}, "text number": {"text": 1},
    "number small": {"number": 0}, "number odd": {"number": 3}, "number big": {"number": 10}, "number text": {"number": "1"},
    "number fraction": {"number": 1.5}, "ratio edge": {"ratio": 0}, "flag text": {"flag": "true"}, "choice": {"choice": "z"},
    "many none": {"many": []}, "many too": {"many": ["a", "b", "c"]}, "many numbers": {"many": [1]},
    "many text": {"many": "a"},
    "set twice": {"set": ["a", "a"]}, "map twice": {"map": [{"n": "a"}, {"n": "a"}]}, "map without key": {"map": [{"v": 1}]},
    "either float": {"either": 1.5}, "either bool": {"either": True}, "null text": {"text": None},
    "null nullable": {"nullable": None},
    "null filled": {"filled": None}, "null number": {"number": None}, "unknown": {"what": 1, "deep": {"x": 1}},
    "table text": {"table": {"a": "x"}}, "table many": {"table": {"a": 1, "b": 2, "c": 3}},
    "template bare": {"template": {}},
    "template name": {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "A_"}}},
    "template kind": {"template": {"apiVersion": "", "kind": "p d"}}, "template text": {"template": "x"},
    "template labels": {"template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"labels": {"a": 1}}}},
    "date": {"date": "today"}, "exclusive both": {"exclusive": {"a": "1", "b": "2"}}, "exclusive none": {"exclusive": {}},
    "several": {"text": 1, "number": "x", "flag": 2},
}  # fmt: skip
case(
    "objects",
    post(definition(version(schema=KITCHEN))),
    post(widget("good", spec=GOOD), objects()),
    post(widget("empty"), objects()),
    *(post(widget(f"bad-{index}", spec=spec), objects()) for index, spec in enumerate(BAD.values())),
    post({**widget("w"), "kind": "Other"}, objects()),
    post({**widget("w"), "apiVersion": "GROUP/v2"}, objects()),
    post(widget("Not_A_Name"), objects()),
    post({**widget(), "metadata": {"name": "w", "labels": {"a b": "c"}}}, objects()),
    post({**widget(), "metadata": {"name": "w", "namespace": "other"}}, objects()),
    post({**widget(), "metadata": {}}, objects()),
    {**post(widget("strict", spec={"what": 1}), f"{objects()}?fieldValidation=Strict")},
    {**post(widget("ignored", spec={"what": 1}), f"{objects()}?fieldValidation=Ignore")},
    patch({"spec": {"number": 3}}, f"{objects()}/good"),
    patch({"spec": {"nullable": "x", "filled": None}}, f"{objects()}/good"),
    {**patch({}, f"{objects()}/good"), "media": "application/strategic-merge-patch+json"},
    put(widget("good", spec={"text": "ac"}), f"{objects()}/good"),
    {**put(widget("other"), f"{objects()}/good")},
    get(f"{objects()}/none"),
    delete(f"{objects()}/good"),
    get("/apis/GROUP/v1/widgets"),
)

# several versions
TWO = (
    version(schema=spec_of(a=STRING, b=STRING)),
    version("v2", spec_of(a={"type": "string", "default": "d"}), storage=False),
)
case(
    "two versions",
    post(definition(*TWO)),
    post(widget(spec={"a": "1", "b": "2"}), objects()),
    get(f"{objects('v2')}/w"),
    post(widget("new", "v2"), objects("v2")),
    get(f"{objects()}/new"),
    patch({"spec": {"versions": [{**TWO[0], "storage": False}, {**TWO[1], "storage": True}]}}),
    get(),
    patch({"spec": {"versions": [{**TWO[1], "storage": True}]}}),
    patch({"status": {"storedVersions": ["v2"]}}, f"{CRDS}/widgets.GROUP/status"),
    patch({"status": {"storedVersions": []}}, f"{CRDS}/widgets.GROUP/status"),
    get(f"{objects('v3')}"),
)

# updates
case("a scope cannot change", post(definition(version())), patch({"spec": {"scope": "Cluster"}}))
case(
    "a kind cannot change",
    post(definition(version())),
    patch({"spec": {"names": {"kind": "Gadget", "listKind": "GadgetList"}}}),
)
case("a group cannot change", post(definition(version())), patch({"spec": {"group": "other.example.com"}}))
case("short names can change", post(definition(version())), patch({"spec": {"names": {"shortNames": ["wd"]}}}), get())
case(
    "a definition may become stricter, its old objects may stay",
    post(definition(version(schema=spec_of(a=STRING, b=STRING)))),
    post(widget(spec={"a": "long", "b": "x"}), objects()),
    patch(
        {
            "spec": {
                "versions": [
                    version(schema=spec_of(a={"type": "string", "maxLength": 2}, c={"type": "string", "default": "z"}))
                ]
            }
        }
    ),
    get(f"{objects()}/w"),
    patch({"metadata": {"labels": {"x": "y"}}}, f"{objects()}/w"),
    patch({"spec": {"a": "longer"}}, f"{objects()}/w"),
)
case(
    "names that are taken",
    post(definition(version(), names={"plural": "widgets", "kind": "Widget", "shortNames": ["wd"]})),
    post(
        {
            **definition(version(), names={"plural": "gadgets", "kind": "Widget", "shortNames": ["wd"]}),
            "metadata": {"name": "gadgets.GROUP"},
        }
    ),
    get(f"{CRDS}/gadgets.GROUP"),
    get("/apis/GROUP/v1/namespaces/default/gadgets"),
    delete(),
    {**get(f"{CRDS}/gadgets.GROUP"), "until": "Established"},
)
case("an update without version", post(definition(version())), {**put(definition(version())), "bare": True})
case("a deletion", post(definition(version())), delete(), {**get(), "until": "gone"})


class Peer:
    def __init__(self, url: str) -> None:
        self.url = url
        self.context = ssl._create_unverified_context()

    def call(self, step: Step) -> tuple[int, Any, list[str]]:
        data = json.dumps(step["body"]).encode() if "body" in step else None
        headers = {"content-type": step.get("media", "application/json"), "accept": "application/json"}
        request = urllib.request.Request(self.url + step["path"], data, headers, method=step["method"])
        try:
            with urllib.request.urlopen(request, context=self.context) as answer:
                return answer.status, json.load(answer), answer.headers.get_all("Warning") or []
        except urllib.error.HTTPError as error:
            text = error.read()
            told = json.loads(text) if text.startswith(b"{") else text.decode()
            return error.code, told, error.headers.get_all("Warning") or []

    def until(self, path: str, good: Any) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while not good(*self.call({"method": "GET", "path": path})[:2]):
            if time.monotonic() > deadline:
                raise TimeoutError(path)
            time.sleep(0.05)

    def settle(self, step: Step) -> None:
        """Wait until the controllers have done with a definition that was just written."""
        if not step["path"].startswith(CRDS) or step["method"] == "GET" or step["path"].endswith("/status"):
            return
        name = step["body"]["metadata"]["name"] if step["method"] == "POST" else step["path"].rpartition("/")[2]
        if step["method"] == "DELETE":
            self.until(f"{CRDS}/{name}", lambda code, found: code == 404)
            return
        self.until(f"{CRDS}/{name}", judged)
        time.sleep(0.7)  # what serves the objects follows a definition a moment later, and says so nowhere


def judged(code: int, found: Any) -> bool:
    conditions = {one["type"]: one["status"] for one in found["status"].get("conditions") or []}
    return conditions.get("Established") == "True" or conditions.get("NamesAccepted") == "False"


def of_group(step: Step, group: str) -> Step:
    made: Step = json.loads(json.dumps(step).replace("GROUP", group))
    return made


def record(peer: Peer) -> list[Any]:
    made = []
    for number, (name, steps) in enumerate(CASES.items()):
        answers = []
        for original in steps:
            step = of_group(copy.deepcopy(original), f"g{number}.example.com")
            if step["method"] == "PUT" and not step.get("bare"):
                step["body"]["metadata"]["resourceVersion"] = peer.call({"method": "GET", "path": step["path"]})[1][
                    "metadata"
                ]["resourceVersion"]
            if step.get("until") == "Established":
                peer.until(step["path"], lambda code, found: judged(code, found) and "True" in str(found["status"]))
                time.sleep(0.5)
            code, told, warnings = peer.call(step)
            if code < 300:
                peer.settle(step)
            answers.append({"code": code, "told": told, "warnings": warnings})
        made.append({"name": name, "group": f"g{number}.example.com", "steps": steps, "answers": answers})
        print(f"{name}: {[answer['code'] for answer in answers]}", flush=True)
    return made


if __name__ == "__main__":
    with running(
        int(sys.argv[1]) if len(sys.argv) > 1 else 18643, int(sys.argv[2]) if len(sys.argv) > 2 else 18579
    ) as peer:
        found = record(Peer(peer.url))
    OUT.write_text("[\n" + ",\n".join(json.dumps(one, sort_keys=True) for one in found) + "\n]\n")
