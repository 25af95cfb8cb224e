"""Manifests of earlier days as Gateway API v1: Ingress (with ingress-nginx's annotations), Traefik's IngressRoutes and the
first Service APIs (``networking.x-k8s.io/v1alpha1``). Pure: objects in, objects and notes out.

``convert`` begins; one file for each kind of source. What a source says and Gateway API cannot is never dropped in silence: a
``Note`` names the object and the field, and whether the meaning was changed or lost.
"""

from __future__ import annotations

from sampan.gateway.convert.conversion import Conversion, convert
from sampan.gateway.convert.notes import Note

__all__ = ["Conversion", "Note", "convert"]
