"""Where pods go: plugins say which nodes will do, and which of them is best.

In: pods without a node, and nodes. Out: bindings, ``FailedScheduling`` events and the condition ``PodScheduled``; room made
by deleting less important pods. A plugin is a class in a file of ``plugins``, or of a user. Begin with ``framework.py`` (what
a plugin is), then ``cycle.py`` (one pod) and ``scheduler.py`` (the loop); ``registry.py`` has all plugins,
``configuration.py`` reads KubeSchedulerConfiguration.
"""
