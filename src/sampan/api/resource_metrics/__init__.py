"""metrics.k8s.io: what nodes and pods use, asked of the kubelets when somebody asks; nothing is stored or polled.

``usage.py`` makes NodeMetrics and PodMetrics of a kubelet's Summary (pure), ``reading.py`` asks the kubelets through
``nodes/proxy`` with any client, so that it works against any Kubernetes; ``serving.py`` answers get and list and is where to
begin. An APIService that names a Service (a metrics-server of one's own) goes before it.
Source: kubernetes-sigs/metrics-server; k8s.io/metrics.
"""
