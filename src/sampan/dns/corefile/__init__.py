"""The Corefile: where it comes from (``source.py``), its words (``grammar.py``), and what it asks for (``configuration.py``).

One function a directive, in ``directives.py`` and, where a directive is a language of its own, in a file of its name. Begin
with ``configuration.read``.
"""
