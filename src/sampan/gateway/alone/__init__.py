"""The gateway without Kubernetes: objects from a directory of files, listeners on the host's own addresses.

``files.py`` reads the directory, ``loading.py`` brings its objects into an API that is in this process's memory only, where
they get the same defaults and the same validation as anywhere; ``agent.py`` of the room follows that API as any other, so
there is one gateway and not two. ``running.py`` joins them; begin there.
"""
