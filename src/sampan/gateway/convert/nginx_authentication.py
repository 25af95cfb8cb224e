"""Annotations of ingress-nginx that decide who may: passwords, an authenticating service, addresses, CORS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sampan.gateway.convert.nginx_values import Annotations, BadValue

if TYPE_CHECKING:
    from sampan.gateway.convert.nginx_annotations import Behaviour

CORS_METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
CORS_HEADERS = (
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
)
CORS_MAX_AGE_SECONDS = 1_728_000


def auth_type(behaviour: Behaviour, values: Annotations) -> None:
    kind, secret = values["auth-type"].lower(), values["auth-secret"]
    if kind not in ("basic", "digest"):
        raise BadValue(f'"{values["auth-type"]}" is neither "basic" nor "digest"')
    if not secret:
        raise BadValue("there is no auth-secret")
    namespace, _, name = secret.rpartition("/")
    if namespace and namespace != values.namespace:
        raise BadValue(f"a Secret of another namespace cannot be read: copy {secret} to the Ingress's")
    if values["auth-secret-type"] == "auth-map":
        raise BadValue("auth-map is not read: the Secret needs one key users with lines as htpasswd writes them")
    settings: dict[str, Any] = {"secret": name}
    if values["auth-realm"]:
        settings["realm"] = values["auth-realm"]
    behaviour.middlewares["basicAuth" if kind == "basic" else "digestAuth"] = settings
    values.changed("auth-secret", f'the users stand under the key "users" of Secret {name}, no longer under "auth"')


def auth_url(behaviour: Behaviour, values: Annotations) -> None:
    url = values["auth-url"]
    if "$" in url:
        raise BadValue("variables of nginx are not known here")
    settings: dict[str, Any] = {"address": url, "trustForwardHeader": True}
    if headers := values.words("auth-response-headers"):
        settings["authResponseHeaders"] = headers
    if signin := values["auth-signin"]:
        if "$" in signin:
            values.lost("auth-signin", "variables of nginx are not known here")
        else:
            settings["authSigninURL"] = signin
    behaviour.middlewares["forwardAuth"] = settings


def part_of(main: str) -> Any:
    """Return what reads an annotation that another one has read already."""

    def read(behaviour: Behaviour, values: Annotations) -> None:
        if main not in values:
            raise BadValue(f"without {main} it asks for nothing")

    return read


def auth_method(behaviour: Behaviour, values: Annotations) -> None:
    if values["auth-method"].upper() != "GET":
        raise BadValue("the service is always asked by GET")


def addresses(name: str) -> Any:
    def read(behaviour: Behaviour, values: Annotations) -> None:
        behaviour.middlewares["ipAllowList"] = {"sourceRange": values.words(name)}

    return read


def cors(behaviour: Behaviour, values: Annotations) -> None:
    if not values.flag("enable-cors"):
        return
    settings: dict[str, Any] = {
        "allowOrigins": values.words("cors-allow-origin") or ["*"],
        "allowMethods": values.words("cors-allow-methods") or [word.strip() for word in CORS_METHODS.split(",")],
        "allowHeaders": values.words("cors-allow-headers") or CORS_HEADERS.split(","),
        "allowCredentials": values.flag("cors-allow-credentials", default=True),
        "maxAge": values.number("cors-max-age", CORS_MAX_AGE_SECONDS),
    }
    if exposed := values.words("cors-expose-headers"):
        settings["exposeHeaders"] = exposed
    behaviour.filters.append({"type": "CORS", "cors": settings})


TRANSLATED: dict[str, Any] = {
    "auth-type": auth_type,
    "auth-secret": part_of("auth-type"),
    "auth-secret-type": part_of("auth-type"),
    "auth-realm": part_of("auth-type"),
    "auth-url": auth_url,
    "auth-response-headers": part_of("auth-url"),
    "auth-signin": part_of("auth-url"),
    "auth-method": auth_method,
    "whitelist-source-range": addresses("whitelist-source-range"),
    "allowlist-source-range": addresses("allowlist-source-range"),
    "enable-cors": cors,
    **dict.fromkeys(
        (
            "cors-allow-origin",
            "cors-allow-methods",
            "cors-allow-headers",
            "cors-allow-credentials",
            "cors-expose-headers",
            "cors-max-age",
        ),
        part_of("enable-cors"),
    ),
}
