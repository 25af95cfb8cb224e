"""The manifests of docs/gateway-convert.md are converted, and what of them is lost is what the page says."""

from __future__ import annotations

from pathlib import Path

import yaml

from sampan.gateway.convert import convert

EXAMPLES = Path(__file__).parents[3] / "examples" / "gateway-convert"


def test_the_examples() -> None:
    objects = [obj for file in sorted(EXAMPLES.glob("*.yaml")) for obj in yaml.safe_load_all(file.read_text())]
    result = convert(objects)
    kinds = [obj["kind"] for obj in result.objects]
    assert kinds.count("Gateway") == 3 and kinds.count("HTTPRoute") == 4 and kinds.count("Middleware") == 3
    assert [note.field.rpartition("/")[2] for note in result.notes if note.lost] == ["configuration-snippet]"]
