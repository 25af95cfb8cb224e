"""Plugins: found, tried, swapped, called, and kept from harming anybody but themselves.

    Plugin object ──loader.py──▶ files (content.py; sources/ for those that are elsewhere) ──▶ a version
        in Envoy:     host.py (hooks: request.py), asgi.py (middlewares); proxy-wasm modules by Envoy itself
                  inline.py, called.py (hosted.py), by trampolines.py: hooks and processors that Envoy calls, since quick.py
                  shows that they end soon
        in a process: processes.py starts outside.py, which serves hooks, and by conversation.py processors (processor.py,
                      exchange.py) and middlewares (streamed.py), http-wasm modules among them (http_wasm.py, wasm_guest.py)

Without Envoy, for ``sampan gateway plugin test|run``: rehearsal.py, exchanged.py, foreground.py. Begin with ``content.py``.
"""
