"""From the settings of an API to its auditor."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from sampan.api.audit.auditor import Auditor, Backend
from sampan.api.audit.log_file import LogFile
from sampan.api.audit.policy import Policy, read_policy
from sampan.api.audit.webhook import Batching, WebhookBackend
from sampan.api.flags import FlagError, Flags
from sampan.api.metrics.exposition import Family, Sample
from sampan.api.remote import Remote

if TYPE_CHECKING:
    from sampan.api.app import Api


def auditor_of(api: Api, flags: Flags) -> Auditor | None:
    """Return the auditor that the settings ask for, None for none; a webhook's sender runs beside the API. Raises
    ``FlagError``."""
    backends: list[Backend] = []
    if flags.audit_log_path:
        path = None if flags.audit_log_path == "-" else Path(flags.audit_log_path)
        size, backups, days = flags.audit_log_maxsize << 20, flags.audit_log_maxbackup, flags.audit_log_maxage
        backends.append(LogFile(path, max_bytes=size, backups=backups, days=days))
    if flags.audit_webhook_config_file is not None:
        batching = Batching(
            flags.audit_webhook_batch_buffer_size,
            flags.audit_webhook_batch_max_size,
            flags.audit_webhook_batch_max_wait,
            flags.audit_webhook_initial_backoff,
        )
        webhook = WebhookBackend(Remote(flags.audit_webhook_config_file), batching)
        api.spawn("audit-webhook", webhook.run())
        backends.append(webhook)
    if not backends:
        return None
    if flags.audit_policy_file is None:
        raise FlagError("an audit log or webhook needs --audit-policy-file")
    auditor = Auditor(Policy(read_policy(flags.audit_policy_file)), backends)
    api.closing.append(auditor.close)
    api.metric_sources.append(lambda: [events(auditor)])
    return auditor


def events(auditor: Auditor) -> Family:
    return Family("apiserver_audit_event_total", "counter", "Events of the audit log.", [Sample({}, auditor.events)])
