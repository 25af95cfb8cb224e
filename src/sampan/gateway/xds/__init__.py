"""Envoy's side: its messages and their bytes (``messages.py``, ``encode.py``), the resources that the model comes to, and the
server that hands them out (``ads.py``)."""
