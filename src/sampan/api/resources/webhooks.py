"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration as objects: defaults and validation. What they do to writes
is in ``admission/webhooks.py``.

Source: kubernetes pkg/apis/admissionregistration (v1/defaults.go, validation/validation.go), apiserver pkg/util/webhook.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

from sampan.api.resource import Cause, Column
from sampan.api.resources.checking import PORT_RANGE, collect, label_selector
from sampan.api.resources.columns import AGE, NAME
from sampan.api.resources.reading import items, mapping
from sampan.api.resources.urls import parsed
from sampan.schema.causes import duplicate, invalid, not_supported, required, too_many
from sampan.schema.names import dns1035_label, dns1123_subdomain, qualified_name
from sampan.schema.objects import Object

OPERATIONS = ("*", "CONNECT", "CREATE", "DELETE", "UPDATE")
SCOPES = ("*", "Cluster", "Namespaced")
SIDE_EFFECTS = ("None", "NoneOnDryRun")
REVIEW_VERSIONS = ("v1", "v1beta1")
KNOWN = ", ".join(REVIEW_VERSIONS)
URL_FORM = "; desired format: https://host[/path]"
MAX_MATCH_CONDITIONS = 64
COLUMNS = (NAME, Column("Webhooks", lambda o: len(items(o, "webhooks")), type="integer"), AGE)


def default_webhooks(configuration: Object) -> None:
    for webhook in items(configuration, "webhooks"):
        webhook.setdefault("failurePolicy", "Fail")
        webhook.setdefault("matchPolicy", "Equivalent")
        webhook.setdefault("namespaceSelector", {})
        webhook.setdefault("objectSelector", {})
        webhook.setdefault("timeoutSeconds", 10)
        if configuration.get("kind") == "MutatingWebhookConfiguration":
            webhook.setdefault("reinvocationPolicy", "Never")
        default_service_port(mapping(webhook, "clientConfig"))
        for rule in items(webhook, "rules"):
            rule.setdefault("scope", "*")


def default_service_port(client_config: Object) -> None:
    service = client_config.get("service")
    if isinstance(service, dict):
        service.setdefault("port", 443)


def webhooks_by_version(minor: int) -> dict[str, Any]:
    return {"validate": collect(partial(validate_webhooks, version=f"1.{minor}"))}


def validate_webhooks(new: Object, old: Object | None, *, version: str) -> Iterator[Cause]:
    seen: set[str] = set()
    judged = conditions_of(new) != conditions_of(old or {}) or old is None
    for index, webhook in enumerate(items(new, "webhooks")):
        path = f"webhooks[{index}]"
        yield from check_webhook(path, webhook, configuration_kind=new.get("kind") or "")
        if judged and items(webhook, "matchConditions"):
            compile = match_condition_compiler(old, version)
            yield from check_match_conditions(f"{path}.matchConditions", items(webhook, "matchConditions"), compile)
        yield from check_review_versions(f"{path}.admissionReviewVersions", items(webhook, "admissionReviewVersions"))
        name = webhook.get("name") or ""
        if name and name in seen:
            yield duplicate(f"{path}.name", name)
        seen.add(name)


def check_webhook(path: str, webhook: Object, configuration_kind: str) -> Iterator[Cause]:
    yield from check_name(f"{path}.name", webhook.get("name") or "")
    for index, rule in enumerate(items(webhook, "rules")):
        yield from check_rule(f"{path}.rules[{index}]", rule)
    yield from check_choice(f"{path}.failurePolicy", webhook.get("failurePolicy"), ("Fail", "Ignore"))
    yield from check_choice(f"{path}.matchPolicy", webhook.get("matchPolicy"), ("Equivalent", "Exact"))
    side_effects = webhook.get("sideEffects")
    if side_effects is None:
        yield required(f"{path}.sideEffects", f"must specify one of {', '.join(SIDE_EFFECTS)}")
    yield from check_choice(f"{path}.sideEffects", side_effects, SIDE_EFFECTS)
    timeout = webhook.get("timeoutSeconds")
    if timeout is not None and not 1 <= timeout <= 30:
        yield invalid(f"{path}.timeoutSeconds", timeout, "the timeout value must be between 1 and 30 seconds")
    for name in ("namespaceSelector", "objectSelector"):
        yield from label_selector(f"{path}.{name}", webhook.get(name))
    if configuration_kind == "MutatingWebhookConfiguration":
        yield from check_choice(f"{path}.reinvocationPolicy", webhook.get("reinvocationPolicy"), ("IfNeeded", "Never"))
    yield from check_client_config(f"{path}.clientConfig", mapping(webhook, "clientConfig"))


def check_choice(path: str, value: Any, known: tuple[str, ...]) -> Iterator[Cause]:
    if value is not None and value not in known:
        yield not_supported(path, value, known)


def check_name(path: str, name: str) -> Iterator[Cause]:
    """``IsFullyQualifiedName``."""
    if not name:
        yield required(path)
        return
    messages = dns1123_subdomain(name)
    if messages:
        yield invalid(path, name, ",".join(messages))
    elif name.count(".") < 2:
        yield invalid(path, name, "should be a domain with at least three segments separated by dots")


def check_rule(path: str, rule: Object) -> Iterator[Cause]:
    operations = items(rule, "operations")
    if not operations:
        yield required(f"{path}.operations")
    if len(operations) > 1 and "*" in operations:
        yield invalid(f"{path}.operations", operations, "if '*' is present, must not specify other operations")
    for index, operation in enumerate(operations):
        yield from check_choice(f"{path}.operations[{index}]", operation, OPERATIONS)
    for key, what in (("apiGroups", "API groups"), ("apiVersions", "API versions")):
        values = items(rule, key)
        if not values:
            yield required(f"{path}.{key}")
        if len(values) > 1 and "*" in values:
            yield invalid(f"{path}.{key}", values, f"if '*' is present, must not specify other {what}")
    for index, version in enumerate(items(rule, "apiVersions")):
        if not version:
            yield required(f"{path}.apiVersions[{index}]")
    yield from check_resources(f"{path}.resources", items(rule, "resources"))
    yield from check_choice(f"{path}.scope", rule.get("scope"), SCOPES)


def check_resources(path: str, resources: list[str]) -> Iterator[Cause]:
    if not resources:
        yield required(path)
    any_subresource: set[str] = set()
    any_resource: set[str] = set()
    whole = False
    for index, entry in enumerate(resources):
        if not entry:
            yield required(f"{path}[{index}]")
            continue
        resource, slash, subresource = entry.partition("/")
        if not slash:
            whole = entry != "*"
            continue
        if resource in any_subresource:
            yield invalid(f"{path}[{index}]", entry, f"if '{resource}/*' is present, must not specify {entry}")
        if subresource in any_resource:
            yield invalid(f"{path}[{index}]", entry, f"if '*/{subresource}' is present, must not specify {entry}")
        if subresource == "*":
            any_subresource.add(resource)
        if resource == "*":
            any_resource.add(subresource)
    if len(resources) > 1 and "*/*" in resources:
        yield invalid(path, resources, "if '*/*' is present, must not specify other resources")
    if "*" in resources and whole:
        yield invalid(path, resources, "if '*' is present, must not specify other resources without subresources")


def check_client_config(path: str, client_config: Object) -> Iterator[Cause]:
    url, service = client_config.get("url"), client_config.get("service")
    if (url is None) == (service is None):
        yield required(path, "exactly one of url or service is required")
    elif url is not None:
        yield from check_url(f"{path}.url", url)
    else:
        yield from check_service(f"{path}.service", mapping(client_config, "service"))


def check_url(path: str, text: str) -> Iterator[Cause]:
    try:
        url = parsed(text)
    except ValueError as error:
        yield required(path, f"url must be a valid URL: {error}{URL_FORM}")
        return
    if url.scheme != "https":
        yield invalid(path, url.scheme, f"'https' is the only allowed URL scheme{URL_FORM}")
    if not url.host:
        yield invalid(path, "", f"host must be specified{URL_FORM}")
    if url.user is not None:
        yield invalid(path, url.user, "user information is not permitted in the URL")
    if url.fragment:
        yield invalid(path, url.fragment, "fragments are not permitted in the URL")
    if url.query:
        yield invalid(path, url.query, "query parameters are not permitted in the URL")


def check_service(path: str, service: Object) -> Iterator[Cause]:
    """``ValidateWebhookService``, which everybody calls with name and namespace swapped."""
    for key, other in (("name", "namespace"), ("namespace", "name")):
        if not service.get(other):
            yield required(f"{path}.{key}")
    port = service.get("port", 443)
    if not isinstance(port, int) or not 0 < port < 65536:
        yield invalid(f"{path}.port", port, f"port is not valid: {PORT_RANGE}")
    if service.get("path"):
        yield from check_url_path(f"{path}.path", service["path"])


def check_url_path(path: str, value: str) -> Iterator[Cause]:
    if value == "/":
        return
    if value == "//":
        yield invalid(path, value, "segment[0] may not be empty")
        return
    if not value.startswith("/"):
        yield invalid(path, value, "must start with a '/'")
    for index, step in enumerate(value[1:].removesuffix("/").split("/")):
        if not step:
            yield invalid(path, value, f"segment[{index}] may not be empty")
        for message in dns1123_subdomain(step) if step else ():
            yield invalid(path, value, f"segment[{index}]: {message}")


Compile = Callable[[str, str], Iterable[Cause]]
"""``(path, expression)`` → why a match condition is refused."""


def conditions_of(configuration: Object) -> list[list[Object]]:
    return [items(webhook, "matchConditions") for webhook in items(configuration, "webhooks")]


def match_condition_compiler(old: Object | None, version: str) -> Compile:
    """Return what compiles a match condition; those that ``old`` has may use what the newest libraries have."""
    from sampan.schema.cel.policy_checks import match_condition

    known = {one.get("expression") for conditions in conditions_of(old or {}) for one in conditions}
    return lambda path, expression: match_condition(path, expression, version, stored=expression in known)


def check_match_conditions(path: str, conditions: list[Object], compile: Compile) -> Iterator[Cause]:
    if len(conditions) > MAX_MATCH_CONDITIONS:
        yield too_many(path, len(conditions), MAX_MATCH_CONDITIONS)
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        here = f"{path}[{index}]"
        expression = condition.get("expression") or ""
        if not expression.strip():
            yield required(f"{here}.expression")
        else:
            yield from compile(f"{here}.expression", expression)
        name = condition.get("name") or ""
        if not name:
            yield required(f"{here}.name")
        for message in qualified_name(name) if name else ():
            yield invalid(f"{here}.name", name, message)
        if name and name in seen:
            yield duplicate(f"{here}.name", name)
        seen.add(name)


def check_review_versions(
    path: str, versions: list[str], missing: str = f"must specify one of {KNOWN}"
) -> Iterator[Cause]:
    """Judge the review versions of a webhook; ``missing`` says what is wrong when there are none."""
    if not versions:
        yield required(path, missing)
        return
    for index, version in enumerate(versions):
        if version in versions[:index]:
            yield invalid(f"{path}[{index}]", version, "duplicate version")
            continue
        yield from (invalid(f"{path}[{index}]", version, message) for message in dns1035_label(version))
    if not set(REVIEW_VERSIONS) & set(versions):
        yield invalid(path, versions, f"must include at least one of {KNOWN}")
