"""``sampan security fix``: the smallest JSON patch with which pods meet a level, proven by judging them again.

Of manifests, or of an object of the API (``deployment/web``). What the patch takes away that a pod may need is told on
standard error. The exit code is 1 where a level cannot be reached. ``-o yaml`` prints the files whole, with their comments.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from sampan.cli import reaching

SUMMARY = "the smallest patch with which pods meet a level"


class Fixed(NamedTuple):
    name: str
    old: Any
    new: Any
    patch: list[dict[str, Any]]
    notes: list[str]
    left: str
    """What the level still lacks, "" where it is reached."""


def arguments(parser: argparse.ArgumentParser) -> None:
    what = "YAML or JSON, a directory, - for stdin; or KIND/NAME of the API"
    parser.add_argument("files", nargs="+", metavar="FILE|KIND/NAME", help=what)
    parser.add_argument(
        "--level", default="restricted", metavar="LEVEL[:VERSION]", help="what is to be met (default: %(default)s)"
    )
    parser.add_argument(
        "-o", "--output", choices=("patch", "yaml", "json"), default="patch", help="the patch, or the object with it"
    )
    reaching.arguments(parser)


def run(options: argparse.Namespace) -> int:
    from sampan.security import PolicyError, standard

    try:
        asked = standard(options.level)
    except PolicyError as error:
        print(f"sampan: --level {options.level}: {error}", file=sys.stderr)
        return 2
    try:
        if options.output == "yaml":
            found = [one for name in options.files for one in rewritten(name, options, asked)]
        else:
            wanted = (obj for name in options.files for obj in objects_of(name, options))
            found = [one for obj in wanted if (one := fixed(obj, asked)) is not None]
    except ValueError as error:
        print(f"sampan: {error}", file=sys.stderr)
        return 2
    for one in found:
        for note in one.notes:
            print(f"{one.name}: {note}", file=sys.stderr)
        if one.left:
            print(f"{one.name}: cannot be brought to {asked}: {one.left}", file=sys.stderr)
    if options.output != "yaml":
        show(found, options)
    return 1 if any(one.left for one in found) else 0


def objects_of(name: str, options: argparse.Namespace) -> list[Any]:
    """Return the objects of a file, or the one of the API. Raises ``ValueError``, ``ClusterError``."""
    from sampan.cli.security.manifests import objects

    if "/" in name and not Path(name).exists():
        return [asyncio.run(of_api(name, options))]
    return [obj for _, obj in objects([name])]


async def of_api(name: str, options: argparse.Namespace) -> Any:
    from sampan.client.resources import BY_TEMPLATE

    kind, _, name = name.partition("/")
    resource = BY_TEMPLATE.get(kind.lower().removesuffix("s"))
    if resource is None:
        raise ValueError(f"{kind!r} makes no pods; there are {', '.join(BY_TEMPLATE)}")
    async with reaching.api(options) as client:
        return await client.get(resource, name, options.namespace)


def fixed(obj: Any, asked: Any) -> Fixed | None:
    """Return an object that makes pods with its patch, None where it makes none."""
    from sampan.cli.security.manifests import group_of, name_of
    from sampan.schema.json_diff import json_diff
    from sampan.schema.patch import json_patch
    from sampan.security.fixes import fix
    from sampan.security.standards import Evaluator
    from sampan.security.templates import pod_of, with_pod

    group, kind = group_of(obj), str(obj.get("kind") or "")
    pod = pod_of(group, kind, obj)
    if pod is None:
        return None
    evaluator = Evaluator()
    made = fix(evaluator, asked, *pod)
    patch = list(json_diff(obj, with_pod(group, kind, obj, *made.pod)))
    new = json_patch(obj, patch)
    proof = pod_of(group, kind, new)
    assert proof is not None
    verdict = evaluator.judge(asked, *proof)
    return Fixed(name_of(obj), obj, new, patch, [edit.note for edit in made.edits if edit.note], verdict.detail)


def rewritten(name: str, options: argparse.Namespace, asked: Any) -> list[Fixed]:
    """Print a file with its pods fixed, or an object of the API. Raises ``ValueError``, ``ClusterError``."""
    import yaml

    from sampan.cli.security.manifests import numbered, texts

    if "/" in name and not Path(name).exists():
        obj = asyncio.run(of_api(name, options))
        one = fixed(obj, asked)
        print(yaml.safe_dump(one.new if one else obj, sort_keys=False, allow_unicode=True), end="")
        return [one] if one else []
    found = []
    for number, (file, text) in enumerate(texts([name])):
        for place, document in list(numbered(file, text)):
            fixes, new = fixed_document(document, asked)
            found += fixes
            if new != document:
                text = with_new(text, place, document, new)
        print(("---\n" if number else "") + text, end="" if text.endswith("\n") else "\n")
    return found


def fixed_document(document: Any, asked: Any) -> tuple[list[Fixed], Any]:
    """Return the fixes of a document, of a List's objects one by one, and the document with them."""
    if not (str(document.get("kind") or "").endswith("List") and isinstance(document.get("items"), list)):
        one = fixed(document, asked)
        return ([one], one.new) if one else ([], document)
    pairs = [(obj, fixed(obj, asked) if isinstance(obj, dict) else None) for obj in document["items"]]
    return [one for _, one in pairs if one], {**document, "items": [one.new if one else obj for obj, one in pairs]}


def with_new(text: str, place: int, old: Any, new: Any) -> str:
    """Return the text with one of its documents changed: in place where that can be done, else written anew."""
    import yaml

    from sampan.schema.json_diff import json_diff
    from sampan.schema.yaml_edits import edited

    changed = edited(text, place, list(json_diff(old, new)), new)
    if changed is not None:
        return changed
    documents = list(yaml.safe_load_all(text))
    documents[place] = new
    return yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)


def show(found: list[Fixed], options: argparse.Namespace) -> None:
    if options.output == "json" or len(found) > 1:
        print(json.dumps([{"object": one.name, "patch": one.patch} for one in found], indent=2))
    else:
        for one in found:
            print(json.dumps(one.patch))
