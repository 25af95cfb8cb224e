"""Plugins in Python: ``loader.py`` finds, tries and watches them, ``host.py`` runs inside Envoy and calls them."""
