"""Where pods go: filter plugins say which nodes will do, score plugins which of them is best.

In: pods without a node, and nodes. Out: bindings, ``FailedScheduling`` events and the condition ``PodScheduled``. A plugin
is a function in a file of ``filters`` or ``scores``; begin with ``plugins.py`` (the two lists and their contract), then
``scheduler.py``.
"""
