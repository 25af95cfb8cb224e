"""Namespaces, links, addresses, Services and the CNI plugin."""
