"""Encryption at rest: what goes to the database is sealed, what is in memory and served is not.

In: an ``EncryptionConfiguration`` (apiserver.config.k8s.io/v1). The first rule that names a resource decides: its first
provider seals, any of its providers opens, told apart by the prefix that Kubernetes gives them
(``k8s:enc:aescbc:v1:KEY:``), so that keys are rotated by putting a new one first. The key of the record is bound into
what ``aesgcm`` seals. Ciphers are imported when there is something to seal.
Source: kubernetes "Encrypting Confidential Data at Rest"; apiserver pkg/storage/value/encrypt.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sampan.store.layout import resource_of
from sampan.store.protocol import StoreError

SEALED = b"k8s:enc:"
KEY_BYTES = {"aescbc": (16, 24, 32), "aesgcm": (16, 24, 32), "secretbox": (32,)}


class Provider(NamedTuple):
    """One key of one cipher: ``prefix`` marks what it sealed; ``seal`` and ``open`` take data and its context."""

    prefix: bytes
    seal: Callable[[bytes, bytes], bytes]
    open: Callable[[bytes, bytes], bytes]


class Rule(NamedTuple):
    """``resources`` as they are written (``secrets``, ``*.apps``); the first provider seals."""

    resources: tuple[str, ...]
    providers: tuple[Provider, ...]


def plain(data: bytes, context: bytes) -> bytes:
    return data


IDENTITY = Provider(b"", plain, plain)


class Encryption:
    """The rules of one configuration; without any, nothing is sealed."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)
        self._providers: dict[tuple[str, str], tuple[Provider, ...]] = {}

    def __bool__(self) -> bool:
        return bool(self._rules)

    def seal(self, key: str, value: bytes, context: bytes = b"") -> bytes:
        """Return the bytes to store under a key; ``context`` is what the database calls it, where that is not the key."""
        if not self._rules:
            return value
        provider = self._of(key)[0]
        return provider.prefix + provider.seal(value, context or key.encode())

    def open(self, key: str, data: bytes, context: bytes = b"") -> bytes:
        """Return the value of stored bytes. Raises ``StoreError`` where no key opens them."""
        if not data.startswith(SEALED):
            return data
        for provider in self._of(key):
            if provider.prefix and data.startswith(provider.prefix):
                try:
                    return provider.open(data[len(provider.prefix) :], context or key.encode())
                except Exception as error:
                    raise StoreError(
                        f"{key} cannot be decrypted with its key: {error or type(error).__name__}"
                    ) from error
        told = data[: data.find(b":", data.find(b":v1:") + 4)].decode(errors="replace")
        raise StoreError(f"{key} is encrypted ({told}), and no key for it is configured (encryption-provider-config)")

    def stale(self, key: str, data: bytes) -> bool:
        """Whether stored bytes would be sealed otherwise today."""
        prefix = self._of(key)[0].prefix
        return not data.startswith(prefix) if prefix else data.startswith(SEALED)

    def _of(self, key: str) -> tuple[Provider, ...]:
        resource = resource_of(key)
        known = self._providers.get(resource)
        if known is None:
            found = next((rule.providers for rule in self._rules if matches(rule.resources, *resource)), (IDENTITY,))
            known = self._providers[resource] = found
        return known


def matches(resources: Sequence[str], plural: str, group: str) -> bool:
    exact = f"{plural}.{group}" if group else plural
    return any(name in (exact, f"*.{group}", "*.*") for name in resources)


# the configuration


def read(path: Path) -> Encryption:
    """Return the rules of a file. Raises ``StoreError`` naming the field that is wrong."""
    import yaml

    try:
        return parse(yaml.safe_load(path.read_text()))
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise StoreError(f"{path}: {error}") from error


def parse(configuration: Any) -> Encryption:
    """Return the rules of an EncryptionConfiguration. Raises ``ValueError``."""
    if not isinstance(configuration, dict) or configuration.get("kind") != "EncryptionConfiguration":
        raise ValueError("kind: Invalid value: an EncryptionConfiguration is wanted")
    if str(configuration.get("apiVersion", "")).partition("/")[0] != "apiserver.config.k8s.io":
        raise ValueError("apiVersion: Invalid value: apiserver.config.k8s.io/v1 is wanted")
    rules = configuration.get("resources")
    if not isinstance(rules, list) or not rules:
        raise ValueError("resources: Required value: at least one rule is needed")
    return Encryption([rule(f"resources[{index}]", given) for index, given in enumerate(rules)])


def rule(at: str, given: Any) -> Rule:
    resources, providers = (
        given.get(field) if isinstance(given, dict) else None for field in ("resources", "providers")
    )
    if (
        not isinstance(resources, list)
        or not resources
        or not all(isinstance(name, str) and name for name in resources)
    ):
        raise ValueError(f"{at}.resources: Required value: resources are needed, like secrets or *.apps")
    for name in resources:
        if "*" in name and not (name.startswith("*.") and "*" not in name[2:]) and name != "*.*":
            raise ValueError(f"{at}.resources: Invalid value: {name!r}: use '*.<group>' or '*.*'")
    if not isinstance(providers, list) or not providers:
        raise ValueError(f"{at}.providers: Required value: at least one provider is needed")
    made = [one for index, entry in enumerate(providers) for one in provider(f"{at}.providers[{index}]", entry)]
    return Rule(tuple(resources), tuple(made))


def provider(at: str, given: Any) -> list[Provider]:
    if not isinstance(given, dict) or len(given) != 1:
        raise ValueError(f"{at}: Invalid value: exactly one of {', '.join(KEY_BYTES)}, identity")
    name, settings = next(iter(given.items()))
    if name == "identity":
        return [IDENTITY]
    if name not in CIPHERS:
        raise ValueError(f"{at}.{name}: Unsupported value: supported values: {', '.join(KEY_BYTES)}, identity")
    keys = settings.get("keys") if isinstance(settings, dict) else None
    if not isinstance(keys, list) or not keys:
        raise ValueError(f"{at}.{name}.keys: Required value: at least one key is needed")
    return [cipher(f"{at}.{name}.keys[{index}]", name, key) for index, key in enumerate(keys)]


def cipher(at: str, name: str, given: Mapping[str, Any]) -> Provider:
    key_name, secret = (given.get(field) if isinstance(given, dict) else None for field in ("name", "secret"))
    if not isinstance(key_name, str) or not key_name or ":" in key_name:
        raise ValueError(f"{at}.name: Invalid value: {key_name!r}: a name without colons is needed")
    try:
        key = base64.b64decode(secret or "", validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise ValueError(f"{at}.secret: Invalid value: it is not base64") from None
    if len(key) not in KEY_BYTES[name]:
        sizes = ", ".join(map(str, KEY_BYTES[name]))
        raise ValueError(f"{at}.secret: Invalid value: it has {len(key)} bytes, {name} wants {sizes}")
    seal, open_ = CIPHERS[name](key)
    return Provider(b"%b%b:v1:%b:" % (SEALED, name.encode(), key_name.encode()), seal, open_)


# the ciphers

Functions = tuple[Callable[[bytes, bytes], bytes], Callable[[bytes, bytes], bytes]]


def aescbc(key: bytes) -> Functions:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
    from cryptography.hazmat.primitives.padding import PKCS7

    def seal(value: bytes, context: bytes) -> bytes:
        start, padder = os.urandom(16), PKCS7(128).padder()
        encryptor = Cipher(algorithms.AES(key), modes.CBC(start)).encryptor()
        return start + encryptor.update(padder.update(value) + padder.finalize()) + encryptor.finalize()

    def open_(data: bytes, context: bytes) -> bytes:
        decryptor, unpadder = Cipher(algorithms.AES(key), modes.CBC(data[:16])).decryptor(), PKCS7(128).unpadder()
        padded = decryptor.update(data[16:]) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()

    return seal, open_


def aesgcm(key: bytes) -> Functions:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    gcm = AESGCM(key)

    def seal(value: bytes, context: bytes) -> bytes:
        nonce = os.urandom(12)
        return nonce + gcm.encrypt(nonce, value, context)

    def open_(data: bytes, context: bytes) -> bytes:
        return gcm.decrypt(data[:12], data[12:], context)

    return seal, open_


def secretbox(key: bytes) -> Functions:
    from nacl.secret import SecretBox

    box = SecretBox(key)

    def seal(value: bytes, context: bytes) -> bytes:
        return bytes(box.encrypt(value))

    def open_(data: bytes, context: bytes) -> bytes:
        return bytes(box.decrypt(data))

    return seal, open_


CIPHERS: dict[str, Callable[[bytes], Functions]] = {"aescbc": aescbc, "aesgcm": aesgcm, "secretbox": secretbox}
