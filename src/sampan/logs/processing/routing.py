"""``route``: which outputs get a record, by their names. The last route that applies says it; with ``add`` it says more.

- route: {outputs: [archive]}
- route: {outputs: [pager], add: true}
  where: {level: error}
"""

from __future__ import annotations

from sampan.logs.outputs.options import Options
from sampan.logs.processing.draft import Draft, ForStream, Tally, everywhere


def make(options: Options, tally: Tally) -> ForStream:
    """Raises ``OptionError``."""
    names = frozenset(options.texts("outputs"))
    add = options.flag("add")

    def route(draft: Draft) -> str:
        draft.outputs = (draft.outputs or frozenset()) | names if add else names
        return ""

    return everywhere(route)
