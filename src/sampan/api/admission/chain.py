"""The order of the admission plugins. Source of the order: kubernetes pkg/kubeapiserver/options/plugins.go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.api.admission.certificate_requests import CertificateRequests
from sampan.api.admission.default_tolerations import DefaultTolerationSeconds
from sampan.api.admission.limit_ranger import LimitRanger
from sampan.api.admission.namespace_lifecycle import NamespaceLifecycle
from sampan.api.admission.priority import Priority
from sampan.api.admission.rbac_changes import RbacChanges
from sampan.api.admission.service_account import ServiceAccount
from sampan.api.admission.service_addresses import ServiceAddresses
from sampan.api.crds import CustomObjects, CustomResources

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.rbac import RbacAuthorizer
    from sampan.api.server import ApiConfig


class Plugins(NamedTuple):
    """The chain, and those of its members that have something to read at start."""

    plugins: tuple[Any, ...]
    services: ServiceAddresses


def build(api: Api, config: ApiConfig, authorizer: RbacAuthorizer, custom: CustomResources) -> Plugins:
    """Return the plugins of an API, in order."""
    services = ServiceAddresses(api, config.service_cidr, config.node_port_range)
    plugins = (
        NamespaceLifecycle(),
        LimitRanger(),
        ServiceAccount(),
        Priority(),
        DefaultTolerationSeconds(),
        CertificateRequests(),
        RbacChanges(authorizer),
        services,
        custom,
        CustomObjects(custom),
    )
    return Plugins(plugins, services)
