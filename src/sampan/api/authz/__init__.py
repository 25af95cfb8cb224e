"""Who may: the authorizers of an API, asked one after the other until one has an opinion.

In: ``Attributes`` of a request. Out: allowed, and why (or why not). Begin with ``chain.py``; RBAC itself is in
``api/rbac.py``. Source: Kubernetes' "Authorization".
"""
