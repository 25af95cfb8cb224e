"""All built-in controllers, in one task group with shared informers.

To add a controller: write its file, and its line in ``controllers_of``. What belongs to another room and shares the
informers (the scheduler) is handed in as ``beside``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from sampan.api.quotas.usage import MEASURED
from sampan.client.clock_jumps import follow_jumps
from sampan.client.controller import Controller
from sampan.client.events import EventRecorder
from sampan.client.informer import Informer
from sampan.client.protocol import Client, ResourceType
from sampan.client.resources import (
    API_SERVICES,
    CONFIG_MAPS,
    CONTROLLER_REVISIONS,
    CRON_JOBS,
    CSI_DRIVERS,
    CUSTOM_RESOURCE_DEFINITIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    ENDPOINT_SLICES,
    ENDPOINTS,
    JOBS,
    LEASES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_DISRUPTION_BUDGETS,
    PODS,
    REPLICA_SETS,
    REPLICATION_CONTROLLERS,
    RESOURCE_CLAIM_TEMPLATES,
    RESOURCE_CLAIMS,
    RESOURCE_SLICES,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    STATEFUL_SETS,
    STORAGE_CLASSES,
    VOLUME_ATTACHMENTS,
    VOLUME_ATTRIBUTES_CLASSES,
)
from sampan.controllers.attach_detach import AttachDetach
from sampan.controllers.bootstrap_tokens import BootstrapSigner, TokenCleaner
from sampan.controllers.certificate_approving import CertificateApprover
from sampan.controllers.certificate_cleaning import CertificateCleaner
from sampan.controllers.certificate_requests import REQUESTS
from sampan.controllers.certificate_signing import Authority, CertificateSigner
from sampan.controllers.claim_binder import ClaimBinder
from sampan.controllers.cluster_role_aggregation import CLUSTER_ROLES, ClusterRoleAggregation
from sampan.controllers.cron_job import CronJobController
from sampan.controllers.daemon_set import DaemonSetController
from sampan.controllers.deployment import DeploymentController
from sampan.controllers.device_taint_eviction import DeviceTaintEviction
from sampan.controllers.disruption import DisruptionController
from sampan.controllers.endpoint_slice_mirroring import EndpointSliceMirroring
from sampan.controllers.endpoint_slices import EndpointSliceController
from sampan.controllers.ephemeral_volumes import EphemeralVolumes
from sampan.controllers.garbage_collector import GarbageCollector
from sampan.controllers.graph import Graph
from sampan.controllers.horizontal_pod_autoscaler import (
    HORIZONTAL_POD_AUTOSCALERS,
    AutoscalerConfig,
    HorizontalPodAutoscalerController,
)
from sampan.controllers.job import JobController
from sampan.controllers.job_orphans import OrphanPods
from sampan.controllers.legacy_tokens import LegacyTokenCleaner
from sampan.controllers.local_provisioner import PROVISIONER, Folders, LocalProvisioner, LocalReclaimer
from sampan.controllers.namespace import NamespaceController
from sampan.controllers.node_lifecycle import NodeLifecycleController
from sampan.controllers.pod_garbage import PodGarbageCollector
from sampan.controllers.replica_set import ReplicaSetController, ReplicationControllerController
from sampan.controllers.resource_claims import ResourceClaimMaker, ResourceClaimReleaser
from sampan.controllers.resource_quota import QUOTAS, ResourceQuotaController
from sampan.controllers.service_account_tokens import ServiceAccountTokens
from sampan.controllers.service_accounts import NamespaceDefaults
from sampan.controllers.service_cidrs import (
    IP_ADDRESSES,
    SERVICE_CIDRS,
    IpAddressController,
    ServiceCidrController,
)
from sampan.controllers.stale_disruptions import StaleDisruptions
from sampan.controllers.stateful_set import StatefulSetController
from sampan.controllers.storage_version_migration import StorageVersionMigrationController
from sampan.controllers.ttl_after_finished import TtlAfterFinishedController
from sampan.controllers.volume_binder import VolumeBinder
from sampan.controllers.volume_binding import COMPONENT as VOLUME_COMPONENT
from sampan.controllers.volume_expansion import VolumeExpansion
from sampan.controllers.volume_protection import AttributesProtection, ClaimProtection, VolumeProtection

ClientFor = Callable[[str], Client]
"""A client that acts as the component of that name (``deployment-controller``)."""


@dataclass(frozen=True, slots=True)
class ControllersConfig:
    root_ca: str
    """PEM of the cluster's CA, for ``kube-root-ca.crt``."""
    autoscaler: AutoscalerConfig = field(default_factory=AutoscalerConfig)
    pki_dir: Path | None = None
    """Where the cluster's CA is; None: certificates are not signed."""
    service_cidr: str = ""
    """The range of ClusterIPs, where ServiceCIDRs are served (since 1.33); empty: they are not."""
    device_claims: bool = True
    """Whether resource.k8s.io/v1 is served: since 1.34."""
    suspended_jobs_forget_their_start: bool = True
    """Whether a suspended Job has no ``startTime``: since 1.36."""
    device_taints: bool = True
    """Whether pods end when their devices are tainted so: since 1.36."""
    unused_claims: bool = True
    """Whether claims say since when no pod uses them: since 1.37."""
    volume_attributes: bool = True
    """Whether VolumeAttributesClasses are served: since 1.34."""
    api_server: str = ""
    """The URL of the API, for ``kube-public/cluster-info``; empty: there is none."""


class Informers:
    """One informer a resource, shared; those asked for after the start run in the same group."""

    def __init__(self, client: Client, group: asyncio.TaskGroup) -> None:
        self._client = client
        self._group = group
        self._informers: dict[ResourceType, Informer] = {}
        self._tasks: dict[ResourceType, asyncio.Task[None]] = {}

    def of(self, resource: ResourceType) -> Informer:
        informer = self._informers.get(resource)
        if informer is None:
            informer = self._informers[resource] = Informer(self._client, resource)
            task = self._group.create_task(informer.run(), name=f"informer-{resource.plural}")
            self._tasks[resource] = task
        return informer

    def whole(self, resource: ResourceType) -> Informer | None:
        """Return an informer that is there, or of what quotas measure; None where nobody asks for whole objects."""
        if (resource.group, resource.plural) in MEASURED:
            return self.of(resource)
        return self._informers.get(resource)

    def spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run something in the same group."""
        return self._group.create_task(work)

    def drop(self, resource: ResourceType) -> None:
        """End the informer of a resource that is no longer served."""
        if self._informers.pop(resource, None) is not None:
            self._tasks.pop(resource).cancel()


class Runs(Protocol):
    """What runs beside the controllers until cancelled; a ``Controller`` is one."""

    @property
    def name(self) -> str: ...

    async def run(self) -> None: ...


EventsOf = Callable[[str], EventRecorder]
Beside = Callable[[ClientFor, Informers, EventsOf], Sequence[Runs]]
"""Makes controllers of another room from clients, informers and event recorders."""


async def run(client_for: ClientFor, config: ControllersConfig, beside: Beside | None = None) -> None:
    """Run everything until cancelled."""

    def everything(informers: Informers, events_of: EventsOf) -> list[Runs]:
        graph = Graph(
            client_for(Graph.user),
            informers.whole,
            informers.drop,
            informers.spawn,
            definitions=informers.of(CUSTOM_RESOURCE_DEFINITIONS),
            services=informers.of(API_SERVICES),
        )
        controllers: list[Runs] = [*controllers_of(client_for, informers, graph, events_of, config), graph]
        if beside is not None:
            controllers += beside(client_for, informers, events_of)
        return controllers

    await run_these(client_for, everything)


async def run_these(client_for: ClientFor, make: Callable[[Informers, EventsOf], Sequence[Runs]]) -> None:
    """Run what ``make`` returns, with informers and event recorders that they share, until cancelled."""
    async with asyncio.TaskGroup() as group:
        informers = Informers(client_for("controller-manager"), group)
        recorders: dict[str, EventRecorder] = {}

        def events_of(component: str) -> EventRecorder:
            if component not in recorders:
                recorders[component] = EventRecorder(client_for(component), component)
            return recorders[component]

        made = make(informers, events_of)

        def on_jump() -> None:
            for controller in made:
                if isinstance(controller, Controller):
                    controller.queue.hurry()

        for controller in made:
            group.create_task(controller.run(), name=controller.name)
        group.create_task(follow_jumps(on_jump), name="clock")
        for component, recorder in recorders.items():
            group.create_task(recorder.run(), name=f"events-{component}")


def controllers_of(
    client_for: ClientFor,
    informers: Informers,
    graph: Graph,
    events_of: EventsOf,
    config: ControllersConfig,
) -> list[Controller]:
    """Return the controllers."""
    of = informers.of
    pods, replica_sets = of(PODS), of(REPLICA_SETS)

    def client(controller: type[Controller]) -> Client:
        return client_for(controller.name)

    return [
        DeploymentController(
            client(DeploymentController), of(DEPLOYMENTS), replica_sets, pods, events_of("deployment-controller")
        ),
        ReplicaSetController(client(ReplicaSetController), replica_sets, pods, events_of("replicaset-controller")),
        DaemonSetController(
            client(DaemonSetController),
            of(DAEMON_SETS),
            of(NODES),
            pods,
            of(CONTROLLER_REVISIONS),
            events_of("daemonset-controller"),
        ),
        StatefulSetController(
            client(StatefulSetController),
            of(STATEFUL_SETS),
            pods,
            of(PERSISTENT_VOLUME_CLAIMS),
            of(CONTROLLER_REVISIONS),
            events_of("statefulset-controller"),
        ),
        ReplicationControllerController(
            client(ReplicationControllerController),
            of(REPLICATION_CONTROLLERS),
            pods,
            events_of("replication-controller"),
        ),
        DisruptionController(
            client(DisruptionController),
            of(POD_DISRUPTION_BUDGETS),
            pods,
            replica_sets,
            of(DEPLOYMENTS),
            graph,
            events_of("controllermanager"),
        ),
        StaleDisruptions(client(StaleDisruptions), pods),
        CronJobController(client(CronJobController), of(CRON_JOBS), of(JOBS), events_of("cronjob-controller")),
        HorizontalPodAutoscalerController(
            client(HorizontalPodAutoscalerController),
            of(HORIZONTAL_POD_AUTOSCALERS),
            pods,
            events_of("horizontal-pod-autoscaler"),
            config.autoscaler,
        ),
        JobController(
            client(JobController),
            of(JOBS),
            pods,
            events_of("job-controller"),
            forgets_start=config.suspended_jobs_forget_their_start,
        ),
        OrphanPods(client(JobController), of(JOBS), pods),
        TtlAfterFinishedController(client(TtlAfterFinishedController), of(JOBS)),
        EndpointSliceController(
            client(EndpointSliceController), of(SERVICES), pods, of(ENDPOINT_SLICES), of(ENDPOINTS), of(NODES)
        ),
        NamespaceDefaults(
            client(NamespaceDefaults), of(NAMESPACES), of(SERVICE_ACCOUNTS), of(CONFIG_MAPS), config.root_ca
        ),
        ServiceAccountTokens(client(ServiceAccountTokens), of(SECRETS), of(SERVICE_ACCOUNTS), config.root_ca),
        NamespaceController(client(NamespaceController), of(NAMESPACES), graph),
        GarbageCollector(client(GarbageCollector), graph),
        *volume_controllers(client_for, informers, events_of, config),
        StorageVersionMigrationController(client(StorageVersionMigrationController), graph),
        ResourceQuotaController(client(ResourceQuotaController), of(QUOTAS), graph),
        NodeLifecycleController(
            client(NodeLifecycleController), of(NODES), of(LEASES), pods, events_of("node-controller")
        ),
        PodGarbageCollector(client(PodGarbageCollector), pods, of(NODES)),
        EndpointSliceMirroring(client(EndpointSliceMirroring), of(ENDPOINTS), of(SERVICES), of(ENDPOINT_SLICES)),
        ClusterRoleAggregation(client(ClusterRoleAggregation), of(CLUSTER_ROLES)),
        *identity_controllers(client_for, informers, config),
        *(service_range_controllers(client_for, informers, config.service_cidr) if config.service_cidr else ()),
        *(device_controllers(client_for, informers, events_of, config.device_taints) if config.device_claims else ()),
    ]


def service_range_controllers(client_for: ClientFor, informers: Informers, own: str) -> list[Controller]:
    client, services = client_for(ServiceCidrController.name), informers.of(SERVICES)
    return [
        ServiceCidrController(client, informers.of(SERVICE_CIDRS), services, own),
        IpAddressController(client, informers.of(IP_ADDRESSES), services),
    ]


def device_controllers(
    client_for: ClientFor, informers: Informers, events_of: EventsOf, taints: bool
) -> list[Controller]:
    """Return what keeps ResourceClaims of pods; ``taints``: and ends pods whose devices are tainted."""
    pods, claims = informers.of(PODS), informers.of(RESOURCE_CLAIMS)
    client, events = client_for(ResourceClaimMaker.name), events_of("resource_claim")
    eviction, of = DeviceTaintEviction.name, informers.of
    told = events_of("device-taint-eviction")
    return [
        *([DeviceTaintEviction(client_for(eviction), pods, claims, of(RESOURCE_SLICES), told)] if taints else ()),
        ResourceClaimMaker(client, pods, claims, informers.of(RESOURCE_CLAIM_TEMPLATES), events),
        ResourceClaimReleaser(client, pods, claims),
    ]


def identity_controllers(client_for: ClientFor, informers: Informers, config: ControllersConfig) -> list[Controller]:
    """Return what gives components and nodes their identity: certificates and bootstrap tokens."""
    requests, secrets = informers.of(REQUESTS), informers.of(SECRETS)
    client = client_for(CertificateApprover.name)
    made: list[Controller] = [
        CertificateApprover(client, requests),
        CertificateCleaner(client, requests),
        BootstrapSigner(
            client_for(BootstrapSigner.name), informers.of(CONFIG_MAPS), secrets, config.api_server, config.root_ca
        ),
        TokenCleaner(client_for(TokenCleaner.name), secrets),
        LegacyTokenCleaner(
            client_for(LegacyTokenCleaner.name),
            secrets,
            informers.of(SERVICE_ACCOUNTS),
            informers.of(CONFIG_MAPS),
            informers.of(PODS),
        ),
    ]
    if config.pki_dir is not None:
        made.append(CertificateSigner(client, requests, Authority(config.pki_dir)))
    return made


def volume_controllers(
    client_for: ClientFor, informers: Informers, events_of: EventsOf, config: ControllersConfig
) -> list[Controller]:
    of = informers.of
    claims, volumes, pods = of(PERSISTENT_VOLUME_CLAIMS), of(PERSISTENT_VOLUMES), of(PODS)
    binder, events = client_for(ClaimBinder.name), events_of(VOLUME_COMPONENT)
    made: list[Controller] = []
    if config.volume_attributes:
        client = client_for(AttributesProtection.name)
        made.append(AttributesProtection(client, of(VOLUME_ATTRIBUTES_CLASSES), claims, volumes))
    protection = client_for(ClaimProtection.name)
    return [
        *made,
        ClaimBinder(binder, claims, volumes, of(STORAGE_CLASSES), pods, events),
        VolumeBinder(binder, volumes, claims, events),
        ClaimProtection(protection, claims, pods, tells_unused=config.unused_claims),
        VolumeProtection(client_for(VolumeProtection.name), volumes),
        VolumeExpansion(client_for(VolumeExpansion.name), claims, events_of("volume_expand")),
        AttachDetach(
            client_for(AttachDetach.name),
            pods,
            claims,
            volumes,
            of(NODES),
            of(CSI_DRIVERS),
            of(VOLUME_ATTACHMENTS),
            events_of("attachdetach-controller"),
        ),
        EphemeralVolumes(client_for(EphemeralVolumes.name), pods, claims, events_of("ephemeral_volume")),
    ]


def local_provisioning(
    client_for: ClientFor, informers: Informers, events_of: EventsOf, root: Path | None, own_node: str | None
) -> list[Runs]:
    """Return what makes and deletes the volumes of the class ``standard``; see ``local_provisioner.py``."""
    of, client, events = informers.of, client_for(LocalProvisioner.name), events_of(PROVISIONER)
    claims, volumes, nodes, folders = of(PERSISTENT_VOLUME_CLAIMS), of(PERSISTENT_VOLUMES), of(NODES), Folders(root)
    return [
        LocalProvisioner(client, claims, volumes, of(STORAGE_CLASSES), nodes, events, folders, own_node),
        LocalReclaimer(client, volumes, nodes, events, folders, own_node),
    ]
