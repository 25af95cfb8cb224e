"""The admission plugins under Kubernetes' names, in its order: which of them an API has, and how they are made.

A plugin is a line in ``ORDER`` and a module whose class has the plugin's name. A plugin that needs more than the write itself
has a class method ``made(setup)``; ``setup.configuration`` is what the AdmissionConfiguration says for it. Plugins that are
off are never imported. Source of order and defaults: kubernetes pkg/kubeapiserver/options/plugins.go.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from sampan.api.admission.certificate_requests import CertificateRequests
from sampan.api.admission.configuration import configurations
from sampan.api.admission.device_claims import DeviceAdminAccess
from sampan.api.admission.policies import Policies
from sampan.api.admission.policy_definitions import AdmissionPolicies
from sampan.api.admission.rbac_changes import RbacChanges
from sampan.api.admission.service_addresses import ServiceAddresses
from sampan.api.admission.webhooks import WebhookConfigurations, Webhooks
from sampan.api.crds import CustomObjects, CustomResources
from sampan.api.flags import FlagError

if TYPE_CHECKING:
    from sampan.api.aggregation.services import ApiServices
    from sampan.api.app import Api
    from sampan.api.rbac import RbacAuthorizer
    from sampan.api.server import ApiConfig


class Known(NamedTuple):
    """A plugin that can be had: Kubernetes' name, the module, and whether it is on unless switched off."""

    name: str
    module: str
    on: bool = True
    since: int = 0
    """Before this minor version of Kubernetes it is off."""
    gate: str = ""
    """The feature gate without which it is off."""


ORDER: tuple[Known, ...] = (
    Known("AlwaysAdmit", "always", on=False),
    Known("NamespaceAutoProvision", "namespace_presence", on=False),
    Known("NamespaceLifecycle", "namespace_lifecycle"),
    Known("NamespaceExists", "namespace_presence", on=False),
    Known("LimitPodHardAntiAffinityTopology", "pod_defaults", on=False),
    Known("LimitRanger", "limit_ranger"),
    Known("ServiceAccount", "service_account"),
    Known("NodeRestriction", "node_restriction"),
    Known("TaintNodesByCondition", "node_taints"),
    Known("AlwaysPullImages", "pod_defaults", on=False),
    Known("PodSecurity", "pod_security"),
    Known("PodNodeSelector", "namespace_rules", on=False),
    Known("Priority", "priority"),
    Known("DefaultTolerationSeconds", "default_tolerations"),
    Known("PodTolerationRestriction", "namespace_rules", on=False),
    Known("EventRateLimit", "event_rate_limit", on=False),
    Known("ExtendedResourceToleration", "pod_defaults", on=False),
    Known("DefaultStorageClass", "default_classes"),
    Known("StorageObjectInUseProtection", "volumes"),
    Known("OwnerReferencesPermissionEnforcement", "owner_references", on=False),
    Known("PersistentVolumeClaimResize", "volumes"),
    Known("RuntimeClass", "runtime_class"),
    Known("CertificateApproval", "certificates"),
    Known("CertificateSigning", "certificates"),
    Known("ClusterTrustBundleAttest", "certificates"),
    Known("CertificateSubjectRestriction", "certificates"),
    Known("DefaultIngressClass", "default_classes"),
    Known("DenyServiceExternalIPs", "service_external_ips", on=False),
    Known("PodTopologyLabels", "node_taints", since=35),
    Known("MutatingAdmissionPolicy", "mutating_admission_policy", gate="MutatingAdmissionPolicy"),
    Known("MutatingAdmissionWebhook", "webhooks"),
    Known("ValidatingAdmissionPolicy", "validating_admission_policy", gate="ValidatingAdmissionPolicy"),
    Known("ValidatingAdmissionWebhook", "webhooks"),
    Known("ResourceQuota", "resource_quota"),
    Known("AlwaysDeny", "always", on=False),
)


class Setup(NamedTuple):
    """What a plugin may be made from."""

    api: Api
    config: ApiConfig
    authorizer: RbacAuthorizer
    webhooks: Webhooks
    configuration: Mapping[str, Any] = {}


class Plugins(NamedTuple):
    """The chain, and those of its members that have something to read at start."""

    plugins: tuple[Any, ...]
    services: ServiceAddresses
    webhooks: Webhooks
    policies: Sequence[Policies[Any]]


def enabled(enable: Iterable[str] = (), disable: Iterable[str] = (), minor: int = 0) -> list[Known]:
    """Return the plugins that are on, in order. Raises ``FlagError``."""
    known = {plugin.name for plugin in ORDER}
    for word, given in (("enable", enable), ("disable", disable)):
        for name in given:
            if name not in known:
                raise FlagError(f'{word}-admission-plugins plugin "{name}" is unknown')
    both = sorted(set(enable) & set(disable))
    if both:
        raise FlagError(f"{', '.join(both)} in enable-admission-plugins and disable-admission-plugins overlapped")
    return [
        plugin
        for plugin in ORDER
        if plugin.name not in disable and (plugin.name in enable or (plugin.on and plugin.since <= minor))
    ]


def made(plugin: Known, setup: Setup) -> Any:
    """Return the plugin itself."""
    cls = getattr(import_module(f"sampan.api.admission.{plugin.module}"), plugin.name)
    return cls.made(setup) if hasattr(cls, "made") else cls()


def build(
    api: Api, config: ApiConfig, authorizer: RbacAuthorizer, custom: CustomResources, aggregation: ApiServices
) -> Plugins:
    """Return the plugins of an API, in order; last what Kubernetes has in its registries instead."""
    services = ServiceAddresses(api, config.service_cidr, config.node_port_range)
    webhooks = Webhooks(api, api.webhook_client)
    flags = config.flags
    told = configurations(flags.admission_control_config_file) if flags.admission_control_config_file else {}
    minor = int(api.types.version.partition(".")[2])
    plugins = [
        made(plugin, Setup(api, config, authorizer, webhooks, told.get(plugin.name) or {}))
        for plugin in enabled(flags.enable_admission_plugins, flags.disable_admission_plugins, minor)
        if not plugin.gate or api.features.past(plugin.gate)
    ]
    sorts = [plugin.policies for plugin in plugins if hasattr(plugin, "policies")]
    plugins.append(AdmissionPolicies(api, sorts))
    plugins += [
        CertificateRequests(),
        DeviceAdminAccess(),
        RbacChanges(authorizer),
        services,
        custom,
        CustomObjects(custom),
    ]
    plugins += [WebhookConfigurations(webhooks), aggregation]
    return Plugins(tuple(plugins), services, webhooks, sorts)
