"""Keys and certificates in their textual encoding, from BEGIN to END. Source: RFC 7468, RFC 1421 (headers)."""

from __future__ import annotations

from sampan.logs.joining.language import BLANK, Entry, Language, Step

LANGUAGE = Language(
    "pem",
    (Entry(rb"-----BEGIN [A-Z0-9 ]+-----\s*$", "body", "never", b"-"),),
    {
        "body": (
            Step(rb"[A-Za-z0-9+/=]{1,80}\s*$", "body"),
            Step(rb"-----END [A-Z0-9 ]+-----\s*$", "end"),
            Step(rb"(?:Proc-Type|DEK-Info|Version|Comment|Hash): ", "body"),
            Step(BLANK, "gap"),
        ),
        "gap": (Step(rb"[A-Za-z0-9+/=]{16,80}\s*$", "body"),),
    },
    tentative=frozenset({"gap"}),
    last=frozenset({"end"}),
)
