"""Middlewares that Envoy has no filter for: Python functions of ours that are asked before the request is routed, as
plugins are.

A hook is a module with ``make(settings) -> function(request)``. Its settings are plain JSON and travel in the name of the
ASGI application (``app.py``), so that Envoy swaps a hook when they change and nothing else has to be told. ``HOOKS`` is
the one list; ``hook.py`` in ``filters/`` says how a route wakes one.
"""

from __future__ import annotations

from types import ModuleType

from sampan.gateway.hooks import basic_auth, digest_auth, forward_auth, pass_tls_client_cert, redirect_regex

HOOKS: dict[str, ModuleType] = {
    "basic_auth": basic_auth,
    "digest_auth": digest_auth,
    "forward_auth": forward_auth,
    "pass_tls_client_cert": pass_tls_client_cert,
    "redirect_regex": redirect_regex,
}
