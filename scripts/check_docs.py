"""Check the documentation: every relative link leads to a file, every ``sampan`` command named is a command.

Prints what is wrong, one line each, and exits with 1 then.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from sampan.cli.main import VERBS

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
COMMAND = re.compile(r"(?:^|[`$ /])sampan ([a-z]+)\b")
BLOCK = re.compile(r"```.*?```|`[^`\n]+`", re.S)


def pages() -> list[Path]:
    return sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("examples/**/*.md")])


def problems(page: Path) -> Iterator[str]:
    """Yield what is wrong on a page."""
    text = page.read_text()
    for target in LINK.findall(text):
        if not (page.parent / target).exists():
            yield f"{page.relative_to(ROOT)}: the link to {target} leads nowhere"
    for block in BLOCK.findall(text):
        for verb in COMMAND.findall(block):
            if verb not in VERBS:
                yield f"{page.relative_to(ROOT)}: there is no command `sampan {verb}`"


def main() -> int:
    found = [problem for page in pages() for problem in problems(page)]
    print("\n".join(found) if found else f"docs: {len(pages())} pages, links and commands are right")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
