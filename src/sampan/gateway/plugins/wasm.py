"""WebAssembly modules: what they are, by what they export.

A module that exports ``proxy_abi_version_*`` is proxy-wasm, which Envoy runs itself; one that exports ``handle_request`` is
http-wasm, as Traefik's plugins are, which ``http_wasm.py`` runs. Source: the WebAssembly core specification (binary format,
export section); the proxy-wasm and http-wasm ABIs.
"""

from __future__ import annotations

from sampan.gateway.plugins.manifest import PluginError

MAGIC = b"\0asm\x01\0\0\0"
EXPORTS = 7
PROXY_WASM, HTTP_WASM = "proxy-wasm", "http-wasm"
PROXY_VERSIONS = ("0_1_0", "0_2_0", "0_2_1")
"""Those that Envoy knows."""


def abi_of(name: str, module: bytes) -> str:
    """Return ``proxy-wasm`` or ``http-wasm``. Raises ``PluginError`` for what is neither."""
    try:
        found = exports_of(module)
    except (ValueError, IndexError, UnicodeDecodeError) as error:
        words = "it ends too early" if isinstance(error, IndexError) else str(error)
        raise PluginError(f"{name}: {words}: this is no WebAssembly module") from None
    versions = [
        export.removeprefix("proxy_abi_version_") for export in found if export.startswith("proxy_abi_version_")
    ]
    if any(version in PROXY_VERSIONS for version in versions):
        return PROXY_WASM
    if versions:
        raise PluginError(f"{name}: proxy-wasm {versions[0]} is not known; known are {', '.join(PROXY_VERSIONS)}")
    if "handle_request" in found and "memory" in found:
        return HTTP_WASM
    raise PluginError(
        f"{name}: it exports neither proxy_abi_version_… (proxy-wasm) nor handle_request and memory (http-wasm)"
    )


def exports_of(module: bytes) -> set[str]:
    """Return the names that a module exports. Raises ``ValueError``, ``IndexError`` for what is none."""
    if not module.startswith(MAGIC):
        raise ValueError("it does not begin as one of version 1")
    offset = len(MAGIC)
    while offset < len(module):
        section = module[offset]
        size, offset = number_at(module, offset + 1)
        if section == EXPORTS:
            return names_in(module, offset)
        offset += size
    return set()


def names_in(module: bytes, offset: int) -> set[str]:
    count, offset = number_at(module, offset)
    found = set()
    for _ in range(count):
        size, offset = number_at(module, offset)
        found.add(module[offset : offset + size].decode())
        _, offset = number_at(module, offset + size + 1)  # past the kind, and the index
    return found


def number_at(module: bytes, offset: int) -> tuple[int, int]:
    """Return an unsigned LEB128 number, and where it ends."""
    value = shift = 0
    while True:
        byte = module[offset]
        offset += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, offset
        shift += 7
