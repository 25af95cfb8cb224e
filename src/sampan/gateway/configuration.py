"""What a gateway is told when it starts: where Envoy listens, where files lie, who else there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from sampan.client.kubeconfig import Connection
from sampan.gateway.kinds.resources import CLASS
from sampan.gateway.replicas import Replica
from sampan.gateway.xds.metrics import PORT as METRICS_PORT


@dataclass(frozen=True, slots=True)
class GatewayConfig:
    node_ip: str
    """The address that Envoy listens on."""
    run_dir: Path
    state_dir: Path
    log_dir: Path
    kubeconfig: Path = Path()
    connection: Connection | None = None
    """What leads to the API, where it is not a kubeconfig."""
    on_host: bool = False
    """Whether Gateways have their ports on the host itself; else each has a Service that leads to a port of Envoy's."""
    owns_envoy: bool = False
    """Whether Envoy ends with us; else it serves on while we are started again."""
    replica: Replica | None = None
    """Which of several this is; None: there is no other."""
    starts_envoy: bool = True
    workers: int = 1
    """Envoy's threads that serve requests."""
    metrics_port: int = METRICS_PORT
    """Where Envoy's counters are served; 0: nowhere."""
    health_port: int = 0
    """Where it is told whether this is alive and ready; 0: nowhere."""
    makes_kinds: bool = True
    """Whether kinds that are missing are made; else they are waited for."""

    gateway_class: str = CLASS
    """The GatewayClass and IngressClass that it makes, and whose controllerName it claims."""

    secret_namespaces: tuple[str, ...] = ()
    """The namespaces whose Secrets it reads; empty: all of the cluster's."""

    @property
    def reached_at(self) -> str:
        """The address that slices lead to."""
        return self.replica.address if self.replica is not None else self.node_ip

    def make_folders(self) -> None:
        # sockets that private keys go over, settings of plugins: for nobody else's eyes
        for folder in (self.run_dir, self.state_dir / "plugins"):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.log_dir.mkdir(parents=True, exist_ok=True)
