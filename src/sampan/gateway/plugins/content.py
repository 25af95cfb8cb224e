"""What a plugin consists of: its files, how it is called, and the version that both come to."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from sampan.gateway.model.durations import milliseconds
from sampan.gateway.plugins.manifest import PluginError, manifest_of, settings_of
from sampan.gateway.plugins.sources.seam import Fetched
from sampan.gateway.plugins.wasm import HTTP_WASM, PROXY_WASM, abi_of
from sampan.schema.objects import Object
from sampan.schema.quantity import QuantityError
from sampan.schema.quantity import parse as parse_quantity

LARGEST_BYTES = 64 * 2**20
"""A plugin directory that is larger is a mistake (a virtual environment, a repository)."""
DEFAULT_TIMEOUT = "10s"
SHARED, PROCESS = "Shared", "Process"
ALWAYS = {"processor": PROCESS, "installed": PROCESS, HTTP_WASM: PROCESS, PROXY_WASM: SHARED}
CODE = (".py", ".wasm")
"""What a plugin consists of, beside data."""
LEAST_MEMORY_BYTES = 64 * 2**20
"""What Python with what serves a plugin needs by itself."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """How the host calls a plugin."""

    key: str
    kind: str
    entry_point: str
    factory: bool
    settings: Object
    timeout_seconds: float
    fails_open: bool
    isolation: str = SHARED
    """``Shared``: in Envoy's process, with others; ``Process``: in one of its own."""
    memory_bytes: int = 0
    """What a process of its own may take; 0: what there is."""
    reroutes: bool = False
    is_apart: bool = False
    """Whether its owner asks for a process of its own; a processor has one in any case."""
    content_types: tuple[str, ...] = ()
    """The media types of the bodies that a processor is given as a whole."""
    content_bytes: int = 0
    """How long such a body may be; 0: as usual (``contents.py``)."""

    def json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


@dataclass(frozen=True, slots=True)
class Content:
    """A version of a plugin, not yet tried."""

    files: dict[str, bytes]
    """Path in the directory → content."""
    deployment: Deployment
    revision: str = ""
    package: str = ""
    """What its files are imported as; empty: as a package of this version's own."""

    @property
    def version(self) -> str:
        """Return the hash of everything that the plugin does depends on, settings included."""
        digest = hashlib.sha256(self.deployment.json().encode())
        for name, content in self.files.items():
            digest.update(name.encode() + b"\0" + content + b"\0")
        return digest.hexdigest()[:12]


def content_of(key: str, plugin: Object, config_map: Object | None = None, fetched: Fetched | None = None) -> Content:
    """Return the version that a Plugin object asks for; ``config_map`` is the one it names, ``fetched`` what its source gave.
    Raises ``PluginError``."""
    spec = plugin["spec"]
    files = fetched.files if fetched is not None else files_of(spec, config_map)
    if not any(name.endswith(CODE) for name in files):
        raise PluginError("it has no Python file, and no WebAssembly module")
    package = fetched.package if fetched is not None else ""
    manifest = manifest_of(below(files, package.replace(".", "/")) if package else files)
    kind, entry_point, factory = manifest.kind, manifest.entry_point, manifest.factory
    if kind == "wasm":
        module = below(files, package.replace(".", "/"))[manifest.module] if package else files[manifest.module]
        kind, entry_point = abi_of(manifest.module, module), manifest.module
    elif spec.get("entryPoint"):
        entry_point, factory = spec["entryPoint"], False
    timeout = milliseconds(spec.get("timeout") or DEFAULT_TIMEOUT) / 1000
    if not timeout:
        raise PluginError("spec.timeout: Invalid value: must be greater than 0")
    settings = settings_of(manifest, spec.get("settings"))
    deployment = Deployment(
        key,
        kind,
        entry_point,
        factory,
        settings,
        timeout,
        fails_open=spec.get("failure") == "Open",
        isolation=isolation_of(spec, "installed" if package else kind),
        memory_bytes=memory_of(spec),
        reroutes=bool(spec.get("reroutes")),
        is_apart=spec.get("isolation") == PROCESS,
        content_types=manifest.content_types,
        content_bytes=manifest.content_bytes,
    )
    return Content(files, deployment, fetched.revision if fetched is not None else "", package)


def below(files: dict[str, bytes], folder: str) -> dict[str, bytes]:
    """Return the files of a folder by their path in it."""
    return {name.removeprefix(f"{folder}/"): data for name, data in files.items() if name.startswith(f"{folder}/")}


def isolation_of(spec: Object, kind: str) -> str:
    """Return where a plugin runs. Raises ``PluginError`` for where it cannot."""
    asked = spec.get("isolation")
    isolation: str = ALWAYS.get(kind) or asked or SHARED
    if asked and asked != isolation:
        raise PluginError(f"spec.isolation: Invalid value: a plugin of the kind {kind} can only be {isolation}")
    if spec.get("memory") and isolation != PROCESS:
        raise PluginError("spec.memory: Forbidden: only a process of its own (spec.isolation: Process) can be limited")
    return isolation


def memory_of(spec: Object) -> int:
    """Return the limit in bytes, 0 where there is none. Raises ``PluginError``."""
    if not spec.get("memory"):
        return 0
    try:
        found = parse_quantity(str(spec["memory"])).value()
    except QuantityError as error:
        raise PluginError(f"spec.memory: Invalid value: {error}") from None
    if found < LEAST_MEMORY_BYTES:
        raise PluginError(f"spec.memory: Invalid value: a process needs {LEAST_MEMORY_BYTES // 2**20}Mi at least")
    return found


def files_of(spec: Object, config_map: Object | None = None) -> dict[str, bytes]:
    """Return the files of a plugin by their path. Raises ``PluginError``."""
    if spec.get("source"):
        return {"plugin.py": spec["source"].encode()}
    if spec.get("configMapRef"):
        return of_config_map(spec["configMapRef"]["name"], config_map)
    if not spec.get("path"):
        raise PluginError("spec: one of path, source, configMapRef, git, image, installed is required")
    return directory(Path(spec["path"]))


def of_config_map(name: str, config_map: Object | None) -> dict[str, bytes]:
    """Return the files of a ConfigMap: a key each. Raises ``PluginError``."""
    if config_map is None:
        raise PluginError(f"spec.configMapRef.name: ConfigMap {name} does not exist")
    files = {key: text.encode() for key, text in (config_map.get("data") or {}).items()}
    files |= {key: base64.b64decode(data) for key, data in (config_map.get("binaryData") or {}).items()}
    if not any(key.endswith(CODE) for key in files):
        raise PluginError(f"spec.configMapRef.name: ConfigMap {name} has no Python file, and no WebAssembly module")
    return dict(sorted(files.items()))


def directory(path: Path) -> dict[str, bytes]:
    """Return the files of a directory, without hidden and compiled ones. Raises ``PluginError``."""
    if not path.is_dir():
        raise PluginError(f"{path} is not a directory on the gateway's machine")
    files: dict[str, bytes] = {}
    size = 0
    for file in sorted(path.rglob("*")):
        inner = file.relative_to(path)
        if not file.is_file() or any(part.startswith(".") or part == "__pycache__" for part in inner.parts):
            continue
        size += file.stat().st_size
        if size > LARGEST_BYTES:
            raise PluginError(f"{path} has more than {LARGEST_BYTES // 2**20} MiB of files")
        files[str(inner)] = file.read_bytes()
    if not any(name.endswith(CODE) for name in files):
        raise PluginError(f"{path} has no Python file, and no WebAssembly module")
    return files
