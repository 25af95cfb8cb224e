"""Build the shop's image from this machine's own Python: no registry, no Dockerfile, no root.

    .venv/bin/python examples/shop/image.py shop.tar && .venv/bin/sampan image load shop.tar

The image holds the interpreter, the shared libraries it is linked with, and of the standard library just the modules that
the programs under ``apps/`` import (compiled). Equal machines build equal bytes.
"""

from __future__ import annotations

import ast
import os
import py_compile
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from sampan.node.oci_image import ImageConfig, ImageFile, docker_archive

NAME = "sampan.dev/shop:1"
APPS = Path(__file__).parent / "apps"
VERSION = f"python{sys.version_info.major}.{sys.version_info.minor}"
ALWAYS = ("encodings.utf_8", "encodings.ascii", "encodings.latin_1", "encodings.idna", "site", "runpy")
LIST_MODULES = """
import importlib.machinery, sys
sys.modules["ssl"] = sys.modules["_hashlib"] = None  # the shop speaks plain HTTP inside the cluster: no OpenSSL
for name in {names}:
    importlib.import_module(name)
for name in [name for name, module in sys.modules.items() if module]:
    parent = sys.modules.get(name.rpartition(".")[0])
    spec = importlib.machinery.PathFinder.find_spec(name, getattr(parent, "__path__", None))
    if spec and spec.has_location:
        print(spec.origin)
"""


def build(archive: Path) -> None:
    """Write the image to ``archive`` as `docker save` would."""
    files = python_files(sorted(APPS.glob("*.py")))
    for app in APPS.glob("*.py"):
        files[f"shop/{app.name}"] = ImageFile(app.read_bytes())
    environment = {
        "PATH": "/python/bin",
        "LD_LIBRARY_PATH": "/lib",
        "PYTHONUNBUFFERED": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    config = ImageConfig(entrypoint=("python3",), environment=environment, working_dir="/shop", user="65534:65534")
    docker_archive(archive, [NAME], files, config)


def python_files(programs: list[Path]) -> dict[str, ImageFile]:
    """Return the files of a Python that can run the programs, by their path in the image."""
    executable = Path(sys.base_prefix) / "bin" / VERSION
    files = {f"python/bin/{VERSION}": ImageFile(executable.read_bytes(), 0o755)}
    files["python/bin/python3"] = ImageFile(link=VERSION, mode=0o777)
    binaries = [executable]
    standard_library = Path(sysconfig.get_path("stdlib"))
    for source in modules(programs):
        inside = source.is_relative_to(standard_library)
        place = f"python/lib/{VERSION}/{source.relative_to(standard_library) if inside else source.name}"
        if source.suffix == ".py":
            files[place + "c"] = ImageFile(compiled(source))
        else:
            files[place] = ImageFile(source.read_bytes(), 0o755)
            binaries.append(source)
    files[f"python/lib/{VERSION}/lib-dynload/.keep"] = ImageFile()
    for library in libraries(binaries):
        place = str(library).lstrip("/") if library.name.startswith("ld-") else f"lib/{library.name}"
        files[place] = ImageFile(library.read_bytes(), 0o755)
    return files


def modules(programs: list[Path]) -> list[Path]:
    """Return the files of every module that the programs import, directly or not."""
    named = {name for program in programs for name in imports(ast.parse(program.read_text()))}
    listing = LIST_MODULES.format(names=sorted({*named, *ALWAYS}))
    done = subprocess.run([sys.executable, "-I", "-c", listing], capture_output=True, text=True, check=True)
    return sorted(Path(line) for line in done.stdout.splitlines() if "site-packages" not in line)


def imports(tree: ast.Module) -> set[str]:
    """Return the names of the modules that a program imports."""
    found = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    return found | {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}


def compiled(source: Path) -> bytes:
    """Return the bytecode of a source file, the same on every build."""
    with tempfile.TemporaryDirectory() as directory:
        target = Path(directory) / "module.pyc"
        mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
        py_compile.compile(str(source), str(target), source.name, doraise=True, invalidation_mode=mode)
        return target.read_bytes()


def libraries(binaries: list[Path]) -> list[Path]:
    """Return the shared libraries that the binaries are linked with, the loader included."""
    environment = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(["ldd", *map(str, binaries)], capture_output=True, text=True, env=environment, check=True)
    words = [word for line in done.stdout.splitlines() if not line.endswith(":") for word in line.split()]
    return sorted({Path(word) for word in words if word.startswith("/")})


if __name__ == "__main__":
    build(Path(sys.argv[1]))
