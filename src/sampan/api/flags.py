"""The settings of an API server, under the names of kube-apiserver's flags.

In: a mapping as it comes from a file of ``sampan up --api-config`` (``oidc-issuer-url: https://…``). Out: ``Flags``, each
field with its type and kube-apiserver's default. What is not understood is refused: no setting is read and ignored.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NewType, get_type_hints

Seconds = NewType("Seconds", float)
"""Written as Go's durations are: ``90s``, ``2m``, ``1h30m``."""
UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION = re.compile(r"([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


class FlagError(ValueError):
    """A setting that there is not, or whose value is none of its kind."""


@dataclass(frozen=True)
class Flags:
    """``field_name`` is kube-apiserver's ``--field-name``."""

    # who asks
    anonymous_auth: bool = True
    enable_bootstrap_token_auth: bool = True
    """kubeadm's choice; kube-apiserver's own default is false."""
    requestheader_client_ca_file: Path | None = None
    """Who signs front proxies; ``front-proxy-ca.crt`` of the cluster's keys where it is not given and exists."""
    requestheader_allowed_names: tuple[str, ...] = ()
    requestheader_username_headers: tuple[str, ...] = ("X-Remote-User",)
    requestheader_uid_headers: tuple[str, ...] = ("X-Remote-Uid",)
    requestheader_group_headers: tuple[str, ...] = ("X-Remote-Group",)
    requestheader_extra_headers_prefix: tuple[str, ...] = ("X-Remote-Extra-",)

    authentication_config: Path | None = None
    """An AuthenticationConfiguration (apiserver.config.k8s.io): issuers of JWTs, and who may be anonymous where."""
    oidc_issuer_url: str = ""
    oidc_client_id: str = ""
    oidc_ca_file: Path | None = None
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""
    """``-``: none; by default the issuer and ``#``, but for e-mail addresses."""
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_signing_algs: tuple[str, ...] = ("RS256",)
    oidc_required_claim: tuple[str, ...] = ()
    """``key=value``."""
    authentication_token_webhook_config_file: Path | None = None
    """A kubeconfig that says who knows tokens."""
    authentication_token_webhook_version: str = "v1"
    authentication_token_webhook_cache_ttl: Seconds = Seconds(120.0)

    # what is kept
    event_ttl: Seconds = Seconds(3600.0)
    """How long Events live."""
    etcd_compaction_interval: Seconds = Seconds(300.0)
    """How long history is kept, in SQLite, too: how far back lists, watches and `sampan store history` see."""
    encryption_provider_config: Path | None = None
    """An EncryptionConfiguration (apiserver.config.k8s.io/v1): what is encrypted at rest."""

    # what is served
    feature_gates: tuple[str, ...] = ()
    """``WatchList=false``: gates of the emulated version (``feature_gates.py``)."""
    runtime_config: tuple[str, ...] = ()
    """``api/all=true``, ``batch/v2alpha1=false``: versions beside or without those that are on by default."""

    # what a write goes through
    enable_admission_plugins: tuple[str, ...] = ()
    """Plugins beside those that are on by default."""
    disable_admission_plugins: tuple[str, ...] = ()
    default_not_ready_toleration_seconds: int = 300
    default_unreachable_toleration_seconds: int = 300
    """How long pods stay on a node that is not ready or not reached, where they do not say themselves."""
    admission_control_config_file: Path | None = None
    """An AdmissionConfiguration (apiserver.config.k8s.io/v1): what plugins are told."""

    # who may
    authorization_config: Path | None = None
    """An AuthorizationConfiguration (apiserver.config.k8s.io) instead of the settings below: authorizers in order, webhooks
    with conditions among them."""
    authorization_mode: tuple[str, ...] = ("Node", "RBAC")
    authorization_webhook_config_file: Path | None = None
    """A kubeconfig that says who is asked in the mode Webhook."""
    authorization_webhook_version: str = "v1"
    authorization_webhook_cache_authorized_ttl: Seconds = Seconds(300.0)
    authorization_webhook_cache_unauthorized_ttl: Seconds = Seconds(30.0)

    # how much at a time
    enable_priority_and_fairness: bool = True
    max_requests_inflight: int = 133
    max_mutating_requests_inflight: int = 67
    """The sum of both is the number of seats that priority levels share. A third of kube-apiserver's: one loop serves them
    all, and whoever has a seat is before whoever waits (docs/adr/0012)."""
    request_timeout: Seconds = Seconds(60.0)

    # what is written down
    audit_policy_file: Path | None = None
    """A Policy (audit.k8s.io/v1): of which requests how much."""
    audit_log_path: str = ""
    """``-``: standard output, which is the log of the API."""
    audit_log_maxsize: int = 0
    """In MiB, when the file is begun anew; 0: never."""
    audit_log_maxbackup: int = 0
    audit_log_maxage: int = 0
    """In days."""
    audit_webhook_config_file: Path | None = None
    """A kubeconfig that says where Events are sent."""
    audit_webhook_batch_buffer_size: int = 10000
    audit_webhook_batch_max_size: int = 400
    audit_webhook_batch_max_wait: Seconds = Seconds(30.0)
    audit_webhook_initial_backoff: Seconds = Seconds(10.0)

    # what controllers do: kube-controller-manager's flags
    horizontal_pod_autoscaler_sync_period: Seconds = Seconds(15.0)
    horizontal_pod_autoscaler_downscale_stabilization: Seconds = Seconds(300.0)
    horizontal_pod_autoscaler_tolerance: float = 0.1
    horizontal_pod_autoscaler_cpu_initialization_period: Seconds = Seconds(300.0)
    horizontal_pod_autoscaler_initial_readiness_delay: Seconds = Seconds(30.0)


def parse(given: Mapping[str, Any]) -> Flags:
    """Return the settings. Raises ``FlagError`` naming the first that is wrong."""
    kinds = get_type_hints(Flags)
    values: dict[str, Any] = {}
    for name, value in given.items():
        field = name.removeprefix("--").replace("-", "_")
        if field not in kinds:
            raise FlagError(f"unknown flag: --{name.removeprefix('--')}")
        try:
            values[field] = READERS[str(kinds[field])](value)
        except (ValueError, TypeError) as error:
            raise FlagError(f'invalid argument "{value}" for "--{field.replace("_", "-")}" flag: {error}') from None
    return Flags(**values)


def resolved(given: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return settings with the paths of files absolute: what they are relative to is ``folder``."""
    kinds = get_type_hints(Flags)

    def value_of(name: str, value: Any) -> Any:
        field = name.removeprefix("--").replace("-", "_")
        is_path = str(kinds.get(field)) == str(Path | None) or field.endswith("_path")
        return str(folder / str(value)) if is_path and value and value != "-" else value

    return {name: value_of(name, value) for name, value in given.items()}


def files(flags: Flags) -> list[Path]:
    """Return the files that settings name and that must be there."""
    return [
        value
        for field in fields(flags)
        if isinstance(value := getattr(flags, field.name), Path) and not field.name.endswith("_path")
    ]


def boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if str(value).lower() not in ("true", "false", "1", "0", "t", "f"):
        raise ValueError(f'strconv.ParseBool: parsing "{value}": invalid syntax')
    return str(value).lower() in ("true", "1", "t")


def whole(value: Any) -> int:
    if isinstance(value, bool):
        raise ValueError("a number is wanted")
    return int(value)


def text(value: Any) -> str:
    if isinstance(value, (dict, list)) or value is None:
        raise ValueError("a text is wanted")
    return str(value)


def texts(value: Any) -> tuple[str, ...]:
    """A list, or its elements with commas between."""
    return tuple(text(part) for part in (value if isinstance(value, list) else text(value).split(",")) if part != "")


def duration(value: Any) -> Seconds:
    """Return a duration; a bare number is seconds only where it is 0, as in Go."""
    written = text(value)
    if written in ("0", "0.0"):
        return Seconds(0.0)
    parts = DURATION.findall(written)
    if not parts or "".join(number + unit for number, unit in parts) != written:
        raise ValueError(f'time: invalid duration "{written}"')
    return Seconds(sum(float(number) * UNITS[unit] for number, unit in parts))


def path(value: Any) -> Path | None:
    return Path(text(value)) if value else None


READERS: dict[str, Callable[[Any], Any]] = {
    str(bool): boolean,
    str(int): whole,
    str(float): float,
    str(str): text,
    str(tuple[str, ...]): texts,
    str(Seconds): duration,
    str(Path | None): path,
}
