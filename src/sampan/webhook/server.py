"""The webhook's server: TLS with a certificate of its own, an informer of namespaces, installed while it runs.

The certificate's authority is new at each start and goes into the configuration with the server's address, so there is
nothing to renew or keep. Exemptions and the pods of a namespace are asked of the API when a review needs them. When the
server ends, its configuration is taken away again: an API must not wait for who is gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from sampan.client.errors import ApiError
from sampan.client.http import HttpClient
from sampan.client.informer import Informer
from sampan.client.protocol import ResourceType
from sampan.client.resources import NAMESPACES, PODS
from sampan.cluster.pki import issue
from sampan.schema.objects import Object
from sampan.security import exemptions
from sampan.security.admission import Outcome, PodSecurityRules
from sampan.webhook.configuration import NAME, PATH, configuration
from sampan.webhook.review import ReviewError, answer, asked, request_of

if TYPE_CHECKING:
    from aiohttp import web

CONFIGURATIONS = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "validatingwebhookconfigurations",
    "ValidatingWebhookConfiguration",
    namespaced=False,
)
EXEMPTIONS = ResourceType(exemptions.GROUP, exemptions.VERSION, exemptions.PLURAL, exemptions.KIND)
LARGEST_REVIEW_BYTES = 8 << 20


@dataclass(frozen=True)
class WebhookConfig:
    host: str
    port: int
    """0 is any that is free."""
    url: str = ""
    """Where the API finds this server; "" is ``https://host:port``."""
    service: str = ""
    """``namespace/name`` of a Service that leads here, instead of a URL."""
    failure_policy: str = "Fail"
    configuration: Mapping[str, Any] = field(default_factory=dict)
    """A PodSecurityConfiguration: defaults and exemptions."""
    spared: Sequence[str] = ("kube-system",)


class Webhook:
    """Answers reviews. ``namespaces`` is kept by an informer."""

    def __init__(self, client: HttpClient, rules: PodSecurityRules, namespaces: Informer) -> None:
        self._client = client
        self._rules = rules
        self._namespaces = namespaces

    async def review(self, body: bytes) -> Object:
        """Return the answer to an AdmissionReview. Raises ``ReviewError``, ``ApiError``."""
        try:
            request = asked(orjson.loads(body))
        except orjson.JSONDecodeError as error:
            raise ReviewError(f"this is no JSON: {error}") from error
        kind = request.get("kind") or {}
        operation, subresource = request.get("operation", ""), request.get("subResource", "")
        if not self._rules.handles(kind.get("group", ""), kind.get("kind", ""), subresource, operation):
            return answer(request, Outcome())
        if kind.get("kind") == "Namespace":
            return answer(request, await self._namespace(request))
        return answer(request, await self._pod(request))

    async def _pod(self, request: Object) -> Outcome:
        given = request_of(request)
        if exempt := self._rules.exempt(given.namespace, given.user):
            return Outcome(annotations={"exempt": exempt})
        policy = self._rules.policy(await self._labels(given.namespace))
        outcome = self._rules.judge(given, policy)
        if outcome.violated and (found := await self._exemptions(given.namespace)):
            outcome = self._rules.judge(given, policy, found)
        return outcome

    async def _namespace(self, request: Object) -> Outcome:
        given, name = request_of(request), str(request.get("name", ""))
        labels = labels_of(given.object)
        before = labels_of(given.old) if given.old is not None else None
        outcome = self._rules.namespace(name, labels, before)
        if not outcome.wrong and self._rules.looks_at_pods(name, labels, before):
            pods = await self._client.list(PODS, name)
            outcome.warnings += self._rules.existing(name, labels, pods.items)
        return outcome

    async def _labels(self, name: str) -> Mapping[str, str]:
        """Return a namespace's labels; one that the informer has not heard of yet is asked for."""
        known = self._namespaces.get(name)
        if known is None:
            known = await self._client.get(NAMESPACES, name)
        return labels_of(known)

    async def _exemptions(self, namespace: str) -> list[Object]:
        try:
            return (await self._client.list(EXEMPTIONS, namespace)).items
        except ApiError as error:
            if error.is_not_found:  # nobody has installed the kind
                return []
            raise


def labels_of(obj: Object) -> Mapping[str, str]:
    return (obj.get("metadata") or {}).get("labels") or {}


async def serve(client: HttpClient, config: WebhookConfig, ready: Callable[[str], None]) -> None:
    """Serve until cancelled. ``ready`` is called with the server's address when the API sends its requests here."""
    from aiohttp import web

    namespaces = Informer(client, NAMESPACES)
    rules = PodSecurityRules(await minor_of(client), config.configuration)
    webhook = Webhook(client, rules, namespaces)
    authority, tls = certificates(config)
    app = web.Application(client_max_size=LARGEST_REVIEW_BYTES)
    app.router.add_post(PATH, lambda request: respond(webhook, request))
    app.router.add_get("/healthz", lambda request: healthy())
    async with asyncio.TaskGroup() as group:
        informer = group.create_task(namespaces.run(), name="informer-namespaces")
        await namespaces.synced()
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1)
        await runner.setup()
        try:
            site = web.TCPSite(runner, config.host, config.port, ssl_context=tls)
            await site.start()
            port = runner.addresses[0][1]
            where = where_of(config, port)
            await install(client, configuration(where, authority, config.failure_policy, list(config.spared)))
            ready(f"https://{config.host}:{port}{PATH}")
            await asyncio.get_running_loop().create_future()
        finally:
            with contextlib.suppress(ApiError, OSError):
                await asyncio.shield(client.delete(CONFIGURATIONS, NAME))
            await runner.cleanup()
            informer.cancel()


async def minor_of(client: HttpClient) -> int:
    """Return the minor version of the API: later standards than its own it does not know."""
    _, body = await client.raw("GET", "/version")
    return int(str(orjson.loads(body)["minor"]).rstrip("+"))


async def respond(webhook: Webhook, request: web.Request) -> web.Response:
    from aiohttp import web

    try:
        found = await webhook.review(await request.read())
    except ReviewError as error:
        return web.Response(status=400, text=str(error))
    except (ApiError, OSError) as error:
        return web.Response(status=500, text=f"the API does not answer: {error}")
    return web.Response(body=orjson.dumps(found), content_type="application/json")


async def healthy() -> web.Response:
    from aiohttp import web

    return web.Response(text="ok")


def where_of(config: WebhookConfig, port: int) -> Object:
    if config.service:
        namespace, _, name = config.service.partition("/")
        return {"service": {"namespace": namespace, "name": name, "path": PATH, "port": port}}
    return {"url": f"{config.url.rstrip('/') or f'https://{config.host}:{port}'}{PATH}"}


def certificates(config: WebhookConfig) -> tuple[bytes, ssl.SSLContext]:
    """Return a new authority's certificate, and TLS with one that it issued for the names under which the API comes."""
    import ipaddress
    from urllib.parse import urlsplit

    hosts = {config.host, urlsplit(config.url).hostname or config.host}
    if config.service:
        namespace, _, name = config.service.partition("/")
        hosts.add(f"{name}.{namespace}.svc")
    addresses, names = set(), set()
    for host in hosts:
        try:
            addresses.add(str(ipaddress.ip_address(host)))
        except ValueError:
            names.add(host)
    authority = issue("sampan-pod-security-webhook-ca", None)
    pair = issue(NAME, authority, names=tuple(names), addresses=tuple(addresses), server=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as folder:
        certificate, key = Path(folder, "tls.crt"), Path(folder, "tls.key")
        certificate.write_bytes(pair.certificate_pem())
        key.touch(0o600)
        key.write_bytes(pair.key_pem())
        context.load_cert_chain(certificate, key)
    return authority.certificate_pem(), context


async def install(client: HttpClient, wanted: Object) -> None:
    """Create the configuration, or take over the one that an earlier server left."""
    try:
        await client.create(CONFIGURATIONS, wanted)
    except ApiError as error:
        if not error.already_exists:
            raise
        await client.patch(CONFIGURATIONS, NAME, wanted, type="merge")
