"""Types of a Kubernetes version, and every pure function over objects.

In: plain dicts as they came from JSON, and the OpenAPI definitions of one Kubernetes version (1.25 to 1.37, from the
``kubernetes-validate`` package). Out: defaults, validation errors, pruned objects, merged objects, managed fields.
Nothing here does I/O but reading the packaged definitions, and nothing keeps state but caches of compiled types.

Begin with ``types.py`` (one compiled type per kind), then ``patch.py`` and ``apply.py`` (server-side apply). A body flows
``decode`` → ``Type.check`` (``clean.py``) → ``Type.default`` → ``Type.validate`` → ``apply.track_update`` → ``canonical``.
Import from the modules themselves: each is cheap, and so is this package.
"""
