"""Logs for people: the records of many pods as they come, or of files with all that rotation made of them.

``containers.py`` reads through the API of any Kubernetes, ``files.py`` files; both give ``Found``, whole records with the
labels of their stream. ``wanted.py`` says which of them are looked for, ``showing.py`` how they are shown.
"""

from __future__ import annotations
