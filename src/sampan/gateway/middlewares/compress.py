"""``compress``: answers are compressed by gzip, Brotli or zstd, as the client prefers.

Envoy's filter decides by a list of content types: of those that are not to be compressed we tell it the others, of text.
"""

from __future__ import annotations

import hashlib
from typing import Any

from sampan.gateway.filters.seam import AWAKE, Draft, HttpFilter, Site
from sampan.gateway.model.verdicts import Unsupported
from sampan.schema.objects import Object

OPTIONS = ("includedContentTypes", "excludedContentTypes", "minResponseBodyBytes", "encodings", "defaultEncoding")
TYPE = "envoy.extensions.filters.http.compressor.v3.Compressor"
MUTATION = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutation"
MUTATION_PER_ROUTE = "envoy.extensions.filters.http.header_mutation.v3.HeaderMutationPerRoute"
LIBRARIES = {
    "gzip": ("gzip", "envoy.extensions.compression.gzip.compressor.v3.Gzip"),
    "br": ("brotli", "envoy.extensions.compression.brotli.compressor.v3.Brotli"),
    "zstd": ("zstd", "envoy.extensions.compression.zstd.compressor.v3.Zstd"),
}
DEFAULT_ENCODINGS = ("gzip", "br", "zstd")
DEFAULT_BYTES = 1024
ORDER = 80
ADD_IF_ABSENT = 1
COMPRESSIBLE = (
    "application/javascript",
    "application/json",
    "application/wasm",
    "application/xhtml+xml",
    "application/xml",
    "image/svg+xml",
    "text/css",
    "text/csv",
    "text/html",
    "text/javascript",
    "text/plain",
    "text/xml",
)
"""What is compressed where only what is not to be is told: what is text."""


def apply(settings: Object, draft: Draft, site: Site) -> None:
    encodings = settings.get("encodings") or DEFAULT_ENCODINGS
    default = settings.get("defaultEncoding")
    if default:
        if default not in encodings:
            raise Unsupported(f"defaultEncoding: {default!r} is none of encodings")
        accepted = {"header": {"key": "accept-encoding", "value": default}, "append_action": ADD_IF_ABSENT}
        mutations = {"request_mutations": [{"append": accepted}]}
        entry = HttpFilter.of(ORDER - 1, "compress/default", {"@type": MUTATION})
        draft.need(entry, {"@type": MUTATION_PER_ROUTE, "mutations": mutations})
    common: dict[str, Any] = {"min_content_length": {"value": settings.get("minResponseBodyBytes") or DEFAULT_BYTES}}
    types, excluded = settings.get("includedContentTypes"), settings.get("excludedContentTypes") or ()
    if types and excluded:
        raise Unsupported("excludedContentTypes: not together with includedContentTypes")
    if types or excluded:
        common["content_type"] = list(types or [one for one in COMPRESSIBLE if one not in excluded])
    for place, encoding in enumerate(encodings):
        if encoding not in LIBRARIES:
            raise Unsupported(f"encodings: {encoding!r} is none of gzip, br and zstd")
        short, library = LIBRARIES[encoding]
        config = {
            "@type": TYPE,
            "response_direction_config": {"common_config": common},
            "compressor_library": {"name": short, "typed_config": {"@type": library}},
            "choose_first": place == 0,
        }
        name = f"compress/{encoding}/{hashlib.sha256(repr(config).encode()).hexdigest()[:8]}"
        draft.need(HttpFilter.of(ORDER + place, name, config), AWAKE)
