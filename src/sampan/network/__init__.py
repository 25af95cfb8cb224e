"""Namespaces, links, addresses, Services and the CNI plugin.

``cluster_link.py`` ties a cluster's network namespace to the host (the supervisor calls it). Everything else runs inside
that namespace: ``agent.py`` is the part, begin there. ``cni.py`` gives pods their links (``cni_shim.py`` is what containerd
runs), ``services.py`` computes nftables rules from Services and EndpointSlices, ``service_proxy.py`` keeps them in the
kernel, ``load_balancers.py`` gives out LoadBalancer addresses, ``netlink.py`` speaks to the kernel: of links, addresses and
routes in the words of ``route_netlink.py``, of nftables in those of ``nft_elements.py``, of connections in ``conntrack.py``.
``policy_agent.py`` keeps NetworkPolicies in the kernel, ``policy_model.py`` and ``policy_rules.py`` say what they mean
there; ``trace.py`` tells the way of a packet; ``cni_standalone.py`` is the plugin for other runtimes.
"""
