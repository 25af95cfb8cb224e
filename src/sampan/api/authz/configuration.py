"""An AuthorizationConfiguration file (``--authorization-config``): which authorizers there are, in order, and how webhooks
among them are asked.

``read`` returns the entries of a file, judged as kube-apiserver judges them; ``webhook`` turns one into an authorizer. A
file that was replaced is read with the next request (a ``stat`` each, only where there is such a file); one that is wrong
leaves the old in force. Source: apiserver.config.k8s.io AuthorizationConfiguration; apiserver pkg/apis/apiserver/validation;
KEP-3221.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from sampan.api.authz.chain import AuthorizerChain, Mode
from sampan.api.authz.webhook import Settings, WebhookAuthorizer
from sampan.api.flags import FlagError, duration
from sampan.api.remote import Remote
from sampan.api.request import Attributes
from sampan.api.resources.reading import items, mapping, text
from sampan.api.review_selectors import SINCE as SELECTORS_SINCE
from sampan.api.version import minor
from sampan.schema.causes import Cause, duplicate, invalid, not_supported, required, too_many
from sampan.schema.cel.admission import STRING, STRINGS, UNBOUNDED, MatchConditions, described
from sampan.schema.cel.declared import list_type, map_type
from sampan.schema.cel.environment import Environment, environment
from sampan.schema.names import dns1123_subdomain
from sampan.schema.objects import Object

logger = logging.getLogger("sampan.api")

GROUP_VERSIONS = {"v1alpha1": 29, "v1beta1": 30, "v1": 32}
TYPES = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
ENTRY = ("type", "name", "webhook")
WEBHOOK = (
    "authorizedTTL", "cacheAuthorizedRequests", "unauthorizedTTL", "cacheUnauthorizedRequests", "timeout",
    "subjectAccessReviewVersion", "matchConditionSubjectAccessReviewVersion", "failurePolicy", "connectionInfo",
    "matchConditions",
)  # fmt: skip
MAX_CONDITIONS = 64
MAX_TIMEOUT_SECONDS = 30.0

REQUIREMENTS = list_type(
    described("kubernetes.SelectorRequirement", key=STRING, operator=STRING, values=STRINGS), UNBOUNDED
)
SELECTOR = {"rawSelector": STRING, "requirements": REQUIREMENTS}
TEXTS = dict.fromkeys(("namespace", "verb", "group", "version", "resource", "subresource", "name"), STRING)


@lru_cache(maxsize=8)
def conditions_environment(version: str) -> Environment:
    """Return what match conditions may use: ``request``, a SubjectAccessReview's spec."""
    selectors = (
        {
            "fieldSelector": described("kubernetes.FieldSelectorAttributes", **SELECTOR),
            "labelSelector": described("kubernetes.LabelSelectorAttributes", **SELECTOR),
        }
        if minor(version) >= SELECTORS_SINCE
        else {}
    )
    spec = described(
        "kubernetes.SubjectAccessReviewSpec",
        resourceAttributes=described("kubernetes.ResourceAttributes", **TEXTS, **selectors),
        nonResourceAttributes=described("kubernetes.NonResourceAttributes", path=STRING, verb=STRING),
        user=STRING,
        groups=STRINGS,
        extra=map_type(STRINGS, UNBOUNDED),
        uid=STRING,
    )
    found = environment(version, {"request": spec}, stored=True)
    found.roots = {}
    return found


def read(file: Path, version: str) -> list[Object]:
    """Return the authorizers of a file. Raises ``FlagError`` with everything that is wrong."""
    import yaml

    try:
        found = yaml.safe_load(file.read_text())
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise FlagError(f"failed to load AuthorizationConfiguration from file: {error}") from error
    if not isinstance(found, dict) or found.get("kind") != "AuthorizationConfiguration":
        raise FlagError(f"{file} holds no AuthorizationConfiguration")
    group, _, named = str(found.get("apiVersion")).rpartition("/")
    if group != "apiserver.config.k8s.io" or GROUP_VERSIONS.get(named, 99) > minor(version):
        kind = '"AuthorizationConfiguration"'
        raise FlagError(f'{file}: no kind {kind} is registered for version "{found.get("apiVersion")}"')
    wrong = [f"{cause.field}: {cause.message}" for cause in causes(found, version)]
    wrong += names_that_are_not_expected(items(found, "authorizers"))
    if wrong:
        raise FlagError(wrong[0] if len(wrong) == 1 else f"[{', '.join(wrong)}]")
    return items(found, "authorizers")


def names_that_are_not_expected(entries: list[Object]) -> list[str]:
    return [
        f"expected name {entry['type'].lower()} for authorizer {entry['type']} instead of {text(entry, 'name')}"
        for entry in entries
        if isinstance(entry, dict) and entry.get("type") in TYPES[:-1] and text(entry, "name") != entry["type"].lower()
    ]


def unknown(given: Mapping[str, Any], known: tuple[str, ...], at: str) -> Iterator[Cause]:
    for key in given:
        if key not in known:
            yield invalid(f"{at}.{key}" if at else key, key, "unknown field")


def causes(configuration: Object, version: str) -> Iterator[Cause]:
    """Yield what is wrong with an AuthorizationConfiguration."""
    yield from unknown(configuration, ("kind", "apiVersion", "authorizers"), "")
    entries = items(configuration, "authorizers")
    if not entries:
        yield required("authorizers", "at least one authorization mode must be defined")
    types: set[str] = set()
    names: set[str] = set()
    for index, entry in enumerate(entries):
        at = f"authorizers[{index}]"
        if not isinstance(entry, dict):
            yield invalid(at, entry, "an object is wanted")
            continue
        yield from unknown(entry, ENTRY, at)
        kind, name = text(entry, "type"), text(entry, "name")
        if not kind:
            yield required(f"{at}.type")
        elif kind not in TYPES:
            yield not_supported(f"{at}.type", kind, TYPES)
        elif kind in types and kind != "Webhook":
            yield duplicate(f"{at}.type", kind)
        else:
            types.add(kind)
            yield from named_causes(name, names, at)
            names.add(name)
            yield from webhook_entry(entry, kind, at, version)


def named_causes(name: str, taken: set[str], at: str) -> Iterator[Cause]:
    if not name:
        yield required(f"{at}.name")
    elif name in taken:
        yield duplicate(f"{at}.name", name)
    elif why := dns1123_subdomain(name):
        yield invalid(f"{at}.name", name, f"authorizer name is invalid: {', '.join(why)}")


def webhook_entry(entry: Object, kind: str, at: str, version: str) -> Iterator[Cause]:
    if kind != "Webhook":
        if entry.get("webhook") is not None:
            yield invalid(f"{at}.webhook", "non-null", "may only be specified when type=Webhook")
    elif not isinstance(entry.get("webhook"), dict):
        yield required(f"{at}.webhook", "required when type=Webhook")
    else:
        yield from webhook_causes(entry["webhook"], at, version)


def webhook_causes(webhook: Object, at: str, version: str) -> Iterator[Cause]:
    """Yield what is wrong with one webhook; as in Kubernetes, paths do not name ``webhook``."""
    yield from unknown(webhook, WEBHOOK, f"{at}.webhook")
    for key in ("cacheAuthorizedRequests", "cacheUnauthorizedRequests"):
        if not isinstance(webhook.get(key, True), bool):
            yield invalid(f"{at}.{key}", webhook[key], "must be a boolean")
    yield from duration_causes(webhook, "timeout", at, MAX_TIMEOUT_SECONDS)
    yield from duration_causes(webhook, "authorizedTTL", at)
    yield from duration_causes(webhook, "unauthorizedTTL", at)
    yield from choice(webhook, "subjectAccessReviewVersion", ("v1", "v1beta1"), at)
    conditions = items(webhook, "matchConditions")
    match_version = text(webhook, "matchConditionSubjectAccessReviewVersion")
    if not match_version and conditions:
        yield required(f"{at}.matchConditionSubjectAccessReviewVersion", "required if match conditions are specified")
    elif match_version not in ("", "v1"):
        yield not_supported(f"{at}.matchConditionSubjectAccessReviewVersion", match_version, ("v1",))
    yield from choice(webhook, "failurePolicy", ("NoOpinion", "Deny"), at)
    yield from connection_causes(mapping(webhook, "connectionInfo"), f"{at}.connectionInfo")
    yield from condition_causes(conditions, f"{at}.matchConditions", version)


def duration_causes(webhook: Object, key: str, at: str, most: float = 0.0) -> Iterator[Cause]:
    given = webhook.get(key)
    if given is None and not most:
        return  # has a default
    try:
        seconds = duration(str(given or "0").removeprefix("-")) * (-1 if str(given).startswith("-") else 1)
    except ValueError as error:
        yield invalid(f"{at}.{key}", given, str(error))
        return
    if not seconds and most:
        yield required(f"{at}.{key}")
    elif seconds < 0 or (most and seconds > most):
        yield invalid(f"{at}.{key}", given, "must be > 0s and <= 30s" if most else "must be > 0s")


def choice(webhook: Object, key: str, known: tuple[str, ...], at: str) -> Iterator[Cause]:
    given = text(webhook, key)
    if not given:
        yield required(f"{at}.{key}")
    elif given not in known:
        yield not_supported(f"{at}.{key}", given, known)


def connection_causes(connection: Object, at: str) -> Iterator[Cause]:
    kind, file = text(connection, "type"), text(connection, "kubeConfigFile")
    yield from unknown(connection, ("type", "kubeConfigFile"), at)
    if not kind:
        yield required(f"{at}.type")
    elif kind != "KubeConfigFile":
        # an API server that asks itself (InClusterConfig) cannot work: kube-apiserver does not either
        yield not_supported(f"{at}.type", kind, ("KubeConfigFile",))
    elif not file:
        yield required(f"{at}.kubeConfigFile")
    elif not Path(file).is_absolute():
        yield invalid(f"{at}.kubeConfigFile", file, "must be an absolute path")
    elif not Path(file).exists():
        yield invalid(f"{at}.kubeConfigFile", file, f"error loading file: stat {file}: no such file or directory")
    elif not Path(file).is_file():
        yield invalid(f"{at}.kubeConfigFile", file, "must be a regular file")


def condition_causes(conditions: list[Any], at: str, version: str) -> Iterator[Cause]:
    if len(conditions) > MAX_CONDITIONS:
        yield too_many(at, len(conditions), MAX_CONDITIONS)
        return
    known: set[str] = set()
    for index, condition in enumerate(conditions):
        expression, path = text(condition, "expression"), f"{at}[{index}].expression"
        if not expression.strip():
            yield required(path)
        elif expression in known:
            yield duplicate(path, expression)
        else:
            known.add(expression)
            made = MatchConditions([condition], version, env=conditions_environment(version))
            yield from (cause._replace(field=path) for cause in made.causes(at))


def webhook(given: Object, version: str, selectors: bool) -> WebhookAuthorizer:
    """Return the authorizer of a webhook that was judged."""

    def kept(seconds: str, cached: str, default: str) -> float:
        return duration(given.get(seconds) or default) if given.get(cached) is not False else 0.0

    conditions = items(given, "matchConditions")
    settings = Settings(
        version=given["subjectAccessReviewVersion"],
        allowed_seconds=kept("authorizedTTL", "cacheAuthorizedRequests", "5m"),
        denied_seconds=kept("unauthorizedTTL", "cacheUnauthorizedRequests", "30s"),
        timeout_seconds=duration(given["timeout"]),
        denies_on_error=given["failurePolicy"] == "Deny",
        conditions=MatchConditions(conditions, version, env=conditions_environment(version)) if conditions else None,
        selectors=selectors,
    )
    return WebhookAuthorizer(Remote(Path(given["connectionInfo"]["kubeConfigFile"])), settings)


class ConfiguredAuthorizers(AuthorizerChain):
    """The chain of a file; it is another one when the file was replaced. Raises ``FlagError`` at first."""

    def __init__(self, file: Path, version: str, own: Mapping[str, Callable[[], Mode]], selectors: bool = True) -> None:
        self._file, self._version, self._selectors = file, version, selectors
        self._own = {kind: make for kind, make in own.items() if kind != "Webhook"}
        self._made: dict[str, Mode] = {}
        self._state = self._stat()
        self._webhooks: list[WebhookAuthorizer] = []
        entries = read(file, version)
        self._types = {entry["type"] for entry in entries}
        super().__init__(self._modes(entries))

    def _stat(self) -> tuple[int, int]:
        try:
            status = self._file.stat()
        except OSError:
            return (0, 0)
        return status.st_ino, status.st_mtime_ns

    def _modes(self, entries: list[Object]) -> list[Mode]:
        return [self._mode(entry) for entry in entries]

    def _mode(self, entry: Object) -> Mode:
        kind = entry["type"]
        if kind == "Webhook":
            made = webhook(entry["webhook"], self._version, self._selectors)
            self._webhooks.append(made)
            return made
        if kind not in self._made:
            self._made[kind] = self._own[kind]()
        return self._made[kind]

    def pending(self, attributes: Attributes) -> bool:
        state = self._stat()
        if state != self._state:
            self._state = state
            self._read_again()
        return super().pending(attributes)

    def _read_again(self) -> None:
        try:
            entries = read(self._file, self._version)
            for kind in {entry["type"] for entry in entries} - self._types - {"Webhook"}:
                raise FlagError(
                    f"authorizer type {kind} is not allowed if it was not enabled at initial server startup"
                )
            for kind in self._types - {entry["type"] for entry in entries} - {"Webhook"}:
                raise FlagError(f"missing required types: [{kind}]")
        except FlagError as error:
            logger.error("the authorization configuration stays as it was: %s", error)
            return
        self.use(self._modes(entries))
        logger.info("the authorization configuration was read anew")

    async def close(self) -> None:
        for made in self._webhooks:
            await made.close()
