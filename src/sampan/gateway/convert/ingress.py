"""Ingress v1 as Gateways and HTTPRoutes.

All Ingresses of a class in a namespace share a Gateway with a listener for each host and protocol; an Ingress gets an
HTTPRoute for each of its hosts. What its annotations add is in ``nginx_annotations.py``; a canary of ingress-nginx joins the
rules of its main Ingress (``nginx_canaries.py``).
Source: Kubernetes networking.k8s.io/v1 Ingress; Gateway API v1.
"""

from __future__ import annotations

from typing import Any

from sampan.gateway.convert.gateways import SharedGateway
from sampan.gateway.convert.nginx_annotations import PREFIX, Behaviour, is_canary, read_annotations
from sampan.gateway.convert.nginx_canaries import Canaries
from sampan.gateway.convert.nginx_values import BadValue
from sampan.gateway.convert.sources import Sources, made, name_from, namespace_of
from sampan.schema.objects import Object

GROUPS = ("networking.k8s.io", "extensions")
CLASS_ANNOTATION = "kubernetes.io/ingress.class"
FOREIGN = ("traefik.ingress.kubernetes.io/", "alb.ingress.kubernetes.io/", "haproxy.org/", "nginx.org/", "konghq.com/")


def convert_ingresses(sources: Sources) -> list[Object]:
    ingresses = [obj for group in GROUPS for obj in sources.of(group, "Ingress")]
    canaries = Canaries(sources, [obj for obj in ingresses if is_canary(obj)])
    gateways: dict[tuple[str, str], SharedGateway] = {}
    made_of_them: list[Object] = []
    for obj in ingresses:
        if is_canary(obj):
            continue
        name = class_of(obj) or sources.gateway_class
        shared = gateways.setdefault(
            (namespace_of(obj), name), SharedGateway(sources, namespace_of(obj), name_from(name))
        )
        made_of_them += OneIngress(sources, obj, shared, canaries).objects()
    canaries.tell_unused()
    return [shared.object() for shared in gateways.values()] + made_of_them


def class_of(obj: Object) -> str:
    annotations = obj["metadata"].get("annotations") or {}
    return str((obj.get("spec") or {}).get("ingressClassName") or annotations.get(CLASS_ANNOTATION) or "")


class OneIngress:
    """The objects that one Ingress becomes."""

    def __init__(self, sources: Sources, obj: Object, gateway: SharedGateway, canaries: Canaries) -> None:
        self.sources, self.source, self.gateway, self.canaries = sources, obj, gateway, canaries
        self.notes = sources.about(obj)
        self.namespace, self.name = namespace_of(obj), obj["metadata"]["name"]
        self.spec: Object = obj.get("spec") or {}
        self.behaviour: Behaviour = read_annotations(obj, self.notes, is_nginx(obj))
        self.rule_names: set[str] = set()

    def objects(self) -> list[Object]:
        self._tell_foreign_annotations()
        secrets = self._secrets()
        by_host: dict[str, list[tuple[str, Object]]] = {}
        for number, rule in enumerate(self.spec.get("rules") or ()):
            paths = (rule.get("http") or {}).get("paths") or ()
            found = by_host.setdefault(rule.get("host") or "", [])
            found += [(f"spec.rules[{number}].http.paths[{at}]", path) for at, path in enumerate(paths)]
        result: list[Object] = []
        if self._default_backend() is not None:
            by_host.setdefault("", [])
        for host, paths in by_host.items():
            result += (
                self._passthrough(host, paths) if self.behaviour.passthrough else self._routes(host, paths, secrets)
            )
        return [*self.behaviour.objects(self.namespace), *result]

    def _tell_foreign_annotations(self) -> None:
        for key in self.source["metadata"].get("annotations") or {}:
            if key.startswith(FOREIGN):
                self.notes.lost(f"metadata.annotations[{key}]", "annotations of this controller are not known here")

    def _secrets(self) -> dict[str, str]:
        """Return host → name of its certificate's Secret; ``""`` for hosts that no entry names."""
        secrets: dict[str, str] = {}
        for number, entry in enumerate(self.spec.get("tls") or ()):
            secret = entry.get("secretName", "")
            if not secret:
                self.notes.lost(
                    f"spec.tls[{number}].secretName", "the controller's own certificate was meant: name a Secret"
                )
                continue
            secrets |= dict.fromkeys(entry.get("hosts") or ("",), secret)
        return secrets

    def _secret_of(self, host: str, secrets: dict[str, str]) -> str:
        parent = "*." + host.partition(".")[2]
        return secrets.get(host) or secrets.get(parent) or secrets.get("") or ""

    def _listener(self, host: str, protocol: str, secret: str = "") -> str:
        port = 80 if protocol == "HTTP" else 443
        name = name_from(host or "all", protocol)
        return self.gateway.listener(name, host, port, protocol, secret, passthrough=protocol == "TLS")

    def _routes(self, host: str, paths: list[tuple[str, Object]], secrets: dict[str, str]) -> list[Object]:
        behaviour, secret = self.behaviour, self._secret_of(host, secrets)
        hosts = [host, *behaviour.aliases] if host else []
        plain = [self._listener(name, "HTTP") for name in hosts or [""]]
        secure = [self._listener(name, "HTTPS", secret) for name in hosts or [""]] if secret else []
        rules = [rule for at, path in paths for rule in self._rules(host, at, path)]
        rules = [*behaviour.first_rules(), *rules]
        default = self._default_backend()
        if default is not None and not any(takes_all(rule) for rule in rules):
            rules.append(behaviour.dressed({"backendRefs": [default]}, "/"))
        redirects = behaviour.redirects_to_https(bool(secret))
        sections = secure if redirects and secure else [*plain, *secure]
        found = [self._route(name_from(self.name, host), hosts, sections, rules)]
        if redirects:
            if not secure:
                self.notes.changed(
                    "spec.tls", "plain requests are sent to HTTPS, which something before the Gateway serves"
                )
                found = [self._route(name_from(self.name, host), hosts, plain, behaviour.redirecting(rules))]
            else:
                to_https = {"type": "RequestRedirect", "requestRedirect": {"scheme": "https", "statusCode": 308}}
                found.append(self._route(name_from(self.name, host, "https"), hosts, plain, [{"filters": [to_https]}]))
        if host and behaviour.redirects_www:
            found.append(self._www(host, secret))
        return found

    def _route(self, name: str, hosts: list[str], sections: list[str], rules: list[Object]) -> Object:
        parents = [{"name": self.gateway.name, "sectionName": section} for section in sections]
        spec: dict[str, Any] = {"parentRefs": parents, **({"hostnames": hosts} if hosts else {}), "rules": rules}
        return made("HTTPRoute", name, self.namespace, spec, self.source["metadata"].get("labels"))

    def _www(self, host: str, secret: str) -> Object:
        other = host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"
        sections = [self._listener(other, "HTTP")]
        if secret:
            sections.append(self._listener(other, "HTTPS", secret))
            self.notes.changed(
                f"metadata.annotations[{PREFIX}from-to-www-redirect]", f"{secret} must name {other}, too"
            )
        away = {"type": "RequestRedirect", "requestRedirect": {"hostname": host, "statusCode": 308}}
        return self._route(name_from(self.name, other), [other], sections, [{"filters": [away]}])

    def _rules(self, host: str, at: str, path: Object) -> list[Object]:
        """Return the rules of one path: its own, and those of a canary before it."""
        backend = self._backend(f"{at}.backend", path.get("backend") or {})
        if backend is None:
            return []
        match = self._match(at, path)
        rule = {"matches": [{"path": match}], "backendRefs": [backend]}
        try:
            dressed = self.behaviour.dressed(rule, path.get("path") or "/")
        except BadValue as error:
            self.notes.lost(f"{at}.path", str(error))
            return []
        return self.canaries.joined(host, path, dressed, self._backend)

    def _match(self, at: str, path: Object) -> Object:
        value, kind = path.get("path") or "/", path.get("pathType", "ImplementationSpecific")
        if kind != "Exact" and self.behaviour.matches_by_regex(value):
            self.notes.changed(
                f"{at}.path", "an expression must fit the whole path here: .* is added, and (?i) as in nginx"
            )
            return {
                "type": "RegularExpression",
                "value": f"(?i){value}.*" if not value.endswith(("$", ".*")) else f"(?i){value}",
            }
        if kind == "ImplementationSpecific":
            self.notes.changed(f"{at}.pathType", "ImplementationSpecific is taken as Prefix")
        return {"type": "Exact" if kind == "Exact" else "PathPrefix", "value": value}

    def _default_backend(self) -> Object | None:
        backend = self.spec.get("defaultBackend") or self.spec.get("backend")
        return self._backend("spec.defaultBackend", backend) if backend else None

    def _backend(self, at: str, backend: Object) -> Object | None:
        """Return a backendRef, None (told) where there is none."""
        if resource := backend.get("resource"):
            return {"group": resource.get("apiGroup", ""), "kind": resource["kind"], "name": resource["name"]}
        service = backend.get("service") or {
            "name": backend.get("serviceName"),
            "port": old_port(backend.get("servicePort")),
        }
        if not service.get("name"):
            self.notes.lost(at, "there is no backend: the path is left out")
            return None
        port = service.get("port") or {}
        number = port.get("number")
        if number is None:
            number = self.sources.service_port(self.namespace, service["name"], str(port.get("name", "")))
            if number is None:
                missing = f'the number of port "{port.get("name")}" is in service "{service["name"]}": add its file'
                self.notes.lost(f"{at}.service.port.name", missing)
                return None
            self.notes.changed(f"{at}.service.port.name", f"ports have numbers: {number}")
        return {"name": service["name"], "port": number}

    def _passthrough(self, host: str, paths: list[tuple[str, Object]]) -> list[Object]:
        """Return a TLSRoute: what is not decrypted has no paths."""
        backends = [self._backend(f"{at}.backend", path.get("backend") or {}) for at, path in paths]
        known = [backend for backend in backends if backend is not None]
        if not host or not known:
            self.notes.lost(
                f"metadata.annotations[{PREFIX}ssl-passthrough]", "a passthrough needs a host and a backend"
            )
            return []
        if len(known) > 1:
            self.notes.lost(
                "spec.rules", f"without decryption there are no paths: all of {host} goes to {known[0]['name']}"
            )
        parents = [{"name": self.gateway.name, "sectionName": self._listener(host, "TLS")}]
        spec = {"parentRefs": parents, "hostnames": [host], "rules": [{"backendRefs": [known[0]]}]}
        return [made("TLSRoute", name_from(self.name, host), self.namespace, spec)]


def takes_all(rule: Object) -> bool:
    return any(match.get("path") == {"type": "PathPrefix", "value": "/"} for match in rule.get("matches") or ())


def old_port(port: object) -> Object:
    """Return a port of the v1beta1 form (a number or a name) in that of v1."""
    return {"number": port} if isinstance(port, int) else {"name": port}


def is_nginx(obj: Object) -> bool:
    """Whether an Ingress was written for ingress-nginx: only then its defaults (redirects to HTTPS) count."""
    annotations = obj["metadata"].get("annotations") or {}
    return "nginx" in class_of(obj) or any(key.startswith(PREFIX) for key in annotations)
