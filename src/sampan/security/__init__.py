"""What a pod may do: its effective security context, and the Pod Security Standards that judge it.

Pure functions on plain dicts. In come a pod's metadata and spec and a policy (``restricted:v1.30``); out come verdicts
with Kubernetes' words. ``levels`` reads policies from a namespace's labels, ``baseline`` and ``restricted`` hold the checks
(one shape: ``Check``), ``standards`` picks those of a level and version and judges pods (imported by
who judges: an API without labelled namespaces never does). ``context`` merges a pod's settings
with a container's. Admission uses this room (``api/admission/pod_security.py``), and so do the node and the CLI.
Begin with ``standards``.
Sources: KEP-2579 (Pod Security admission), https://kubernetes.io/docs/concepts/security/pod-security-standards/.
"""

from sampan.security.levels import Level, Policy, PolicyError, Standard, policy_of, standard

__all__ = ["Level", "Policy", "PolicyError", "Standard", "policy_of", "standard"]
