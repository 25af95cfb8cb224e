"""``ipWhiteList``: ``ipAllowList`` by its name in Traefik 2, whose CRD is still taken."""

from __future__ import annotations

from sampan.gateway.middlewares import ip_allow_list

OPTIONS = ("sourceRange", "ipStrategy")
apply = ip_allow_list.apply
