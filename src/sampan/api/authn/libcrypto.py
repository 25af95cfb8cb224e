"""P-256 keys in the OpenSSL that Python's own ``ssl`` has loaded: they sign and verify ServiceAccount tokens.

``cryptography`` brings a second OpenSSL: 11 MB in an API whose first token came, and 60 ms for that token. It is taken where
the interpreter's OpenSSL cannot be called, as in one that is linked statically.
Source: the manual pages EVP_DigestSign(3), EVP_DigestVerify(3), PEM_read_bio_PrivateKey(3), the same in OpenSSL 1.1.1 and 3.
"""

from __future__ import annotations

import _ssl
import ctypes
import functools
import ssl  # noqa: F401  (initializes the library)
from collections.abc import Callable
from ctypes import POINTER, byref, c_char_p, c_int, c_size_t, c_void_p
from typing import Any

from sampan.api.der import elements

NUMBER_BYTES = 32
"""Of each of the two numbers of a signature."""
SEQUENCE, INTEGER = 0x30, 0x02

_FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "BIO_new_mem_buf": (c_void_p, [c_char_p, c_int]),
    "BIO_free": (c_int, [c_void_p]),
    "PEM_read_bio_PrivateKey": (c_void_p, [c_void_p, c_void_p, c_void_p, c_void_p]),
    "PEM_read_bio_PUBKEY": (c_void_p, [c_void_p, c_void_p, c_void_p, c_void_p]),
    "EVP_PKEY_free": (None, [c_void_p]),
    "EVP_MD_CTX_new": (c_void_p, []),
    "EVP_MD_CTX_free": (None, [c_void_p]),
    "EVP_sha256": (c_void_p, []),
    "EVP_DigestSignInit": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    "EVP_DigestSign": (c_int, [c_void_p, c_char_p, POINTER(c_size_t), c_char_p, c_size_t]),
    "EVP_DigestVerifyInit": (c_int, [c_void_p, c_void_p, c_void_p, c_void_p, c_void_p]),
    "EVP_DigestVerify": (c_int, [c_void_p, c_char_p, c_size_t, c_char_p, c_size_t]),
    "ERR_clear_error": (None, []),
    "ERR_peek_error": (ctypes.c_ulong, []),
}


class BadKey(ValueError):
    """A file holds no P-256 key."""


@functools.cache
def library() -> Any:
    """Return the functions of the interpreter's OpenSSL. Raises ``OSError`` or ``AttributeError`` where none is in reach."""
    path = getattr(_ssl, "__file__", None)
    if path is None:
        raise OSError("the interpreter has its OpenSSL inside")
    found = ctypes.CDLL(path)  # a symbol is looked for in what a library stands on, too
    for name, (result, arguments) in _FUNCTIONS.items():
        function = getattr(found, name)
        function.restype, function.argtypes = result, arguments
    return found


class Key:
    """One key of a PEM file, private or public. It lives as long as the process."""

    def __init__(self, pem: bytes, read: str) -> None:
        openssl = library()
        buffer = openssl.BIO_new_mem_buf(pem, len(pem))
        self._key = getattr(openssl, read)(buffer, None, None, None)
        openssl.BIO_free(buffer)
        if not self._key:
            openssl.ERR_clear_error()  # else the next TLS connection would take the error for its own
            raise BadKey("no key in PEM")

    def _with_context(self, do: Callable[[Any, Any], int]) -> bool:
        openssl = library()
        context = openssl.EVP_MD_CTX_new()
        try:
            good = do(openssl, context) == 1
        finally:
            openssl.EVP_MD_CTX_free(context)
        if not good:
            openssl.ERR_clear_error()
        return good


class PrivateKey(Key):
    def __init__(self, pem: bytes) -> None:
        super().__init__(pem, "PEM_read_bio_PrivateKey")

    def sign(self, data: bytes) -> bytes:
        """Return the 64 bytes of an ES256 signature (RFC 7518 3.4). Raises ``BadKey``."""
        signature, size = ctypes.create_string_buffer(128), c_size_t(128)

        def do(openssl: Any, context: Any) -> int:
            if openssl.EVP_DigestSignInit(context, None, openssl.EVP_sha256(), None, self._key) != 1:
                return 0
            return int(openssl.EVP_DigestSign(context, signature, byref(size), data, len(data)))

        if not self._with_context(do):
            raise BadKey("the key signs nothing")
        return numbers_of(signature.raw[: size.value])


class PublicKey(Key):
    def __init__(self, pem: bytes) -> None:
        super().__init__(pem, "PEM_read_bio_PUBKEY")

    def verifies(self, signature: bytes, data: bytes) -> bool:
        """Whether an ES256 signature of 64 bytes is this key's over ``data``."""
        encoded = der_of(signature)

        def do(openssl: Any, context: Any) -> int:
            if openssl.EVP_DigestVerifyInit(context, None, openssl.EVP_sha256(), None, self._key) != 1:
                return 0
            return int(openssl.EVP_DigestVerify(context, encoded, len(encoded), data, len(data)))

        return self._with_context(do)


def numbers_of(signature: bytes) -> bytes:
    """Return the two numbers of a signature in DER (RFC 3279 2.2.3), 32 bytes each."""
    (_, whole), *_ = elements(signature)
    numbers = [int.from_bytes(content, "big") for _, content in elements(whole)]
    return b"".join(number.to_bytes(NUMBER_BYTES, "big") for number in numbers)


def der_of(signature: bytes) -> bytes:
    """Return a signature's two numbers in DER. A DER integer has a sign: 33 bytes where the first bit is set."""
    parts = []
    for half in (signature[:NUMBER_BYTES], signature[NUMBER_BYTES:]):
        number = int.from_bytes(half, "big")
        content = number.to_bytes(number.bit_length() // 8 + 1, "big")
        parts.append(bytes((INTEGER, len(content))) + content)
    body = b"".join(parts)
    return bytes((SEQUENCE, len(body))) + body
