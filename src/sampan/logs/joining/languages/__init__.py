"""The languages that are known, in the order in which a line is tried against them."""

from __future__ import annotations

from sampan.logs.joining.languages import (
    csharp,
    dart,
    elixir,
    go,
    java,
    javascript,
    json_objects,
    pem,
    php,
    python,
    ruby,
    rust,
    sanitizers,
)

LANGUAGES = tuple(
    module.LANGUAGE
    for module in (python, java, json_objects, csharp, javascript, go, rust, ruby, php, dart, elixir, sanitizers, pem)
)
