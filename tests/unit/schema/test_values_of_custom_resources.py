"""Values on the edge of what a CRD's schema accepts. The answers are those of a generic Kubernetes API server (1.37)."""

from typing import Any

import pytest

from sampan.schema.structural import structural_type

STRING, INTEGER, NUMBER = {"type": "string"}, {"type": "integer"}, {"type": "number"}
NOT_INTEGER = [
    'p: Invalid value: "number": p in body must be of type integer: "number"',
    '<nil>: Invalid value: "": Checked value must be of type integer (default format) in p',
]
ZERO_FACTOR = ["p: Invalid value: 0: factor MultipleOf declared for p must be positive: 0"]
EMBEDDED = {"type": "object", "x-kubernetes-embedded-resource": True, "x-kubernetes-preserve-unknown-fields": True}


def messages(schema: Any, value: Any) -> list[str]:
    root = {"type": "object", "properties": {"p": schema}}
    causes = structural_type(root, group="g", version="v1", kind="K").validate({"p": value})
    return [f"{cause.field}: {cause.message}" for cause in causes]


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({**NUMBER, "multipleOf": 0.1}, 0.3), ({**NUMBER, "multipleOf": 0.01}, 0.29), ({**INTEGER, "multipleOf": 2}, 2**62),
        (INTEGER, 1.0), ({**INTEGER, "enum": [1, 2]}, 1.0), ({**INTEGER, "minimum": 0.5}, 0),
        ({**STRING, "format": "ipv4"}, "01.2.3.4"), ({**STRING, "format": "ipv4"}, "::ffff:1.2.3.4"),
        ({**STRING, "format": "cidr"}, "010.0.0.0/08"), ({**STRING, "format": "hostname"}, "a" * 63),
        ({**STRING, "format": "ipv6"}, "::1"), ({**STRING, "format": "cidr"}, "1000::/16"),
    ],
)  # fmt: skip
def test_accepted(schema: Any, value: Any) -> None:
    assert messages(schema, value) == []


@pytest.mark.parametrize(
    ("schema", "value", "why"),
    [
        ({**NUMBER, "multipleOf": 0.1}, 0.35, ["p: Invalid value: 0.35: p in body should be a multiple of 0.1"]),
        ({**NUMBER, "multipleOf": 0.1}, 3, ZERO_FACTOR),
        ({**INTEGER, "multipleOf": 2}, 2**53 + 1, [f"p: Invalid value: {2**53 + 1}: p in body should be a multiple of 2"]),
        (INTEGER, 1e300, NOT_INTEGER), (INTEGER, 1.5, NOT_INTEGER), (INTEGER, 1e16, NOT_INTEGER[:1]),
        ({**NUMBER, "maximum": 1.5, "exclusiveMaximum": True}, 2, ["p: Invalid value: 2: p in body should be less than 1"]),
        (
            {**INTEGER, "minimum": 1000000, "maximum": 1},
            5,
            [
                "p: Invalid value: 5: p in body should be greater than or equal to 1000000",
                "p: Invalid value: 5: p in body should be less than or equal to 1",
            ],
        ),
        ({**NUMBER, "minimum": 1000000}, 5.5, ["p: Invalid value: 5.5: p in body should be greater than or equal to 1e+06"]),
        (
            {**STRING, "nullable": True, "enum": ["a", None]},
            None,
            ['p: Unsupported value: null: supported values: "a", "null"'],
        ),
        ({**STRING, "format": "byte"}, "", ['p: Invalid value: "": p in body must be of type byte: ""']),
        (EMBEDDED, {"apiVersion": "a/b/c", "kind": "Pod"},
         ['p.apiVersion: Invalid value: "a/b/c": unexpected GroupVersion string: a/b/c']),
    ],
)  # fmt: skip
def test_refused(schema: Any, value: Any, why: list[str]) -> None:
    assert messages(schema, value) == why


@pytest.mark.parametrize(
    ("format", "value"), [("hostname", "a" * 64), ("ipv4", "1.2.3"), ("ipv4", "::1"), ("ipv4", "01.2.3.456")]
)
def test_formats_refuse(format: str, value: str) -> None:
    assert messages({**STRING, "format": format}, value)


def test_of_alternatives_that_fail_alike_the_first_is_told() -> None:
    schema = {"x-kubernetes-int-or-string": True, "anyOf": [INTEGER, STRING]}
    assert messages(schema, 1.5)[2:] == NOT_INTEGER
