"""ConfigMaps, Secrets and ServiceAccounts. Source: kubernetes pkg/apis/core/validation, pkg/registry/core/secret."""

from __future__ import annotations

import base64
from collections.abc import Iterator

import orjson

from sampan.api.resource import Cause, Column, Resource
from sampan.api.resources.checking import collect, config_keys, immutable
from sampan.api.resources.columns import AGE, NAME, count
from sampan.api.resources.reading import dig, items, mapping, text
from sampan.schema.causes import forbidden, invalid, required, too_long
from sampan.schema.objects import Object

MAX_BYTES = 1 << 20
MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
MOUNTABLE_GONE = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
IMMUTABLE_SET = "field is immutable when `immutable` is set"
REQUIRED_KEYS = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}


def sealed(new: Object, old: Object | None, fields: tuple[str, ...]) -> Iterator[Cause]:
    """What an immutable ConfigMap or Secret does not let one change."""
    if old is None or not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden("immutable", IMMUTABLE_SET)
    for field in fields:
        if mapping(new, field) != mapping(old, field):
            yield forbidden(field, IMMUTABLE_SET)


def text_bytes(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))


def decoded_bytes(value: str) -> int:
    """Return the bytes that base64 text stands for."""
    return len(value) * 3 // 4 - value.endswith("=") - value.endswith("==")


def validate_config_map(new: Object, old: Object | None) -> Iterator[Cause]:
    data, binary = mapping(new, "data"), mapping(new, "binaryData")
    yield from config_keys("data", data)
    for key in data:
        if key in binary:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    yield from config_keys("binaryData", binary)
    size = sum(map(text_bytes, data.values())) + sum(map(decoded_bytes, binary.values()))
    if size > MAX_BYTES:
        yield too_long("[]", MAX_BYTES)  # a path without a name is shown so
    yield from sealed(new, old, ("data", "binaryData"))


CONFIG_MAP = Resource(
    group="",
    version="v1",
    kind="ConfigMap",
    plural="configmaps",
    short_names=("cm",),
    generation=False,
    validate=collect(validate_config_map),
    trusts_definition=False,
    columns=(
        NAME,
        Column("Data", lambda o: len(mapping(o, "data")) + len(mapping(o, "binaryData"))),
        AGE,
    ),
)


def default_secret(secret: Object) -> None:
    if not secret.get("type"):
        secret["type"] = "Opaque"
    plain = secret.pop("stringData", None)
    if plain:
        data = secret.setdefault("data", {})
        for key, value in plain.items():
            data[key] = base64.b64encode(value.encode()).decode()


def validate_secret(new: Object, old: Object | None) -> Iterator[Cause]:
    data = mapping(new, "data")
    yield from config_keys("data", data)
    if sum(map(decoded_bytes, data.values())) > MAX_BYTES:
        yield too_long("data", MAX_BYTES)
    kind = text(new, "type")
    for key in REQUIRED_KEYS.get(kind, ()):
        if key not in data or (key == "ssh-privatekey" and not data[key]):
            yield required(f"data[{key}]")
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & data.keys():
        yield required("data[username]")
        yield required("data[password]")
    if kind == "kubernetes.io/service-account-token":
        name = "kubernetes.io/service-account.name"
        if not mapping(new, "metadata", "annotations").get(name):
            yield required(f"metadata.annotations[{name}]")
    if kind in ("kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"):
        yield from docker_config(data, REQUIRED_KEYS[kind][0])
    if old is not None:
        yield from immutable("type", kind, text(old, "type"))
    yield from sealed(new, old, ("data",))


def docker_config(data: Object, key: str) -> Iterator[Cause]:
    if key not in data:
        return
    why = ""
    try:
        found = orjson.loads(base64.b64decode(data[key]))
    except ValueError as error:
        why = "unexpected end of JSON input" if not data[key] else str(error)
    else:
        if found is not None and not isinstance(found, dict):
            kind = {list: "array", str: "string", bool: "bool"}.get(type(found), "number")
            why = f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
    if why:
        yield invalid(f"data[{key}]", "<secret contents redacted>", why)


SECRET = Resource(
    group="",
    version="v1",
    kind="Secret",
    plural="secrets",
    generation=False,
    default=default_secret,
    validate=collect(validate_secret),
    trusts_definition=False,
    columns=(
        NAME,
        Column("Type", ".type"),
        Column("Data", count("data")),
        AGE,
    ),
    field_selectors={"type": lambda secret: text(secret, "type")},
)


def account_warnings(new: Object, old: Object | None) -> Iterator[str]:
    noted, before = mapping(new, "metadata", "annotations"), mapping(old, "metadata", "annotations")
    if MOUNTABLE in noted and noted[MOUNTABLE] != before.get(MOUNTABLE):
        yield f"metadata.annotations[{MOUNTABLE}]: {MOUNTABLE_GONE}"


def prepare_account(new: Object, old: Object | None) -> None:
    """Of the secrets that an account names, only the names are kept."""
    secrets = items(new, "secrets")
    secrets[:] = [{"name": secret["name"]} if secret.get("name") else {} for secret in secrets]


SERVICE_ACCOUNT = Resource(
    group="",
    version="v1",
    kind="ServiceAccount",
    plural="serviceaccounts",
    short_names=("sa",),
    generation=False,
    prepare=prepare_account,
    warn=account_warnings,
    trusts_definition=False,
    returns_deleted=True,
    columns=(NAME, Column("Secrets", lambda account: len(dig(account, "secrets") or ())), AGE),
)
