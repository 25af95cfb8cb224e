"""Annotations of ingress-nginx about the traffic itself: limits, time, retries, sessions, mirrors, redirects, TLS."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from sampan.gateway.convert.nginx_authentication import part_of
from sampan.gateway.convert.nginx_values import Annotations, BadValue
from sampan.gateway.convert.sources import GATEWAY_API, name_from
from sampan.schema.objects import Object

if TYPE_CHECKING:
    from sampan.gateway.convert.nginx_annotations import Behaviour

BURST_MULTIPLIER = 5
REDIRECT_CODES = (301, 302, 303, 307, 308)
SERVICE_HOST = re.compile(r"([a-z0-9-]+)\.([a-z0-9-]+)\.svc(\..*)?")
DEFAULT_COOKIE = "INGRESSCOOKIE"


def redirect(name: str, code_name: str, default_code: int) -> Any:
    def read(behaviour: Behaviour, values: Annotations) -> None:
        code = values.number(code_name, default_code)
        if code not in REDIRECT_CODES:
            raise BadValue(f"{code} is no status of a redirect: one of {', '.join(map(str, REDIRECT_CODES))}")
        target = urlsplit(values[name])
        if "$" in values[name] or target.query or target.fragment:
            raise BadValue("a redirect has scheme, host, port and path: no variables, no query")
        away: dict[str, Any] = {"statusCode": code}
        if target.scheme:
            away["scheme"] = target.scheme
        if target.hostname:
            away["hostname"] = target.hostname
        if target.port:
            away["port"] = target.port
        if target.path:
            away["path"] = {"type": "ReplaceFullPath", "replaceFullPath": target.path}
        behaviour.redirect = {"type": "RequestRedirect", "requestRedirect": away}

    return read


def rate(name: str, period: str) -> Any:
    def read(behaviour: Behaviour, values: Annotations) -> None:
        average = values.number(name)
        burst = average * values.number("limit-burst-multiplier", BURST_MULTIPLIER)
        if "rateLimit" in behaviour.middlewares:
            raise BadValue("there is one limit of requests: the other annotation has set it")
        behaviour.middlewares["rateLimit"] = {"average": average, "period": period, "burst": burst}
        values.changed(name, "who asks too often is answered 429, not 503")

    return read


def burst(behaviour: Behaviour, values: Annotations) -> None:
    if "limit-rps" not in values and "limit-rpm" not in values:
        raise BadValue("without limit-rps or limit-rpm it asks for nothing")


def connections(behaviour: Behaviour, values: Annotations) -> None:
    amount = values.number("limit-connections")
    behaviour.middlewares["inFlightReq"] = {"amount": amount, "sourceCriterion": {"ipStrategy": {}}}
    text = "requests under way are counted, not connections; too many of a client get 429, not 503"
    values.changed("limit-connections", text)


def body_size(behaviour: Behaviour, values: Annotations) -> None:
    if size := values.bytes("proxy-body-size"):
        behaviour.middlewares["buffering"] = {"maxRequestBodyBytes": size}


def read_timeout(behaviour: Behaviour, values: Annotations) -> None:
    seconds = values["proxy-read-timeout"].removesuffix("s")
    if not seconds.isdecimal():
        raise BadValue(f'"{values["proxy-read-timeout"]}" is no number of seconds')
    behaviour.rule["timeouts"] = {"backendRequest": f"{seconds}s"}
    values.changed("proxy-read-timeout", "is of the whole answer, not of the pause between two reads")


def next_upstream(behaviour: Behaviour, values: Annotations) -> None:
    words = values["proxy-next-upstream"].split()
    if words == ["off"]:
        return
    codes = [int(word.removeprefix("http_")) for word in words if re.fullmatch(r"http_\d{3}", word)]
    retry: dict[str, Any] = {"attempts": max(values.number("proxy-next-upstream-tries", 3) - 1, 0)}
    if codes:
        retry["codes"] = codes
    behaviour.rule["retry"] = retry
    if unknown := [
        word for word in words if not re.fullmatch(r"http_\d{3}", word) and word not in ("error", "timeout")
    ]:
        raise BadValue(f"{' '.join(unknown)}: retries are for errors of the connection and statuses")


def affinity(behaviour: Behaviour, values: Annotations) -> None:
    if values["affinity"] != "cookie":
        raise BadValue('the one affinity is "cookie"')
    session: dict[str, Any] = {"sessionName": values["session-cookie-name"] or DEFAULT_COOKIE, "type": "Cookie"}
    seconds = values.number("session-cookie-max-age") or values.number("session-cookie-expires")
    if seconds:
        session |= {"absoluteTimeout": f"{seconds}s", "cookieConfig": {"lifetimeType": "Permanent"}}
    behaviour.rule["sessionPersistence"] = session


def mirror(behaviour: Behaviour, values: Annotations) -> None:
    target = urlsplit(values["mirror-target"].replace("$request_uri", "").replace("$host", "host"))
    found = SERVICE_HOST.fullmatch(target.hostname or "")
    if found is None:
        raise BadValue("mirrored requests go to a Service: http://NAME.NAMESPACE.svc")
    backend: dict[str, Any] = {"name": found[1], "port": target.port or (443 if target.scheme == "https" else 80)}
    if found[2] != values.namespace:
        backend["namespace"] = found[2]
        values.changed("mirror-target", f"a Service of another namespace needs a ReferenceGrant in {found[2]}")
    behaviour.filters.append({"type": "RequestMirror", "requestMirror": {"backendRef": backend}})


def backend_protocol(behaviour: Behaviour, values: Annotations) -> None:
    protocol = values["backend-protocol"].upper()
    if protocol == "GRPC":
        values.changed("backend-protocol", "set appProtocol: kubernetes.io/h2c in the port of the Service")
    elif protocol in ("HTTPS", "GRPCS"):
        behaviour.policies += backend_tls(values)
        if protocol == "GRPCS":
            values.changed("backend-protocol", "HTTP/2 is agreed on by ALPN")
    else:
        raise BadValue(f"backends do not speak {protocol} here")


def backend_tls(values: Annotations) -> list[Object]:
    """Return a BackendTLSPolicy for each Service of the Ingress. Raises ``BadValue`` where nobody says what to trust."""
    _, _, secret = values["proxy-ssl-secret"].rpartition("/")
    hostname = values["proxy-ssl-name"]
    if values["proxy-ssl-verify"] != "on" or not secret or not hostname:
        raise BadValue("certificates of backends are always verified: write a BackendTLSPolicy with their CA and host name "
                       "(or set proxy-ssl-verify, proxy-ssl-secret and proxy-ssl-name)")  # fmt: skip
    authorities = [{"group": "", "kind": "Secret", "name": secret}]
    found = []
    for name in sorted(services_of(values.source)):
        target = {"group": "", "kind": "Service", "name": name}
        spec = {"targetRefs": [target], "validation": {"caCertificateRefs": authorities, "hostname": hostname}}
        metadata = {
            "name": name_from(values.owner, name),
            **({"namespace": values.namespace} if values.namespace else {}),
        }
        found.append({"apiVersion": GATEWAY_API, "kind": "BackendTLSPolicy", "metadata": metadata, "spec": spec})
    return found


def services_of(ingress: Object) -> set[str]:
    spec = ingress.get("spec") or {}
    backends = [
        path.get("backend") or {}
        for rule in spec.get("rules") or ()
        for path in (rule.get("http") or {}).get("paths") or ()
    ]
    backends.append(spec.get("defaultBackend") or {})
    return {backend["service"]["name"] for backend in backends if backend.get("service")}


def custom_errors(behaviour: Behaviour, values: Annotations) -> None:
    service = values["default-backend"]
    if not service:
        raise BadValue("whose pages are to be shown instead? default-backend names the Service")
    settings = {"status": values.words("custom-http-errors"), "service": {"name": service, "port": 80}, "query": "/"}
    behaviour.middlewares["errors"] = settings
    values.changed("default-backend", f"port 80 of Service {service} is asked for pages: change it if it has another")


TRANSLATED: dict[str, Any] = {
    "permanent-redirect": redirect("permanent-redirect", "permanent-redirect-code", 301),
    "permanent-redirect-code": part_of("permanent-redirect"),
    "temporal-redirect": redirect("temporal-redirect", "temporal-redirect-code", 302),
    "temporal-redirect-code": part_of("temporal-redirect"),
    "limit-rps": rate("limit-rps", "1s"),
    "limit-rpm": rate("limit-rpm", "1m"),
    "limit-burst-multiplier": burst,
    "limit-connections": connections,
    "proxy-body-size": body_size,
    "proxy-read-timeout": read_timeout,
    "proxy-next-upstream": next_upstream,
    "proxy-next-upstream-tries": part_of("proxy-next-upstream"),
    "affinity": affinity,
    "session-cookie-name": part_of("affinity"),
    "session-cookie-max-age": part_of("affinity"),
    "session-cookie-expires": part_of("affinity"),
    "mirror-target": mirror,
    "backend-protocol": backend_protocol,
    "proxy-ssl-secret": part_of("backend-protocol"),
    "proxy-ssl-verify": part_of("backend-protocol"),
    "proxy-ssl-name": part_of("backend-protocol"),
    "proxy-ssl-server-name": part_of("backend-protocol"),
    "custom-http-errors": custom_errors,
    "default-backend": part_of("custom-http-errors"),
}
