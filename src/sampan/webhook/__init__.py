"""Pod Security as an admission webhook: the same standards, verdicts and words on any Kubernetes.

In come AdmissionReviews (v1) over TLS; out go answers: allowed or refused, warnings, audit annotations. ``review`` reads the
one and makes the other (pure), ``configuration`` is the object that is installed in the API, ``server`` the server with its
certificate, its informer of namespaces and its installation. The judging is ``sampan.security.admission``, as it is for our
own API. Begin with ``review``.
Source: admission.k8s.io/v1, admissionregistration.k8s.io/v1, KEP-2579.
"""

from sampan.webhook.server import WebhookConfig, serve

__all__ = ["WebhookConfig", "serve"]
