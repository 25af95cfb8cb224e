"""What ingress-nginx's annotations ask of the routes of an Ingress: filters of Gateway API where it has them, Middlewares
where it has not, a note where neither can.

``TRANSLATED`` is the table: annotation → function that takes what it says into a ``Behaviour``. ``UNNEEDED`` need no
counterpart (Envoy does so anyway), ``LOST`` have none. Source: ingress-nginx, user guide, annotations.
"""

from __future__ import annotations

import copy
import re
from dataclasses import dataclass, field
from typing import Any

from sampan.gateway.convert import nginx_authentication, nginx_traffic
from sampan.gateway.convert.nginx_values import Annotations, BadValue
from sampan.gateway.convert.notes import Notes
from sampan.gateway.convert.sources import name_from
from sampan.gateway.kinds.resources import OWN_GROUP
from sampan.schema.objects import Object

PREFIX = "nginx.ingress.kubernetes.io/"
GROUP = re.compile(r"\$(\d)")
MIDDLEWARE = {"group": OWN_GROUP, "kind": "Middleware"}
REGEX_SIGNS = re.compile(r"[(\[*+?|^$\\]")


@dataclass
class Behaviour:
    """What all routes of one Ingress do beside forwarding."""

    owner: str
    filters: list[Object] = field(default_factory=list)
    middlewares: dict[str, Object] = field(default_factory=dict)
    """Middleware option (``rateLimit``) → its settings."""
    path_middlewares: dict[str, Object] = field(default_factory=dict)
    """Name of a Middleware that only one path has → its spec."""
    rule: Object = field(default_factory=dict)
    """Further fields of each rule: timeouts, retry, sessionPersistence."""
    policies: list[Object] = field(default_factory=list)
    """Objects of their own (BackendTLSPolicy)."""
    aliases: list[str] = field(default_factory=list)
    redirect: Object | None = None
    """Instead of forwarding."""
    application_root: str = ""
    rewrite_target: str = ""
    uses_regex: bool = False
    passthrough: bool = False
    redirects_www: bool = False
    ssl_redirect: bool = False
    force_ssl_redirect: bool = False

    def matches_by_regex(self, path: str) -> bool:
        return self.uses_regex or (bool(self.rewrite_target) and bool(REGEX_SIGNS.search(path)))

    def redirects_to_https(self, has_certificate: bool) -> bool:
        return self.force_ssl_redirect or (self.ssl_redirect and has_certificate)

    def first_rules(self) -> list[Object]:
        """Return rules for single paths that come before the Ingress's own."""
        if not self.application_root:
            return []
        away = {"path": {"type": "ReplaceFullPath", "replaceFullPath": self.application_root}, "statusCode": 302}
        match = {"path": {"type": "Exact", "value": "/"}}
        return [{"matches": [match], "filters": [{"type": "RequestRedirect", "requestRedirect": away}]}]

    def redirecting(self, rules: list[Object]) -> list[Object]:
        """Return rules that serve what came by HTTPS to the proxy before us (it says so), and send the rest there."""
        served = copy.deepcopy(rules)
        for rule in served:
            rule.setdefault("matches", [{"path": {"type": "PathPrefix", "value": "/"}}])
            for match in rule["matches"]:
                match.setdefault("headers", []).append({"name": "X-Forwarded-Proto", "value": "https"})
        away = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 308}}
        return [*served, {"filters": [away]}]

    def dressed(self, rule: Object, path: str) -> Object:
        """Return a rule with all that the annotations add to it."""
        filters = copy.deepcopy(self.filters)
        middlewares = [self._name(option) for option in self.middlewares]
        if self.rewrite_target:
            if self.matches_by_regex(path) and GROUP.search(self.rewrite_target):
                middlewares.append(self._path_middleware(path))
            else:
                full = {"type": "ReplaceFullPath", "replaceFullPath": self.rewrite_target}
                merge_rewrite(filters, {"path": full})
        if self.redirect is not None:
            kept = [entry for entry in filters if entry["type"] != "URLRewrite"]
            return {"matches": rule.get("matches", []), "filters": [*kept, copy.deepcopy(self.redirect)]}
        filters += [{"type": "ExtensionRef", "extensionRef": {**MIDDLEWARE, "name": name}} for name in middlewares]
        return {**rule, **copy.deepcopy(self.rule), **({"filters": filters} if filters else {})}

    def _path_middleware(self, path: str) -> str:
        """Return the name of the Middleware that rewrites a path by its groups. nginx puts the whole path anew, and
        nothing for a group that is not there."""
        expression = f"(?i)^{path.removeprefix('^')}"
        expression += "" if expression.endswith(("$", ".*")) else ".*"
        try:
            groups = re.compile(expression.replace("(?i)", "")).groups
        except re.error as error:
            raise BadValue(f"{path}: {error}") from error
        target = GROUP.sub(lambda found: found[0] if int(found[1]) <= groups else "", self.rewrite_target)
        name = name_from(self.owner, "path", path)
        spec = {"replacePathRegex": {"regex": expression, "replacement": target}}
        while self.path_middlewares.setdefault(name, spec) != spec:
            name += "-x"
        return name

    def _name(self, option: str) -> str:
        return name_from(self.owner, re.sub(r"(?<=[a-z])(?=[A-Z])", "-", option))

    def objects(self, namespace: str) -> list[Object]:
        """Return the Middlewares and policies the routes refer to."""
        specs = {self._name(option): {option: settings} for option, settings in self.middlewares.items()}
        found: list[Object] = []
        for name, spec in (specs | self.path_middlewares).items():
            metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
            found.append(
                {"apiVersion": f"{OWN_GROUP}/v1alpha1", "kind": "Middleware", "metadata": metadata, "spec": spec}
            )
        return found + self.policies


def merge_rewrite(filters: list[Object], change: Object) -> None:
    """Add to the one URLRewrite that a rule may have."""
    for entry in filters:
        if entry["type"] == "URLRewrite":
            entry["urlRewrite"] |= change
            return
    filters.append({"type": "URLRewrite", "urlRewrite": change})


def is_canary(obj: Object) -> bool:
    return str((obj["metadata"].get("annotations") or {}).get(f"{PREFIX}canary", "")).lower() == "true"


def read_annotations(obj: Object, notes: Notes, nginx: bool) -> Behaviour:
    """Return what the annotations of an Ingress ask for; every one that asks for more is noted."""
    behaviour = Behaviour(obj["metadata"]["name"], ssl_redirect=nginx)
    values = Annotations(obj, PREFIX, notes)
    for name in values:
        if name in UNNEEDED or (name in UNNEEDED_VALUES and values[name].lower() in UNNEEDED_VALUES[name]):
            values.changed(name, "needs nothing here")
        elif name in LOST:
            values.lost(name, LOST[name])
        elif name not in TRANSLATED:
            values.lost(name, "this annotation is not known")
        else:
            try:
                TRANSLATED[name](behaviour, values)
            except BadValue as error:
                values.lost(name, str(error))
    return behaviour


# what is neither authentication nor traffic: rewriting and the like


def app_root(behaviour: Behaviour, values: Annotations) -> None:
    behaviour.application_root = values["app-root"]


def rewrite_target(behaviour: Behaviour, values: Annotations) -> None:
    behaviour.rewrite_target = values["rewrite-target"]
    behaviour.uses_regex |= bool(GROUP.search(behaviour.rewrite_target))


def use_regex(behaviour: Behaviour, values: Annotations) -> None:
    behaviour.uses_regex |= values.flag("use-regex")


def server_alias(behaviour: Behaviour, values: Annotations) -> None:
    behaviour.aliases += [name for name in values.words("server-alias") if not name.startswith("~")]
    if any(name.startswith("~") for name in values.words("server-alias")):
        raise BadValue("host names cannot be expressions")


def upstream_vhost(behaviour: Behaviour, values: Annotations) -> None:
    if "$" in values["upstream-vhost"]:
        raise BadValue("variables of nginx are not known here")
    merge_rewrite(behaviour.filters, {"hostname": values["upstream-vhost"]})


def forwarded_prefix(behaviour: Behaviour, values: Annotations) -> None:
    header = {"name": "X-Forwarded-Prefix", "value": values["x-forwarded-prefix"]}
    behaviour.filters.append({"type": "RequestHeaderModifier", "requestHeaderModifier": {"set": [header]}})


def switch(field_name: str) -> Any:
    def read(behaviour: Behaviour, values: Annotations) -> None:
        setattr(behaviour, field_name, values.flag(NAMES[field_name]))

    return read


NAMES = {
    "ssl_redirect": "ssl-redirect",
    "force_ssl_redirect": "force-ssl-redirect",
    "passthrough": "ssl-passthrough",
    "redirects_www": "from-to-www-redirect",
}
TRANSLATED: dict[str, Any] = {
    "app-root": app_root,
    "rewrite-target": rewrite_target,
    "use-regex": use_regex,
    "server-alias": server_alias,
    "upstream-vhost": upstream_vhost,
    "x-forwarded-prefix": forwarded_prefix,
    **{annotation: switch(name) for name, annotation in NAMES.items()},
    **nginx_authentication.TRANSLATED,
    **nginx_traffic.TRANSLATED,
}
UNNEEDED = {
    "client-body-buffer-size",
    "connection-proxy-header",
    "enable-rewrite-log",
    "http2-push-preload",
    "preserve-trailing-slash",
    "proxy-buffering",
    "proxy-buffers-number",
    "proxy-buffer-size",
    "proxy-busy-buffers-size",
    "proxy-http-version",
    "proxy-max-temp-file-size",
    "proxy-request-buffering",
    "ssl-prefer-server-ciphers",
}
UNNEEDED_VALUES = {
    "affinity-mode": ("balanced",),
    "backend-protocol": ("http", "auto_http"),
    "enable-access-log": ("true",),
    "enable-global-auth": ("true", "false"),
    "enable-modsecurity": ("false",),
    "enable-opentelemetry": ("false",),
    "enable-opentracing": ("false",),
    "load-balance": ("round_robin",),
    "proxy-cookie-domain": ("off",),
    "proxy-cookie-path": ("off",),
    "proxy-redirect-from": ("off", "default"),
    "satisfy": ("all",),
    "service-upstream": ("false",),
}
LOST_TOGETHER = {
    "configuration of nginx is not read here: write a Middleware or a Plugin": (
        "configuration-snippet",
        "server-snippet",
        "stream-snippet",
        "auth-snippet",
        "modsecurity-snippet",
    ),
    "certificates of clients are the Gateway's matter: spec.tls.frontend of the Gateway, of the whole port": (
        "auth-tls-secret",
        "auth-tls-verify-client",
        "auth-tls-verify-depth",
        "auth-tls-error-page",
        "auth-tls-match-cn",
        "auth-tls-pass-certificate-to-upstream",
    ),
    "there is no choice of endpoints but by cookie": (
        "upstream-hash-by",
        "upstream-hash-by-subset",
        "upstream-hash-by-subset-size",
        "load-balance",
        "service-upstream",
    ),
    "cookies and locations of answers are not rewritten: write a Plugin": (
        "proxy-cookie-domain",
        "proxy-cookie-path",
        "proxy-redirect-from",
        "proxy-redirect-to",
    ),
    "there is no ModSecurity": ("enable-modsecurity", "enable-owasp-core-rules", "modsecurity-transaction-id"),
    "one of several authentications is not enough here: all are asked": ("satisfy",),
    "the ciphers of a listener are Envoy's good ones": ("ssl-ciphers",),
    "sessions move when endpoints come": ("affinity-mode",),
    "the access log is the Gateway's": ("enable-access-log",),
    "only what is allowed can be listed: use an ipAllowList": ("denylist-source-range",),
}
LOST = {name: why for why, names in LOST_TOGETHER.items() for name in names}
