"""Secrets with tokens that were made for ServiceAccounts by themselves, and that nobody uses: marked invalid after a year
without use, deleted after another.

``kube-system/kube-apiserver-legacy-service-account-token-tracking`` says since when uses are noted (by the API, on the
Secret). What people made by hand, and what a pod mounts, stays. Source: KEP-2799.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sampan.client.controller import Controller
from sampan.client.errors import ApiError
from sampan.client.informer import Informer, key_of
from sampan.client.protocol import Client
from sampan.client.resources import CONFIG_MAPS, SECRETS
from sampan.controllers.ownership import BY_NAMESPACE, namespace_of
from sampan.schema.durations import parse_time
from sampan.schema.objects import Object
from sampan.schema.pod_references import references

TYPE = "kubernetes.io/service-account-token"
ACCOUNT = "kubernetes.io/service-account.name"
LAST_USED, INVALID_SINCE = "kubernetes.io/legacy-token-last-used", "kubernetes.io/legacy-token-invalid-since"
TRACKING_NAMESPACE, TRACKING = "kube-system", "kube-apiserver-legacy-service-account-token-tracking"
TRACKING_KEY = f"{TRACKING_NAMESPACE}/{TRACKING}"
PERIOD = timedelta(days=365)
"""How long a token must have been idle (legacy-service-account-token-clean-up-period)."""
DAY = "%Y-%m-%d"
A_DAY_SECONDS = 86400.0


def day_of(text: str | None) -> datetime | None:
    try:
        return datetime.strptime(text or "", DAY).replace(tzinfo=UTC)
    except ValueError:
        return None


def idle_since(secret: Object, tracked_since: datetime) -> datetime:
    """Return since when a token was not used, as far as anybody knows."""
    created = parse_time(secret["metadata"]["creationTimestamp"]) or tracked_since
    used = day_of((secret["metadata"].get("labels") or {}).get(LAST_USED))
    return max(created, tracked_since, *([used] if used else []))


def is_made_by_itself(secret: Object, account: Object | None) -> bool:
    """Whether a Secret's token was made for its account, as Kubernetes did before 1.24: the account names it."""
    names = [one.get("name") for one in (account or {}).get("secrets") or ()]
    return secret.get("type") == TYPE and secret["metadata"]["name"] in names


class LegacyTokenCleaner(Controller):
    """Keys are Secrets, and the ConfigMap."""

    name = "legacy-service-account-token-cleaner"

    def __init__(
        self, client: Client, secrets: Informer, accounts: Informer, config_maps: Informer, pods: Informer
    ) -> None:
        super().__init__(client)
        self.secrets, self.accounts, self.config_maps, self.pods = secrets, accounts, config_maps, pods
        pods.add_index(BY_NAMESPACE, namespace_of)
        self._informers.append(pods)
        self.watch(secrets, lambda one: [key_of(one)] if one.get("type") == TYPE else [])
        self.watch(accounts, lambda one: [f"{namespace_of(one)[0]}/{s.get('name')}" for s in one.get("secrets") or ()])
        self.watch(config_maps, lambda one: [TRACKING_KEY] if key_of(one) == TRACKING_KEY else [])

    async def run(self) -> None:
        self.queue.add(TRACKING_KEY)
        await super().run()

    async def reconcile(self, key: str) -> float | None:
        since = day_of(((self.config_maps.get(TRACKING_KEY) or {}).get("data") or {}).get("since"))
        if key == TRACKING_KEY:
            if since is None:
                await self._begin()
            return None
        secret = self.secrets.get(key)
        if secret is None or since is None:
            return None
        name = (secret["metadata"].get("annotations") or {}).get(ACCOUNT, "")
        account = self.accounts.get(f"{secret['metadata']['namespace']}/{name}")
        if not is_made_by_itself(secret, account):
            return None
        now = datetime.now(UTC)
        idle = idle_since(secret, since)
        invalid = day_of((secret["metadata"].get("labels") or {}).get(INVALID_SINCE))
        due = max(idle, invalid) + PERIOD if invalid else idle + PERIOD
        if now < due or self._is_mounted(secret):
            return max((due - now).total_seconds(), A_DAY_SECONDS)
        await self._clean(secret, invalid is not None)
        return None

    async def _begin(self) -> None:
        metadata = {"name": TRACKING, "namespace": TRACKING_NAMESPACE}
        data = {"since": datetime.now(UTC).strftime(DAY)}
        made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
        try:
            await self.client.create(CONFIG_MAPS, made)
        except ApiError as error:
            if not error.already_exists:
                raise
            await self.client.patch(CONFIG_MAPS, TRACKING, {"data": data}, TRACKING_NAMESPACE)

    def _is_mounted(self, secret: Object) -> bool:
        metadata = secret["metadata"]
        pods = self.pods.by_index(BY_NAMESPACE, metadata["namespace"])
        return any(("secrets", metadata["name"]) in references(pod) for pod in pods)

    async def _clean(self, secret: Object, is_invalid: bool) -> None:
        metadata = secret["metadata"]
        if is_invalid:
            await self.client.delete(SECRETS, metadata["name"], metadata["namespace"], uid=metadata["uid"])
            return
        labels = {INVALID_SINCE: datetime.now(UTC).strftime(DAY)}
        patch = {"metadata": {"resourceVersion": metadata["resourceVersion"], "labels": labels}}
        await self.client.patch(SECRETS, metadata["name"], patch, metadata["namespace"])
