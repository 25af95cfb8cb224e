"""The audit log: who asked for what, when, and how it ended.

In: requests as they come and are answered. Out: Events of ``audit.k8s.io/v1``, as much of each as the policy wants
(``policy.py``), in a file (``log_file.py``) or sent to a server (``webhook.py``). Begin with ``auditor.py``. Without a
backend none of this is made: a request asks once whether there is an auditor. Source: Kubernetes' "Auditing".
"""
