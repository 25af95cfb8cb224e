"""Gateway API on Envoy, with plugins in Python.

In: GatewayClass, Gateway, HTTPRoute, Middleware and Plugin objects, Services and EndpointSlices. Out: Envoy's configuration,
pushed over delta ADS as it changes, and conditions that are true (Programmed once Envoy has taken it). What a route means is
computed by pure functions (``translate.py`` and its neighbours) into plain dicts in the words of Envoy's API, which
``encode.py`` turns into protobuf bytes by a table of field numbers (``messages.py``). Begin with ``agent.py``.
"""
