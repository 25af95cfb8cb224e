"""Putting an API together: which resources a Kubernetes version serves, who may do what, what every write goes through.

``assemble`` only declares and is quick; ``bootstrap`` reads and writes the store: objects of a fresh cluster, RBAC, allocated
addresses, custom resources.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from sampan.api import bootstrap as fresh
from sampan.api import (
    component_statuses,
    discovery,
    openapi,
    restored,
    reviews,
    store_routes,
    streams,
    subresources,
    zpages,
)
from sampan.api.admission.chain import build
from sampan.api.admission.flow_control_changes import FlowControlChanges
from sampan.api.admission.service_addresses import PREFIX as SERVICES
from sampan.api.admission.service_ranges import PREFIX as SERVICE_RANGES
from sampan.api.admission.webhooks import PREFIXES as WEBHOOKS
from sampan.api.aggregation.local import PREFIX as API_SERVICES
from sampan.api.aggregation.services import ApiServices
from sampan.api.audit.making import auditor_of
from sampan.api.authn import Authenticators
from sampan.api.authz.chain import AlwaysAllow, AlwaysDeny, AuthorizerChain, Mode
from sampan.api.authz.node import NodeAuthorizer
from sampan.api.crds import PREFIX as DEFINITIONS
from sampan.api.crds import CustomResources
from sampan.api.feature_gates import FeatureGates
from sampan.api.flags import FlagError, Flags
from sampan.api.flowcontrol.control import LEVELS as PRIORITY_LEVELS
from sampan.api.flowcontrol.control import SCHEMAS as FLOW_SCHEMAS
from sampan.api.flowcontrol.control import FlowControl
from sampan.api.masters import PREFIX as MASTERS
from sampan.api.masters import Masters, fingerprint
from sampan.api.rbac import PREFIXES as RBAC
from sampan.api.rbac import RbacAuthorizer
from sampan.api.resource_metrics import serving as resource_metrics
from sampan.api.resources import served
from sampan.api.resources.autoscaling import to_zero
from sampan.api.tokens import Tokens

if TYPE_CHECKING:
    from sampan.api.app import Api
    from sampan.api.server import ApiConfig


def assemble(api: Api, config: ApiConfig) -> None:
    """Give an empty API its resources, routes, identity and admission."""
    api.features = features = FeatureGates(api.types.version, config.flags.feature_gates)
    api.without_cbor = not features.enabled("CBORServingAndStorage")
    for resource in served(api.types, config.flags.runtime_config, features):
        if resource.kind == "HorizontalPodAutoscaler" and features.enabled("HPAScaleToZero"):
            resource = to_zero(resource)
        api.catalog.add(resource)
    tokens = Tokens(config.pki_dir, config.issuer)
    authorizer = RbacAuthorizer(api)
    api.authorizer = authorizers(api, config.flags, authorizer)
    api.authenticator = authenticator = Authenticators(api, tokens, config.flags)
    api.event_ttl_seconds = max(1, int(config.flags.event_ttl))
    api.anonymous = authenticator.anonymous
    custom = CustomResources(api)
    aggregation = ApiServices(api, config.pki_dir)
    chain = build(api, config, authorizer, custom, aggregation)
    flow = flow_control(api, config.flags)
    api.audit = auditor_of(api, config.flags)
    api.admission = chain.plugins if flow is None else (*chain.plugins, FlowControlChanges(flow))
    subresources.add(api, tokens)
    streams.add(api, config.pki_dir)
    reviews.add(api, authorizer, authenticator)
    component_statuses.add(api)
    zpages.add(api, config.flags)
    discovery.add(api)
    openapi.add(api)
    store_routes.add(api, config)
    if config.resource_metrics:
        resource_metrics.add(api)
    api.preparations = [
        lambda: restored.restore(api),
        lambda: fresh.create_missing(api, config),
        api.following.start,
    ]
    if flow is not None:
        api.following.add((FLOW_SCHEMAS, PRIORITY_LEVELS), flow.load, flow.follow)
    api.following.add(RBAC.values(), authorizer.load, authorizer.follow)
    api.following.add(SERVICES, chain.services.load, chain.services.follow)
    api.following.add(SERVICE_RANGES, chain.services.ranges.load, chain.services.ranges.follow)
    api.following.add(WEBHOOKS.values(), chain.webhooks.load, chain.webhooks.follow)
    for policies in chain.policies:
        api.following.add(policies.prefixes, policies.load, policies.follow)
    api.following.add(DEFINITIONS, custom.load, custom.follow)
    api.following.add(API_SERVICES, aggregation.load, aggregation.follow)
    fresh.keep_service(api, config)
    if api.store.shared:
        api.ready_checks["etcd"] = api.store.trouble
        masters = Masters(api, config.advertise, fingerprint(config.pki_dir))
        api.following.add(MASTERS, masters.load, masters.follow)


def authorizers(api: Api, flags: Flags, rbac: RbacAuthorizer) -> AuthorizerChain:
    """Return the authorizers that were asked for, in order. Raises ``FlagError``."""
    made: dict[str, Callable[[], Mode]] = {
        "AlwaysAllow": AlwaysAllow,
        "AlwaysDeny": AlwaysDeny,
        "Node": lambda: NodeAuthorizer(api),
        "RBAC": lambda: rbac,
        "Webhook": lambda: webhook_authorizer(api, flags),
    }
    if flags.authorization_config is not None:
        return configured_authorizers(api, flags, made)
    unknown = [mode for mode in flags.authorization_mode if mode not in made]
    if unknown or not flags.authorization_mode:
        raise FlagError(f'authorization-mode "{", ".join(unknown)}" is not a valid mode: {", ".join(made)}')
    return AuthorizerChain([made[mode]() for mode in flags.authorization_mode])


def configured_authorizers(api: Api, flags: Flags, made: dict[str, Callable[[], Mode]]) -> AuthorizerChain:
    """Return the authorizers of an AuthorizationConfiguration. Raises ``FlagError``."""
    from sampan.api.authz.configuration import ConfiguredAuthorizers

    assert flags.authorization_config is not None
    if not api.features.past("StructuredAuthorizationConfiguration"):
        gate = "StructuredAuthorizationConfiguration"
        raise FlagError(f"--authorization-config cannot be used without enabling {gate} feature flag")
    plain = Flags()
    if flags.authorization_mode != plain.authorization_mode or flags.authorization_webhook_config_file is not None:
        others = "--authorization-mode or --authorization-webhook-* flags are defined"
        raise FlagError(f"--authorization-config can not be specified when {others}")
    chain = ConfiguredAuthorizers(
        flags.authorization_config, api.types.version, made, api.features.past("AuthorizeWithSelectors")
    )
    api.closing.append(chain.close)
    return chain


def webhook_authorizer(api: Api, flags: Flags) -> Mode:
    """Return the authorizer of the mode Webhook. Raises ``FlagError``."""
    from sampan.api.authz.webhook import Settings, WebhookAuthorizer
    from sampan.api.remote import Remote

    if flags.authorization_webhook_config_file is None:
        raise FlagError("authorization-mode Webhook needs --authorization-webhook-config-file")
    settings = Settings(
        flags.authorization_webhook_version,
        flags.authorization_webhook_cache_authorized_ttl,
        flags.authorization_webhook_cache_unauthorized_ttl,
        selectors=api.features.past("AuthorizeWithSelectors"),
    )
    webhook = WebhookAuthorizer(Remote(flags.authorization_webhook_config_file), settings)
    api.closing.append(webhook.close)
    return webhook


def flow_control(api: Api, flags: Flags) -> FlowControl | None:
    """Set how much the API does at a time; return its flow control, None where it has none."""
    api.request_seconds = flags.request_timeout
    if flags.enable_priority_and_fairness:
        seats = flags.max_requests_inflight + flags.max_mutating_requests_inflight
        api.flow_control = FlowControl(api, max(seats, 1), flags.request_timeout / 4)
    return api.flow_control


async def bootstrap(api: Api) -> None:
    """Fill the store of a fresh cluster and read what the API keeps in memory of an old one."""
    for prepare in api.preparations:
        await prepare()
    api.started = True
