"""Names that are not the cluster's: ``forwarder.py`` asks, ``upstreams.py`` says whom, ``exchange.py`` is one question and
its answer, ``upstream_answer.py`` what came back, ``cache.py`` keeps it. Begin with ``forwarder.py``."""
